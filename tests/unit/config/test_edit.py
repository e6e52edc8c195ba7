"""Editing YAML: one value changes, every other byte stays, and nothing wrong is ever written."""

import io
import math
import os
import random
import re
import stat
import sys
import threading
from datetime import date
from unittest.mock import patch

import pytest
import ruamel.yaml
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stcli.config import document as document_module
from stcli.config import edit as module
from stcli.config.document import MappingNode, ScalarNode, SequenceNode, parse_document
from stcli.config.edit import edit_file, remove_value, rename_key, set_value
from stcli.errors import ConfigurationError, Locked

EXAMPLES = int(os.environ.get("STCLI_TEST_EXAMPLES", "60"))
LOADERS = [yaml.SafeLoader, *([yaml.CSafeLoader] if hasattr(yaml, "CSafeLoader") else [])]
QUICK = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)

SAMPLE = """\
version: 1
referral_campaign: spring-hvac        # code or id
leads:
  action: create_booking              # nothing | create_booking
  since: 2026-11-23                   # joined earlier: left alone
  fields:
    # who sent them
    source:               {type: dynamic, from: campaign.name}
    summary:              {type: template, template: "Referred by {referrer.first_name}"}
referrers:
  action: nothing
# the end
"""


def read(text):
    return parse_document(text).value


def lines_of(text):
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


# --- setting -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "path", "value", "after"),
    [
        ("a: 1\n", ("a",), 2, "a: 2\n"),
        ("a:   1   # c\n", ("a",), 2, "a:   2   # c\n"),
        ("a: 'x' # c\n", ("a",), "z", "a: z # c\n"),
        ("a: !!str 5 # c\n", ("a",), "6", 'a: "6" # c\n'),
        ("a:\n", ("a",), 2, "a: 2\n"),
        ("a: # c\n", ("a",), 2, "a: 2 # c\n"),
        ("a: ~ # c\n", ("a",), 2, "a: 2 # c\n"),
        ("a: long\n  text\nb: 1\n", ("a",), "x", "a: x\nb: 1\n"),
        ("a:\n  on its own # c\n", ("a",), "x", "a:\n  x # c\n"),
        ("a: | # c\n  x\n\nb: 1\n", ("a",), "x", "a: x # c\n\nb: 1\n"),
        ("a: {x: 1, y: 2} # c\n", ("a", "x"), 5, "a: {x: 5, y: 2} # c\n"),
        ("a: {x: 1, y: 2}  # c\n", ("a",), {"z": 3}, "a:  # c\n  z: 3\n"),
        ("a: {x}\n", ("a", "x"), 5, "a: {x: 5}\n"),
        ("a: {x: , y: 1}\n", ("a", "x"), 5, "a: {x: 5 , y: 1}\n"),
        ("a: [1, 2] # c\n", ("a", 1), 5, "a: [1, 5] # c\n"),
        ("a: [1, 2] # c\n", ("a", 2), 5, "a: [1, 2, 5] # c\n"),
        ("a: []\n", ("a", 0), 5, "a: [5]\n"),
        ("a:\n- 1 # c\nb: 1\n", ("a", 1), "x", "a:\n- 1 # c\n- x\nb: 1\n"),
        ("a:\n  - 1\n  -\n", ("a", 1), "x", "a:\n  - 1\n  - x\n"),
        ("a:\n  - b: 1 # c\n", ("a", 0, "b"), 2, "a:\n  - b: 2 # c\n"),
        ("a:\n  - b: 1 # c\n", ("a", 0, "d"), 2, "a:\n  - b: 1 # c\n    d: 2\n"),
        ("a:\n  b: 1 # c\n  # d\ne: 1\n", ("a",), 5, "a: 5\n  # d\ne: 1\n"),
        ("a: # c\n  # d\n  b: 1\ne: 1\n", ("a",), [1], "a: [1] # c\n  # d\ne: 1\n"),
        ("a:\n  b: 1\n", ("a",), {"c": {"d": 1}}, "a:\n  c: {d: 1}\n"),
        ("a:\n- 1 # c\n# d\n- 2 # e\n", ("a",), [1, 3], "a:\n- 1 # c\n# d\n- 3 # e\n"),
        ("a:\n- 1 # c\n# d\n- 2 # e\n", ("a",), [1, 3, 2], "a:\n- 1 # c\n- 3\n# d\n- 2 # e\n"),
        ("a:\n- 1 # c\n# d\n- 2 # e\n", ("a",), [3, 1, 2], "a:\n- 3\n- 1 # c\n# d\n- 2 # e\n"),
        ("a:\n- 1 # c\n# d\n- 2 # e\n", ("a",), (2,), "a:\n# d\n- 2 # e\n"),
        ("a:\n  - [1] # c\n", ("a",), [[2], [3]], "a:\n  - [2] # c\n  - [3]\n"),
        ("a: [1, # c\n  2] # d\n", ("a",), [1, 3, 4], "a: [1, # c\n  3, 4] # d\n"),
        ("a: [1, # c\n  2] # d\n", ("a",), [0, 1, 2], "a: [0, 1, # c\n  2] # d\n"),
        ("a:\n- 1 # c\n", ("a",), [], "a: []\n"),
        ("a:\n- - 1 # c\n  - 2\n", ("a", 0), [3, 1, 2], "a:\n- - 3\n  - 1 # c\n  - 2\n"),
    ],
)
def test_an_existing_value_is_replaced_in_place(before, path, value, after):
    """Only the value's own characters change; comments and spacing around it stay."""
    assert set_value(before, path, value) == after


