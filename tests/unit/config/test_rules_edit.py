"""Setting and unsetting mappings in campaign files of every style: what was asked for, nothing else."""

import io
import itertools
import multiprocessing
import os
import random
import re
import stat
import tempfile
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import pytest
import ruamel.yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from stcli.config import document as document_module
from stcli.config.document import MappingNode, SequenceNode, parse_document
from stcli.config.files import CampaignFiles
from stcli.config.load import FIELDS_OF, interpret
from stcli.domain.campaign import Tab
from stcli.domain.catalog import ADDRESS_TOGETHER, TargetType, catalogue_of
from stcli.domain.ids import CampaignName
from stcli.domain.mapping.rules import DATA_TYPES, Rule
from stcli.errors import ConfigurationError
from stcli.paths import Home
from tests.unit.config.test_edit import LOADERS, QUICK, our_shape, ruamel_shape

RULE = TypeAdapter(Rule)
NAME = CampaignName("spring")
TRANSFORMS = "trim lower upper title digits first_name last_name".split()
LABELS = ["Phone", "Last Name", "a: b", "Land #2", "it's", "Größe, cm", "NO", "0123", "[x]", "&x"]
TEXTS = [
    "Referral",
    "two words",
    "NO",
    "true",
    "null",
    "0123",
    "8:30",
    "2026-11-23",
    "it's",
    'a "b"',
    "a: b",
    "a #b",
    "# x",
    "x:",
    "- y",
    "[a, b",
    "*a",
    "&a b",
    "!t",
    "%x",
    "@x",
    "C:\\x\\n",
    " before",
    "behind ",
    "{x}",
    "two\nlines",
    "a\tb",
    "é 山田 😀",
    "a\u2028b",
    "\x07",
    "long " * 60 + "text",
]
NOTE = re.compile(r"# note \d+[^\r\n]*")


# --- files in many styles ----------------------------------------------------------------------


