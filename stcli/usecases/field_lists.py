"""What can be mapped in one tab: the catalogue, with what both systems really have in it.

An entry of the catalogue that stands for any name (``meta.LABEL``, ``custom_field:NAME``) is replaced
by the names there are, and a target that takes a name gets the tenant's as its options. Where a system
could not be asked, its part stays as the catalogue has it, and a remark says why.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from stcli.domain.campaign import CampaignConfig, Tab
from stcli.domain.catalog import Catalogue, Source, Target, TargetType, catalogue_of
from stcli.domain.mapping.rules import Dynamic
from stcli.domain.records import Campaign, CampaignField, CustomFieldType, form_fields
from stcli.domain.return_fields import misfit
from stcli.errors import RemoteGone, StcliError
from stcli.usecases.campaign_lookup import find_campaign
from stcli.usecases.passes.options import lister
from stcli.usecases.ports import CrmGateway, ReferralGateway

Entry = TypeVar("Entry", Source, Target)


@dataclass(frozen=True, slots=True)
class FieldLists:
    """Sources and targets of a tab. ``custom_fields``: those of the tenant, where known."""

    tab: Tab
    sources: tuple[Source, ...]
    targets: tuple[Target, ...]
    custom_fields: tuple[CustomFieldType, ...] = ()
    remarks: tuple[str, ...] = ()

    def takes(self, target: Target, source: Source) -> bool:
        """Whether a source fits a target by its type; custom fields are particular."""
        if self.tab is not Tab.RETURN:
            return True
        rule = Dynamic.model_validate({"type": "dynamic", "from": source.name})
        names = {f"custom_field:{field.name}": field for field in self.custom_fields}
        return target.name not in names or not misfit(rule, names[target.name])


def catalogue_lists(tab: Tab) -> FieldLists:
    """What the catalogue alone says."""
    catalogue: Catalogue = catalogue_of(tab.value)
    return FieldLists(tab, catalogue.sources, catalogue.targets)


async def with_campaign(
    lists: FieldLists, config: CampaignConfig, referral: ReferralGateway
) -> FieldLists:
    """The same with the fields of the campaign's own forms."""
    if lists.tab is Tab.RETURN:
        return lists
    try:
        campaign = await find_campaign(referral, config)
    except RemoteGone as error:
        return remarked(lists, f"{error.message}.")
    if lists.tab is Tab.SYNC:
        asked = [
            Target(
                name,
                "meta",
                TargetType.TEXT,
                f"Form field {name.removeprefix('meta.')}",
                is_required,
            )
            for name, is_required in campaign.referrer_targets
        ]
        return replace(lists, targets=_instead(lists.targets, "meta.LABEL", asked))
    return replace(lists, sources=_form_sources(lists, campaign))


def _form_sources(lists: FieldLists, campaign: Campaign) -> tuple[Source, ...]:
    own = campaign.lead_fields if lists.tab is Tab.LEADS else campaign.referrer_fields
    sources = _instead(lists.sources, "meta.LABEL", _sources("meta.", own, "Form field"))
    return _instead(
        sources,
        "referrer.meta.LABEL",
        _sources("referrer.meta.", campaign.referrer_fields, "Referrer's form field"),
    )


def _sources(prefix: str, fields: Sequence[CampaignField], what: str) -> list[Source]:
    return [
        Source(f"{prefix}{f.label}", "meta", f"{what} {f.label}", "") for f in form_fields(fields)
    ]


async def with_tenant(lists: FieldLists, crm: CrmGateway) -> FieldLists:
    """The same with what the tenant has: names to choose from, and custom fields."""
    if lists.tab in (Tab.LEADS, Tab.REFERRERS):
        targets = [
            replace(
                target,
                options=tuple(
                    option.name for option in await lister(crm, target.name)() if option.active
                ),
            )
            if target.type is TargetType.NAME_OR_ID
            else target
            for target in lists.targets
        ]
        return replace(lists, targets=tuple(targets))
    fields = tuple(field for field in await crm.custom_fields() if field.name)
    if lists.tab is Tab.SYNC:
        sources = [
            Source(f"custom_field:{f.name}", "customFields", f"Custom field {f.name}", f.data_type)
            for f in fields
        ]
        return replace(
            lists,
            sources=_instead(lists.sources, "custom_field:NAME", sources),
            custom_fields=fields,
        )
    wanted = [
        Target(
            f"custom_field:{f.name}", "customFields", TargetType.TEXT, f"{f.name} ({f.data_type})"
        )
        for f in fields
    ]
    return replace(
        lists, targets=_instead(lists.targets, "custom_field:NAME", wanted), custom_fields=fields
    )


async def tried(
    lists: FieldLists,
    what: str,
    step: Callable[[FieldLists], Coroutine[Any, Any, FieldLists]],
) -> FieldLists:
    """``step`` of the lists, or the lists with a remark that says why it could not be made."""
    try:
        return await step(lists)
    except StcliError as error:
        return remarked(lists, f"{what} could not be asked ({error.message}).")


def remarked(lists: FieldLists, remark: str) -> FieldLists:
    return replace(lists, remarks=(*lists.remarks, remark))


def _instead(entries: Sequence[Entry], name: str, found: Sequence[Entry]) -> tuple[Entry, ...]:
    """``found`` in the place of the entry that stands for any name."""
    return tuple(one for entry in entries for one in (found if entry.name == name else (entry,)))