@pytest.mark.parametrize(
    ("before", "path", "value", "after"),
    [
        ("", ("a",), 1, "a: 1\n"),
        ("# only\n", ("a", "b"), 1, "# only\na:\n  b: 1\n"),
        ("# only", ("a",), 1, "# only\na: 1\n"),
        ("---\n", ("a",), 1, "---\na: 1\n"),
        ("{}\n", ("a",), 1, "a: 1\n"),
        ("a: 1", ("b",), 2, "a: 1\nb: 2\n"),
        ("a: 1 # last", ("b",), 2, "a: 1 # last\nb: 2\n"),
        ("a: 1\n# end\n", ("b",), 2, "a: 1\nb: 2\n# end\n"),
        ("a: 1\n...\n", ("b",), 2, "a: 1\nb: 2\n...\n"),
        ("a: 1\r\n", ("b", "c"), 2, "a: 1\r\nb:\r\n  c: 2\r\n"),
        ("\ufeffa: 1\r", ("b",), 2, "\ufeffa: 1\rb: 2\r"),
        ("a:\n    b: 1\nc: 1\n", ("a", "d"), 2, "a:\n    b: 1\n    d: 2\nc: 1\n"),
        (
            "a:\n    b: 1\n",
            ("c", "d", "e", "f"),
            2,
            "a:\n    b: 1\nc:\n    d:\n        e: {f: 2}\n",
        ),
        ("a: {b: 1} # c\n", ("a", "d"), 2, "a: {b: 1, d: 2} # c\n"),
        ("a: {b: 1,}\n", ("a", "d"), 2, "a: {b: 1, d: 2,}\n"),
        ("a: {b}\n", ("a", "d"), 2, "a: {b, d: 2}\n"),
        ("a: {b: }\n", ("a", "d"), 2, "a: {b: , d: 2}\n"),
        ("a: {b: 1}\n", ("a", "d", "e", "f"), 2, "a: {b: 1, d: {e: {f: 2}}}\n"),
        ("a: {} # c\n", ("a", "b"), 1, "a: # c\n  b: 1\n"),
        ("a:\n  b: {} # c\n", ("a", "b", "x"), {"z": 1}, "a:\n  b: # c\n    x: {z: 1}\n"),
        ("a:\n  b: # c\nd: 1\n", ("a", "b", "x"), 1, "a:\n  b: {x: 1} # c\nd: 1\n"),
        ("a: |+\n  x\n\n", ("b",), 1, "a: |+\n  x\n\nb: 1\n"),
        ("a: |\n  x\n\n\nb: 1\n", ("c",), 1, "a: |\n  x\n\n\nb: 1\nc: 1\n"),
        ("{a: 1}\n", ("b",), {"c": 1}, "{a: 1, b: {c: 1}}\n"),
    ],
)
def test_a_missing_key_is_created_at_the_end_of_its_parent(before, path, value, after):
    """With missing parents, in the parent's style, indentation and line endings."""
    assert set_value(before, path, value) == after


def test_a_typical_edit_changes_one_line():
    """The product's own example: the rest of the file stays byte for byte."""
    after = set_value(SAMPLE, ("leads", "fields", "email"), {"type": "dynamic", "from": "email"})
    new = "    email: {type: dynamic, from: email}\n"
    assert after == SAMPLE.replace("referrers:\n", f"{new}referrers:\n")
    after = set_value(SAMPLE, ("leads", "since"), date(2027, 1, 2))
    assert after == SAMPLE.replace("2026-11-23", "2027-01-02")
    after = set_value(SAMPLE, ("referrers", "limits", "max_creates"), 200)
    assert after == SAMPLE.replace(
        "  action: nothing\n", "  action: nothing\n  limits: {max_creates: 200}\n"
    )


def test_a_value_that_is_there_changes_nothing():
    """Setting what the file says already leaves even its quotes alone."""
    assert set_value("a: 'x'  # c\n", ("a",), "x") == "a: 'x'  # c\n"
    assert set_value("a: 1\n", ("a",), "1") == 'a: "1"\n'
    assert set_value("a: 1\n", ("a",), 1.0) == "a: 1.0\n"
    assert set_value("a: 1\n", ("a",), True) == "a: true\n"