class Writer:
    """Writes a random campaign file; ``rules`` is what its mappings say, in plain Python."""

    def __init__(self, chance):
        self.chance = chance
        self.step = chance.choice([1, 2, 2, 3, 4])
        self.newline = chance.choice(["\n", "\n", "\r\n"])
        self.noisy = chance.choice([0.0, 0.15, 0.4])
        self.aligned = chance.random() < 0.4
        self.notes = 0
        self.has_block_text = False  # behind it a deeper comment is text, or may become text
        self.rules = {}

    def text(self):
        lines = [self.note()] if self.chance.random() < 0.5 else []
        lines += ["---"] if self.chance.random() < 0.1 else []
        lines += self.block(self.settings(), 0, ())
        lines += self.noise(0)
        text = "\n".join(lines) + self.chance.choice(["\n", "\n", "\n\n", ""])
        mark = self.chance.choice(["", "", "\ufeff"])
        return mark + text.replace("\n", self.newline)

    # what the file says

    def settings(self):
        chance = self.chance
        customers = {"tenant_id": 985798691}
        if chance.random() < 0.5:
            customers |= {"environment": "integration", "client_id": "cid.8f3k"}
        whole = {"version": 1, "referral_campaign": "spring-hvac", "servicetitan": customers}
        for tab in (Tab.LEADS, Tab.REFERRERS):
            if chance.random() < 0.8:
                whole[tab.value] = self.shuffled(self.booking_tab(tab))
        if chance.random() < 0.8:
            whole["sync"] = self.shuffled(self.sync_tab())
        if chance.random() < 0.5:
            whole["qualification"] = {
                "method": "booking_becomes_job",
                "conditions": {"exclude": ["recall", "warranty"], "minimum_total": 250},
                "limits": {"max_qualifies": 5},
            }
        return self.shuffled(whole)

    def booking_tab(self, tab):
        known = {"action": "nothing", "since": "2026-11-23", "limits": {"max_creates": 200}}
        if tab is Tab.REFERRERS:
            known["include_sources"] = ["Referred", "Added by admin"]
        section = {key: known[key] for key in known if self.chance.random() < 0.5}
        return section | self.fields(tab, "fields")

    def sync_tab(self):
        known = {"refresh": "1d", "filter": {"tags": ["gold"], "created_since": "2020-01-01"}}
        section = {"type": "ongoing"} | {k: known[k] for k in known if self.chance.random() < 0.5}
        return section | self.fields(Tab.SYNC, "fields") | self.fields(Tab.RETURN, "return_fields")

    def fields(self, tab, key):
        if self.chance.random() < 0.15:
            return {}
        targets = {target_of(self.chance, tab) for _ in range(self.chance.choice([0, 1, 2, 4, 7]))}
        rules = {name: valid_rule(self.chance, tab, name) for name in sorted(targets)}
        if "email" in rules and self.chance.random() < 0.1:  # other edits have to live with it
            rules["email"] = {"type": "dynamic", "from": "email", "transform": ["shout"]}
        rules = self.shuffled(rules)
        self.rules[tab] = dict(rules)
        return {key: rules}

    def shuffled(self, mapping):
        keys = self.chance.sample(list(mapping), len(mapping))
        return {key: mapping[key] for key in keys}

    # how it says it

    def note(self):
        self.notes += 1
        return f"# note {self.notes}" + self.chance.choice(["", ": [x {", " it's", '\t"', " é"])

    def noise(self, column):
        """Comments and blank lines of their own."""
        lines = []
        while self.chance.random() < self.noisy:
            deeper = 0 if self.has_block_text else self.chance.choice([0, 0, 0, 3])
            if self.chance.random() < 0.3:
                lines.append(" " * self.chance.choice([0, deeper]))
            else:
                at = self.chance.choice([column + deeper, column + deeper, 0])
                lines.append(" " * at + self.note())
        return lines

    def behind(self):
        """What may follow on a line that is complete."""
        if self.chance.random() < self.noisy:
            return " " * self.chance.randint(1, 4) + self.note()
        return "  " if self.chance.random() < 0.03 else ""

    def block(self, mapping, column, path):
        lines = []
        width = max((len(self.key(key)) for key in mapping), default=0)
        for key, value in mapping.items():
            lines += self.noise(column)
            head = f"{' ' * column}{self.key(key)}:"
            gap = " " * (width - len(self.key(key)) + 1) if self.aligned else " "
            lines += self.entry(head, gap, value, column, (*path, key))
        return lines

    def entry(self, head, gap, value, column, path):
        inner = column + self.step
        style = self.style(path, value)
        if style == "block" and isinstance(value, dict):
            return [head + self.behind(), *self.block(value, inner, path)]
        if style == "block" and isinstance(value, list):
            lines = [head + self.behind()]
            for item in value:
                lines += self.noise(column)
                lines.append(f"{' ' * column}- {self.scalar(item, in_flow=False)}{self.behind()}")
            return lines
        if isinstance(value, dict | list):
            return [f"{head}{gap}{self.flow(value, column, path)}{self.behind()}"]
        is_line = isinstance(value, str) and value.isprintable() and value == value.strip() != ""
        if is_line and len(path) > 3 and self.chance.random() < 0.1:
            self.has_block_text = True
            mark = self.chance.choice(["|-", ">-"])
            return [f"{head}{gap}{mark}{self.behind()}", f"{' ' * inner}{value}"]
        return [f"{head}{gap}{self.scalar(value, in_flow=False, column=inner)}{self.behind()}"]

    def style(self, path, value):
        if not value:
            return "flow"
        is_tab = len(path) == 1
        is_fields = path[-1] in ("fields", "return_fields")
        likely = 0.97 if is_tab else 0.8 if is_fields else 0.35
        return "block" if self.chance.random() < likely else "flow"

    def flow(self, value, column, path):
        if not value:
            return "{}" if isinstance(value, dict) else "[]"
        opening, closing = "{}" if isinstance(value, dict) else "[]"
        inner = column + self.step
        lines = self.chance.random() < (0.6 if path[-1] in ("fields", "return_fields") else 0.1)
        items = value.items() if isinstance(value, dict) else [(None, item) for item in value]
        parts = []
        for key, entry in items:
            head = "" if key is None else f"{self.key(key, in_flow=True)}: "
            deeper = inner if lines else column
            parts.append(head + self.flow_value(entry, deeper, (*path, key)))
        if not lines:
            space = self.chance.choice(["", "", " "])
            return f"{opening}{space}{', '.join(parts)}{space}{closing}"
        if self.chance.random() < 0.3:  # the first behind the bracket, the last before the other
            gaps = [f",{self.behind()}\n{' ' * inner}" for _ in parts[1:]] + [closing]
            return opening + "".join(f"{p}{gap}" for p, gap in zip(parts, gaps, strict=True))
        text = f"{opening}{self.behind()}\n"
        for index, part in enumerate(parts):
            text += "".join(f"{line}\n" for line in self.noise(inner))
            comma = "," if index + 1 < len(parts) else self.chance.choice(["", ","])
            text += f"{' ' * inner}{part}{comma}{self.behind()}\n"
        return f"{text}{' ' * inner}{closing}"

    def flow_value(self, value, column, path):
        if isinstance(value, dict | list):
            return self.flow(value, column, path)
        return self.scalar(value, in_flow=True)

    def key(self, key, *, in_flow=False):
        """Always the same for one key, so that columns can be aligned."""
        if re.fullmatch(r"[a-z][a-z0-9_.]*", key) and key not in ("null", "true", "false"):
            return key
        return self.quoted(key, "double" if len(key) % 2 else "single")

    def scalar(self, value, *, in_flow, column=0):
        if not isinstance(value, str):
            return str(value)
        style = self.chance.choice(["plain", "plain", "single", "double"])
        if style == "plain" and self.can_be_plain(value, in_flow=in_flow):
            return value
        text = self.quoted(value, style)
        folds = list(re.finditer(r"(?<=\w) (?=\w)", text))
        if column and folds and self.chance.random() < 0.15:
            at = self.chance.choice(folds).start()
            return f"{text[:at]}\n{' ' * column}{text[at + 1 :]}"
        return text

    def can_be_plain(self, text, *, in_flow):
        if not text.isprintable() or not re.fullmatch(r"[A-Za-z0-9]([^:#]*[^:#\s])?", text):
            return False
        return text != "null" and not (in_flow and re.search(r"[\[\]{},]", text))

    def quoted(self, text, style):
        if style != "double" and text.isprintable():
            return "'{}'".format(text.replace("'", "''"))
        escaped = text.replace("\\", "\\\\").replace('"', '\\"')
        shown = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in escaped)
        return f'"{shown}"'


