"""Setting a sync up: what there is to choose from on both sides, and the answers as a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stcli.domain.campaign import CampaignConfig, SyncTab, SyncType, Tab
from stcli.domain.mapping.rules import (
    Dynamic,
    Rule,
    RuleChanges,
    as_written,
)
from stcli.domain.mapping.validate import TabVerdict, check_return, check_sync
from stcli.domain.nearest import suggestion
from stcli.domain.records import CustomFieldType
from stcli.errors import ChangedMeanwhile, ConfigurationError, SetupRequired
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
FIELDS: Mapping[str, Tab] = {"fields": Tab.SYNC, "return_fields": Tab.RETURN}
"""Which mappings stand under which key of the tab."""


class SyncChanges:
    """What the answers change in the file as it was when the questions began. It is put into the
    file as it is at the end, so that what somebody else changed meanwhile stays."""

    def __init__(self, begun: CampaignConfig, answers: SyncAnswers) -> None:
        self._answers = answers
        self._had_tab = begun.sync is not None
        self._seen = _said(begun)
        wanted = _wanted(answers)
        self._changes = {
            path: value for path, value in wanted.items() if self._seen.get(path) != value
        }
        self._changes |= {
            path: None for path in self._seen if path[1] in FIELDS and path not in wanted
        }

    def plan(self, now: CampaignConfig) -> tuple[Mapping[Path, object], Mapping[Tab, RuleChanges]]:
        """The values and mappings to set in a file that says ``now``. ``ChangedMeanwhile`` where
        somebody else set the same to something else since it was last looked at."""
        if now.sync is None:
            if self._had_tab:
                raise ConfigurationError(
                    "the sync tab was taken out of the file by somebody else meanwhile, so "
                    "nothing was changed",
                    "Begin again: stcli sync setup",
                )
            return {("sync",): _new_tab(self._answers)}, {}
        said, seen = _said(now), self._seen
        self._seen = said
        clashes = [
            path
            for path, value in self._changes.items()
            if said.get(path) not in (seen.get(path), value)
        ]
        if clashes:
            raise ChangedMeanwhile(clashes)
        values: dict[Path, object] = {}
        rules: dict[Tab, dict[str, Rule | None]] = {Tab.SYNC: {}, Tab.RETURN: {}}
        for path, value in self._changes.items():
            if path[1] in FIELDS:
                rules[FIELDS[str(path[1])]][str(path[2])] = value
            elif said.get(path) != value:
                values[path] = value
        return values, rules

    def give_up(self, paths: Sequence[Path]) -> None:
        """Leave these as somebody else has set them."""
        for path in paths:
            del self._changes[path]


def _said(config: CampaignConfig) -> dict[Path, Any]:
    """What the file says of the sync, setting by setting; of a tab that is not there, the defaults."""
    sync = config.sync or SyncTab(type=SyncType.ONGOING)
    whole = sync.filter.model_dump(mode="json")
    return {
        ("sync", "type"): None if config.sync is None else sync.type.value,
        **{("sync", "fields", target): rule for target, rule in sync.fields.items()},
        **{("sync", "return_fields", target): rule for target, rule in sync.return_fields.items()},
        **{("sync", "filter", name): value for name, value in whole.items()},
        ("sync", "limits", "max_creates"): sync.limits.max_creates,
        ("sync", "welcome_mail"): sync.welcome_mail,
    }


def _wanted(answers: SyncAnswers) -> dict[Path, Any]:
    """What the answers would have the file say; what was not answered is left out."""
    single = {
        ("sync", "type"): None if answers.type is None else answers.type.value,
        ("sync", "limits", "max_creates"): answers.max_creates,
        ("sync", "welcome_mail"): answers.welcome_mail,
    }
    return {
        **{("sync", "fields", target): rule for target, rule in answers.fields.items()},
        **{("sync", "return_fields", t): rule for t, rule in answers.return_fields.items()},
        **{("sync", "filter", name): value for name, value in answers.filter.items()},
        **{path: value for path, value in single.items() if value is not None},
    }


def _new_tab(answers: SyncAnswers) -> dict[str, object]:
    tab: dict[str, object] = {
        "type": (answers.type or SyncType.ONGOING).value,
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
