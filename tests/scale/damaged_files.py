"""Damaged campaign files by the thousand: every command answers with a place, never with a defect.

    python -m tests.scale.damaged_files 10000 [SEED]

Each file is one of the samples with one to three kinds of damage, out of a seed of its own (SEED for
the first file, SEED + 1 for the second), so ``damaged_files 1 SEED`` makes any of them again. The
commands run in this process, each in a home of its own folder. What has to hold: no defect and no
traceback, an exit code that fits, an end within seconds, for a refusal the place in the file, no byte
changed by a command that refused or only reads, and nothing written beside the home.
"""

from __future__ import annotations

import faulthandler
import io
import json
import os
import random
import re
import string
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch
from urllib.parse import unquote, urlsplit

import yaml

from stcli.cli.app import run
from stcli.config import document as document_module
from stcli.config.document import parse_document
from stcli.config.load import FIELDS_OF, interpret
from stcli.domain.campaign import Tab
from stcli.errors import ConfigurationError

SECONDS = 10.0
HANGING = 60.0
SHOWN = 50
NAME = "spring-hvac"
SMALL = 20_000
"""Up to this size also PyYAML's own parser is tried, which reads where libyaml is not installed."""

RICH = """\
# every tab is in use, in many styles
version: 1
referral_campaign: "spring-hvac"
servicetitan: {tenant_id: 985798691, client_id: cid.8f3k, booking_provider: 77}
leads:
  action: create_booking
  since: 2026-11-23
  existing_customers: flag
  limits:
    max_creates: 200
  fields:

    # block style, with comments inside
    source:
      type: manual_input
      # said to everyone
      value: 'it''s Zoë'     # quoted
    name: {type: dynamic, from: first_name, default: "a: b # c", transform: [trim, title]}
    email:
      type: dynamic
      from: email
      transform:
        - trim
        - lower
    summary:
      type: template
      template: >-
        Referred by {referrer.first_name}
        with {{code}} {code}
    is_first_time_client: {type: manual_select, value: "Yes"}
    external_id: {type: template, template: "rf-{code}"}
    phone: {
      type: dynamic,   # in brackets
      from: meta.Mobile Phone,
    }
    address.street: {type: dynamic, from: meta.Street}
    address.city: {type: dynamic, from: meta.City}
    address.state: {type: manual_input, value: IL}
    address.zip: {type: manual_input, value: 01234}
    address.country: {type: manual_input, value: USA}
referrers:
  action: create_booking
  include_sources: [Referred, "Added by admin"]
  fields:
    source: {type: manual_input, value: Referral}
    name: {type: dynamic, from: first_name}
    email: {type: dynamic, from: email}
    summary: {type: manual_input, value: A new referrer}
    is_first_time_client: {type: manual_select, value: "No"}
    external_id: {type: dynamic, from: id}
    mobile_phone: {type: dynamic, from: "meta.Phone", transform: [digits]}
sync:
  type: ongoing
  fields: {first_name: {type: dynamic, from: name}, email: {type: dynamic, from: email}}
  return_fields:
    "custom_field:Link": {type: dynamic, from: referral_link}
    "custom_field:#12": {type: dynamic, from: referrals_count}
  filter: {tags: [gold, 山田], customer_type: Residential, has_job_since: 2024-02-29}
  refresh: 6h
  welcome_mail: false
  limits: {max_creates: 5000}
qualification:
  method: booking_becomes_job_and_reaches
  property: job_status
  value: Completed
  hold_days: 7
  on_cancel: unqualify
  conditions: {job_type: [Estimate], minimum_total: 250.5, exclude: [recall, warranty]}
  limits: {max_qualifies: 50}
consent:
  suppressions: obey
"""

DEEP_BLOCK = """\
version: 1
referral_campaign: roofing
servicetitan:
    tenant_id: 1
leads:
    fields:
        name:
            type: dynamic
            from: first_name
        summary:
            type: template
            template: |-
                {first_name}
                {{x}}
"""

SMALLEST = "{version: 1, referral_campaign: x, servicetitan: {tenant_id: 1}}\n"


def samples() -> list[str]:
    """The samples of the project and a few richer files."""
    folder = Path(__file__).parents[2] / "configs"
    texts = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.yaml"))]
    return [*texts, RICH, RICH, RICH.replace("\n", "\r\n"), DEEP_BLOCK, SMALLEST]


# --- damage: what stands in the file -----------------------------------------------------------

Damage = Callable[[random.Random, str], str]

