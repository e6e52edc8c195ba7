"""Setting a sync up: what there is to choose from on both sides, and the answers as a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from stcli.domain.campaign import CampaignConfig, SyncType
from stcli.domain.mapping.rules import (
    Dynamic,
    Rule,
    as_written,
)
from stcli.domain.mapping.validate import TabVerdict, check_return, check_sync
from stcli.domain.nearest import suggestion
from stcli.domain.records import CustomFieldType
from stcli.errors import ConfigurationError, SetupRequired
from stcli.usecases.passes.custom_fields import (
    custom_field_sources,
    field_named,
    return_fields,
)

RECOMMENDED: Mapping[str, Rule] = {
    "first_name": Dynamic.model_validate(
        {"type": "dynamic", "from": "name", "transform": ["first_name"]}
    ),
    "email": Dynamic.model_validate({"type": "dynamic", "from": "email"}),
}
"""What is mapped where nothing else was chosen."""


@dataclass(frozen=True, slots=True)
class Lists:
    """What there is on both sides; None where it could not be asked for, with the reason."""

    referrer_targets: Sequence[tuple[str, bool]] | None = None
    """The fields of the campaign's form, each with whether it is required."""
    custom_fields: Sequence[CustomFieldType] | None = None
    remarks: tuple[str, ...] = ()

    @property
    def meta_targets(self) -> Sequence[tuple[str, bool]]:
        return self.referrer_targets or ()


@dataclass(slots=True)
class SyncAnswers:
    """The answers to the three steps, as they will stand in the file. None: left as it is."""

    fields: dict[str, Rule] = field(default_factory=dict)
    return_fields: dict[str, Rule] = field(default_factory=dict)
    type: SyncType | None = None
    filter: dict[str, object] = field(default_factory=dict)
    max_creates: int | None = None
    welcome_mail: bool | None = None


def present_answers(config: CampaignConfig) -> SyncAnswers:
    """What the file says now, or what is recommended where it says nothing."""
    if config.sync is None:
        return SyncAnswers(fields=dict(RECOMMENDED))
    return SyncAnswers(
        fields=dict(config.sync.fields) or dict(RECOMMENDED),
        return_fields=dict(config.sync.return_fields),
        type=config.sync.type,
    )


def check_answers(answers: SyncAnswers, lists: Lists) -> None:
    """Raise what keeps these answers from being run: unknown names, missing fields, wrong types."""
    _refuse(check_sync(answers.fields), "sync.fields", "--map")
    _refuse(check_return(answers.return_fields), "sync.return_fields", "--return")
    known_labels = [name for name, _ in lists.meta_targets]
    for name in answers.fields:
        if (
            lists.referrer_targets is not None
            and name.startswith("meta.")
            and name not in known_labels
        ):
            raise ConfigurationError(
                f"the campaign's form has no field {name.removeprefix('meta.')!r}",
                suggestion(name, known_labels) or f"It has: {', '.join(known_labels) or 'none'}.",
            )
    missing = [name for name, required in lists.meta_targets if required]
    missing = [name for name in missing if name not in answers.fields]
    if missing:
        raise SetupRequired(
            "Setup Required: the campaign requires of every referrer " + ", ".join(missing),
            f'Map them, such as: --map "{missing[0]}=name>last_name"',
        )
    if lists.custom_fields is None:
        return
    for name, target in custom_field_sources(answers.fields).items():
        field_named(name, lists.custom_fields, target)
    return_fields(answers.return_fields, lists.custom_fields)


def _refuse(verdict: TabVerdict, where: str, flag: str) -> None:
    for fault in verdict.faults:
        if not fault.is_warning:
            path = ".".join(str(step) for step in (where, *fault.path))
            raise ConfigurationError(
                f"{path}: {fault.message}",
                suggestion(fault.found, fault.allowed)
                or ("allowed: " + ", ".join(fault.allowed) if fault.allowed else ""),
            )
    if verdict.missing:
        raise SetupRequired(
            f"Setup Required: {where} has no mapping for {', '.join(verdict.missing)}",
            f"Add {flag} {verdict.missing[0]}=FIELD.",
        )


Path = tuple[str | int, ...]


def file_changes(
    config: CampaignConfig, answers: SyncAnswers
) -> tuple[dict[Path, object], list[Path]]:
    """What to set in the file and what to remove from it; what stays the same is not touched."""
    sync = config.sync
    kind = answers.type or (SyncType.ONGOING if sync is None else sync.type)
    if sync is None:
        return {("sync",): _new_tab(kind, answers)}, []
    values: dict[Path, object] = {}
    gone: list[Path] = []
    if sync.type is not kind:
        values["sync", "type"] = kind.value
    for name, before, after in (
        ("fields", sync.fields, answers.fields),
        ("return_fields", sync.return_fields, answers.return_fields),
    ):
        if not before and after:
            values["sync", name] = {target: as_written(rule) for target, rule in after.items()}
            continue
        if before and not after:
            gone.append(("sync", name))
            continue
        for target, rule in after.items():
            if before.get(target) != rule:
                values["sync", name, target] = as_written(rule)
        gone += [("sync", name, target) for target in before if target not in after]
    for name, value in answers.filter.items():
        values["sync", "filter", name] = value
    if answers.max_creates is not None:
        values["sync", "limits", "max_creates"] = answers.max_creates
    if answers.welcome_mail is not None and answers.welcome_mail != sync.welcome_mail:
        values["sync", "welcome_mail"] = answers.welcome_mail
    return values, gone


def _new_tab(kind: SyncType, answers: SyncAnswers) -> dict[str, object]:
    tab: dict[str, object] = {
        "type": kind.value,
        "fields": {target: as_written(rule) for target, rule in answers.fields.items()},
    }
    if answers.return_fields:
        tab["return_fields"] = {
            target: as_written(rule) for target, rule in answers.return_fields.items()
        }
    if answers.filter:
        tab["filter"] = answers.filter
    if answers.max_creates is not None:
        tab["limits"] = {"max_creates": answers.max_creates}
    if answers.welcome_mail:
        tab["welcome_mail"] = True
    return tab
