"""YAML text to plain values with the place of each; nothing else in stcli reads YAML.

A document is read from parser events, so nothing is ever expanded, constructed or guessed by a
library: anchors, aliases, merge keys and tags of other types are refused, equal keys are refused,
and scalars follow the YAML 1.2 core rules, except that digits with leading zeros stay text. What
looks like a time, a date, ``NO`` or a postcode therefore stays what was written.

Whatever the input, the answer is a ``Document`` or a ``ConfigurationError`` that lists every problem
found with line and column. Of YAML's syntax errors only the first of a file can be known.
"""

from __future__ import annotations

import hashlib
import math
import re
import stat
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import yaml

from stcli.errors import ConfigurationError, Problem

MAX_BYTES = 1_000_000
MAX_DEPTH = 40
_MAX_PROBLEMS = 100
MAX_DIGITS = 100

DocumentPath: TypeAlias = tuple[str | int, ...]

# Value and raw text come from the same events with either parser; libyaml's is 20 times faster.
_LOADER: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_BREAK = re.compile(r"\r\n|\r|\n")


@cache
def _unwanted(*, is_ascii: bool) -> re.Pattern[str]:
    """What may not stand in a file. Of all of Unicode that takes long to compile, and most files are
    ASCII."""
    return re.compile(
        "[^\t\n\r -~]"
        if is_ascii
        else "[^\t\n\r -~\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
    )


_SURROGATE = re.compile("[\ud800-\udfff]")

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {text: text.lower() == "true" for text in "true True TRUE false False FALSE".split()}
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)|0x[0-9a-fA-F]+|0o[0-7]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"([-+]?)\.(?:inf|Inf|INF)")
_NOT_A_NUMBER = frozenset({".nan", ".NaN", ".NAN"})

_STANDARD = "tag:yaml.org,2002:"
_BYTE_ORDER_MARK = "\ufeff"


class Position(NamedTuple):
    """A place in the file as editors count: both from 1, columns in characters."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class ScalarNode:
    """One value with its text: ``text`` without quotes, ``start`` and ``end`` with them."""

    text: str
    value: str | int | float | bool | None
    style: str
    """Empty for plain text, else the quote or ``|`` or ``>`` it starts with."""
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class MappingNode:
    """Keys with values in the file's order."""

    entries: tuple[tuple[ScalarNode, Node], ...]
    flow: bool
    start: int
    end: int

    def find(self, key: str) -> tuple[ScalarNode, Node] | None:
        """The entry of ``key``."""
        return next((entry for entry in self.entries if entry[0].text == key), None)


@dataclass(frozen=True, slots=True)
class SequenceNode:
    """A list's items."""

    items: tuple[Node, ...]
    flow: bool
    start: int
    end: int


Node: TypeAlias = ScalarNode | MappingNode | SequenceNode