AMBIGUOUS = (
    "0123 8:30 1:02:03 NO no yes on off y Y n true False null ~ 12 -1 1.5 .5 1e3 0x10 0o7 0b1 1_000 "
    ".inf .nan 2026-11-23 << = - ? : @x `x %x &x *x !x |x >x 'x \"x #x [x {x ]x }x ,x x: ... ---"
).split()
SPACED = [
    "",
    " ",
    " x",
    "x ",
    "a: b",
    "a #b",
    "a\nb",
    "a\tb",
    "\0",
    "\x85",
    "\u2028",
    "\xa0",
    "- x",
]
CLEAR = (
    "Completed spring-hvac cid.8f3k Zoë 山田 😀 custom_field a-b_c.d/e referrer.first_name C:\\x a&b "
    "x@example.com it's Yes!"
).split()


@pytest.mark.parametrize("text", [*AMBIGUOUS, *SPACED])
def test_ambiguous_text_is_quoted(text):
    """Whatever another reader might take for something else is written in quotes, and reads back."""
    for path in (("a",), ("b", "c")):
        after = set_value("b: {d: 1}\n", path, text)
        assert '"' in after
        assert read(after)[path[0]] == (text if path == ("a",) else {"d": 1, "c": text})
    assert read(set_value("b: {d: 1}\n", ("b", text), 1))["b"] == {"d": 1, text: 1}
    assert read(set_value("b: 1\n", (text,), 1)) == {"b": 1, text: 1}


@pytest.mark.parametrize("text", [*CLEAR, "two words", "5th Avenue", "12 Main"])
def test_clear_text_is_not_quoted(text):
    """Quotes stand only where they are needed."""
    assert set_value("b: 1\n", ("a",), text) == f"b: 1\na: {text}\n"


def test_text_that_is_clear_only_outside_brackets():
    """Commas, braces and colons need quotes in flow style only."""
    for text in ("a, b", "https://x.example", "Hi {x}"):
        assert set_value("b: {c: 1}\n", ("a",), text) == f"b: {{c: 1}}\na: {text}\n"
        assert set_value("b: {c: 1}\n", ("b", "d"), text) == f'b: {{c: 1, d: "{text}"}}\n'


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, "null"),
        (True, "true"),
        (False, "false"),
        (-5, "-5"),
        (10**99, str(10**99)),
        (1e16, "1.0e+16"),
        (1.5e-7, "1.5e-07"),
        (math.inf, ".inf"),
        (-math.inf, "-.inf"),
        (math.nan, ".nan"),
        (date(2026, 11, 23), "2026-11-23"),
        ({}, "{}"),
        ([], "[]"),
        (("a", 1), "[a, 1]"),
        ([{"a": [1]}, []], "[{a: [1]}, []]"),
    ],
)
def test_how_values_are_written(value, written):
    """Numbers, null, dates and lists in the forms every YAML reader takes alike."""
    assert set_value("b: 1\n", ("a",), value) == f"b: 1\na: {written}\n"


def test_mappings_are_flow_below_the_top_and_blocks_when_nested():
    """A rule is one line, a tab is a block."""
    rules = {"name": {"type": "dynamic", "from": "first_name", "transform": ["trim"]}}
    after = set_value("version: 1\n", ("leads",), {"action": "nothing", "fields": rules})
    assert after == (
        "version: 1\nleads:\n  action: nothing\n  fields:\n"
        "    name: {type: dynamic, from: first_name, transform: [trim]}\n"
    )


@pytest.mark.parametrize("path", [("a", "b"), ("a", 0), ("l", 2), ("l", "x"), ("m", 0), (0,)])
def test_paths_that_do_not_fit_are_refused(path):
    """A value is not put below text, and no list gets holes."""
    with pytest.raises(ConfigurationError, match="cannot be set"):
        set_value("a: text\nl: [1]\nm: {x: 1}\n", path, 1)


@pytest.mark.parametrize("value", [b"x", object(), {1: 2}, {"a": {None: 1}}, [{"a": {1}}]])
def test_other_types_are_a_mistake_of_the_caller(value):
    """Only what the reader can give back can be written."""
    with pytest.raises(TypeError):
        set_value("a: 1\n", ("a",), value)


def test_a_path_has_a_step():
    """The whole file is not a value."""
    for call in (lambda: set_value("a: 1\n", (), 1), lambda: remove_value("a: 1\n", ())):
        with pytest.raises(ValueError, match="at least one step"):
            call()


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("[a: 1]\n", (0, "b"), 1),
        ("a: |\n  the last line has no end", ("b",), 1),
        ("a: 1\n", ("x" * 2000,), 1),
        ("[" * 39 + "1" + "]" * 39, (0,) * 39, {"a": {"b": 1}}),
    ],
)
def test_a_layout_not_understood_is_refused(text, path, value):
    """Rather no edit than a wrong one."""
    with pytest.raises(ConfigurationError, match="not understood"):
        set_value(text, path, value)


@pytest.mark.parametrize("value", [10**100, -(10**200), [10**100]])
def test_a_number_that_no_reader_takes_is_refused(value):
    """With its own reason, not that of the file."""
    with pytest.raises(ConfigurationError, match="more than 100 digits"):
        set_value("a: 1\n", ("b",), value)


@pytest.mark.parametrize("value", ["\ud800", {"\udfff": 1}, ["a\ud800"]])
def test_half_a_character_is_refused(value):
    """A lone surrogate cannot be stored in UTF-8."""
    with pytest.raises(ConfigurationError, match="half a character"):
        set_value("a: 1\n", ("a",), value)


