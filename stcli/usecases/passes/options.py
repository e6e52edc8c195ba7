"""What a tenant has to choose from, for the targets and conditions that take a name or an id."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from stcli.domain.campaign import Conditions, SyncFilter
from stcli.domain.catalog import BOOKING_TARGETS, TargetType
from stcli.domain.enrolment import Filter
from stcli.domain.mapping.apply import Options, matching_options
from stcli.domain.mapping.rules import ManualInput, ManualSelect, Rule
from stcli.domain.nearest import suggestion
from stcli.domain.qualification import ResolvedConditions
from stcli.domain.records import NamedOption
from stcli.errors import ConfigurationError
from stcli.usecases.ports import CrmGateway

_NAMED_TARGETS = tuple(t.name for t in BOOKING_TARGETS if t.type is TargetType.NAME_OR_ID)


async def resolve_options(crm: CrmGateway, fields: Mapping[str, Rule]) -> Options:
    """The tenant's choices for the mapped targets that take one; a fixed name that ServiceTitan
    does not have, or has several times, is a ``ConfigurationError``."""
    options: dict[str, Sequence[NamedOption]] = {}
    for target in _NAMED_TARGETS:
        rule = fields.get(target)
        if rule is None:
            continue
        options[target] = await lister(crm, target)()
        if isinstance(rule, ManualInput | ManualSelect):
            one_of(target, rule.value, options[target])
    return options


def lister(crm: CrmGateway, name: str) -> Callable[[], Awaitable[Sequence[NamedOption]]]:
    """How to ask for what a tenant has to choose from at a target or a condition."""
    return {
        "campaign": crm.campaigns,
        "business_unit": crm.business_units,
        "job_type": crm.job_types,
        "tag": crm.tag_types,
    }[name]


def one_of(what: str, value: str, options: Sequence[NamedOption]) -> int:
    """The number of the one active option with this name or id."""
    found = matching_options(value, options)
    if len(found) == 1:
        return found[0].id
    label = what.replace("_", " ")
    if found:
        ids = ", ".join(str(option.id) for option in found)
        raise ConfigurationError(
            f"ServiceTitan has {len(found)} active {label}s named {value!r}: {ids}",
            f"Write the id of the one you mean at {what}.",
        )
    names = [option.name for option in options if option.active]
    raise ConfigurationError(
        f"ServiceTitan has no active {label} named {value!r}",
        suggestion(value, names) or f"Write the exact name or the id of one of its {label}s.",
    )


async def resolve_filter(crm: CrmGateway, wanted: SyncFilter) -> Filter:
    """Which customers a sync is for, with the names of tags turned into numbers."""
    tags: frozenset[int] = frozenset()
    if wanted.tags:
        known = await crm.tag_types()
        tags = frozenset(one_of("tag", name, known) for name in wanted.tags)
    return Filter(wanted.customer_type or "", tags, wanted.created_since, wanted.has_job_since)


async def resolve_conditions(crm: CrmGateway, conditions: Conditions) -> ResolvedConditions:
    """The conditions of a qualification with names turned into numbers."""

    async def numbers(name: str, values: Sequence[str]) -> frozenset[int]:
        if not values:
            return frozenset()
        options = await lister(crm, name)()
        return frozenset(one_of(name, value, options) for value in values)

    return ResolvedConditions(
        job_types=await numbers("job_type", conditions.job_type),
        business_units=await numbers("business_unit", conditions.business_unit),
        tags=await numbers("tag", conditions.tag),
        minimum_total=conditions.minimum_total,
        exclude=frozenset(conditions.exclude),
    )
