"""The JSON Schema of a campaign file, for editors: out of the types and the catalogue.

It says what the reader says, as far as a schema can: an editor completes keys, fields and options, and
marks what would be refused. Text may be written without quotes where YAML reads it as a number or a
truth value, and numbers with quotes, as in the reader. Draft 7, because editors know it best.

What a schema cannot see, and only the reader refuses: how a number without quotes is spelt (``1.0``,
``+1``, ``0x10``, ``1e2``; to YAML they are numbers like others), ``.nan``, a day that its month does not
have, and what several mappings lack together.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from stcli.domain.campaign import CampaignConfig, Method, Tab
from stcli.domain.catalog import (
    SYNC,
    UNIQUE_SOURCES,
    Catalogue,
    Source,
    Target,
    TargetType,
    catalogue_of,
    open_prefix,
)
from stcli.domain.mapping.instants import FIXED_INSTANT
from stcli.domain.mapping.transforms import KEEPS_DIFFERENT_APART, TRANSFORMS
from stcli.domain.settings_types import AMOUNT, DAY, MOST_DIGITS

Schema = dict[str, Any]

DRAFT = "http://json-schema.org/draft-07/schema#"
_TEXT = ["string", "number", "boolean"]
TEXT: Schema = {"type": _TEXT}
FILLED: Schema = {"type": _TEXT, "pattern": r"\S"}


def campaign_schema() -> Schema:
    """The schema of ``campaigns/NAME.yaml``."""
    made = CampaignConfig.model_json_schema(by_alias=True, ref_template="#/definitions/{model}")
    definitions = {
        name: _as_written(one)
        for name, one in made.pop("$defs").items()
        if "type" not in one.get("properties", {}) or name == "SyncTab"
    }
    schema = _as_written(made)
    for tab, name, key in (
        (Tab.LEADS, "BookingTab", "fields"),
        (Tab.REFERRERS, "ReferrersTab", "fields"),
        (Tab.SYNC, "SyncTab", "fields"),
        (Tab.RETURN, "SyncTab", "return_fields"),
    ):
        catalogue = catalogue_of(tab.value)
        definitions[_sources_of(catalogue)] = _names(catalogue.sources)
        definitions[_template_of(catalogue)] = _template(catalogue)
        definitions[name]["properties"][key] = _mappings(catalogue)
    definitions["Qualification"]["if"] = {
        "properties": {"method": {"const": Method.REACHES.value}},
        "required": ["method"],
    }
    definitions["Qualification"]["then"] = {
        "properties": {"value": {"type": "string"}},
        "required": ["value"],
    }
    return {
        "$schema": DRAFT,
        **schema,
        "title": "stcli campaign file",
        "definitions": definitions,
    }


def schema_text() -> str:
    """The schema as a file has it."""
    return json.dumps(campaign_schema(), ensure_ascii=False) + "\n"


def _as_written(node: Any) -> Any:
    """A type's schema, widened to all the ways in which a file may write its values."""
    if isinstance(node, list):
        return [_as_written(item) for item in node]
    if not isinstance(node, dict):
        return node
    kind = node.get("type")
    if kind == "integer" and "const" not in node:
        pattern = _whole_numbers(node["minimum"], node["maximum"])
        return {"anyOf": [node, {"type": "string", "pattern": pattern}]}
    if "const" in node and isinstance(node["const"], int):
        return {"enum": [node["const"], str(node["const"])]}
    if kind == "boolean":
        words = [form for word in ("true", "false") for form in (word, word.title(), word.upper())]
        return {"anyOf": [node, {"enum": words}]}
    if node.get("format") == "date":
        return {**node, "pattern": f"^{DAY}$"}
    if kind == "string" and not {"enum", "const", "pattern", "format"} & node.keys():
        return {**node, "type": _TEXT}
    if kind == "number":
        return {"anyOf": [node, {"type": "string", "pattern": AMOUNT}]}
    return {
        # A key of the file may be called like a keyword of the schema.
        name: (
            {key: _as_written(one) for key, one in value.items()}
            if name == "properties"
            else _as_written(value)
        )
        for name, value in node.items()
    }


def _mappings(catalogue: Catalogue) -> Schema:
    """The mappings of a tab: every target by name, with what it may be mapped to."""
    exact = [t for t in catalogue.targets if not open_prefix(t.name)]
    patterns = [t for t in catalogue.targets if open_prefix(t.name)]
    return {
        "type": ["object", "null"],
        "properties": {t.name: _rule(catalogue, t) for t in exact},
        "patternProperties": {_pattern(t.name): _rule(catalogue, t) for t in patterns},
        "additionalProperties": False,
    }