VALUES = (
    "null ~ true FALSE yes 5 -1 1.5 1e999 .nan -.inf 0x1F 0o17 1_000 01 99999999999999999999 [] {} "
    "[a,b] {a:1} [[a]] [null] [{a:b}] '' \"\" ' ' 2026-02-30 12:30:45 a:b @x `x %x *x &x !x |x - ? : "
    "<< = {{}} [{}] dynamic template manual_select Yes Completed create_booking leads fields "
    "{first_name} '{' '}' '{}' '{{first_name}' '{nothing}' '{meta.}' -0 +1 1. .5 ٣ '١٢' a\u200bb"
).split(" ")
KEYS = (
    "version leads fields type from value template transform default sync null true 1 1.5 ~ - '' "
    "\"\" __class__ model_config self . .. a.b [a] a[0] ' ' dynamic manual_input 0 é 山 \u202e"
).split(" ")


class Entry(NamedTuple):
    """Where a key and its value stand in a text."""

    start: int
    key_end: int
    value: int
    end: int


def entries_of(text: str) -> list[Entry]:
    """Every key with its value; in text that is no YAML, also what looks like one in its line."""
    entries: list[Entry] = []
    waiting: list[list[Any]] = []  # of each open collection: start, whether it has keys, its key
    try:
        for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            start, end = event.start_mark.index, event.end_mark.index
            if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
                waiting.append([start, isinstance(event, yaml.MappingStartEvent), None])
                continue
            if isinstance(event, yaml.CollectionEndEvent):
                start = waiting.pop()[0]
            elif not isinstance(event, yaml.ScalarEvent | yaml.AliasEvent):
                continue
            if waiting and waiting[-1][1]:
                key, waiting[-1][2] = waiting[-1][2], None if waiting[-1][2] else (start, end)
                if key:
                    entries.append(Entry(*key, start, start + len(text[start:end].rstrip())))
    except (yaml.YAMLError, ValueError):
        found = re.finditer(r"([\w.]+|\"[^\"\n]*\"):[ \t]*([^,}\n#]*)", text)
        entries += [Entry(*match.span(1), *match.span(2)) for match in found]
    return entries


def some_entry(chance: random.Random, text: str) -> Entry:
    """One of the keys; in a text without any, an empty place."""
    entries = entries_of(text)
    place = chance.randrange(len(text) + 1)
    return chance.choice(entries) if entries else Entry(place, place, place, place)


def key_deleted(chance: random.Random, text: str) -> str:
    entry = some_entry(chance, text)
    return text[: entry.start] + text[entry.end :]


def key_without_value(chance: random.Random, text: str) -> str:
    entry = some_entry(chance, text)
    return text[: entry.value] + text[entry.end :]


def key_duplicated(chance: random.Random, text: str) -> str:
    entry = some_entry(chance, text)
    whole = text[entry.start : entry.end]
    begin = text.rfind("\n", 0, entry.start) + 1
    indent = text[begin : entry.start]
    gap = f"\n{indent}" if not indent.strip() else ", "
    return text[: entry.end] + gap + whole + text[entry.end :]


def keys_swapped(chance: random.Random, text: str) -> str:
    one, other = sorted(some_entry(chance, text) for _ in range(2))
    if other.start < one.end:
        return text[: one.start] + text[one.value : one.end] + text[one.end :]
    return (
        text[: one.start]
        + text[other.start : other.end]
        + text[one.end : other.start]
        + text[one.start : one.end]
        + text[other.end :]
    )


def value_from_elsewhere(chance: random.Random, text: str) -> str:
    one, other = some_entry(chance, text), some_entry(chance, text)
    return text[: one.value] + text[other.value : other.end] + text[one.end :]


def value_of_wrong_type(chance: random.Random, text: str) -> str:
    entry = some_entry(chance, text)
    return text[: entry.value] + chance.choice(VALUES) + text[entry.end :]


def value_is_the_rest(chance: random.Random, text: str) -> str:
    entry = some_entry(chance, text)
    wrapped = chance.choice(["[%s]", "{x: %s}", "'%s'", '"%s"', "[%s, %s]", "!!str %s", "|\n  %s"])
    return (
        text[: entry.value]
        + wrapped.replace("%s", text[entry.value : entry.end])
        + text[entry.end :]
    )


def key_replaced(chance: random.Random, text: str) -> str:
    entry = some_entry(chance, text)
    return text[: entry.start] + chance.choice(KEYS) + text[entry.key_end :]


def misspelt(chance: random.Random, word: str) -> str:
    at = chance.randrange(len(word) + 1)
    letter = chance.choice(string.ascii_letters + " _.-éß")
    return chance.choice(
        [
            word[:at] + word[at + 1 :],
            word[:at] + letter + word[at:],
            word[:at] + letter + word[at + 1 :],
            word[:at] + word[at : at + 2][::-1] + word[at + 2 :],
            word.upper(),
            word.replace("_", "-"),
        ]
    )


def key_misspelt(chance: random.Random, text: str) -> str:
    entry = some_entry(chance, text)
    key = text[entry.start : entry.key_end]
    return text[: entry.start] + misspelt(chance, key) + text[entry.key_end :]