@dataclass(frozen=True, slots=True)
class Document:
    """What a file says, and where. Nothing in it changes; ``value`` is a fresh copy each time."""

    file: str
    text: str
    root: Node | None
    line_starts: tuple[int, ...] = field(repr=False)

    @property
    def value(self) -> Any:
        """Plain ``dict``, ``list``, ``str``, ``int``, ``float``, ``bool`` or None (an empty file)."""
        return None if self.root is None else plain_value(self.root)

    @property
    def file_hash(self) -> str:
        """SHA-256 of the file's bytes (a byte order mark left out), in hexadecimal."""
        return hashlib.sha256(self.text.encode("utf-8", "surrogateescape")).hexdigest()

    def position(self, path: DocumentPath) -> Position:
        """Where the value at ``path`` starts; of something absent, its nearest parent's key."""
        node = self.node(path)
        return self.key_position(path) if node is None else self.position_of(node.start)

    def key_position(self, path: DocumentPath) -> Position:
        """Where the key at ``path`` (or the list's item) starts; else its nearest parent's key."""
        place = self.root.start if self.root is not None else 0
        node = self.root
        for step in path:
            if isinstance(node, MappingNode) and isinstance(step, str):
                entry = node.find(step)
                if entry is None:
                    break
                place, node = entry[0].start, entry[1]
            elif isinstance(node, SequenceNode) and _is_index(step, node):
                node = node.items[int(step)]
                place = node.start
            else:
                break
        return self.position_of(place)

    def raw(self, path: DocumentPath) -> str | None:
        """The scalar's text as written, without quotes: ``1.10``, ``true``; None where none is."""
        node = self.node(path)
        return node.text if isinstance(node, ScalarNode) else None

    def problem(self, path: DocumentPath, message: str, hint: str = "") -> Problem:
        """A problem at the value of ``path``."""
        line, column = self.position(path)
        return Problem(self.file, line, column, path_text(path), message, hint)

    def key_problem(self, path: DocumentPath, message: str, hint: str = "") -> Problem:
        """A problem at the key of ``path``."""
        line, column = self.key_position(path)
        return Problem(self.file, line, column, path_text(path), message, hint)

    def node(self, path: DocumentPath) -> Node | None:
        """The node at ``path``; None where nothing is."""
        node = self.root
        for step in path:
            if isinstance(node, MappingNode) and isinstance(step, str):
                entry = node.find(step)
                node = entry[1] if entry else None
            elif isinstance(node, SequenceNode) and _is_index(step, node):
                node = node.items[int(step)]
            else:
                return None
        return node

    def position_of(self, index: int) -> Position:
        """The line and column of a character of ``text``."""
        line = bisect_right(self.line_starts, index)
        return Position(line, index - self.line_starts[line - 1] + 1)


def _is_index(step: str | int, node: SequenceNode) -> bool:
    return isinstance(step, int) and 0 <= step < len(node.items)


def plain_value(node: Node) -> Any:
    """A node's content without its places."""
    if isinstance(node, ScalarNode):
        return node.value
    if isinstance(node, MappingNode):
        return {key.text: plain_value(value) for key, value in node.entries}
    return [plain_value(item) for item in node.items]


def path_text(path: DocumentPath) -> str:
    """``leads.fields.name`` or ``transform[0]``, as problems name a place."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{step}" if text else step
    return text


def read_document(path: Path) -> Document:
    """The document in a file; a file that cannot be read is a problem like any other.

    Only a file that is not there raises ``FileNotFoundError``: what that means, the caller knows.
    """
    return parse_document(read_bytes(path), file=str(path))


def read_bytes(path: Path) -> bytes:
    """At most one byte more than ``MAX_BYTES`` of a regular file, or ``ConfigurationError``."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise _refusal(str(path), [Problem(str(path), 0, 0, "", "is not a regular file")])
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        problem = Problem(str(path), 0, 0, "", f"cannot be read: {reason}")
    raise _refusal(str(path), [problem])


def parse_document(content: str | bytes, file: str = "") -> Document:
    """``content`` as a document; ``file`` is how problems name it. A byte order mark is skipped."""
    size = len(content) if isinstance(content, bytes) else len(content.encode(errors="replace"))
    if size > MAX_BYTES:
        message = f"is larger than {MAX_BYTES:,} bytes"
        raise _refusal(file, [Problem(file, 0, 0, "", message)])
    if isinstance(content, bytes):
        if content.startswith((b"\xff\xfe", b"\xfe\xff")):
            hint = "Save the file as UTF-8."
            raise _refusal(file, [Problem(file, 1, 1, "", "is written in UTF-16, not UTF-8", hint)])
        content = content.decode("utf-8", "surrogateescape")
    reader = _Reader(file, content.removeprefix(_BYTE_ORDER_MARK))
    root = reader.read()
    if reader.problems:
        raise _refusal(file, sorted(reader.problems, key=lambda one: (one.line, one.column)))
    return Document(file, reader.text, root, tuple(reader.line_starts))


