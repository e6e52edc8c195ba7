"""From a file to settings, in stages: read, compose, convert to types, check against the catalogue.

Every stage reports all it can at once, each problem with file, line, column, the key's path, what was
found, what is allowed and the nearest known name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from stcli.config.document import (
    Document,
    DocumentPath,
    MappingNode,
    Node,
    ScalarNode,
    read_document,
)
from stcli.domain.campaign import (
    FILE_VERSION,
    AccountSettings,
    CampaignConfig,
    Tab,
)
from stcli.domain.mapping.rules import DATA_TYPES
from stcli.domain.mapping.validate import Fault, TabVerdict, check_tab
from stcli.domain.nearest import nearest, suggestion
from stcli.errors import ConfigurationError, Problem, StcliError, UsageError

Model = TypeVar("Model", bound=BaseModel)

TAGS = frozenset(DATA_TYPES)
MOST_PROBLEMS = 100
"""So many are told at once; who has more mends these first."""

FIELDS_OF: dict[Tab, tuple[str, ...]] = {
    Tab.LEADS: ("leads", "fields"),
    Tab.REFERRERS: ("referrers", "fields"),
    Tab.SYNC: ("sync", "fields"),
    Tab.RETURN: ("sync", "return_fields"),
}
"""Where in the file the mappings of a tab stand."""


@dataclass(frozen=True, slots=True)
class LoadedCampaign:
    """A campaign's settings, with what the catalogue says of each tab in use and where."""

    config: CampaignConfig
    document: Document
    verdicts: dict[Tab, TabVerdict]

    @property
    def file_hash(self) -> str:
        """Tells this file from any other one."""
        return self.document.file_hash

    def problems(self, tab: Tab) -> list[Problem]:
        """Faults of a tab's mapping with their place, warnings left out; of very many the first."""
        faults = [f for f in self.faults(tab) if not f.is_warning]
        return [self.place(tab, fault) for fault in faults[:MOST_PROBLEMS]]

    def warnings(self, tab: Tab) -> list[Problem]:
        return [self.place(tab, f) for f in self.faults(tab) if f.is_warning]

    def faults(self, tab: Tab) -> Sequence[Fault]:
        verdict = self.verdicts.get(tab)
        return () if verdict is None else verdict.faults

    def place(self, tab: Tab, fault: Fault) -> Problem:
        """A fault of a tab's mapping with its place in the file."""
        path: DocumentPath = (*FIELDS_OF[tab], *fault.path)
        hint = suggestion(fault.found, fault.allowed) if fault.found else ""
        if fault.allowed and not hint:
            hint = "allowed: " + ", ".join(fault.allowed)
        return self.document.problem(path, fault.message, hint)


def load_campaign(path: Path, name: str) -> LoadedCampaign:
    """The settings in a campaign file, or ``ConfigurationError`` with every problem of its shape.

    What only the catalogue can tell (a missing required field, an unknown one) is in the verdicts.
    """
    try:
        document = read_document(path)
    except FileNotFoundError:
        raise no_campaign(path, name) from None
    return interpret(document)


def no_campaign(path: Path, name: str) -> StcliError:
    """What is said where a campaign has no file, or only a link to none."""
    if path.is_symlink():
        told = Problem(str(path), 0, 0, "", "is a link to a file that is not there")
        return ConfigurationError(str(told), "Mend the link, or remove it.", [told])
    return UsageError(
        f"there is no campaign {name!r}: {path} does not exist",
        f"Begin it with: stcli connect {name} --tenant-id ID",
    )


def interpret(document: Document) -> LoadedCampaign:
    """What a campaign file that was read says; ``ConfigurationError`` as in ``load_campaign``."""
    config = convert(document, CampaignConfig, what="campaign file")
    return LoadedCampaign(config, document, check(config))


def interpret_changed(document: Document) -> LoadedCampaign:
    """What a file would say once it is changed. What is wrong with that is told without places: there
    is no file that has them."""
    try:
        return interpret(document)
    except ConfigurationError as error:
        raise not_written(error.problems) from None


def not_written(problems: Sequence[Problem]) -> ConfigurationError:
    """Why a change is refused."""
    first, *others = (replace(problem, line=0, column=0) for problem in problems)
    key = f"{first.path}: " if first.path else ""
    return ConfigurationError(f"{key}{first.message}, so nothing was changed", first.hint, others)


def check(config: CampaignConfig) -> dict[Tab, TabVerdict]:
    """The catalogue's verdict on every tab that the file has."""
    tabs = Tab if config.sync is not None else (Tab.LEADS, Tab.REFERRERS)
    return {tab: check_tab(tab.value, config.rules_of(tab)) for tab in tabs}


def load_settings(path: Path) -> AccountSettings:
    """``settings.yaml``; a missing or empty file means the defaults."""
    if not path.exists():
        # Made without validation, which would have to be built for it.
        return AccountSettings.model_construct()
    return interpret_settings(read_document(path))


def interpret_settings(document: Document) -> AccountSettings:
    """What a ``settings.yaml`` that was read says."""
    if document.root is None:
        return AccountSettings()
    return convert(document, AccountSettings, what="settings file")


def convert(document: Document, model: type[Model], what: str) -> Model:
    """The document as ``model``, or all that is wrong with it."""
    if not isinstance(document.root, MappingNode):
        raise ConfigurationError(
            f"the {what} {document.file} is not a list of keys and values",
            "It starts with a line such as: version: 1",
            [document.problem((), "expected keys with values")],
        )
    check_version(document, what)
    try:
        return model.model_validate(_written(document.root))
    except ValidationError as error:
        found = error.errors()
        details = _without_echoes(model, found[:MOST_PROBLEMS])
        problems = [_problem(document, model, one) for one in details]
        more = max(len(found) - MOST_PROBLEMS, 0)
        raise ConfigurationError(
            f"the {what} {document.file} has {len(problems) + more} "
            f"problem{'s' if len(problems) > 1 else ''}"
            + (f", of which {len(problems)} are listed" if more else ""),
            "Mend the places named; nothing was changed.",
            sorted(set(problems), key=lambda problem: (problem.line, problem.column)),
        ) from None