def name_misspelt(chance: random.Random, text: str) -> str:
    entry = some_entry(chance, text)
    value = text[entry.value : entry.end]
    return text[: entry.value] + misspelt(chance, value) + text[entry.end :]


# --- damage: lines and signs -------------------------------------------------------------------


def with_lines(change: Callable[[random.Random, list[str]], None]) -> Damage:
    """Damage of the lines of a text, their ends kept."""

    def damage(chance: random.Random, text: str) -> str:
        lines = text.split("\n")
        change(chance, lines)
        return "\n".join(lines)

    return damage


def delete_line(chance: random.Random, lines: list[str]) -> None:
    at = chance.randrange(len(lines))
    del lines[at : at + chance.choice([1, 1, 1, 3])]


def duplicate_line(chance: random.Random, lines: list[str]) -> None:
    lines.insert(chance.randrange(len(lines)), chance.choice(lines))


def swap_lines(chance: random.Random, lines: list[str]) -> None:
    one, other = chance.randrange(len(lines)), chance.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]


def indent_wrongly(chance: random.Random, lines: list[str]) -> None:
    at, by = chance.randrange(len(lines)), chance.choice([-4, -2, -1, 1, 1, 2, 3, 8])
    for number in range(at, min(len(lines), at + chance.choice([1, 1, 3]))):
        line = lines[number]
        lines[number] = " " * by + line if by > 0 else line[min(-by, len(line)) :]


def indent_by_tab(chance: random.Random, lines: list[str]) -> None:
    at = chance.randrange(len(lines))
    line = lines[at]
    lines[at] = chance.choice([f"\t{line}", f"\t{line.lstrip()}", line.replace("  ", "\t")])


def tab_somewhere(chance: random.Random, text: str) -> str:
    return spliced(chance, text, ["\t"], r"[ :,{]")


def spliced(chance: random.Random, text: str, news: Sequence[str], pattern: str) -> str:
    """``text`` with something new before, behind or instead of a sign that fits."""
    places = [match.span() for match in re.finditer(pattern, text)] or [(0, 0)]
    start, end = chance.choice(places)
    start, end = chance.choice([(start, end), (start, start), (end, end)])
    return text[:start] + chance.choice(news) + text[end:]


def colon_missing(chance: random.Random, text: str) -> str:
    return spliced(chance, text, ["", " ", ": :", " : ", "::", ":x", "="], r":[ \n]")


def quote_unclosed(chance: random.Random, text: str) -> str:
    return spliced(chance, text, ["", '"', "'", "''", '"""', "\\"], r"[\"']|\b")


def bracket_unclosed(chance: random.Random, text: str) -> str:
    return spliced(chance, text, ["", "{", "}", "[", "]", ",", ",,", "{{", "}}"], r"[\[\]{},]|\b")


def sign_misplaced(chance: random.Random, text: str) -> str:
    signs = [*"#@`=~", "- ", "? ", "# ", " #", "| ", ">\n", "|9\n", ">+3-\n", "% ", "<<"]
    return spliced(chance, text, signs, r"(?m)^ *|: |, ")


def cut_off(chance: random.Random, text: str) -> str:
    return text[: chance.randrange(len(text) + 1)]


def line_ends_mixed(chance: random.Random, text: str) -> str:
    return spliced(chance, text, ["\r", "\r\n", "\n\r", "\u2028", "\x85", "\x0b", "\x0c"], r"\n")


def escape_unknown(chance: random.Random, text: str) -> str:
    codes = ["\\x", "\\q", "\\ud800", "\\uDFFF", "\\U00110000", "\\UFFFFFFFF", "\\0", "\\", "\\\n"]
    entry = some_entry(chance, text)
    return f'{text[: entry.value]}"a{chance.choice(codes)}b"{text[entry.end :]}'


def layout_unusual(chance: random.Random, text: str) -> str:
    """Much of this is right, so that the commands get further."""
    new = ["   ", "\n\n", "  # odd: [x", "\n# odd", "\n        # odd\n", " #", "\n  \n"]
    if chance.random() < 0.3:
        return spliced(chance, text, [" :", " : ", ":  ", ":\n          ", "  :   "], r": ")
    if chance.random() < 0.3:
        return chance.choice(["---\n", "# odd\n\n", "\n", "--- # odd\n"]) + text
    for _ in range(chance.choice([1, 3])):
        text = spliced(chance, text, new, r"(?<=[^\s:,|>-])(?=\n)")
    return text + chance.choice(["", "\n\n", "...\n", "# end", "\n#"])


def nothing_left(chance: random.Random, text: str) -> str:
    left = "# --- ... null ~ [] {} text 5 - ? : a:\t1 \ufeff ! & * | > % 'a \"a [ {".split(" ")
    return chance.choice(["", " ", "\n", "\t", "- a", "a: ", *left])