def test_a_broken_file_is_not_edited():
    """Problems of the file come first, with their places."""
    for call in (lambda: set_value("a: [", ("a",), 1), lambda: remove_value("a: [", ("a",))):
        with pytest.raises(ConfigurationError) as caught:
            call()
        assert caught.value.problems


@pytest.mark.parametrize(
    ("before", "path", "key", "after"),
    [
        ("a: 1 # c\nb: 2\n", ("a",), "d", "d: 1 # c\nb: 2\n"),
        ("\ufeffa:\n  # c\n  'b' : 1\n", ("a", "b"), "d", "\ufeffa:\n  # c\n  d : 1\n"),
        ("a: {b: 1, c: 2}\n", ("a", "b"), "x: y", 'a: {"x: y": 1, c: 2}\n'),
        ("? a\n: 1\n", ("a",), "NO", '? "NO"\n: 1\n'),
        ("a: |\n  x\n\n# c\n", ("a",), "b", "b: |\n  x\n\n# c\n"),
    ],
)
def test_a_key_gets_another_name(before, path, key, after):
    """Where it stands, with its value and its comments."""
    assert rename_key(before, path, key) == after


def test_a_name_that_is_taken_is_refused():
    """Two keys of one name are no file."""
    with pytest.raises(ConfigurationError, match="cannot be changed"):
        rename_key("a: 1\nb: 2\n", ("a",), "b")
    with pytest.raises(ValueError, match="no key x"):
        rename_key("a: 1\n", ("x",), "b")


# --- removing ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "path", "after"),
    [
        ("a: 1 # c\nb: 2\n", ("a",), "b: 2\n"),
        ("a: 1\nb: 2 # c", ("b",), "a: 1\n"),
        ("# about a\na: 1\n\n# about b\nb: 2\n", ("a",), "# about a\n\n# about b\nb: 2\n"),
        ("a: 1 # c\n", ("a",), "{} # c\n"),
        ("a:\n  b: 1 # c\n  # d\ne: 1\n", ("a", "b"), "a: {}\n  # d\ne: 1\n"),
        ("a: # c\n  b: 1\n", ("a", "b"), "a: {} # c\n"),
        (
            "a:\n  b: 1\n  c:\n    d: 1 # x\n    # y\n  e: 1\n",
            ("a", "c"),
            "a:\n  b: 1\n    # y\n  e: 1\n",
        ),
        ("a: {b: 1, c: 2, d: 3} # c\n", ("a", "b"), "a: {c: 2, d: 3} # c\n"),
        ("a: {b: 1, c: 2, d: 3} # c\n", ("a", "c"), "a: {b: 1, d: 3} # c\n"),
        ("a: {b: 1, c: 2, d: 3} # c\n", ("a", "d"), "a: {b: 1, c: 2} # c\n"),
        ("a: {b: 1, c: 2,} # c\n", ("a", "c"), "a: {b: 1,} # c\n"),
        ("a: { b: 1 } # c\n", ("a", "b"), "a: {} # c\n"),
        ("a: {\n  b: 1, # x\n  # y\n  c: 2 # z\n}\n", ("a", "b"), "a: {\n  # y\n  c: 2 # z\n}\n"),
        ("a: {\n  b: 1, # x\n  # y\n  c: 2 # z\n}\n", ("a", "c"), "a: {\n  b: 1, # x\n  # y\n}\n"),
        ("a: {b: 1, # x\n  c: 2}\n", ("a", "c"), "a: {b: 1 # x\n  }\n"),
        ("a: {z: 0, b: 1, # x\n  c: 2}\n", ("a", "b"), "a: {z: 0, # x\n  c: 2}\n"),
        ("a: [1, 2, 3]\n", ("a", 1), "a: [1, 3]\n"),
        ("a: [1]\n", ("a", 0), "a: []\n"),
        ("a:\n- 1 # c\n- 2\nb: 1\n", ("a", 0), "a:\n- 2\nb: 1\n"),
        ("a:\n  -\n    b: 1\n  - 2\n", ("a", 0), "a:\n  - 2\n"),
        ("a:\n- 1\nb: 1\n", ("a", 0), "a: []\nb: 1\n"),
        ("- a: 1 # c\n  # about b\n  b: 2\n", (0, "a"), "- # about b\n  b: 2\n"),
        ("- a: 1\n  b: 2\n", (0, "b"), "- a: 1\n"),
        ("- a: 1\n- b\n", (0, "a"), "- {}\n- b\n"),
        ("- - 1\n  - 2\n", (0, 0), "- - 2\n"),
        ("a: 1\r\nb: |\r\n  x\r\n\r\nc: 1\r\n", ("b",), "a: 1\r\n\r\nc: 1\r\n"),
        ("a: |\n  x\nb: 1\n    # deeper\n\nc: 2\n", ("b",), "a: |\n  x\n# deeper\nc: 2\n"),
        ("a: |+\n  x\nb: 1\n\nc: 2\n", ("b",), "a: |+\n  x\nc: 2\n"),
        ("a: 1\nb: |+\n  x\n\n\nc: 2\n", ("b",), "a: 1\nc: 2\n"),
        ("a:\n? b\n: 1\n", ("a",), "? b\n: 1\n"),
    ],
)
def test_a_key_goes_with_its_own_lines(before, path, after):
    """The entry and the comment behind it go, comments of their own line stay; never an empty hole."""
    assert remove_value(before, path) == after