# --- mappings, right and wrong -----------------------------------------------------------------


def target_of(chance, tab):
    pattern = chance.choice(catalogue_of(tab.value).targets).name
    return with_label(chance, pattern)


def with_label(chance, name):
    return re.sub("(LABEL|NAME)$", lambda _: chance.choice(LABELS), name)


def source_of(chance, tab, *, in_template=False):
    sources = [source.name for source in catalogue_of(tab.value).sources]
    return with_label(chance, chance.choice(sources))


def options_of(tab, name):
    target = catalogue_of(tab.value).target(name)
    return target.options if target is not None else ()


def valid_rule(chance, tab, name):
    """A rule that the catalogue takes for this target, in the words of a file."""
    target = catalogue_of(tab.value).target(name)
    types = ["dynamic", "template"]
    is_shared = name == "external_id" or (tab is Tab.SYNC and name == "email")
    if not is_shared:
        types.append("manual_input")
        is_named = target.type is TargetType.NAME_OR_ID or name.startswith("custom_field:")
        types += ["manual_select"] * bool(target.options or is_named)
    return rule_of_type(chance, tab, name, chance.choice(types))


def rule_of_type(chance, tab, name, data_type):
    options = options_of(tab, name)
    must_be_own = name == "external_id"
    if data_type.startswith("manual"):
        may_be_blank = data_type == "manual_input" and name in ("phone", "mobile_phone")
        texts = list(options) or [*TEXTS, ""][: len(TEXTS) + may_be_blank]
        if name == "start":
            texts = ["2026-12-01T15:00:00Z", "2026-12-01 15:00", ""]
        return {"type": data_type, "value": chance.choice(texts)}
    transforms = ["trim"] if must_be_own else TRANSFORMS
    rule = {"type": data_type}
    if data_type == "dynamic":
        rule["from"] = chance.choice(["code", "id"]) if must_be_own else source_of(chance, tab)
        if chance.random() < 0.3:
            rule["default"] = chance.choice([*TEXTS, ""])
    else:
        named = "{code}" if must_be_own else f"{{{source_of(chance, tab)}}}"
        rule["template"] = chance.choice(["", "of ", "{{x}} ", "a: #", "'"]) + named
    if chance.random() < 0.4:
        rule["transform"] = [chance.choice(transforms) for _ in range(chance.randint(0, 3))]
    return rule