# --- damage: what YAML can do and campaign files cannot ----------------------------------------


def nested_hugely(chance: random.Random, text: str) -> str:
    deep = chance.choice([30, 41, 1000, 20_000])
    style = chance.choice(["[", "{a: ", "- ", "? ", "[{", "lines", "closed"])
    if style == "lines":
        nest = "\n" + "\n".join(" " * level + "a:" for level in range(1, min(deep, 1000)))
    else:
        nest = "[" * deep + "]" * deep if style == "closed" else style * deep
    entry = some_entry(chance, text)
    return text[: entry.value] + nest + text[entry.end :]


def aliases_that_explode(chance: random.Random, text: str) -> str:
    laughs = ["a0: &a0 [x, x]"]
    laughs += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    entry = some_entry(chance, text)
    in_value = text[: entry.value] + "*a29" + text[entry.end :]
    return chance.choice(
        ["\n".join(laughs) + "\n" + in_value, in_value + "\n".join(laughs), "&a [*a, *a]\n"]
    )


def anchored(chance: random.Random, text: str) -> str:
    entry, other = some_entry(chance, text), some_entry(chance, text)
    text = f"{text[: entry.value]}&x {text[entry.value :]}"
    if other.value <= entry.value:
        return text
    return text[: other.value + 3] + chance.choice(["*x", "*y", "&x a"]) + text[other.end + 3 :]


def merged(chance: random.Random, text: str) -> str:
    entry = some_entry(chance, text)
    new = chance.choice(["<<: *x", "<<: {a: 1}", "<<: [*x, *y]", "'<<': 1", "<<: {type: dynamic}"])
    line = text[text.rfind("\n", 0, entry.start) + 1 : entry.start]
    gap = f"\n{line}" if not line.strip() else ", "
    return text[: entry.start] + new + gap + text[entry.start :]


def documents_several(chance: random.Random, text: str) -> str:
    marks = ["---\n", "...\n", "--- a\n", "%YAML 1.1\n---\n", "%TAG ! x\n", "%x\n", "--- |\n"]
    return spliced(chance, text, [*marks, "%YAML 9.9\n---\n", "...\n---\n"], r"(?m)^")


def tagged(chance: random.Random, text: str) -> str:
    tags = [
        '!!python/object/apply:os.system ["touch owned"]',
        "!!python/name:os.system ",
        "!!binary aGk=",
        "!!set {a, b}",
        "!!int x",
        "!!float 1",
        "!!bool maybe",
        "!!null x",
        "!!str ",
        "!!map ",
        "!!seq ",
        "!!timestamp 2026-01-01",
        "!foo ",
        "! ",
        "!<tag:yaml.org,2002:str> ",
        "!<",
        "!a!b ",
        "!!",
    ]
    entry = some_entry(chance, text)
    where = chance.choice([entry.value, entry.start])
    return text[:where] + chance.choice(tags) + text[chance.choice([where, entry.end]) :]


def key_that_is_no_text(chance: random.Random, text: str) -> str:
    keys = ["? [a, b]\n", "? {a: 1}\n", "[a]", "{a: {b: c}}", "? |\n  x\n", "? ", "*x", "!!int 5"]
    entry = some_entry(chance, text)
    return text[: entry.start] + chance.choice(keys) + text[entry.key_end :]