def _refusal(file: str, problems: Sequence[Problem]) -> ConfigurationError:
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    first = str(problems[0]) if file else str(problems[0]).removeprefix(":")
    return ConfigurationError(f"{first}{more}", problems[0].hint, problems)


class _Stopped(Exception):
    """Enough is known: nothing after this place can be judged."""


@dataclass(slots=True)
class _Open:
    """A collection whose end has not come yet."""

    is_mapping: bool
    flow: bool
    start: int
    in_key: bool
    entries: list[tuple[ScalarNode, Node]] = field(default_factory=list)
    items: list[Node] = field(default_factory=list)
    lines: dict[str, tuple[int, int]] = field(default_factory=dict)
    key: ScalarNode | None = None
    wants_key: bool = True

    def close(self, end: int) -> Node:
        if self.is_mapping:
            return MappingNode(tuple(self.entries), self.flow, self.start, end)
        return SequenceNode(tuple(self.items), self.flow, self.start, end)


class _Reader:
    """Builds the tree from events without recursion, noting problems on the way."""

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.text = text
        self.problems: list[Problem] = []
        self.line_starts = [0, *(match.end() for match in _BREAK.finditer(text))]
        self._stack: list[_Open] = []
        self._root: Node | None = None
        self._documents = 0

    def read(self) -> Node | None:
        try:
            text = self._without_unwanted()
            for event in self._events(text):
                self._take(event)
        except _Stopped:
            return None
        return self._root

    def _events(self, text: str) -> Iterator[yaml.Event]:
        try:
            yield from yaml.parse(text, Loader=_LOADER)
        except yaml.MarkedYAMLError as error:
            index, message, hint = self._explained(error, text)
            self._note(index, message, hint, with_path=False)
            if message == _TAB[0]:
                self._note_other_tabs(index)
        except (yaml.YAMLError, ValueError, OverflowError):
            # the Python parser meets an escape such as "\UFFFFFFFF" with a bare ValueError
            message = "the file holds a character that YAML does not know"
            self._note(0, message, "Look for a backslash in double quotes.", with_path=False)

    def _explained(self, error: yaml.MarkedYAMLError, text: str) -> tuple[int, str, str]:
        """What the error means; at the end of the text, which bracket is still open."""
        if "nesting" in (error.problem or "") and error.problem_mark is not None:
            # libyaml from 0.2.6 on has a limit of its own, and looks ahead so far that it is met first
            return error.problem_mark.index, _TOO_DEEP, ""
        ended = error.problem_mark is not None and error.problem_mark.index >= len(text)
        if ended and self._stack and self._stack[-1].flow and "quoted" not in (error.context or ""):
            return _unclosed(self._stack[-1].start, len(text), text, self._line_of)
        return _explain(error, text, self._line_of)

    def _without_unwanted(self) -> str:
        """The text with unusable characters noted and replaced one to one, so places stay true."""
        for match in _unwanted(is_ascii=self.text.isascii()).finditer(self.text):
            code = ord(match.group())
            if 0xDC80 <= code <= 0xDCFF:
                message = f"byte 0x{code - 0xDC00:02X} is not UTF-8"
                hint = "Save the file as UTF-8."
            elif code in (0x85, 0x2028, 0x2029):
                message = f"the invisible line separator U+{code:04X} is not allowed"
                hint = 'Remove it, or write it as "\\u....".'
            else:
                message = f"the control character U+{code:04X} is not allowed"
                hint = "Save the file as UTF-8." if code == 0 else "Remove it."
            self._note(match.start(), message, hint, with_path=False)
            if code == 0:
                raise _Stopped  # a binary file, or another encoding: all else would be noise
        unwanted = _unwanted(is_ascii=self.text.isascii())
        return unwanted.sub("\ufffd", self.text) if self.problems else self.text

    def _take(self, event: yaml.Event) -> None:
        assert event.start_mark is not None
        assert event.end_mark is not None
        start, end = event.start_mark.index, event.end_mark.index
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                message = "a second document starts here; a file holds one"
                self._note(start, message, "Remove the '---'.", with_path=False)
                raise _Stopped
        elif isinstance(event, yaml.AliasEvent):
            self._note(start, f"aliases (*{event.anchor}) are not supported", _WRITE_IT_OUT)
            self._add(ScalarNode("", None, "", start, end))
        elif isinstance(event, yaml.ScalarEvent):
            self._refuse_anchor(event.anchor, start)
            self._add(self._scalar(event, start, end))
        elif isinstance(event, yaml.CollectionStartEvent):
            self._open(event, start)
        elif isinstance(event, yaml.CollectionEndEvent):
            node = self._stack.pop()
            if not node.in_key:
                self._add(node.close(end))

    def _open(self, event: yaml.CollectionStartEvent, start: int) -> None:
        self._refuse_anchor(event.anchor, start)
        is_mapping = isinstance(event, yaml.MappingStartEvent)
        tag, wanted = event.tag, f"{_STANDARD}{'map' if is_mapping else 'seq'}"
        if tag not in (None, "!", wanted):
            self._note(start, f"the tag {_shown(tag)} is not supported", "Remove it.")
        if len(self._stack) >= MAX_DEPTH:
            self._note(start, _TOO_DEEP)
            raise _Stopped
        parent = self._stack[-1] if self._stack else None
        in_key = parent is not None and parent.is_mapping and parent.wants_key
        if in_key and parent is not None:
            if not any(node.in_key for node in self._stack):
                self._note_complex_key(start)
            parent.key, parent.wants_key = None, False
        self._stack.append(_Open(is_mapping, bool(event.flow_style), start, in_key))

    def _add(self, node: Node) -> None:
        if not self._stack:
            self._root = node
            return
        parent = self._stack[-1]
        if not parent.is_mapping:
            parent.items.append(node)
        elif parent.wants_key:
            assert isinstance(node, ScalarNode)
            parent.key, parent.wants_key = self._new_key(parent, node), False
        else:
            if parent.key is not None:
                parent.entries.append((parent.key, node))
            parent.key, parent.wants_key = None, True

    def _new_key(self, parent: _Open, key: ScalarNode) -> ScalarNode | None:
        """``key`` if its entry may stand; None if the entry is to be left out."""
        parent.key = key
        if key.text == "<<" and not key.style:
            self._note(key.start, "merge keys (<<) are not supported", _WRITE_IT_OUT)
            return None
        line = self._line_of(key.start)
        first = parent.lines.setdefault(key.text, (line, key.start))
        if first[1] == key.start:
            return key
        where = f"on line {first[0]}" if first[0] != line else "earlier on this line"
        self._note(key.start, f"the key is already there, {where}", "Keep one of the two.")
        return None

    def _scalar(self, event: yaml.ScalarEvent, start: int, end: int) -> ScalarNode:
        text, style = event.value, event.style or ""
        if match := _SURROGATE.search(text):
            self._note(start, f"\\u{ord(match.group()):04x} in it is half a character")
        value: str | int | float | bool | None = text
        tag = event.tag
        is_key = bool(self._stack) and self._stack[-1].is_mapping and self._stack[-1].wants_key
        if tag in (None, "!") and (style or tag or is_key):
            pass
        elif tag is None:
            value = self._resolved(text, start)
        elif tag != f"{_STANDARD}str":
            value = self._tagged(tag, text, start)
        return ScalarNode(text, value, style, start, end)

    def _resolved(self, text: str, start: int) -> str | int | float | bool | None:
        if len(text) > MAX_DIGITS and (_INTEGER.fullmatch(text) or _FLOAT.fullmatch(text)):
            message = f"is a number of more than {MAX_DIGITS} digits"
            self._note(start, message, "Put it in quotes if it is text.")
            return text
        return resolve_plain(text)

    def _tagged(self, tag: str, text: str, start: int) -> str | int | float | bool | None:
        """A value whose type the file names; one that the text does not fit is a problem."""
        name = tag.removeprefix(_STANDARD)
        types = {"null": type(None), "bool": bool, "int": int, "float": float}
        if not tag.startswith(_STANDARD) or name not in types:
            self._note(start, f"the tag {_shown(tag)} is not supported", "Remove it.")
            return text
        value = self._resolved(text, start)
        if name == "float" and type(value) is int:
            return float(value)
        if type(value) is not types[name]:
            self._note(start, f"is not what its tag {_shown(tag)} says", "Remove the tag.")
        return value

    def _refuse_anchor(self, anchor: str | None, start: int) -> None:
        if anchor is not None:
            self._note(start, f"anchors (&{anchor}) are not supported", _WRITE_IT_OUT)

    def _note_complex_key(self, start: int) -> None:
        hint = "Put it in quotes, text with {source} too."
        self._note(start, "a key has to be text, not a list or mapping", hint)

    def _note_other_tabs(self, index: int) -> None:
        for match in re.finditer(r"^ *(\t)[ \t]*[^\s#]", self.text, re.MULTILINE):
            if self._line_of(match.start()) > self._line_of(index):
                self._note(match.start(1), _TAB[0], _TAB[1], with_path=False)

    def _note(self, index: int, message: str, hint: str = "", *, with_path: bool = True) -> None:
        line = self._line_of(index)
        column = min(index, len(self.text)) - self.line_starts[line - 1] + 1
        path = path_text(self._path()) if with_path else ""
        self.problems.append(Problem(self.file, line, column, path, message, hint))
        if len(self.problems) >= _MAX_PROBLEMS:
            raise _Stopped

    def _path(self) -> DocumentPath:
        path: list[str | int] = []
        for node in self._stack:
            if not node.is_mapping:
                path.append(len(node.items))
            elif node.key is not None:
                path.append(node.key.text)
        return tuple(path)

    def _line_of(self, index: int) -> int:
        return bisect_right(self.line_starts, index)


