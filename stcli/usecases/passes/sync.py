"""Customers become referrers, once per email address, and are kept in step.

Read, then look (``enrolment_look``), then write (``enrolment_write``). This is the pass around them:
its rules, its brakes, its counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from stcli.domain.campaign import SyncTab, SyncType
from stcli.domain.catalog import SYNC_TARGETS
from stcli.domain.enrolment import REFERRERS, EnrolmentState, utc_day
from stcli.domain.enrolment_plan import EnrolmentRules, fingerprint
from stcli.domain.mapping.rules import Rule
from stcli.domain.outcome import PLAN_LINES, Count, SkipReason
from stcli.domain.records import Campaign
from stcli.errors import ConfigurationError, SafetyStop, SetupRequired
from stcli.usecases.campaign_lookup import find_campaign
from stcli.usecases.passes.context import PassContext
from stcli.usecases.passes.custom_fields import custom_field_sources, field_named
from stcli.usecases.passes.enrolment_look import Look
from stcli.usecases.passes.enrolment_write import Writing
from stcli.usecases.passes.feeds import (
    customer_jobs_up_to_date,
    customers_up_to_date,
    suppressions_up_to_date,
)
from stcli.usecases.passes.options import resolve_filter

FEW_UPDATES = 50
"""So many updates in one pass alarm nobody, however few referrers there are."""


async def run_sync(context: PassContext) -> None:
    """The ``sync`` pass."""
    settings = context.config.sync
    if settings is None:
        raise ConfigurationError(
            f"{context.campaign} has no sync tab",
            f"Set it up with: stcli sync setup {context.campaign}",
        )
    campaign = await find_campaign(context.referral, context.config)
    await _SyncPass(context, settings, campaign).run()


Counts = Mapping[tuple[EnrolmentState, str], int]
"""How many customers are in each state, for each reason."""


class _SyncPass:
    """One pass; the methods are its steps, in order."""

    def __init__(self, context: PassContext, settings: SyncTab, campaign: Campaign) -> None:
        self.context = context
        self.settings = settings
        self.campaign = campaign
        self.obeys_suppressions = context.config.consent.suppressions == "obey"

    async def run(self) -> None:
        context = self.context
        enrolments = context.state.enrolments
        await context.in_state(
            enrolments.begin, context.held.lease, context.campaign, context.tenant, self.campaign.id
        )
        await self._refuse_a_second_import()
        rules = await self._rules()
        await context.people.refresh()
        await self._read()
        await context.in_state(
            enrolments.apply_rule,
            context.held.lease,
            context.campaign,
            rules.fingerprint,
        )
        look = Look(context, self.campaign.id, rules, obeys_suppressions=self.obeys_suppressions)
        await look.run()
        creates, updates = await self._brake()
        planned = creates if context.options.dry_run else 0
        writing = Writing(context, self.campaign, look, welcome_mail=self.settings.welcome_mail)
        if context.options.dry_run:
            await self._plan(creates, updates)
        else:
            await writing.run(creates, updates)
        # Over a million rows this is a good part of a pass with nothing new, so it is asked once.
        counts = await context.in_state(enrolments.counts, context.campaign)
        self._count_the_others(counts, writing.in_doubt + planned)
        if self._is_complete(counts):
            await context.in_state(
                enrolments.imported, context.held.lease, context.campaign, context.now()
            )

    async def _refuse_a_second_import(self) -> None:
        context = self.context
        if (context.options.sync_type or self.settings.type) is not SyncType.ONE_TIME:
            return
        progress = await context.in_state(context.state.enrolments.progress, context.campaign)
        if progress.imported_at is not None and not context.options.again:
            raise ConfigurationError(
                f"the customers of {context.campaign} were imported on "
                f"{progress.imported_at:%Y-%m-%d}, and a one-time sync imports once",
                f"Import again with: stcli sync run {context.campaign} --once --again",
            )

    # Rules

    async def _rules(self) -> EnrolmentRules:
        settings, fields = self.settings, self.settings.fields
        required = [target.name for target in SYNC_TARGETS if target.required]
        asked = [name for name, is_required in self.campaign.referrer_targets if is_required]
        missing = [name for name in asked if name not in fields]
        if missing:
            raise SetupRequired(
                f"Setup Required: {self.campaign.code} requires of every referrer "
                + ", ".join(missing),
                f"Map them with: stcli sync setup {self.context.campaign}",
            )
        wanted = await resolve_filter(self.context.crm, settings.filter)
        custom_fields = await self._custom_fields(fields)
        return EnrolmentRules(
            fields=fields,
            required=(*required, *asked),
            custom_fields=custom_fields,
            filter=wanted,
            fingerprint=fingerprint(
                (
                    self.campaign.id,
                    sorted((name, repr(rule)) for name, rule in fields.items()),
                    sorted(asked),
                    sorted(custom_fields.items()),
                    settings.filter.customer_type,
                    sorted(wanted.tags),
                    wanted.created_since,
                    wanted.has_job_since,
                    self.obeys_suppressions,
                )
            ),
        )

    async def _custom_fields(self, fields: dict[str, Rule]) -> dict[str, int]:
        names = custom_field_sources(fields)
        if not names:
            return {}
        known = await self.context.crm.custom_fields()
        return {name: field_named(name, known, "sync.fields").id for name in names}

    # Reading

    async def _read(self) -> None:
        context = self.context
        await customers_up_to_date(context)
        if self.obeys_suppressions:
            await suppressions_up_to_date(context)
        since = self.settings.filter.has_job_since
        if since is not None:
            await customer_jobs_up_to_date(context, since)

    # Brakes

    async def _brake(self) -> tuple[int, int]:
        """How many referrers may be made and changed; nothing has been written to either system."""
        context, options = self.context, self.context.options
        enrolments = context.state.enrolments
        creates = await context.in_state(
            enrolments.count_planned, context.campaign, since=options.since
        )
        updates = await context.in_state(enrolments.count_updates, context.campaign)
        if creates and (waits := self._why_nobody_is_enrolled()):
            context.tally.notes.append(
                f"{waits}, so nobody is enrolled; customers that wait: {creates}"
            )
            creates = 0
        if options.limit is not None:
            updates = min(updates, options.limit)
            creates = min(creates, options.limit - updates)
        allowed = self.settings.limits.max_creates
        if allowed is not None and creates > allowed and not options.allow_mass_change:
            raise SafetyStop(
                f"this pass would enrol {creates} customers; sync.limits.max_creates allows "
                f"{allowed}, so none was enrolled",
                "Look at the plan with --dry-run. If it is right, run once with "
                "--allow-mass-change.",
            )
        if updates <= FEW_UPDATES or options.allow_mass_change:
            return creates, updates
        referrers = await context.in_state(enrolments.count_in_states, context.campaign, REFERRERS)
        if updates > referrers // 2:
            raise SafetyStop(
                f"this pass would change {updates} of {referrers} referrers, which is more than "
                "half of them, so none was changed",
                "A changed mapping does that, or a mistake in ServiceTitan. Look at the plan with "
                "--dry-run. If it is right, run once with --allow-mass-change.",
            )
        return creates, updates

    def _why_nobody_is_enrolled(self) -> str:
        campaign = self.campaign
        if campaign.status and campaign.status != "launched":
            return f"the campaign {campaign.code} is {campaign.status}"
        try:
            ended = campaign.ends_at and date.fromisoformat(campaign.ends_at[:10])
        except ValueError:
            ended = None
        if ended and ended < utc_day(self.context.now()):
            return f"the campaign {campaign.code} has ended"
        return ""

    # Writing

    async def _plan(self, creates: int, updates: int) -> None:
        """What a dry run says instead of writing."""
        context, enrolments = self.context, self.context.state.enrolments
        context.tally.add(Count.CREATED, creates)
        context.tally.add(Count.UPDATED, updates)
        listed = min(updates, PLAN_LINES)
        for row in await context.in_state(enrolments.to_update, context.campaign, -1, listed):
            context.tally.intend(str(row.customer_id), "update")
        if creates:
            planned = await context.in_state(
                enrolments.in_state,
                context.campaign,
                EnrolmentState.PLANNED,
                -1,
                min(creates, PLAN_LINES),
            )
            for row in planned:
                context.tally.intend(str(row.customer_id), "create")

    # The end

    def _count_the_others(self, counts: Counts, unmade: int) -> None:
        """Everybody else: referrers left as they were, and customers who are none, by reason.
        ``unmade``: how many of those that were counted are no referrers (yet)."""
        context, counted = self.context, self.context.tally.counts
        told = (Count.CREATED, Count.UPDATED, Count.LINKED, Count.FAILED)
        touched = sum(counted[one] for one in told)
        stay = 0
        for (state, reason), number in counts.items():
            if reason:
                context.tally.skip(SkipReason(reason), number)
            elif state in (*REFERRERS, EnrolmentState.REFUSED):
                stay += number
        context.tally.add(Count.UNCHANGED, max(stay - (touched - unmade), 0))

    def _is_complete(self, counts: Counts) -> bool:
        """Whether everybody known has been treated, so that an import has been done."""
        options = self.context.options
        if options.dry_run or options.since is not None:
            return False
        open_states = (EnrolmentState.PLANNED, EnrolmentState.INTENT)
        return not any(state in open_states for state, _ in counts)
