"""The JSON Schema for editors: it takes what the reader takes, and refuses what the reader refuses."""

from __future__ import annotations

import copy
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from stcli.config.document import parse_document, read_document
from stcli.config.load import interpret
from stcli.config.schema import campaign_schema
from stcli.domain.campaign import Tab
from stcli.errors import ConfigurationError
from tests.mistakes import GOOD

CHECKER = jsonschema.Draft7Validator(campaign_schema())
SAMPLES = sorted((Path(__file__).parents[3] / "configs").glob("*.yaml"))
BASE: dict[str, Any] = parse_document(GOOD).value
BASE["referrers"] = {"action": "nothing", "include_sources": ["Added"]}
BASE["consent"] = {"suppressions": "ignore"}
BASE["qualification"] |= {
    "on_cancel": "unqualify",
    "conditions": {"job_type": ["Installation"], "minimum_total": 250, "exclude": ["recall"]},
    "limits": {"max_qualifies": 50},
}
BASE["sync"] |= {
    "filter": {"customer_type": "Residential", "tags": ["VIP"], "created_since": "2026-01-01"},
    "welcome_mail": False,
    "refresh": "12h",
}


def accepted(value: Any) -> bool:
    return bool(CHECKER.is_valid(value))


def _says(value: Any) -> str:
    """What the reader has against it, or nothing; what only lacks something is no complaint."""
    text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
    try:
        loaded = interpret(parse_document(text))
    except ConfigurationError as error:
        return str(error)
    faults = [
        fault.message
        for tab in loaded.verdicts
        for fault in loaded.faults(tab)
        if not (fault.is_warning or fault.is_incomplete)
    ]
    return "; ".join(faults)


def test_it_is_a_schema() -> None:
    """Valid by its own rules, with a name for editors to show."""
    schema = campaign_schema()
    jsonschema.Draft7Validator.check_schema(schema)
    assert schema["title"] == "stcli campaign file"


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_every_sample_is_accepted(path: Path) -> None:
    """As an editor would read it."""
    assert [error.message for error in CHECKER.iter_errors(read_document(path).value)] == []


def test_the_whole_file_is_accepted() -> None:
    """Every setting there is, each once."""
    assert [error.message for error in CHECKER.iter_errors(BASE)] == []
    assert _says(BASE) == ""


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


def _changed(path: tuple[Any, ...], new: Any) -> Any:
    value = copy.deepcopy(BASE)
    _at(value, path[:-1])[path[-1]] = new
    return value