_WRITE_IT_OUT = "Write the value out."
_TOO_DEEP = f"is nested deeper than {MAX_DEPTH} levels"
_TAB = ("a tab is used for indentation", "Use spaces.")


_IN_QUOTES = "Put the whole value in quotes."


def _explain(
    error: yaml.MarkedYAMLError, text: str, line_of: Callable[[int], int]
) -> tuple[int, str, str]:
    """Where a syntax error is, what it is in plain words, and what to do about it."""
    problem, context = error.problem or "", error.context or ""
    at = error.problem_mark.index if error.problem_mark else 0
    start = error.context_mark.index if error.context_mark else at
    if "mapping values are not allowed" in problem:
        return _misplaced_colon(at, text)
    if "could not find expected ':'" in problem:
        return _missing_colon(start, text)
    if "end of stream" in problem and "quoted" in context:
        return start, f"the quote {text[start : start + 1]} that opens here is never closed", ""
    if "tab" in problem or text[at : at + 1] == "\t":
        return at, *_TAB
    if "cannot start any token" in problem:
        return at, f"a value cannot start with {text[at : at + 1]!r}", _IN_QUOTES
    if "unexpected ':'" in problem:
        return at, "there is no space after the colon", "Write 'key: value'."
    if "flow" in context:
        return _unclosed(start, at, text, line_of)
    if "block scalar" in context:
        message = "after '|' or '>' only a line break may follow"
        return at, message, "Start the text on the next line."
    if any(word in context for word in ("anchor", "alias", "tag", "parsing a node")):
        return start, f"{text[start : start + 1]!r} means something else in YAML", _IN_QUOTES
    if "directive" in context or "YAML document" in problem or "duplicate %" in problem:
        return at, "a line that starts with '%' is not supported", "Remove the line."
    if "quoted" in context:
        hint = "Write \\\\ for a backslash, or use single quotes."
        return at, "a backslash in double quotes starts something YAML does not know", hint
    return _misfit(problem, start, at, text, line_of)