def check_version(document: Document, what: str, known: int = FILE_VERSION) -> None:
    """``ConfigurationError`` for a file of another version than the one that is known."""
    version = document.raw(("version",))
    if version is None or not version.isdigit():
        return
    if int(version[:9]) > known:
        raise ConfigurationError(
            f"the {what} {document.file} has version {version}, and this stcli reads {known}",
            f"Install an stcli that reads version {version}.",
            [
                document.problem(
                    ("version",),
                    f"version {version} is newer than {known}",
                    f"Install an stcli that reads version {version}.",
                )
            ],
        )


def _written(node: Node) -> Any:
    """The tree with every scalar as the person wrote it; a field's type decides what it means."""
    if isinstance(node, ScalarNode):
        return None if node.value is None else node.text
    if isinstance(node, MappingNode):
        return {key.text: _written(value) for key, value in node.entries}
    return [_written(item) for item in node.items]


def _without_echoes(model: type[BaseModel], found: list[ErrorDetails]) -> list[ErrorDetails]:
    """A misspelt key is one mistake: that the right one is missing then need not be said too."""
    meant = {
        (*one["loc"][:-1], nearest(str(one["loc"][-1]), _known_keys(model, one["loc"][:-1])))
        for one in found
        if one["type"] == "extra_forbidden"
    }
    return [one for one in found if one["type"] != "missing" or one["loc"] not in meant]


def _problem(document: Document, model: type[BaseModel], details: ErrorDetails) -> Problem:
    path = _path_in(document, details["loc"])
    context = details.get("ctx", {})
    match details["type"]:
        case "extra_forbidden":
            known = _known_keys(model, details["loc"][:-1])
            name = str(path[-1])
            hint = suggestion(name, known) or "known here: " + ", ".join(known)
            return document.key_problem(path, f"there is no setting {name!r} here", hint)
        case "missing":
            name = str(path[-1])
            return document.key_problem(path[:-1], f"{name} is missing", f"add: {name}: …")
        case "union_tag_not_found":
            return document.key_problem(
                path, "the data type is missing", "add: type: " + " | ".join(DATA_TYPES)
            )
        case "union_tag_invalid":
            tag = str(context.get("tag", ""))
            hint = suggestion(tag, DATA_TYPES) or "one of " + ", ".join(DATA_TYPES)
            return document.problem((*path, "type"), f"{tag!r} is no data type", hint)
        case "literal_error" | "enum":
            found = str(details["input"])
            allowed = [part.strip(" '") for part in _expected(context)]
            hint = suggestion(found, allowed) or "one of " + ", ".join(allowed)
            return document.problem(path, f"{found!r} is not possible here", hint)
        case "value_error":
            return document.problem(path, str(context["error"]))
        case "model_type" | "dict_type" | "model_attributes_type":
            return document.problem(path, "keys with values are expected here")
        case "tuple_type" | "list_type":
            found = details["input"] if isinstance(details["input"], str) else "one, two"
            return document.problem(path, "a list is expected here", f"write [{found}]")
        case "string_type":
            empty = details["input"] is None
            return document.problem(
                path,
                "the value is missing" if empty else "a text is expected here",
                "write it behind the colon" if empty else "write one text, without brackets",
            )
        case _:
            return document.problem(path, details["msg"][:1].lower() + details["msg"][1:])


def _expected(context: dict[str, Any]) -> list[str]:
    text = str(context.get("expected", ""))
    return text.replace(" or ", ", ").split(", ")


def _path_in(document: Document, location: Sequence[str | int]) -> DocumentPath:
    """The location without the tags of data types, which are in pydantic's path but in no file."""
    path: list[str | int] = []
    for step in location:
        if step in TAGS and isinstance(document.node((*path, "type")), ScalarNode):
            continue
        path.append(step)
    return tuple(path)


def _known_keys(model: type[BaseModel], location: Sequence[str | int]) -> list[str]:
    """The keys that a model takes at a location."""
    from typing import get_args

    current: Any = model
    for step in location:
        candidates = [current, *get_args(current), *_deep_arguments(current)]
        found = next(
            (
                c
                for c in candidates
                if isinstance(c, type)
                and issubclass(c, BaseModel)
                and _field_type(c, step) is not None
            ),
            None,
        )
        if found is not None:
            current = _field_type(found, step)
            continue
        tagged = [
            c
            for c in candidates
            if isinstance(c, type)
            and issubclass(c, BaseModel)
            and "type" in c.model_fields
            and step in get_args(c.model_fields["type"].annotation)
        ]
        if tagged:
            current = tagged[0]
    models = [
        c
        for c in [current, *_deep_arguments(current)]
        if isinstance(c, type) and issubclass(c, BaseModel)
    ]
    return [field.alias or name for c in models[:1] for name, field in c.model_fields.items()]


def _field_type(model: type[BaseModel], step: str | int) -> Any:
    for name, field in model.model_fields.items():
        if step in (name, field.alias):
            return field.annotation
    return None


def _deep_arguments(annotation: Any) -> list[Any]:
    from typing import get_args

    found: list[Any] = []
    for argument in get_args(annotation):
        found.append(argument)
        found.extend(_deep_arguments(argument))
    return found