def of_another_type(chance, tab, name, old):
    """A rule that the catalogue takes, of another data type where the target has several."""
    rules = [valid_rule(chance, tab, name) for _ in range(8)]
    return next((rule for rule in rules if rule["type"] != old["type"]), rules[0])


def similar_rule(chance, tab, name, old):
    """A rule of the same data type, so that it can change key by key."""
    new = rule_of_type(chance, tab, name, old["type"])
    kept = {key: old[key] for key in old if key in new and chance.random() < 0.4}
    return valid_rule(chance, tab, name) if "shout" in str(kept) else {**new, **kept}


def wrong_change(chance, tab):
    """A target with a rule that the catalogue refuses, whatever else the file says."""
    fitting = {"type": "dynamic", "from": source_of(chance, tab)}
    name = target_of(chance, tab)
    wrong = [
        ("no_such_target", fitting),
        (name, {**fitting, "from": "no_such_source"}),
        (name, {**fitting, "transform": ["trim", "shout"]}),
        (name, {"type": "template", "template": "{first_name"}),
        (name, {"type": "template", "template": "{no_such_source}"}),
    ]
    if tab in (Tab.LEADS, Tab.REFERRERS):
        wrong += [
            ("priority", {"type": "manual_select", "value": "high"}),
            ("is_first_time_client", {"type": "manual_input", "value": "perhaps"}),
            ("summary", {"type": "manual_select", "value": "Referral"}),
            ("source", {"type": "manual_input", "value": "  "}),
            ("start", {"type": "manual_input", "value": "tomorrow"}),
            ("address.city", {"type": "manual_input", "value": ""}),
            ("external_id", {"type": "dynamic", "from": "email"}),
            ("external_id", {"type": "dynamic", "from": "code", "transform": ["lower"]}),
        ]
    if tab is Tab.SYNC:
        wrong.append(("email", {"type": "manual_input", "value": "one@example.com"}))
    return chance.choice(wrong)


class Asked(NamedTuple):
    """One call of ``set_rules``: the targets with their new rule, and whether it has to be refused."""

    tab: Tab
    changes: dict
    is_wrong: bool


def chosen_changes(chance, rules):
    tab = chance.choice(list(Tab))
    there = rules.get(tab, {})
    changes = {}
    for _ in range(chance.choice([1, 1, 1, 1, 3])):
        is_old = there and chance.random() < 0.65
        name = chance.choice(list(there)) if is_old else target_of(chance, tab)
        kind = chance.random()
        if kind < 0.3:
            changes[name] = None
        elif kind < 0.6 and name in there:
            changes[name] = similar_rule(chance, tab, name, there[name])
        elif kind < 0.85 and name in there:
            changes[name] = of_another_type(chance, tab, name, there[name])
        else:
            changes[name] = valid_rule(chance, tab, name)
    is_wrong = chance.random() < 0.12
    if is_wrong:
        name, rule = wrong_change(chance, tab)
        changes[name] = rule
    return Asked(tab, changes, is_wrong)


def rule_or_none(written):
    return None if written is None else RULE.validate_python(written)


def applied(rules, asked):
    """The model of ``set_rules``, written without any of its code."""
    changed = dict(rules)
    for name, rule in asked.changes.items():
        if rule is None:
            changed.pop(name, None)
        else:
            changed[name] = rule
    return changed


# --- what may change in the text ---------------------------------------------------------------


class Edited(NamedTuple):
    """Places of one edited target: lines that may change, and characters whose comments may go."""

    lines: tuple[int, int]
    comments: list[tuple[int, int]]


def end_of(text, node):
    """Behind the last character of a node, without comments and blank lines after it."""
    if isinstance(node, MappingNode) and not node.flow:
        return max(max(key.end, end_of(text, value)) for key, value in node.entries)
    if isinstance(node, SequenceNode) and not node.flow:
        return max(end_of(text, item) for item in node.items)
    return node.start + len(text[node.start : node.end].rstrip())


def is_block(node):
    return isinstance(node, MappingNode | SequenceNode) and not node.flow