def _misfit(
    problem: str, start: int, at: int, text: str, line_of: Callable[[int], int]
) -> tuple[int, str, str]:
    if "sequence entries are not allowed" in problem:
        return at, "a list's '- ' cannot start here", "Start the list on the next line."
    if "node content" in problem:
        return at, f"a value is missing before {text[at : at + 1]!r}", ""
    if "document start" in problem:
        return at, "something follows the end of the document", "Remove it."
    first_of_line = not _line_before(at, text).strip()
    if first_of_line and ("block end" in problem or "did not find expected" in problem):
        message = f"does not fit to the lines above it, from line {line_of(start)} on"
        return at, message, "Indent keys of one mapping equally, and start all of a list with '- '."
    if "block end" in problem or "did not find expected" in problem:
        return at, "something follows a value that is already complete", _IN_QUOTES
    return at, f"is not YAML: {problem}", ""


def _misplaced_colon(at: int, text: str) -> tuple[int, str, str]:
    before = _line_before(at, text)
    if ": " in before or before.endswith(":"):
        return at, "a second ': ' in one line", _IN_QUOTES
    above = text[: at - len(before)].rstrip()
    begin = max(above.rfind("\n"), above.rfind("\r")) + 1
    line = above[begin:]
    begin += len(line) - len(line.lstrip())
    if line.strip() and not re.search(r":(\s|$)", line):
        return _missing_colon(begin, text)
    hint = "Indent keys of one mapping equally; a key with keys below it has no value of its own."
    return at - len(before.lstrip()), "is indented deeper than the line above allows", hint


