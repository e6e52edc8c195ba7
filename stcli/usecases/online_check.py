"""What only the two systems can tell of a campaign file: whether the names in it exist."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from stcli.domain.campaign import CampaignConfig, Tab, in_use
from stcli.domain.catalog import BOOKING_TARGETS, TargetType
from stcli.domain.mapping.rules import ManualInput, ManualSelect, sources_of
from stcli.domain.nearest import suggestion
from stcli.domain.records import Campaign, NamedOption, form_fields
from stcli.errors import ConfigurationError, RemoteGone
from stcli.usecases.campaign_lookup import find_campaign
from stcli.usecases.passes.custom_fields import custom_field_sources, field_named, return_fields
from stcli.usecases.passes.options import lister, one_of
from stcli.usecases.ports import CrmGateway, ReferralGateway

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something in the file that does not fit what a system has. ``missing``: the target that the
    campaign requires, where that is what is found."""

    path: Path
    message: str
    hint: str = ""
    is_warning: bool = False
    missing: str = ""

    @property
    def tab(self) -> Tab | None:
        """The tab that cannot run with it, where it is the matter of one."""
        if self.path[:2] == ("sync", "return_fields"):
            return Tab.RETURN
        return next((tab for tab in Tab if tab.value == self.path[0]), None)


@dataclass(slots=True)
class OnlineCheck:
    """Collects the findings of one campaign; each list is asked for once."""

    config: CampaignConfig
    referral: ReferralGateway
    crm: CrmGateway
    findings: list[Finding] = field(default_factory=list)
    gone: RemoteGone | None = None
    _options: dict[str, Sequence[NamedOption]] = field(default_factory=dict)

    async def run(self) -> None:
        """Everything at once; only that a system cannot be asked at all is raised. That the campaign
        is gone is a finding too, and kept in ``gone``."""
        config = self.config
        try:
            campaign = await find_campaign(self.referral, config)
        except RemoteGone as error:
            self.gone = error
            self.findings.append(Finding(("referral_campaign",), error.message, error.hint))
        else:
            self.findings += self._forms(campaign)
        # Also where no mapping needs a name of ServiceTitan: that it answers is part of the question.
        await self.crm.first_booking()
        await self._booking_names()
        await self._conditions()
        await self._sync()

    def _forms(self, campaign: Campaign) -> Iterator[Finding]:
        config, used = self.config, in_use(self.config)
        if campaign.status and campaign.status != "launched" and config.sync is not None:
            yield Finding(
                ("referral_campaign",),
                f"the campaign is {campaign.status}, so the sync enrols nobody",
                "Launch it in Referral Factory.",
                is_warning=True,
            )
        referrers = {f"meta.{one.label}" for one in form_fields(campaign.referrer_fields)}
        leads = {f"meta.{one.label}" for one in form_fields(campaign.lead_fields)}
        of_referrers = {f"referrer.{name}" for name in referrers}
        for tab, own in ((Tab.LEADS, leads), (Tab.REFERRERS, referrers)):
            if tab not in used:
                continue
            known = sorted(own | of_referrers)
            for target, rule in config.rules_of(tab).items():
                for source in sources_of(rule):
                    if "meta." in source and source not in known:
                        yield Finding(
                            (tab.value, "fields", target),
                            f"the form has no field for {source!r}, so it would be blank",
                            suggestion(source, known) or _listed(known),
                        )
        if config.sync is None:
            return
        targets = dict(campaign.referrer_targets)
        for target in config.sync.fields:
            if target.startswith("meta.") and target not in targets:
                yield Finding(
                    ("sync", "fields", target),
                    f"the campaign's form has no field {target.removeprefix('meta.')!r}",
                    suggestion(target, list(targets)) or _listed(list(targets)),
                )
        for name, is_required in targets.items():
            if is_required and name not in config.sync.fields:
                yield Finding(
                    ("sync", "fields"),
                    f"Setup Required: the campaign requires {name} of every referrer",
                    f'Map it, such as: stcli map set "{name}" --tab sync --from …',
                    missing=name,
                )

    async def _booking_names(self) -> None:
        for tab in in_use(self.config):
            if tab not in (Tab.LEADS, Tab.REFERRERS):
                continue
            rules = self.config.rules_of(tab)
            for target in BOOKING_TARGETS:
                rule = rules.get(target.name)
                if target.type is TargetType.NAME_OR_ID and isinstance(
                    rule, ManualInput | ManualSelect
                ):
                    path = (tab.value, "fields", target.name, "value")
                    await self._name(path, target.name, rule.value)

    async def _conditions(self) -> None:
        conditions = self.config.qualification.conditions
        for name, values in (
            ("job_type", conditions.job_type),
            ("business_unit", conditions.business_unit),
            ("tag", conditions.tag),
        ):
            for index, value in enumerate(values):
                await self._name(("qualification", "conditions", name, index), name, value)

    async def _sync(self) -> None:
        sync = self.config.sync
        if sync is None:
            return
        for index, tag in enumerate(sync.filter.tags):
            await self._name(("sync", "filter", "tags", index), "tag", tag)
        read = custom_field_sources(sync.fields)
        if not read and not sync.return_fields:
            return
        known = await self.crm.custom_fields()
        for name, target in read.items():
            with self._at(("sync", "fields", target)):
                field_named(name, known)
        before = len(self.findings)
        for target, rule in sync.return_fields.items():
            with self._at(("sync", "return_fields", target)):
                return_fields({target: rule}, known)
        if len(self.findings) == before:
            # Each by itself is right: two may still be one field.
            with self._at(("sync", "return_fields")):
                return_fields(sync.return_fields, known)

    async def _name(self, path: Path, what: str, value: str) -> None:
        if what not in self._options:
            ask: Callable[[], Awaitable[Sequence[NamedOption]]] = lister(self.crm, what)
            self._options[what] = await ask()
        with self._at(path):
            one_of(what, value, self._options[what])

    @contextmanager
    def _at(self, path: Path) -> Iterator[None]:
        """What the block refuses is a finding at this place."""
        try:
            yield
        except ConfigurationError as error:
            self.findings.append(Finding(path, error.message, error.hint))


def _listed(names: Sequence[str]) -> str:
    return "It has: " + (", ".join(names) or "none") + "."