def behind_end(text, end):
    """Where the line of ``end`` ends, if only a comma and a comment follow; else ``end``."""
    rest = re.compile(r"[ \t]*,?[ \t]*(#[^\r\n]*)?(?=[\r\n]|$)").match(text, end)
    return rest.end() if rest else end


def places_of(document, tab, name, old, new, *, is_emptied):
    """Where the text may change when this target's rule does. Mappings that are all taken out leave
    ``{}`` behind their key."""
    text = document.text

    def lines(start, end):
        return document.position_of(start).line - 1, document.position_of(end).line - 1

    whole = fields_place(document, tab)
    if old is None:
        return Edited(whole, [])
    fields = document.node(FIELDS_OF[tab])
    key, value = fields.find(name)
    end = end_of(text, value)
    if new is None:
        return Edited(
            whole if fields.flow or is_emptied else lines(key.start, end),
            [(key.start, behind_end(text, end))],
        )
    comments = [
        span
        for inner_key, inner in value.entries
        for span in given_up(text, inner_key, inner, written(old), written(new))
    ]
    return Edited(lines(key.start, end), comments)


def written(rule):
    """A rule with every key that its data type has."""
    return rule_or_none(rule).model_dump(by_alias=True, mode="json")


def given_up(text, key, node, old, new):
    """Where comments go with a key of a rule that becomes another one: with a key that the new one
    does not have, or with the items by which its list is shorter."""
    was, name = old[key.text], key.text
    if name not in ("default", "transform"):  # where the value comes from stays, by another name
        return [(node.start, end_of(text, node))]
    now = new.get(name)
    if was == now:
        return []
    if now in (None, "", []):
        return [(key.start, behind_end(text, end_of(text, node)))]
    if name == "default":
        return [(node.start, end_of(text, node))]
    return [
        (item.start, behind_end(text, end_of(text, item))) for item in node.items[surplus(was, now)]
    ]


def surplus(old, new):
    """The items that go from a list, if others before and behind them are the same."""
    before = alike(old, new)
    behind = alike(old[before:][::-1], new[before:][::-1])
    return slice(len(new) - behind, len(old) - behind)


def alike(left, right):
    """By how many items both begin."""
    return sum(
        1
        for _ in itertools.takewhile(
            lambda pair: pair[0] == pair[1], zip(left, right, strict=False)
        )
    )


def fields_place(document, tab):
    """The lines of a tab's mappings, from their key on; of a tab without, nothing stands there."""
    path = FIELDS_OF[tab]
    while path and document.node(path) is None:
        path = path[:-1]
    node = document.node(path)
    if path != FIELDS_OF[tab] and (not path or not node.flow):
        return -1, -2
    first = document.key_position(path).line - 1
    return first, document.position_of(end_of(document.text, node)).line - 1


def lines_of(text):
    return re.split("\r\n|\r|\n", text)


def assert_rest_stays(before, after, edited):
    """Lines of no edited target stand there as before and in order, and so do all comments."""
    old, new = lines_of(before), lines_of(after)
    touched = {line for one in edited for line in range(one.lines[0], one.lines[1] + 1)}
    kept = [line for number, line in enumerate(old) if number not in touched]
    position = iter(new)
    assert all(line in position for line in kept), (before, after)
    if len(edited) == 1:
        assert_one_place(old, new, edited[0].lines, (before, after))
    given_up = [span for one in edited for span in one.comments]
    expected = [
        match.group()
        for match in NOTE.finditer(before)
        if not any(start <= match.start() < end for start, end in given_up)
    ]
    left = iter(NOTE.findall(after))
    assert all(note in left for note in expected), (before, after)
    notes = iter(NOTE.findall(before))
    assert all(note in notes for note in NOTE.findall(after)), (before, after)


def assert_one_place(old, new, lines, shown):
    """Everything before and everything behind one place is as it was, with nothing in between."""
    first, last = lines
    if first < 0:  # nothing was there: lines came in somewhere, and none went
        old, new = ([*text[:-1], *filter(None, text[-1:])] for text in (old, new))
        first = next((n for n, line in enumerate(old) if new[n : n + 1] != [line]), len(old))
        last = first - 1
    behind = old[last + 1 :]
    assert len(new) >= first + len(behind), shown
    assert new[:first] == old[:first], shown
    assert new[len(new) - len(behind) :] == behind, shown


