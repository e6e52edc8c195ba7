"""Why a lead is or is not qualified, from what the last pass knew."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from stcli.domain.campaign import CampaignConfig
from stcli.domain.ids import CampaignName
from stcli.domain.qualification import (
    Check,
    Decision,
    ResolvedConditions,
    Rule,
    judge,
    status_named_by,
)
from stcli.store.qualifications import QualificationState
from stcli.store.state import State
from stcli.usecases.evidence import known_person
from stcli.usecases.passes.job_evidence import gather
from stcli.usecases.passes.options import resolve_conditions
from stcli.usecases.passes.subject import tenant_key
from stcli.usecases.ports import CrmGateway
from stcli.usecases.report import SCHEMA_VERSION, instant


@dataclass(frozen=True, slots=True)
class ExplainedEvent:
    """One entry of the job's history and the status it names, if any."""

    at: datetime
    event_type: str
    status: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """The state of one lead's qualification with every condition and the job's history."""

    campaign: CampaignName
    code: str
    state: str
    summary: str
    checks: tuple[Check, ...]
    events: tuple[ExplainedEvent, ...]

    @staticmethod
    def needs_names(config: CampaignConfig) -> bool:
        """Whether names of conditions have to be looked up in ServiceTitan."""
        conditions = config.qualification.conditions
        return bool(conditions.job_type or conditions.business_unit or conditions.tag)

    def document(self) -> dict[str, object]:
        return {
            "schema_version": SCHEMA_VERSION,
            "campaign": self.campaign,
            "record": self.code,
            "state": self.state,
            "summary": self.summary,
            "conditions": [
                {
                    "condition": c.condition,
                    "seen": c.seen,
                    "holds": c.holds,
                    "at": instant(c.at),
                    "where": c.seen_in,
                }
                for c in self.checks
            ],
            "events": [
                {"at": instant(e.at), "event_type": e.event_type, "status": e.status}
                for e in self.events
            ],
        }


async def explain(
    name: CampaignName,
    config: CampaignConfig,
    code: str,
    state: State,
    crm: CrmGateway | None,
    now: datetime,
) -> Explanation:
    """Judge one lead again from the state; ``crm`` is needed only where conditions have names."""
    person = known_person(name, code, state)
    tenant = tenant_key(config)
    lead = state.qualifications.of(name, tenant, person.id)
    if lead is None:
        return Explanation(
            name, code, "no booking", "no booking is known, so nothing is waited for", (), ()
        )
    conditions = (
        ResolvedConditions(
            minimum_total=config.qualification.conditions.minimum_total,
            exclude=frozenset(config.qualification.conditions.exclude),
        )
        if crm is None
        else await resolve_conditions(crm, config.qualification.conditions)
    )
    evidence = gather(state, tenant, [lead])[lead.user_id]
    verdict = judge(Rule(config.qualification, conditions), evidence, now)
    events = tuple(
        ExplainedEvent(event.date, event.event_type, status_named_by(event.event_type))
        for found in evidence.jobs
        for event in state.feeds.events(tenant, found.job.id)
    )
    return Explanation(
        name, code, lead.state.value, _summary(lead.state, verdict.decision), verdict.checks, events
    )


def _summary(state: QualificationState, decision: Decision) -> str:
    match state:
        case QualificationState.QUALIFIED:
            return "qualified"
        case QualificationState.TAKING_BACK:
            return "its job was canceled; the next qualify pass takes the qualification back"
        case QualificationState.UNQUALIFIED:
            return "was qualified and is no longer, because its job was canceled"
        case QualificationState.SETTLED:
            return "was qualified in Referral Factory already; left alone"
        case QualificationState.GONE:
            return "is gone from Referral Factory"
        case QualificationState.OPEN | QualificationState.INTENT:
            return {
                Decision.NOT_YET: "not qualified yet",
                Decision.WAIT: "qualified after the waiting time",
                Decision.QUALIFY: "will be qualified by the next qualify pass",
            }[decision]