def very_long(chance: random.Random, text: str) -> str:
    size = chance.choice([5_000, 100_000, 980_000])
    entry = some_entry(chance, text)
    value, key = text[entry.value : entry.end], text[entry.start : entry.key_end]
    kind = chance.choice(["value", "number", "float", "key", "same", "quoted", "comment", "list"])
    start, end = (entry.start, entry.key_end) if kind in ("key", "same") else entry[2:]
    new = {
        "value": "long " * (size // 5),
        "number": "9" * size,
        "float": "0." + "3" * size,
        "key": "k" * size,
        "same": (key or "k") * (size // (len(key) or 1)),
        "quoted": '"' + "\\u00e9" * (size // 6) + '"',
        "comment": f"{value} # {'c' * size}",
        "list": f"[{'a, ' * (size // 3)}]",
    }[kind]
    return text[:start] + new + text[end:]


def very_many(chance: random.Random, text: str) -> str:
    count = chance.choice([150, 2_000, 20_000])
    line = chance.choice("x%d:1 - # ?_%d &a%d_x same:1 \t%d:1 a%d:b:c \n %d:1".split(" "))
    line = line.replace(":", ": ").replace("_", " ")
    new = "".join(line.replace("%d", str(number)) + "\n" for number in range(count))
    rules = "".join(f"    t{n}: {{type: dynamic, from: s{n}, x: 1}}\n" for n in range(count // 8))
    fields = text.find("  fields:\n") + len("  fields:\n")
    if chance.random() < 0.3 and fields > len("  fields:\n"):
        return text[:fields] + rules + text[fields:]
    return chance.choice([text + new, new + text])


def too_large(chance: random.Random, text: str) -> str:
    return text + "# filled up\n" * chance.choice([85_000, 300_000])


# --- damage: bytes -----------------------------------------------------------------------------


def as_bytes(text: str) -> bytes:
    """What an editor would have written, escaped bytes given back."""
    return text.encode("utf-8", "surrogateescape")


def as_text(content: bytes) -> str:
    """Any bytes as text that becomes them again."""
    return content.decode("utf-8", "surrogateescape")


def random_bytes(chance: random.Random, text: str) -> str:
    content = bytearray(as_bytes(text))
    for _ in range(chance.choice([1, 1, 3, 50])):
        at = chance.randrange(len(content) + 1)
        content[at : at + chance.randrange(3)] = chance.randbytes(chance.choice([1, 1, 2, 8]))
    return as_text(bytes(content))


def only_noise(chance: random.Random, text: str) -> str:
    noise = chance.randbytes(chance.choice([1, 20, 2000]))
    return as_text(chance.choice([noise, b"\x1f\x8b\x08" + noise, b"PK\x03\x04" + noise]))


def signs_of_any_script(chance: random.Random, text: str) -> str:
    signs = [*"\0\x07\x7f\x80\xa0\xad\u200b\u202e\u2066\ufeff\ufffe\uffff😀\U0010ffffé\u0301"]
    return spliced(chance, text, [*signs, "\x1b[31m"], r"\b|^|\n")


ENCODINGS = (
    "utf-16 utf-16-le utf-16-be utf-32 utf-32-be latin-1 cp1252 cp1251 utf-8-sig cp500 utf-7 shift_jis"
).split()


def encoded_otherwise(chance: random.Random, text: str) -> str:
    text = text.replace("spring", chance.choice(["spring", "Frühling", "春"]))
    return as_text(text.encode(chance.choice(ENCODINGS), "replace"))


def marks_of_encodings(chance: random.Random, text: str) -> str:
    marks = [b"\xef\xbb\xbf", b"\xef\xbb\xbf" * 2, b"\xff\xfe", b"\xfe\xff", b"\xef\xbb", b"\0"]
    marks += [b"\xed\xa0\x80", b"\xc0\xaf", b"\xf8\x88\x80\x80\x80", b"\xff"]
    at = chance.choice([0, 0, 0, chance.randrange(len(text) + 1)])
    return text[:at] + as_text(chance.choice(marks)) + text[at:]


DAMAGES: dict[str, Damage] = {
    "key deleted": key_deleted,
    "key without value": key_without_value,
    "key duplicated": key_duplicated,
    "keys swapped": keys_swapped,
    "value from elsewhere": value_from_elsewhere,
    "value of a wrong type": value_of_wrong_type,
    "value wrapped": value_is_the_rest,
    "key replaced": key_replaced,
    "key misspelt": key_misspelt,
    "name misspelt": name_misspelt,
    "line deleted": with_lines(delete_line),
    "line duplicated": with_lines(duplicate_line),
    "lines swapped": with_lines(swap_lines),
    "indentation": with_lines(indent_wrongly),
    "indentation by tab": with_lines(indent_by_tab),
    "tab": tab_somewhere,
    "colon": colon_missing,
    "quote": quote_unclosed,
    "bracket": bracket_unclosed,
    "sign": sign_misplaced,
    "cut off": cut_off,
    "line ends": line_ends_mixed,
    "escape": escape_unknown,
    "layout": layout_unusual,
    "nothing left": nothing_left,
    "nesting": nested_hugely,
    "exploding aliases": aliases_that_explode,
    "anchor": anchored,
    "merge key": merged,
    "documents": documents_several,
    "tag": tagged,
    "key that is no text": key_that_is_no_text,
    "very long": very_long,
    "very many": very_many,
    "too large": too_large,
    "random bytes": random_bytes,
    "only noise": only_noise,
    "odd signs": signs_of_any_script,
    "encoding": encoded_otherwise,
    "marks": marks_of_encodings,
}
"""In the order in which several of them are done: what needs a whole file comes first."""

RARE = {"too large": 0.2, "very many": 0.5, "nothing left": 0.5, "only noise": 0.5}
"""Kinds that cost much or soon have nothing new."""


@dataclass(frozen=True)
class DamagedFile:
    """One file with what was done to it."""

    seed: int
    kinds: tuple[str, ...]
    content: bytes


def damaged_file(seed: int) -> DamagedFile:
    """The file of a seed."""
    chance = random.Random(seed)
    text = chance.choice(samples())
    kinds: set[str] = set()
    wanted = chance.choice([1, 1, 1, 2, 3])
    while len(kinds) < wanted:
        kind = chance.choice(list(DAMAGES))
        if chance.random() < RARE.get(kind, 1.0):
            kinds.add(kind)
    in_order = tuple(kind for kind in DAMAGES if kind in kinds)
    for kind in in_order:
        text = DAMAGES[kind](chance, text)
    return DamagedFile(seed, in_order, as_bytes(text))


# --- running a command -------------------------------------------------------------------------

READING = ("map validate", "map show", "config show", "qualify show", "leads run")
NO_PLACE = ("not mapped:", "is larger than", "has no sync tab yet")
"""Refusals that are about no place in the file: something is not there, or nothing was read."""


def commands(chance: random.Random) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """``map validate``, and all the others."""
    campaign = (NAME,) if chance.random() < 0.5 else ()
    as_json = ("--json",) if chance.random() < 0.25 else ()
    rule = chance.choice(
        [
            ("summary", "--value", "Fuzz: #1"),
            ("name", "--from", "meta.Last Name", "--transform", "trim", "--default", "x"),
            ("phone", "--template", "{meta.Phone} {{x}}"),
            ("priority", "--select", "High"),
            ("first_name", "--tab", "sync", "--from", "name"),
            ("custom_field:A b", "--tab", "return", "--from", "referral_code"),
        ]
    )
    tab = chance.choice(["leads", "referrers", "sync", "return"])
    return ("map", "validate", *campaign, *as_json), [
        ("map", "show", *campaign, "--tab", tab, *as_json),
        ("map", "set", *campaign, *rule, *as_json),
        ("config", "show", *campaign, *as_json),
        ("qualify", "show", *campaign, *as_json),
        ("leads", "run", *campaign, *as_json),
    ]


@dataclass(frozen=True)
class Ran:
    """How one command on one file ended."""

    words: tuple[str, ...]
    code: int
    out: str
    err: str
    seconds: float
    beside: tuple[str, ...] = ()
    """What was touched outside the home."""

    @property
    def command(self) -> str:
        return " ".join(self.words[:2])


class Watched:
    """Notes every file that Python writes, removes or makes outside one folder, and every network
    address. The hook of the interpreter cannot be taken out again, so there is one, mostly idle."""

    def __init__(self) -> None:
        self.folder: str | None = None
        self.touched: list[str] = []
        self._is_hooked = False

    @contextmanager
    def outside(self, folder: Path) -> Iterator[list[str]]:
        if not self._is_hooked:
            sys.addaudithook(self._event)
            self._is_hooked = True
        self.folder, self.touched = os.path.realpath(folder), []
        try:
            yield self.touched
        finally:
            self.folder = None

    def _event(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.folder is None:
            return
        if event == "open":
            if arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC):
                self._note(event, arguments[0])
        elif event in _CHANGING:
            for path in arguments[: _CHANGING[event]]:
                self._note(event, path)
        elif event in _REACHING:
            self.touched.append(f"{event} {arguments[1:]}")

    def _note(self, event: str, path: object) -> None:
        if not isinstance(path, str | bytes | os.PathLike):
            return  # a file that is open already
        name = os.fsdecode(path)
        if name.startswith("file:"):  # an SQLite database that must be there
            name = unquote(urlsplit(name).path)
        place = os.path.realpath(name)
        if place != os.devnull and not place.startswith(f"{self.folder}{os.sep}"):
            self.touched.append(f"{event} {place}")


_CHANGING = {
    "os.remove": 1,
    "os.rename": 2,
    "os.mkdir": 1,
    "os.rmdir": 1,
    "os.chmod": 1,
    "os.chown": 1,
    "os.truncate": 1,
    "os.link": 2,
    "os.symlink": 2,
    "sqlite3.connect": 1,
}
_REACHING = {"socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo"} | {
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
}
_WATCHED = Watched()


class Workshop:
    """A folder with a home for the damaged file, and something beside the home."""

    def __init__(self, folder: Path, command: Callable[[Sequence[str]], int] = run) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.file = self.home / "campaigns" / f"{NAME}.yaml"
        self.file.parent.mkdir(parents=True)
        self.beside = folder / "beside"
        self.beside.mkdir()
        (self.beside / "notes.txt").write_text("not ours\n", encoding="utf-8")
        self._run = command

    def ran(self, words: tuple[str, ...]) -> Ran:
        """One command line as the console script runs it, with streams that take UTF-8 only."""
        out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="")
        err = io.TextIOWrapper(
            io.BytesIO(), encoding="utf-8", errors="backslashreplace", newline=""
        )
        began = time.process_time()
        with (
            patch.dict(os.environ, {"STCLI_HOME": str(self.home)}),
            patch.object(sys, "stdin", io.StringIO()),
            patch.object(sys, "dont_write_bytecode", new=True),
            chdir(self.beside),
            redirect_stdout(out),
            redirect_stderr(err),
            _WATCHED.outside(self.home) as touched,
        ):
            code = self._run(words)
        seconds = time.process_time() - began
        texts = []
        for stream in (out, err):
            stream.flush()
            texts.append(stream.buffer.getvalue().decode())
        return Ran(words, int(code), *texts, seconds, tuple(touched))

    def surroundings(self) -> dict[str, bytes]:
        """Everything beside the home."""
        return {
            str(path.relative_to(self.folder)): path.read_bytes() if path.is_file() else b""
            for path in self.folder.rglob("*")
            if not path.is_relative_to(self.home)
        }


# --- what has to hold --------------------------------------------------------------------------


@dataclass(frozen=True)
class Violation:
    """Something that must not happen."""

    file: DamagedFile
    ran: Ran
    reason: str

    def __str__(self) -> str:
        return (
            f"seed {self.file.seed} ({', '.join(self.file.kinds)}), stcli {' '.join(self.ran.words)}, "
            f"exit code {self.ran.code}: {self.reason}\n"
            f"{self.ran.out}{self.ran.err}"
        )


def places_in(file: Path, ran: Ran) -> list[tuple[int, int]]:
    """The lines and columns of the file that an answer names."""
    if "--json" not in ran.words:
        found = re.findall(re.escape(str(file)) + r":(\d+):(\d+)\b", ran.out + ran.err)
        return [(int(line), int(column)) for line, column in found]
    document = json.loads(ran.out)
    problems = [
        *document.get("problems", []),
        *document.get("error", {}).get("problems", []),
    ]
    return [(p["line"], p["column"]) for p in problems if p["line"]]


def unlikely_places(content: bytes, places: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Places that the file does not have."""
    text = content.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    lines = re.split("\r\n|\r|\n", text)
    return [
        (line, column)
        for line, column in places
        if not (1 <= line <= len(lines) and 1 <= column <= len(lines[line - 1]) + 1)
    ]


def refusal_fault(file: Path, content: bytes, ran: Ran) -> str | None:
    """What is wrong with how a file was refused."""
    places = places_in(file, ran)
    shown = ran.out + ran.err
    if unlikely_places(content, places):
        return f"places that the file does not have: {unlikely_places(content, places)[:5]}"
    is_incomplete = "--json" in ran.words and any(
        tab["missing"] for tab in json.loads(ran.out).get("tabs", {}).values()
    )
    if not places and not is_incomplete and not any(words in shown for words in NO_PLACE):
        return "a refusal without a place"
    return None


FLAGS = {
    "--value": "value",
    "--select": "value",
    "--from": "source",
    "--template": "template",
    "--default": "default",
}


def is_right_edit(before: bytes, after: bytes, words: Sequence[str]) -> bool:
    """Whether the file has the mapping of ``map set`` and otherwise says what it said."""
    tab = Tab(words[words.index("--tab") + 1] if "--tab" in words else "leads")
    target = next(word for word in words[2:] if word not in (NAME, "--json"))
    said = []
    for content in (before, after):
        try:
            config = interpret(parse_document(content)).config
        except ConfigurationError:
            return False
        rules = {one: dict(config.rules_of(one)) for one in Tab}
        values = config.model_dump(mode="json", by_alias=True)
        for section, fields in FIELDS_OF.values():
            (values[section] or {}).pop(fields, None)
        said.append((values, rules, rules[tab].pop(target, None)))
    rule = said[1][2]
    asked = [(name, words[words.index(flag) + 1]) for flag, name in FLAGS.items() if flag in words]
    return said[0][:2] == said[1][:2] and all(getattr(rule, n, None) == text for n, text in asked)


def fault_of(shop: Workshop, file: DamagedFile, ran: Ran, *, limit: float = SECONDS) -> str | None:
    """What is wrong with one answer; None where nothing is."""
    allowed = (0, 2, 3) if ran.command == "map validate" else (0, 2, 3, 4)
    now = shop.file.read_bytes()
    if ran.code not in allowed:
        return "an exit code that does not fit"
    if "Traceback (most recent call last)" in ran.out + ran.err:
        return "a traceback"
    if ran.seconds > limit:
        return f"took {ran.seconds:.1f} s"
    if ran.beside:
        return f"reached beyond the home: {ran.beside[:5]}"
    if now != file.content and (ran.code or ran.command in READING):
        return "the file was changed"
    has_set = ran.command == "map set" and ran.code == 0
    if has_set and not is_right_edit(file.content, now, ran.words):
        return "the file does not say what was asked for, or not what else it said"
    left = {path.name for path in shop.file.parent.iterdir()}
    if left - {shop.file.name, f".{shop.file.name}.lock"}:
        return f"something was left beside the file: {sorted(left)}"
    if "--json" in ran.words:
        try:
            json.loads(ran.out)
        except ValueError:
            return "stdout is no JSON document"
    return refusal_fault(shop.file, file.content, ran) if ran.code == 3 else None


@dataclass
class Tally:
    """What a run of many files came to."""

    files: int = 0
    by_kind: Counter[tuple[str, int]] = field(default_factory=Counter)
    by_command: Counter[tuple[str, int]] = field(default_factory=Counter)
    slowest: list[tuple[float, int, str, str]] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)

    def add(self, file: DamagedFile, ran: Ran) -> None:
        self.by_command[ran.command, ran.code] += 1
        if ran.command == "map validate":
            for kind in file.kinds:
                self.by_kind[kind, ran.code] += 1
        self.slowest.append((ran.seconds, file.seed, ran.command, ", ".join(file.kinds)))
        self.slowest = sorted(self.slowest, reverse=True)[:5]


def try_file(shop: Workshop, file: DamagedFile, tally: Tally) -> None:
    """``map validate`` on every file, the others on a share, larger for files that are ready; with
    PyYAML's own parser now and then. What is wrong is noted."""
    chance = random.Random(-file.seed - 1)
    tally.files += 1
    before = shop.surroundings()
    is_small = len(file.content) < SMALL and chance.random() < 0.15
    loader = yaml.SafeLoader if is_small else document_module._LOADER
    first, others = commands(chance)

    def tried(words: tuple[str, ...]) -> Ran:
        shop.file.write_bytes(file.content)
        with patch.object(document_module, "_LOADER", loader):
            ran = shop.ran(words)
        tally.add(file, ran)
        reason = fault_of(shop, file, ran)
        if reason is None and shop.surroundings() != before:
            reason = "something beside the home was changed"
        if reason is not None:
            short = replace(ran, out=ran.out[-1500:], err=ran.err[-1500:])
            tally.violations.append(Violation(file, short, reason))
        return ran

    share = 0.5 if tried(first).code == 0 else 0.1
    for words in others:
        if chance.random() < share:
            tried(words)


def try_files(
    folder: Path, seeds: Sequence[int], on_next: Callable[[], None] = lambda: None
) -> Tally:
    """The damaged files of these seeds, one after the other."""
    shop, tally = Workshop(folder), Tally()
    shop.file.write_text(SMALLEST, encoding="utf-8")
    for words in (("map", "validate"), ("leads", "run")):
        shop.ran(words)  # what is imported and made once is no part of the first file's time
    for seed in seeds:
        on_next()
        try_file(shop, damaged_file(seed), tally)
    return tally


# --- the command -------------------------------------------------------------------------------


def summary(tally: Tally, seconds: float) -> str:
    codes = sorted({code for _, code in [*tally.by_kind, *tally.by_command]})
    lines = [f"{tally.files:,} damaged files in {seconds:.0f} s", ""]
    for title, counts in (
        ("kind of damage (map validate)", tally.by_kind),
        ("command", tally.by_command),
    ):
        lines.append(f"| {title} | " + " | ".join(f"exit {code}" for code in codes) + " |")
        lines.append("|---|" + "---|" * len(codes))
        for name in dict.fromkeys(name for name, _ in sorted(counts)):
            numbers = " | ".join(f"{counts[name, code]:,}" for code in codes)
            lines += [f"| {name} | {numbers} |"]
        lines.append("")
    lines.append("slowest:")
    lines += [
        f"  {took:.2f} s  {command}  seed {seed} ({kinds})"
        for took, seed, command, kinds in tally.slowest
    ]
    reasons = Counter(re.sub(r"[\d.]+|: .*", "", one.reason) for one in tally.violations)
    lines.append(f"violations: {len(tally.violations)} {dict(reasons) or ''}".rstrip())
    return "\n".join(lines)


def end_when_hanging() -> None:
    """A loop inside a parser holds the interpreter: only this ends it, and the file stays."""
    faulthandler.dump_traceback_later(HANGING, exit=True)


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    first = int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().randrange(10**9)
    for name in [name for name in os.environ if name.startswith("STCLI_")]:
        del os.environ[name]
    kept = Path(tempfile.mkdtemp(prefix="damaged-files-"))
    print(f"files {first} to {first + count - 1}; what is tried now is in {kept}/work", flush=True)
    began = time.monotonic()
    tally = try_files(kept / "work", range(first, first + count), end_when_hanging)
    faulthandler.cancel_dump_traceback_later()
    print(summary(tally, time.monotonic() - began))
    for violation in tally.violations[:SHOWN]:
        place = kept / f"{violation.file.seed}.yaml"
        place.write_bytes(violation.file.content)
        print(f"\nVIOLATION, kept as {place}\n{violation}")
    if not tally.violations:
        import shutil

        shutil.rmtree(kept)
    return 1 if tally.violations else 0


if __name__ == "__main__":
    sys.exit(main())