# --- any file, any sequence of edits -----------------------------------------------------------


class Place:
    """A home with one campaign file of a style of its own."""

    def __init__(self, folder, seed):
        self.chance = random.Random(seed)
        writer = Writer(self.chance)
        self.newline = writer.newline
        self.home = Home(config=folder, state=folder / "state", logs=folder / "logs")
        self.file = self.home.campaign_file(NAME)
        self.file.parent.mkdir()
        self.file.write_bytes(writer.text().encode())
        self.mode = self.chance.choice([0o600, 0o640, 0o644])
        self.file.chmod(self.mode)
        self.rules = writer.rules
        self.files = CampaignFiles(self.home)
        self.has_sync = "sync" in self.document.value

    @property
    def text(self):
        return self.file.read_bytes().decode()

    @property
    def document(self):
        return parse_document(self.text)

    def said(self):
        """The settings without the mappings, and the mappings of each tab in their order."""
        loaded = interpret(self.document)
        rest = loaded.config.model_dump(mode="json", by_alias=True)
        for section, key in FIELDS_OF.values():
            (rest[section] or {}).pop(key, None)
        return rest, {tab: list(loaded.config.rules_of(tab).items()) for tab in Tab}

    def expected(self):
        return {
            tab: [(name, rule_or_none(rule)) for name, rule in self.rules.get(tab, {}).items()]
            for tab in Tab
        }

    def set(self, asked):
        rules = {name: rule_or_none(rule) for name, rule in asked.changes.items()}
        return self.files.set_rules(NAME, asked.tab, rules)

    def assert_tidy(self):
        if os.name == "posix":
            assert stat.S_IMODE(self.file.stat().st_mode) == self.mode
        names = {path.name for path in self.file.parent.iterdir()}
        assert names - {f".{self.file.name}.lock"} == {self.file.name}
        assert {path.name for path in self.home.config.iterdir()} == {"campaigns"}


def edit_once(place):
    """One random call of ``set_rules`` on the file and on the model; answers its places in the text
    before, or None where it had to be refused."""
    asked = chosen_changes(place.chance, place.rules)
    before, document = place.text, place.document
    if asked.is_wrong or (asked.tab in (Tab.SYNC, Tab.RETURN) and not place.has_sync):
        with pytest.raises(ConfigurationError):
            place.set(asked)
        assert place.text == before
        return None
    old = place.rules.get(asked.tab, {})
    is_emptied = all(asked.changes.get(name, old[name]) is None for name in old)
    edited = [
        places_of(document, asked.tab, name, old.get(name), rule, is_emptied=is_emptied)
        for name, rule in asked.changes.items()
        if rule_or_none(old.get(name)) != rule_or_none(rule)
    ]
    diff, after = place.set(asked)
    if not edited:
        assert place.text == before
    assert bool(diff) == bool(edited)
    place.rules[asked.tab] = applied(old, asked)
    assert list(after.config.rules_of(asked.tab).items()) == place.expected()[asked.tab]
    return edited


@QUICK
@given(st.integers(0, 2**40))
def test_any_sequence_of_changes_reads_as_the_model_and_leaves_the_rest(seed):
    """The file says what a plain dict of rules says; all other lines and comments stay; what is
    refused changes no byte; the mode is kept, and only the lock file stands beside it."""
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.object(document_module, "_LOADER", LOADERS[seed % len(LOADERS)]),
    ):
        place = Place(Path(folder), seed)
        rest, rules = place.said()
        assert rules == place.expected()
        for _ in range(4):
            before = place.text
            edited = edit_once(place)
            assert place.said() == (rest, place.expected()), place.text
            place.assert_tidy()
            assert place.text.startswith("\ufeff") == before.startswith("\ufeff")
            assert set(re.findall("\r\n|\r|\n", place.text)) <= {place.newline}
            if edited is not None:
                assert_rest_stays(parse_document(before).text, place.document.text, edited)


@QUICK
@given(st.integers(0, 2**40))
def test_ruamel_reads_the_edited_file_alike(seed):
    """A second reader, of YAML 1.2, finds the same structure and texts before and after."""
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder), seed)
        for _ in range(3):
            stream = io.StringIO(place.text, newline="")
            other = ruamel.yaml.YAML(typ="safe", pure=True).compose(stream)
            assert ruamel_shape(other) == our_shape(place.document.root), place.text
            edit_once(place)