def _keys(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all keys."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (*path, key)
            yield from _keys(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _keys(inner, (*path, index))


def _patterns(schema: Any) -> set[str]:
    """Every pattern in a schema."""
    if isinstance(schema, list):
        return set().union(*map(_patterns, schema))
    if not isinstance(schema, dict):
        return set()
    own = {schema["pattern"]} if isinstance(schema.get("pattern"), str) else set()
    return own.union(*map(_patterns, schema.values()))


KEYS = list(_keys(BASE))
LEAVES = [path for path in KEYS if not isinstance(_at(BASE, path), dict)]


@pytest.mark.parametrize(
    ("path", "new"),
    [
        (("servicetitan", "tenant_id"), "985798691"),
        (("leads", "limits", "max_creates"), "5"),
        (("sync", "welcome_mail"), "true"),
        (("leads", "fields", "is_first_time_client", "value"), "Yes"),
        (("leads", "fields", "phone"), {"type": "manual_input", "value": 5550100}),
        (("leads", "fields", "address.unit"), {"type": "manual_input", "value": True}),
        (("leads", "fields", "job_type"), {"type": "manual_select", "value": 77}),
        (("leads", "fields", "start"), {"type": "dynamic", "from": "meta.When", "default": "now"}),
        (("qualification", "conditions", "job_type"), [77, "Estimate"]),
        (("version",), "1"),
        (("servicetitan", "tenant_id"), "000000000000000001"),
        (("servicetitan", "tenant_id"), 10**18 - 1),
        (("qualification", "hold_days"), "3650"),
        (("qualification", "hold_days"), "0000"),
        (("qualification", "conditions", "minimum_total"), "99.50"),
        (("qualification", "conditions", "minimum_total"), 0.5),
        (("qualification", "conditions", "minimum_total"), ".5"),
        (("qualification", "conditions", "minimum_total"), 999999999),
        (("leads", "fields"), None),
        (("leads", "fields"), {}),
        (("sync", "return_fields"), None),
        (("leads", "fields", "external_id"), {"type": "template", "template": "rf-{ code }"}),
        (("leads", "fields", "external_id"), {"type": "template", "template": "{{{id}}}"}),
        (("leads", "fields", "summary"), {"type": "template", "template": "{{x}} {meta.a b}\n"}),
        (("leads", "fields", "summary"), {"type": "template", "template": "none"}),
        (("leads", "fields", "summary"), {"type": "template", "template": 12}),
        (("leads", "fields", "summary"), {"type": "dynamic", "from": "meta.\nb"}),
        (("leads", "fields", "phone"), {"type": "manual_input", "value": ""}),
        (("leads", "fields", "start"), {"type": "manual_input", "value": " "}),
        (("leads", "fields", "start"), {"type": "manual_input", "value": "2026-12-01 15:00"}),
        (("leads", "fields", "start"), {"type": "manual_input", "value": "2026-12-01"}),
        (
            ("leads", "fields", "start"),
            {"type": "manual_input", "value": "2026-12-01T15:00:00.5+02:00"},
        ),
        (("sync", "fields", "email"), {"type": "template", "template": "{custom_field:Mail}"}),
        (("sync", "return_fields", "custom_field:A"), {"type": "manual_select", "value": "y"}),
        (("sync", "return_fields", "custom_field:#77"), {"type": "dynamic", "from": "referral_code"}),
    ],
)  # fmt: skip
def test_other_ways_to_write_the_same_are_accepted(path: tuple[Any, ...], new: Any) -> None:
    """With quotes and without, names and numbers: as the reader takes them."""
    value = _changed(path, new)
    assert _says(value) == ""
    assert [error.message for error in CHECKER.iter_errors(value)] == []


def _misspelt_keys() -> Iterator[Any]:
    for path in KEYS:
        if not isinstance(path[-1], str):
            continue
        value = copy.deepcopy(BASE)
        parent = _at(value, path[:-1])
        parent[path[-1][:-1] + "~"] = parent.pop(path[-1])
        if path[-1].startswith(("meta.", "custom_field:")):
            continue
        yield pytest.param(value, id="key " + ".".join(map(str, path)))


def _wrong_values() -> Iterator[Any]:
    for path in LEAVES:
        yield pytest.param(_changed(path, {"a": 1}), id="mapping " + ".".join(map(str, path)))
        old = _at(BASE, path)
        if not isinstance(old, list):
            yield pytest.param(_changed(path, [old]), id="list " + ".".join(map(str, path)))
        is_free_text = path[-1] in ("value", "template", "referral_campaign", "default") or any(
            step in path for step in ("job_type", "tags", "include_sources")
        )
        if isinstance(old, str) and old.startswith("meta."):
            continue
        has_options = path[-2:] in (("priority", "value"), ("is_first_time_client", "value"))
        if isinstance(old, str) and (not is_free_text or has_options or path[0] == "qualification"):
            yield pytest.param(_changed(path, old + "~"), id="word " + ".".join(map(str, path)))
        if isinstance(old, int):
            yield pytest.param(_changed(path, "many"), id="number " + ".".join(map(str, path)))
            yield pytest.param(_changed(path, -1), id="negative " + ".".join(map(str, path)))


OTHERS = [
    (("leads", "fields", "external_id"), {"type": "manual_input", "value": "same"}),
    (("leads", "fields", "external_id"), {"type": "dynamic", "from": "email"}),
    (("leads", "fields", "external_id"), {"type": "template", "template": "rf-{email}"}),
    (("leads", "fields", "external_id", "transform"), ["lower"]),
    (("leads", "fields", "summary"), {"type": "manual_select", "value": "x"}),
    (("leads", "fields", "summary"), {"type": "manual_input"}),
    (("leads", "fields", "summary"), {"value": "x"}),
    (("leads", "fields", "summary"), {"type": "dynamic", "from": "meta."}),
    (("leads", "fields", "summary"), {"type": "dynamic", "from": "name"}),
    (("leads", "fields", "meta.Phone"), {"type": "dynamic", "from": "email"}),
    (("sync", "fields", "email"), {"type": "manual_input", "value": "a@example.com"}),
    (("sync", "fields", "first_name"), {"type": "dynamic", "from": "first_name"}),
    (("sync", "return_fields", "Referral Link"), {"type": "dynamic", "from": "referral_link"}),
    (("sync", "refresh"), "soon"),
    (("qualification", "value"), None),
    (("qualification", "hold_days"), 4000),
    (("qualification", "hold_days"), 1.5),
    (("servicetitan",), {}),
    (("servicetitan", "tenant_id"), 0),
    (("servicetitan", "tenant_id"), "0"),
    (("servicetitan", "tenant_id"), "0000000000000000001"),
    (("servicetitan", "tenant_id"), 10**18),
    (("servicetitan", "booking_provider"), str(10**18)),
    (("version",), "01"),
    (("version",), "2"),
    (("leads", "limits", "max_creates"), 10**18),
    (("leads", "since"), 20261123),
    (("leads", "since"), "20261123"),
    (("leads", "since"), "2026-W48-1"),
    (("leads", "since"), "2026-13-01"),
    (("qualification", "hold_days"), "3651"),
    (("qualification", "hold_days"), "10000"),
    *(
        (("qualification", "conditions", "minimum_total"), new)
        for new in (
            "e",
            "1.2.3",
            "1e400",
            "1e2",
            "1_0",
            " 5 ",
            "",
            ".",
            "-0",
            "+5",
            10**9,
            float("inf"),
        )
    ),
    (("leads", "fields"), []),
    (("leads", "fields"), ""),
    (("leads", "fields", "external_id"), {"type": "template", "template": "{{code}}"}),
    (("leads", "fields", "external_id"), {"type": "template", "template": "{code}{nobody}"}),
    (("leads", "fields", "external_id"), {"type": "template", "template": 12}),
    *(
        (("leads", "fields", "summary"), {"type": "template", "template": new})
        for new in ("", "{nobody}", "{", "}", "{}", "{ }", "{meta. }", "{email", "{email}}", "}}}")
    ),
    *(
        (("leads", "fields", name), {"type": data_type, "value": new})
        for name, data_type in (
            ("name", "manual_input"),
            ("address.city", "manual_input"),
            ("business_unit", "manual_select"),
            ("job_type", "manual_select"),
        )
        for new in ("", " ")
    ),
    *(
        (("leads", "fields", "start"), {"type": "manual_input", "value": new})
        for new in ("tomorrow", "20261201T1500", "2026-12-01T25:00", "2026-W49-2", "15:00", 2026)
    ),
    (("sync", "fields", "email"), {"type": "template", "template": "a@example.com"}),
    (("sync", "fields", "meta.X"), {"type": "manual_select", "value": "y"}),
    (("sync", "fields", "first_name"), {"type": "manual_input", "value": ""}),
]
MUTANTS = [
    *_misspelt_keys(),
    *_wrong_values(),
    *(pytest.param(_changed(path, new), id=f"{'.'.join(path)} {new}") for path, new in OTHERS),
]


@pytest.mark.parametrize("value", MUTANTS)
def test_a_mutant_is_refused_by_both(value: Any) -> None:
    """What the reader refuses an editor marks."""
    assert _says(value), "the reader takes it"
    assert not accepted(value)


@pytest.mark.parametrize("spelling", ["1.0", "+1", "0x1", "0o1", "1e0", "-0"])
def test_how_a_number_is_spelt_only_the_reader_sees(spelling: str) -> None:
    """To YAML it is a number like others; the reader wants digits."""
    text = GOOD.replace("hold_days: 7", f"hold_days: {spelling}")
    with pytest.raises(ConfigurationError) as caught:
        interpret(parse_document(text))
    assert "digits only" in caught.value.problems[0].message
    value = parse_document(text).value["qualification"]["hold_days"]
    assert accepted(_changed(("qualification", "hold_days"), value))


def test_mappings_that_were_all_deleted_are_none_yet() -> None:
    """``fields:`` with nothing below it reads like no ``fields:`` at all."""
    loaded = interpret(parse_document(yaml.safe_dump(_changed(("leads", "fields"), None))))
    assert loaded.config.leads.fields == {}
    assert "email" in loaded.verdicts[Tab.LEADS].missing


@pytest.mark.parametrize("pattern", sorted(_patterns(campaign_schema())))
def test_patterns_end_soon(pattern: str) -> None:
    """On the longest text that nearly fits, so that no editor hangs."""
    expression = re.compile(pattern)
    for part in ("{code} ", "{{", "x", "0", "{meta.x}{", "9.9"):
        started = time.process_time()
        expression.search(part * 500 + "{")
        assert time.process_time() - started < 5


def test_there_are_many_mutants() -> None:
    """The generators above made some."""
    assert len(MUTANTS) > 150


@pytest.mark.parametrize("key", ["version", "referral_campaign", "servicetitan"])
def test_what_every_file_needs_is_required(key: str) -> None:
    """By both."""
    value = copy.deepcopy(BASE)
    del value[key]
    assert _says(value)
    assert not accepted(value)