@pytest.mark.parametrize("path", [("x",), ("leads", "x"), ("version", "x"), ("leads", 0), (0,)])
def test_what_is_not_there_is_removed_already(path):
    """Removing twice is no error."""
    assert remove_value(SAMPLE, path) == SAMPLE


def test_setting_and_removing_gives_the_file_back():
    """A new key leaves no trace once it is removed."""
    for path in (
        ("x",),
        ("leads", "x"),
        ("leads", "fields", "x"),
        ("leads", "fields", "source", "x"),
    ):
        assert remove_value(set_value(SAMPLE, path, {"y": 1}), path) == SAMPLE


# --- any file, any sequence of edits -----------------------------------------------------------


KEYS = "name email source since on NO 0123 8:30 custom_field:Link first-name Ort".split()
TEXTS = [
    "x",
    "two words",
    "NO",
    "0123",
    "8:30",
    "it's",
    'a "b"',
    "a: b",
    "a #b",
    "",
    "é",
    "{x}",
    "- y",
]
SCALARS = [*TEXTS, 1, -7, 0, 1.5, True, False, None]


ODD_PARTS = [
    ": ",
    "- ",
    "# ",
    "? ",
    "|+\n",
    "{",
    "}",
    ",",
    "'",
    "!!str ",
    ">\n",
    "\r\n",
    "[",
    "\n#",
]


class Writer:
    """Writes a random file: comments, blank lines, quotes, block and flow, several indentations."""

    def __init__(self, seed):
        self.chance = random.Random(seed)
        self.step = self.chance.choice([1, 2, 4])
        self.newline = self.chance.choice(["\n", "\n", "\r\n"])
        self.in_block_text = False  # there a deeper comment would be text

    def file(self):
        value = self.mapping(0)
        lines = ["# head"] * self.chance.randrange(2) + self.block(value, 0)
        text = self.newline.join(lines)
        return text + self.newline * self.chance.choice([1, 1, 2, 0]), value

    def value(self, depth):
        kind = self.chance.random()
        if depth < 3 and kind < 0.35:
            return self.mapping(depth + 1)
        if depth < 3 and kind < 0.5:
            return [self.value(depth + 1) for _ in range(self.chance.randint(0, 3))]
        return self.chance.choice(SCALARS)

    def mapping(self, depth):
        keys = self.chance.sample(KEYS, self.chance.randint(1 if depth == 0 else 0, 4))
        return {key: self.value(depth) for key in keys}

    def noise(self, column):
        kind = self.chance.random()
        deeper = " " * (0 if self.in_block_text else self.chance.choice([0, 0, 3]))
        return [""] if kind < 0.1 else [f"{' ' * column}{deeper}# note"] if kind < 0.2 else []

    def comment(self):
        return f"{' ' * self.chance.randint(1, 4)}# c: [1" if self.chance.random() < 0.25 else ""

    def block(self, mapping, column):
        lines = []
        for key, value in mapping.items():
            lines += self.noise(column)
            self.in_block_text = False
            head = f"{' ' * column}{self.scalar(key, flow=False, key=True)}:"
            if value and isinstance(value, dict | list) and self.chance.random() < 0.7:
                lines.append(head + self.comment())
                lines += self.nested(value, column)
            elif isinstance(value, str) and value and self.chance.random() < 0.15:
                self.in_block_text = True
                lines += [f"{head} |-{self.comment()}", f"{' ' * (column + self.step)}{value}"]
            else:
                lines.append(
                    f"{head}{self.gap(value)}{self.flow(value, inside=False)}{self.comment()}"
                )
        return lines

    def gap(self, value):
        return " " * self.chance.choice([1, 1, 1, 5])

    def nested(self, value, column):
        inner = column + self.step
        if isinstance(value, dict):
            return self.block(value, inner)
        dash = " " * self.chance.choice([column, inner])
        lines = []
        for item in value:
            lines += self.noise(len(dash))
            if item and isinstance(item, dict) and self.chance.random() < 0.6:
                kept = {key: entry for key, entry in item.items() if key != "k"}
                item.clear()
                item.update({"k": 0, **kept})
                first, *others = self.block(item, len(dash) + 2)
                while not first.strip() or first.strip().startswith("#"):
                    first, *others = others
                lines += [f"{dash}- {first.lstrip()}", *others]
            else:
                self.in_block_text = False
                lines.append(f"{dash}- {self.flow(item, inside=False)}{self.comment()}")
        return lines

    def flow(self, value, *, inside):
        space = self.chance.choice(["", "", " "])
        comma = self.chance.choice(["", "", ","])
        if isinstance(value, dict):
            parts = [
                f"{self.scalar(key, flow=True, key=True)}: {self.flow(entry, inside=True)}"
                for key, entry in value.items()
            ]
            return f"{{{space}{', '.join(parts)}{space}{comma if parts else ''}}}"
        if isinstance(value, list):
            parts = [self.flow(item, inside=True) for item in value]
            return f"[{space}{', '.join(parts)}{space}{comma if parts else ''}]"
        if value is None and not inside and self.chance.random() < 0.4:
            return ""
        return self.scalar(value, flow=inside)

    def scalar(self, value, *, flow, key=False):
        if not isinstance(value, str):
            return (
                {None: "null", True: "true", False: "false"}.get(value, repr(value))
                if (value is None or isinstance(value, bool))
                else repr(value)
            )
        style = self.chance.choice(["plain", "plain", "single", "double"])
        odd = value in ("", "{x}", "- y") or any(part in value for part in (": ", " #", '"', "'"))
        if style == "plain" and not odd and not (":" in value and (flow or key)):
            return value
        escaped = value.replace('"', '\\"')
        return f'"{escaped}"' if style == "double" else "'{}'".format(value.replace("'", "''"))