def _missing_colon(start: int, text: str) -> tuple[int, str, str]:
    line = _line_at(start, text)
    if line.startswith(_MERGE_MARKS):
        return start, "a merge left its marks here", "Keep one version and remove the three marks."
    if re.search(r":\S", line):
        return start, "there is no space after the colon", "Write 'key: value'."
    return start, "a colon is missing after the key", "Write 'key: value'."


def _unclosed(
    start: int, at: int, text: str, line_of: Callable[[int], int]
) -> tuple[int, str, str]:
    opening = text[start : start + 1]
    closing = {"[": "]", "{": "}"}.get(opening, "")
    line = _line_at(start, text)
    if line.count('"') % 2:
        place = start + line.rfind('"')
        return place, "a quote opens here and is not closed on its line", "Close it with '\"'."
    if not text[at:].strip() or line_of(at) > line_of(start):
        return start, f"{opening!r} opens here and is not closed", f"Close it with {closing!r}."
    message = f"',' or {closing!r} is expected in what {opening!r} opens"
    if _CURLY_QUOTES.intersection(line):
        return at, message, "Replace the curly quotes by straight ones."
    return at, message, "Put text with ',', ': ' or brackets in quotes."


_MERGE_MARKS = ("<<<<<<<", "=======", ">>>>>>>")
_CURLY_QUOTES = frozenset("\u201c\u201d\u201e\u2018\u2019")


def _line_at(start: int, text: str) -> str:
    """The rest of a line."""
    return (_BREAK.split(text[start:], maxsplit=1) or [""])[0]


def _line_before(at: int, text: str) -> str:
    return text[max(text.rfind("\n", 0, at), text.rfind("\r", 0, at)) + 1 : at]


def _shown(tag: str) -> str:
    return tag.replace(_STANDARD, "!!", 1)


def resolve_plain(text: str) -> str | int | float | bool | None:
    """What unquoted text means: the YAML 1.2 core rules, with leading zeros kept as text."""
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if len(text) > MAX_DIGITS:
        return text
    if _INTEGER.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text)
    if match := _INFINITE.fullmatch(text):
        return -math.inf if match.group(1) == "-" else math.inf
    return math.nan if text in _NOT_A_NUMBER else text