def _rule(catalogue: Catalogue, target: Target) -> Schema:
    """What one target may be mapped to; ``external_id`` has to differ for every person."""
    is_key = target.name == "external_id"
    named = (
        {"enum": sorted(UNIQUE_SOURCES)}
        if is_key
        else {"$ref": f"#/definitions/{_sources_of(catalogue)}"}
    )
    transforms = list(KEEPS_DIFFERENT_APART if is_key else TRANSFORMS)
    steps: Schema = {"type": "array", "items": {"enum": sorted(transforms)}}
    # One email address for every referrer would be one referrer.
    is_own = is_key or (catalogue is SYNC and target.name == "email")
    template: Schema = {"$ref": f"#/definitions/{_template_of(catalogue)}"}
    if is_own:
        template = _telling_apart(catalogue, is_key=is_key)
    forms = [
        _form("dynamic", {"from": named, "default": TEXT, "transform": steps}, ["from"]),
        _form("template", {"template": template, "transform": steps}, ["template"]),
    ]
    if not is_own:
        options: Schema = {"enum": list(target.options)} if target.options else {}
        forms.append(_form("manual_input", {"value": options or _fixed(target)}, ["value"]))
        if target.type is TargetType.NAME_OR_ID:
            options = FILLED
        elif target.name.startswith("custom_field:"):
            options = TEXT
        if options:
            forms.append(_form("manual_select", {"value": options}, ["value"]))
    example = f", such as {target.example}" if target.example else ""
    return {"description": f"{target.label} ({target.type.value}{example})", "oneOf": forms}


def _fixed(target: Target) -> Schema:
    """The same text for everyone: never blank where that would leave every record without it."""
    if target.type is TargetType.INSTANT:
        return {"type": "string", "anyOf": [{"pattern": FIXED_INSTANT}, {"pattern": r"^\s*$"}]}
    return FILLED if target.required or target.name.startswith("address.") else TEXT


def _template(catalogue: Catalogue) -> Schema:
    """Text with fields that exist."""
    return {"type": _TEXT, "minLength": 1, "pattern": f"^{_parts(catalogue)}$"}


def _telling_apart(catalogue: Catalogue, *, is_key: bool) -> Schema:
    """The same with a field in it that differs for every record."""
    part, field = _parts(catalogue), _field(catalogue)
    if is_key:
        field = rf"\{{\s*({'|'.join(sorted(UNIQUE_SOURCES))})\s*\}}"
    return {"type": "string", "pattern": f"^{part}{field}{part}$"}


def _parts(catalogue: Catalogue) -> str:
    return rf"([^{{}}]|\{{\{{|\}}\}}|{_field(catalogue)})*"


def _field(catalogue: Catalogue) -> str:
    names = "|".join(_in_template(source.name) for source in catalogue.sources)
    return rf"\{{\s*({names})\s*\}}"


def _in_template(name: str) -> str:
    prefix = open_prefix(name)
    return rf"{re.escape(prefix)}[^{{}}]*[^{{}}\s]" if prefix else re.escape(name)


def _whole_numbers(lowest: int, highest: int) -> str:
    """A pattern of the numbers from 0 or 1 to ``highest``, with zeros before them or without."""
    digits = str(highest)
    # Of 3650: 0 to 2 and three more, 3 and 0 to 5 and two more, 36 and 0 to 4 and one more, 3650.
    same_length = [
        f"{digits[:place]}[0-{int(digit) - 1}][0-9]{{{len(digits) - place - 1}}}"
        for place, digit in enumerate(digits)
        if digit != "0"
    ]
    numbers = "|".join([f"[0-9]{{0,{len(digits) - 1}}}", *same_length, digits])
    if not digits.strip("9"):
        numbers = f"[0-9]{{1,{len(digits)}}}"
    some = rf"(?=.{{1,{MOST_DIGITS}}}$){'(?=.*[1-9])' if lowest else ''}"
    return f"^{some}0*({numbers})$"


def _sources_of(catalogue: Catalogue) -> str:
    """The name of the definition of a catalogue's sources."""
    return "sources_of_" + re.sub(r"\W+", "_", catalogue.origin.lower())


def _template_of(catalogue: Catalogue) -> str:
    return _sources_of(catalogue).replace("sources", "template")


def _form(data_type: str, properties: Mapping[str, Schema], required: Sequence[str]) -> Schema:
    return {
        "type": "object",
        "properties": {"type": {"const": data_type}, **properties},
        "required": ["type", *required],
        "additionalProperties": False,
    }


def _names(sources: Sequence[Source]) -> Schema:
    exact = [source.name for source in sources if not open_prefix(source.name)]
    patterns = [_pattern(source.name) for source in sources if open_prefix(source.name)]
    return {"anyOf": [{"enum": exact}, *({"type": "string", "pattern": one} for one in patterns)]}


def _pattern(name: str) -> str:
    return rf"^{re.escape(open_prefix(name))}[\s\S]*\S"