def paths_of(value, path=()):
    """Every path there is in a value."""
    if path:
        yield path
    if isinstance(value, dict | list):
        entries = value.items() if isinstance(value, dict) else enumerate(value)
        for step, entry in entries:
            yield from paths_of(entry, (*path, step))


def changed(value, path, new):
    """The model of ``set_value``, written without any of its code."""
    if not path:
        return new
    if isinstance(value, list):
        copy = list(value)
        old = value[path[0]] if path[0] < len(value) else None
        copy[path[0] : path[0] + 1] = [changed(old, path[1:], new)]
        return copy
    return {**(value or {}), path[0]: changed((value or {}).get(path[0]), path[1:], new)}


def removed(value, path):
    """The model of ``remove_value``."""
    copy = dict(value) if isinstance(value, dict) else list(value)
    if len(path) == 1:
        del copy[path[0]]
    else:
        copy[path[0]] = removed(copy[path[0]], path[1:])
    return copy


def line_span(text, path):
    """The first and last line (from 0) of an entry: key or dash to the end of its value."""
    document = parse_document(text)
    node = document.node(path)
    first = document.key_position(path).line - 1
    parent = document.node(path[:-1])
    if isinstance(parent, SequenceNode) and not parent.flow:
        while not re.match(r" *-( |$)", lines_of(text)[first]):  # `- # comment`, the item below it
            first -= 1
    return first, max(first, document.position_of(last_character(text, node)).line - 1)


def last_character(text, node):
    if isinstance(node, MappingNode) and not node.flow:
        return max(max(key.end, last_character(text, value)) for key, value in node.entries)
    if isinstance(node, SequenceNode) and not node.flow:
        return max(last_character(text, item) for item in node.items)
    if isinstance(node, ScalarNode) and node.style == "|":
        return node.start + len(text[node.start : node.end].rstrip()) - 1
    return node.end


def assert_only_changed(before, after, first, last):
    """Every line outside first..last is there still, byte for byte and in order."""
    old, new = lines_of(before), lines_of(after)
    if not old[-1]:
        old.pop()
    if not new[-1]:
        new.pop()
    behind = last + 1
    while True:
        tail = old[behind:]
        room = len(new) - first - len(tail)
        if old[:first] == new[:first] and room >= 0 and tail == new[first + room :]:
            return
        assert behind < len(old), (before, after, first, last)
        noise = old[behind].strip()
        assert not noise or noise.startswith("#"), (before, after, first, last)
        behind += 1


def without_dashes(text):
    """The text with the dashes that start its lines replaced by spaces."""
    return re.sub(r"^ *(- +)+", lambda match: " " * len(match.group()), text, flags=re.MULTILINE)


def one_edit(chance, text, model):
    """A random edit on both the text and the model, with the lines it may touch checked."""
    paths = list(paths_of(model))
    writer = Writer(chance.random())
    if paths and chance.random() < 0.45:
        path = chance.choice(paths)
        expected = removed(model, path)
        after = remove_value(text, path)
        parent = parse_document(text).node(path[:-1])
        alone = len(parent.entries if isinstance(parent, MappingNode) else parent.items) == 1
        whole = (alone or parent.flow) and len(path) > 1
        first, last = line_span(text, path[:-1] if whole else path)
        behind_dash = isinstance(path[-1], str) and lines_of(text)[first].lstrip().startswith("- ")
        # the next entry moves up behind the dash: its words stay, its indentation holds the dash
        shown = without_dashes if behind_dash else str
        assert_only_changed(shown(text), shown(after), first, last)
        return after, expected
    path, new = chosen_path(chance, model, paths), writer.value(2)
    expected = changed(model, path, new)
    after = set_value(text, path, new)
    document = parse_document(text)
    there = path
    while there and document.node(there) is None:
        there = there[:-1]
    node = document.node(there)
    if there == path or (there and (node.flow if not isinstance(node, ScalarNode) else True)):
        first, last = line_span(text, there)
        assert_only_changed(text, after, first, last)
    elif not isinstance(node, ScalarNode) and not node.flow:
        old, new_lines = lines_of(text), lines_of(after)
        kept = [line for line in old if line]
        position = iter(new_lines)
        assert all(line in position for line in kept)
    return after, expected