BRACKETS = """\
version: 1
referral_campaign: x
servicetitan: {tenant_id: 1}
sync:
  type: ongoing
  fields: %s
"""
EMAIL = {"type": "dynamic", "from": "email"}
NAMED = {"type": "dynamic", "from": "name"}


@pytest.mark.parametrize(
    ("fields", "changes"),
    [
        ("{  # note 1\n    email: {type: dynamic, from: email}\n  }", {"email": None}),
        ("{\n    # note 1\n    email: {type: dynamic, from: email}\n  }", {"email": None}),
        ("{\n    email: {type: dynamic, from: email}\n    # note 1\n  }", {"email": None}),
        (
            "{\n    # note 1\n    email: {type: dynamic, from: email}\n  }",
            {"email": None, "first_name": NAMED},
        ),
        (
            "{email: {type: dynamic, from: email}, # note 1\n first_name: {type: dynamic, from: id}}",
            {"first_name": None},
        ),
        (
            "\n    email: {type: dynamic,\n      from: email,  # note 1\n      default: x}",
            {"email": EMAIL},
        ),
    ],
)
def test_a_comment_in_brackets_outlives_its_neighbour(tmp_path, fields, changes):
    """What goes takes only its own comment with it, also where nothing else is left."""
    home = Home(config=tmp_path, state=tmp_path / "state", logs=tmp_path / "logs")
    file = home.campaign_file(NAME)
    file.parent.mkdir()
    file.write_text(BRACKETS % fields, encoding="utf-8")
    rules = {name: rule_or_none(rule) for name, rule in changes.items()}
    CampaignFiles(home).set_rules(NAME, Tab.SYNC, rules)
    text = file.read_text(encoding="utf-8")
    said = interpret(parse_document(text)).config.rules_of(Tab.SYNC)
    assert {name: said.get(name) for name in rules} == rules
    assert NOTE.findall(text) == ["# note 1"]


COMMENTED = """\
    source:  # note 1
      # note 2
      type: dynamic  # note 3
      # note 4
      from: campaign.name  # note 5
      transform:  # note 6
        # note 7
        - lower  # note 8
        # note 9
        - trim  # note 10
      # note 11
"""
TEMPLATE = {"type": "template", "template": "Web"}


@pytest.mark.parametrize(
    ("rule", "changed"),
    [
        (
            {**TEMPLATE, "transform": ["lower", "trim"]},
            {"type: dynamic": "type: template", "from: campaign.name": "template: Web"},
        ),
        ({"transform": ["lower", "upper"]}, {"- trim": "- upper"}),
        ({"transform": ["upper", "trim"]}, {"- lower": "- upper"}),
        ({"transform": ["trim"]}, {"        - lower  # note 8\n": ""}),
        ({"transform": ["lower"]}, {"        - trim  # note 10\n": ""}),
        (
            {"transform": ["lower", "upper", "trim"]},
            {"# note 8\n": "# note 8\n        - upper\n"},
        ),
        ({"transform": ["upper", "lower", "trim"]}, {"- lower": "- upper\n        - lower"}),
        (
            {"type": "manual_input", "value": "Web"},
            {
                "type: dynamic": "type: manual_input",
                "from: campaign.name": "value: Web",
                COMMENTED[
                    COMMENTED.index("      transform") : COMMENTED.index("      # note 11")
                ]: "",
            },
        ),
    ],
)
def test_a_mapping_in_lines_changes_word_by_word(tmp_path, rule, changed):
    """Another data type and another list are new words in the old lines; comments go only with what
    is no more."""
    home = Home(config=tmp_path, state=tmp_path / "state", logs=tmp_path / "logs")
    file = home.campaign_file(NAME)
    file.parent.mkdir()
    before = BRACKETS.partition("sync:")[0] + "leads:\n  fields:\n" + COMMENTED
    file.write_text(before, encoding="utf-8")
    whole = rule if "type" in rule else {"type": "dynamic", "from": "campaign.name", **rule}
    CampaignFiles(home).set_rules(NAME, Tab.LEADS, {"source": rule_or_none(whole)})
    for old, new in changed.items():
        assert before.count(old) == 1
        before = before.replace(old, new)
    assert file.read_text(encoding="utf-8") == before