def chosen_path(chance, model, paths):
    """An existing path, or a new key or item below an existing mapping, list or null."""
    kind = chance.random()
    if paths and kind < 0.45:
        return chance.choice(paths)
    places = [((), model)] + [(path, at(model, path)) for path in paths]
    path, value = chance.choice(
        [place for place in places if isinstance(place[1], dict | list | None)]
    )
    if isinstance(value, list):
        return (*path, len(value))
    key = chance.choice(KEYS)
    deeper = [chance.choice(KEYS)] if key not in (value or {}) and kind > 0.8 else []
    return (*path, key, *deeper)


def at(value, path):
    for step in path:
        value = value[step]
    return value


def same(left, right):
    return repr(left) == repr(right)


@QUICK
@given(st.integers(0, 2**40))
def test_any_sequence_of_edits_reads_as_the_model_and_leaves_the_rest(seed):
    """Generated files, random edits: values follow a model, untouched lines stay byte for byte."""
    with patch.object(document_module, "_LOADER", LOADERS[seed % len(LOADERS)]):
        check_edits(seed)


def check_edits(seed):
    chance = random.Random(seed)
    text, model = Writer(seed).file()
    assert same(read(text), model)
    for _ in range(6):
        newlines = set(re.findall("\r?\n", text))
        text, model = one_edit(chance, text, model)
        assert same(read(text), model), text
        assert not newlines or set(re.findall("\r?\n", text)) <= newlines


def ruamel_shape(node):
    if isinstance(node, ruamel.yaml.ScalarNode):
        return node.value
    if isinstance(node, ruamel.yaml.MappingNode):
        return {key.value: ruamel_shape(value) for key, value in node.value}
    return [ruamel_shape(item) for item in node.value]


def our_shape(node):
    if isinstance(node, ScalarNode):
        return node.text
    if isinstance(node, MappingNode):
        return {key.text: our_shape(value) for key, value in node.entries}
    return [our_shape(item) for item in node.items]


@settings(QUICK, max_examples=EXAMPLES // 2)
@given(st.integers(0, 2**40))
def test_ruamel_reads_generated_and_edited_files_alike(seed):
    """A second reader, of YAML 1.2, finds the same structure and texts before and after edits."""
    chance = random.Random(seed)
    text, model = Writer(seed).file()
    for _ in range(2):
        other = ruamel.yaml.YAML(typ="safe", pure=True).compose(io.StringIO(text, newline=""))
        assert ruamel_shape(other) == our_shape(parse_document(text).root), text
        text, model = one_edit(chance, text, model)


@QUICK
@given(st.integers(0, 2**40))
def test_edits_of_odd_files_are_right_or_refused(seed):
    """A damaged or unusual file that still reads is edited as asked or refused, nothing else."""
    with patch.object(document_module, "_LOADER", LOADERS[seed // 2 % len(LOADERS)]):
        check_odd_edits(seed)


def check_odd_edits(seed):
    chance = random.Random(seed)
    text = Writer(seed).file()[0] if seed % 2 else SAMPLE
    for _ in range(chance.randint(1, 4)):
        where = chance.randrange(len(text) + 1)
        odd = chance.choice([*ODD_PARTS, "\n", "  ", "\t"])
        text = text[:where] + odd + text[where + chance.choice([0, 0, 1, 5]) :]
    try:
        model = read(text)
    except ConfigurationError:
        return
    path = chance.choice([*paths_of(model), ("new",), ("leads", "new", "deep")])
    try:
        after = set_value(text, path, "x")
        assert parse_document(after).raw(path) == "x"
        after = remove_value(text, path)
        assert parse_document(after).node(path) is None or isinstance(path[-1], int)
    except ConfigurationError as error:
        assert "not understood" in error.message or "cannot be set" in error.message


# --- files -------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    """A folder with nothing else in it."""
    path = tmp_path / "own"
    path.mkdir()
    return path


@pytest.fixture
def file(folder):
    """A campaign file of one's own."""
    path = folder / "spring.yaml"
    path.write_bytes(SAMPLE.encode())
    path.chmod(0o640)
    return path


def accept(document):
    """A check that finds nothing."""


def to_nothing(text):
    return set_value(text, ("leads", "action"), "nothing")


def test_a_file_is_changed_with_its_mode_kept(file):
    """Content, mode and neighbours are as they should be, the difference is told."""
    result = edit_file(file, to_nothing, accept)
    assert result.before == SAMPLE
    assert file.read_text() == result.after == SAMPLE.replace("create_booking  ", "nothing  ", 1)
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert [line for line in result.diff.splitlines() if line[0] in "+-"][2:] == [
        "-  action: create_booking              # nothing | create_booking",
        "+  action: nothing              # nothing | create_booking",
    ]
    lock = file.with_name(".spring.yaml.lock")
    assert sorted(file.parent.iterdir()) == [lock, file]
    assert stat.S_IMODE(lock.stat().st_mode) == 0o600


def test_bytes_of_the_file_are_kept(tmp_path):
    """Windows line endings and a byte order mark go through reading and writing."""
    file = tmp_path / "x.yaml"
    file.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: caf\xc3\xa9\r\n")
    edit_file(file, lambda text: set_value(text, ("a",), 2), accept)
    assert file.read_bytes() == b"\xef\xbb\xbfa: 2\r\nb: caf\xc3\xa9\r\n"


def test_no_change_is_not_written(file):
    """A file that says it already is left alone, with an empty difference."""
    before = file.stat()
    result = edit_file(file, lambda text: set_value(text, ("version",), 1), accept)
    assert result.diff == ""
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_what_the_check_refuses_is_not_written(file):
    """The check sees the changed document under the file's name."""

    def refuse(document):
        assert document.file == str(file)
        assert document.value["leads"]["action"] == "nothing"
        raise ConfigurationError("no")

    with pytest.raises(ConfigurationError, match="no"):
        edit_file(file, to_nothing, refuse)
    assert file.read_text() == SAMPLE


@pytest.mark.parametrize("broken", ["a: [", "a: 1\na: 2\n", "a: \0", "a: \ud800"])
def test_a_change_that_breaks_the_file_is_not_written(file, broken):
    """Whatever the change returns has to be a document."""
    with pytest.raises(ConfigurationError) as caught:
        edit_file(file, lambda text: broken, accept)
    assert caught.value.problems[0].file == str(file)
    assert file.read_text() == SAMPLE


def test_files_that_cannot_be_edited(folder):
    """Missing files, folders and other encodings are configuration errors that leave no trace."""
    with pytest.raises(ConfigurationError, match="does not exist"):
        edit_file(folder / "none.yaml", to_nothing, accept)
    assert list(folder.iterdir()) == []
    (folder / "folder.yaml").mkdir()
    with pytest.raises(ConfigurationError, match="regular file"):
        edit_file(folder / "folder.yaml", to_nothing, accept)
    (folder / "latin.yaml").write_bytes(b"a: \xe9\n")
    with pytest.raises(ConfigurationError, match="0xE9"):
        edit_file(folder / "latin.yaml", to_nothing, accept)


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_link_stays_a_link(file, tmp_path):
    """A file kept elsewhere (dotfiles) is edited where it lies, under that place's lock."""
    link = tmp_path / "link.yaml"
    link.symlink_to(file)
    edit_file(link, to_nothing, accept)
    assert link.is_symlink()
    assert "action: nothing  " in file.read_text()
    loop = tmp_path / "loop.yaml"
    loop.symlink_to(loop)
    with pytest.raises(ConfigurationError):
        edit_file(loop, to_nothing, accept)


def test_a_failed_write_leaves_the_file(file, monkeypatch):
    """A full disk is told; neither half a file nor a temporary one remains."""

    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "replace", full)
    with pytest.raises(ConfigurationError, match="No space left"):
        edit_file(file, to_nothing, accept)
    assert file.read_text() == SAMPLE
    assert not list(file.parent.glob("*.tmp"))


def test_a_save_of_an_editor_meanwhile_is_not_lost(file):
    """An editor knows nothing of the lock; what it saved during the edit stays."""

    def saved_meanwhile(document):
        file.write_text("a: from the editor\n")

    with pytest.raises(ConfigurationError, match="changed by another program"):
        edit_file(file, to_nothing, saved_meanwhile)
    assert file.read_text() == "a: from the editor\n"


def test_edits_at_the_same_time_lose_none(file):
    """Eight at once each add a key, and all keys are there."""
    errors = []

    def add(number):
        try:
            edit_file(file, lambda text: set_value(text, ("extra", f"k{number}"), number), accept)
        except Exception as error:  # noqa: BLE001 # reported by the assertion below
            errors.append(error)

    threads = [threading.Thread(target=add, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert read(file.read_text())["extra"] == {f"k{number}": number for number in range(8)}


def test_a_lock_that_is_never_freed_ends_the_wait(file, monkeypatch):
    """The second edit gives up in time and says why."""
    monkeypatch.setattr(module, "LOCK_WAIT_SECONDS", 0.1)

    def edit_within(document):
        with pytest.raises(Locked, match="being edited"):
            edit_file(file, to_nothing, accept)

    edit_file(file, to_nothing, edit_within)


def test_a_deeper_comment_outlives_the_entry_below_a_block_text():
    """It moves out, so that it does not become a part of the text above."""
    text = "a:\n  x: |\n    text\n  y: 1\n    # deeper\n\n  # same\n  z: 2\n"
    after = remove_value(text, ("a", "y"))
    assert after == "a:\n  x: |\n    text\n  # deeper\n  # same\n  z: 2\n"
    assert parse_document(after).value == {"a": {"x": "text\n", "z": 2}}