def test_the_files_of_these_tests_have_every_style():
    """What the properties are shown on is not plainer than it claims to be."""
    texts = [Writer(random.Random(seed)).text() for seed in range(300)]
    wanted = [
        r"\A\ufeff",
        r"\r\n",
        r"(?<!\r)\n",
        r"(?m)^ +# note",
        r"(?m)^# note",
        r"}\s+# note",
        r"fields: \{\}",
        r"fields:\s*\{[^}]",
        r"fields:\s*(# note.*)?[\r\n]",
        r": \{type: ",
        r"(?m)^ +type: dynamic",
        r"type: 'dynamic'",
        r'type: "dynamic"',
        r": [|>]-",
        r"(?m)^ *\S+: {3,}\{",
        r"(?m)^ *- trim",
        r"(?m)^ *- trim +# note",
        r"(?m)^ *type: dynamic +# note",
        r"(?m)^ +# note.*[\r\n]+ *- \w+",
        r"(?m)^[ ]{4}fields:",
        r"(?m)^\s*$",
        r"\A\ufeff?(version|leads|sync|servicetitan|qualification):",
        r"[^\n]\Z",
    ]
    for style in wanted:
        assert any(re.search(style, text) for text in texts), style
    assert any("fields" not in text for text in texts)
    for data_type in DATA_TYPES:
        assert any(data_type in text for text in texts)
    assert set(ADDRESS_TOGETHER) <= set(re.findall(r"address\.\w+", "".join(texts)))


# --- two at the same time ----------------------------------------------------------------------

SHARED = """\
# two programs edit this
version: 1
referral_campaign: spring-hvac   # code or id
servicetitan: {tenant_id: 985798691}
sync:
  type: ongoing
  fields:
    # who they are
    first_name:  {type: dynamic, from: name}    # A writes this
    email:       {type: dynamic, from: email}   # nobody writes this
    meta.Shared: {type: dynamic, from: phone}   # B writes this
"""
TIMES = 40


def edit_many_times(folder, own, letter, ready):
    """What each of the two processes does: change its own target, add others, take some out."""
    home = Home(config=folder, state=folder / "state", logs=folder / "logs")
    files = CampaignFiles(home)
    ready.wait(60)
    for number in range(TIMES):
        value = {"type": "manual_input", "value": f"{letter}{number}"}
        changes = {own: value, f"meta.{letter}{number}": value}
        if number % 3 == 2:
            changes[f"meta.{letter}{number - 1}"] = None
        files.set_rules(
            NAME, Tab.SYNC, {name: rule_or_none(rule) for name, rule in changes.items()}
        )


def test_two_processes_at_the_same_time_lose_no_edit(tmp_path):
    """Each finds all of its own edits in the file afterwards, and every comment is still there."""
    home = Home(config=tmp_path, state=tmp_path / "state", logs=tmp_path / "logs")
    file = home.campaign_file(NAME)
    file.parent.mkdir()
    file.write_text(SHARED, encoding="utf-8")
    spawn = multiprocessing.get_context("spawn")
    ready = spawn.Barrier(2)
    both = [
        spawn.Process(target=edit_many_times, args=(tmp_path, own, letter, ready))
        for own, letter in (("first_name", "A"), ("meta.Shared", "B"))
    ]
    for process in both:
        process.start()
    for process in both:
        process.join(100)
    assert [process.exitcode for process in both] == [0, 0]
    text = file.read_text(encoding="utf-8")
    rules = interpret(parse_document(text)).config.rules_of(Tab.SYNC)
    expected = {
        f"meta.{letter}{number}": f"{letter}{number}"
        for letter in "AB"
        for number in range(TIMES)
        if number % 3 != 1 or number == TIMES - 1
    }
    expected |= {"first_name": f"A{TIMES - 1}", "meta.Shared": f"B{TIMES - 1}"}
    assert {name: rule.value for name, rule in rules.items() if name != "email"} == expected
    assert re.findall("#.*", text) == re.findall("#.*", SHARED)
    assert {path.name for path in file.parent.iterdir()} == {file.name, f".{file.name}.lock"}
