"""Changes one value of a YAML file and leaves every other byte as the person wrote it.

An edit is a splice of the text at the places that ``document`` found; nothing is dumped. What comes
out is read again and has to say exactly what was asked for, everything else unchanged; otherwise
the edit is refused, so a wrong file is never written.

New text follows the file: its indentation, its line endings, block or flow style of the parent.
Mappings of single values are written in flow style, ``{type: dynamic, from: email}``, except at the
top level; other mappings as blocks. A removed key takes its own line with it, not the comments
above; a mapping or list that loses its last entry stays, as ``{}`` or ``[]``. A list is changed item
by item, so comments in it stay.
"""

from __future__ import annotations

import difflib
import math
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

from stcli.config.document import (
    MAX_DIGITS,
    Document,
    DocumentPath,
    MappingNode,
    Node,
    ScalarNode,
    SequenceNode,
    parse_document,
    path_text,
    plain_value,
    read_bytes,
    resolve_plain,
)
from stcli.errors import ConfigurationError, Locked

LOCK_WAIT_SECONDS = 10.0
_LOCK_POLL_SECONDS = 0.02
_DEFAULT_STEP = 2

_BREAK = re.compile(r"\r\n|\r|\n")
_BYTE_ORDER_MARK = "\ufeff"

_NOT_FIRST = frozenset("-?:,[]{}#&*!|>'\"%@`=~<")
_NUMBER_LIKE = re.compile(r"[-+.0-9][-+0-9_.,:TtZz xXoObBeE]*")
_OLD_BOOLEANS = frozenset("y n yes no on off true false null".split())
_OLD_READER = yaml.resolver.Resolver()
_TEXT_TAG = "tag:yaml.org,2002:str"
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r", "\0": "\\0"}


@dataclass(frozen=True, slots=True)
class EditResult:
    """A file before and after an edit; ``diff`` is empty when nothing changed."""

    before: str
    after: str
    diff: str


@dataclass(frozen=True, slots=True)
class _Plain:
    """A value ready to be written: only plain Python, with text that is written as it stands."""

    value: Any
    date: bool = False


def set_value(text: str, path: DocumentPath, value: object) -> str:
    """``text`` with ``value`` at ``path``; what is missing on the way there is created.

    Mappings, lists, text, numbers, booleans, None and dates (written plainly, read as text) can be
    set. An index equal to a list's length appends. A value that is there already changes nothing,
    and of a list that becomes another one only the items that differ change.
    """
    if not path:
        raise ValueError("the path of a value has at least one step")
    mark, text = _split_mark(text)
    document = parse_document(text)
    before = document.value
    expected = _with_value(before, path, path, _read_back(value))
    if _same(before, expected):
        return mark + text
    candidates = chain(_item_by_item(document, path, value), _settings(document, path, value))
    return mark + _first_that_reads(candidates, expected, path)


def remove_value(text: str, path: DocumentPath) -> str:
    """``text`` without the key or list item at ``path``; unchanged when nothing is there."""
    if not path:
        raise ValueError("the path of a value has at least one step")
    mark, text = _split_mark(text)
    document = parse_document(text)
    if document.node(path) is None:
        return mark + text
    expected = _without_value(document.value, path)
    return mark + _first_that_reads(_removals(document, path), expected, path)


def rename_key(text: str, path: DocumentPath, key: str) -> str:
    """``text`` with another name for the key at ``path``; its place, its value and all around stay."""
    mark, text = _split_mark(text)
    document = parse_document(text)
    node = document.node(path[:-1])
    entry = node.find(str(path[-1])) if isinstance(node, MappingNode) else None
    if not isinstance(node, MappingNode) or entry is None:
        raise ValueError(f"there is no key {path_text(path)}")
    entries = [(name.text, plain_value(value)) for name, value in node.entries]
    renamed = {key if name == entry[0].text else name: value for name, value in entries}
    expected = _with_value(document.value, path[:-1], path[:-1], renamed)
    new = _text(key, in_flow=node.flow, is_key=True)
    written = _spliced(text, entry[0].start, entry[0].end, new)
    return mark + _first_that_reads(iter([written]), expected, path)


def edit_file(
    path: Path, change: Callable[[str], str], check: Callable[[Document], object]
) -> EditResult:
    """Replace a file's text by ``change`` of it, once ``check`` accepts the result.

    Runs under a lock beside the file, so of two edits at the same time neither is lost, and
    replaces the file atomically with its mode kept. A symbolic link keeps pointing where it did.
    Raises ``Locked`` when another edit does not end in ``LOCK_WAIT_SECONDS``, and
    ``ConfigurationError`` for text that is none, what ``check`` refuses, a file that cannot be
    written, and one that an editor saved meanwhile.
    """
    target = _resolved(path)
    with _locked(target):
        content = read_bytes(target)
        before = _decoded(content, path)
        after = change(before)
        check(parse_document(after, file=str(path)))
        if after != before:
            if read_bytes(target) != content:
                raise ConfigurationError(
                    f"{path}: was changed by another program during the edit", "Try again."
                )
            _replace(target, after.encode())
    return EditResult(before, after, difference(before, after, path.name))


# --- what is expected --------------------------------------------------------------------------


def _read_back(value: object) -> Any:
    """What the reader will say of ``value`` once written; other types are refused."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, str):
        return _whole(str.__str__(value))
    if isinstance(value, int):
        if abs(value) >= 10**MAX_DIGITS:
            raise ConfigurationError(
                f"a number of more than {MAX_DIGITS} digits cannot be written to a file"
            )
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("the keys of a campaign file are text")
        return {_whole(str.__str__(key)): _read_back(entry) for key, entry in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [_read_back(entry) for entry in value]
    raise TypeError(f"{type(value).__name__} cannot be written to a campaign file")


def _whole(text: str) -> str:
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ConfigurationError("text with half a character in it cannot be written to a file")
    return text


def _with_value(model: Any, path: DocumentPath, rest: DocumentPath, value: Any) -> Any:
    if not rest:
        return value
    step = rest[0]
    if isinstance(step, str) and (model is None or isinstance(model, dict)):
        changed = dict(model or {})
        changed[step] = _with_value(changed.get(step), path, rest[1:], value)
        return changed
    if isinstance(step, int) and isinstance(model, list) and 0 <= step <= len(model):
        old = model[step] if step < len(model) else None
        return [*model[:step], _with_value(old, path, rest[1:], value), *model[step + 1 :]]
    here = path_text(path[: len(path) - len(rest)]) or "the file"
    wanted = "mapping" if isinstance(step, str) else "list with that item"
    raise ConfigurationError(f"{here} is not a {wanted}, so {path_text(path)} cannot be set")


def _without_value(model: Any, path: DocumentPath) -> Any:
    step = path[0]
    if isinstance(model, dict):
        if len(path) == 1:
            return {key: entry for key, entry in model.items() if key != step}
        return {
            key: _without_value(entry, path[1:]) if key == step else entry
            for key, entry in model.items()
        }
    assert isinstance(step, int)
    middle = [] if len(path) == 1 else [_without_value(model[step], path[1:])]
    return [*model[:step], *middle, *model[step + 1 :]]


def _same(left: Any, right: Any) -> bool:
    """Equal in type, order and content; not-a-number is the same as itself."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return list(left) == list(right) and all(_same(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(_same, left, right))
    if isinstance(left, float) and math.isnan(left):
        return math.isnan(right)
    return bool(left == right)


def _first_that_reads(candidates: Iterator[str], expected: Any, path: DocumentPath) -> str:
    for candidate in candidates:
        try:
            if _same(parse_document(candidate).value, expected):
                return candidate
        except ConfigurationError:
            continue
    raise ConfigurationError(
        f"{path_text(path)} cannot be changed: the layout of the file around it is not understood",
        "Change it by hand in an editor.",
    )


# --- setting -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a value stands: its node, the key before it if any, and the parent mapping's column."""

    node: Node
    key: ScalarNode | None
    column: int
    in_flow: bool
    depth: int


def _settings(document: Document, path: DocumentPath, value: object) -> Iterator[str]:
    text = document.text
    place: _Place | None = None
    node = document.root
    rest = path
    while rest and node is not None:
        inner = _child(text, node, rest[0], place)
        if inner is None:
            break
        place, node, rest = inner, inner.node, rest[1:]
    for step in reversed(rest[1:]):
        value = {step: value}
    if not rest:
        assert place is not None
        yield from _replacements(document, place, value)
    elif node is None or _is_empty(node):
        filled = [value] if isinstance(rest[0], int) else {rest[0]: value}
        if isinstance(node, MappingNode) and node.flow and isinstance(rest[0], str):
            yield from _filled_around_comments(text, node, _flow_entry(rest[0], value))
        if place is None:
            yield from _new_roots(document, filled)
        else:
            yield from _replacements(document, place, filled)
    elif isinstance(node, MappingNode) and isinstance(rest[0], str):
        depth = place.depth + 1 if place else 0
        yield from _new_entries(document, node, rest[0], value, depth)
    elif isinstance(node, SequenceNode):
        yield from _new_items(text, node, len(node.items), value)


def _item_by_item(document: Document, path: DocumentPath, value: object) -> Iterator[str]:
    """The text with a list's differing items replaced one by one, so that comments between them and
    behind them stay; of a longer list the surplus goes, with what stands behind it on its line."""
    node = document.node(path)
    if not isinstance(node, SequenceNode) or not isinstance(value, Sequence) or _is_scalar(value):
        return
    old, new = plain_value(node), [_read_back(item) for item in value]
    if not old or not new:
        return
    both = min(len(old), len(new))
    same = [_same(old[index], new[index]) for index in range(both)]
    first = next((index for index in range(both) if not same[index]), both)
    same = [_same(old[-index], new[-index]) for index in range(1, both - first + 1)]
    behind = next((index for index in range(both - first) if not same[index]), both - first)
    text = document.text
    with suppress(ConfigurationError):  # then the list changes as a whole
        for index in reversed(range(both - behind, len(old) - behind)):
            text = remove_value(text, (*path, index))
        for index in range(first, both - behind):
            text = set_value(text, (*path, index), value[index])
        for index in range(both - behind, len(new) - behind):
            text = _with_item(text, path, index, value[index])
        yield text


def _with_item(text: str, path: DocumentPath, index: int, value: object) -> str:
    """``text`` with one item more in a list that has some."""
    document = parse_document(text)
    node = document.node(path)
    assert isinstance(node, SequenceNode)
    items = plain_value(node)
    items.insert(index, _read_back(value))
    expected = _with_value(document.value, path, path, items)
    return _first_that_reads(_new_items(text, node, index, value), expected, path)


def _filled_around_comments(text: str, node: MappingNode, entry: str) -> Iterator[str]:
    """Empty brackets with an entry, where comments stand in them and the last one has its line."""
    close = _content_end(text, node) - 1
    line = _line_start(text, close)
    if "#" in text[_collection_start(text, node) : close] and not text[line:close].strip():
        indent = " " * (close - line + _DEFAULT_STEP)
        yield text[:line] + indent + entry + _line_break(text) + text[line:]


def _is_empty(node: Node) -> bool:
    if isinstance(node, ScalarNode):
        return node.value is None
    return not (node.entries if isinstance(node, MappingNode) else node.items)


def _child(text: str, node: Node, step: str | int, place: _Place | None) -> _Place | None:
    depth = place.depth + 1 if place else 0
    in_flow = not isinstance(node, ScalarNode) and node.flow
    if isinstance(node, MappingNode) and isinstance(step, str):
        entry = node.find(step)
        if entry is None:
            return None
        return _Place(entry[1], entry[0], _mapping_column(text, node), in_flow, depth)
    if isinstance(node, SequenceNode) and isinstance(step, int) and 0 <= step < len(node.items):
        return _Place(node.items[step], None, 0, in_flow, depth)
    return None


def _replacements(document: Document, place: _Place, value: object) -> Iterator[str]:
    """The text with ``value`` instead of the one at ``place``."""
    text, node = document.text, place.node
    is_block = not isinstance(node, ScalarNode) and not node.flow
    wants_block = not place.in_flow and _wants_block(value, top_level=place.depth == 0)
    if place.key is None or place.in_flow:
        if is_block and wants_block:
            assert isinstance(value, Mapping)
            start = _collection_start(text, node)
            lines = _block(value, _column(text, start), _step(document))
            yield _spliced(text, start, _content_end(text, node), _joined(text, lines).lstrip(" "))
        yield _inline(text, place, _flow(value, in_flow=place.in_flow))
        return
    if wants_block:
        assert isinstance(value, Mapping)
        yield _as_block(document, place, value)
    inline = _flow(value, in_flow=False)
    yield _collapsed(text, place, inline) if is_block else _inline(text, place, inline)


def _inline(text: str, place: _Place, new: str) -> str:
    """``new`` where the old value stands; a comment in a block scalar's first line moves behind."""
    node = place.node
    start, end = node.start, _content_end(text, node)
    if isinstance(node, ScalarNode) and node.style in ("|", ">"):
        header = _line_at(text, start)[start - _line_start(text, start) :]
        comment = re.search(r"[ \t]#.*", header)
        return _spliced(text, start, end, new + (comment.group() if comment else ""))
    if start == end:  # nothing stands there: `key:`, `- ` or, in flow style, a bare `key`
        if place.key is not None:
            start = end = _after_colon(text, place.key)
            new = f" {new}" if text[start - 1] == ":" else f": {new}"
        elif text[start - 1] != " ":
            new = f" {new}"
    return _spliced(text, start, end, new)


def _collapsed(text: str, place: _Place, new: str) -> str:
    """A block of lines below a key, replaced by ``new`` behind the key."""
    assert place.key is not None
    colon = _after_colon(text, place.key)
    first, end = _line_start(text, place.node.start), _content_end(text, place.node)
    if first <= colon:
        return _spliced(text, place.node.start, end, new)
    kept = text[colon:first]
    return text[:colon] + f" {new}" + kept + text[_next_line(text, end) :]


def _as_block(document: Document, place: _Place, value: Mapping[str, object]) -> str:
    """``value`` as lines below its key, instead of whatever stood there."""
    text, node, key = document.text, place.node, place.key
    assert key is not None
    colon, end = _after_colon(text, key), _content_end(text, node)
    step = _step(document)
    lines = _joined(text, _block(value, place.column + step, step))
    first = _line_start(text, node.start)
    if first > colon:  # the old value has lines of its own
        return text[:first] + lines + _line_break(text) + text[_next_line(text, end) :]
    behind = text[end : _line_end(text, end)].rstrip()
    head = text[:colon] + behind + _line_break(text)
    return head + lines + _line_break(text) + text[_next_line(text, end) :]


def _new_roots(document: Document, value: object) -> Iterator[str]:
    text, root = document.text, document.root
    if not isinstance(value, Mapping):
        return
    lines = _joined(text, _block(value, 0, _DEFAULT_STEP))
    if root is None or root.start == root.end:
        yield _with_last_break(text) + lines + _line_break(text)
        return
    yield _spliced(text, root.start, root.end, lines)
    yield _spliced(text, root.start, root.end, _flow(value, in_flow=False))


def _new_entries(
    document: Document, node: MappingNode, key: str, value: object, depth: int
) -> Iterator[str]:
    text = document.text
    if node.flow:
        yield _appended_in_flow(text, node.entries[-1][1], _flow_entry(key, value))
        return
    lines = _block({key: value}, _mapping_column(text, node), _step(document), depth)
    yield _with_lines_after(text, _content_end(text, node), lines)


def _new_items(text: str, node: SequenceNode, index: int, value: object) -> Iterator[str]:
    new, at = _flow(value, in_flow=node.flow), _collection_start(text, node)
    if node.flow and index:
        yield _appended_in_flow(text, node.items[index - 1], new)
    elif node.flow:
        yield _spliced(text, node.items[0].start, node.items[0].start, f"{new}, ")
    elif index:
        line = f"{' ' * _column(text, at)}- {new}"
        yield _with_lines_after(text, _content_end(text, node.items[index - 1]), [line])
    else:
        yield _spliced(text, at, at, f"- {new}{_line_break(text)}{' ' * _column(text, at)}")


def _appended_in_flow(text: str, last: Node, new: str) -> str:
    end = _content_end(text, last)
    gap = " " if last.start == last.end and text[end - 1 : end] == ":" else ""
    return _spliced(text, end, end, f"{gap}, {new}")


def _with_lines_after(text: str, end: int, lines: list[str]) -> str:
    at = _next_line(text, end)
    head = _with_last_break(text[:at]) if at == len(text) else text[:at]
    return head + _joined(text, lines) + _line_break(text) + text[at:]


# --- removing ----------------------------------------------------------------------------------


def _removals(document: Document, path: DocumentPath) -> Iterator[str]:
    text = document.text
    place: _Place | None = None
    node = document.root
    for step in path[:-1]:
        assert node is not None
        place = _child(text, node, step, place)
        assert place is not None
        node = place.node
    assert isinstance(node, MappingNode | SequenceNode)
    index, spans = _spans(text, node, path[-1])
    if len(spans) == 1:
        empty = "{}" if isinstance(node, MappingNode) else "[]"
        if node.flow:
            yield from _emptied_around_comments(text, node, spans[0])
        if place is None:
            yield _spliced(text, _collection_start(text, node), _content_end(text, node), empty)
        elif node.flow or place.key is None or place.in_flow:
            yield _inline(text, place, empty)
        else:
            yield _collapsed(text, place, empty)
    elif node.flow:
        yield from _without_flow_entry(text, spans, index)
    else:
        yield from _without_lines(text, spans, index)


def _emptied_around_comments(
    text: str, node: MappingNode | SequenceNode, span: tuple[int, int]
) -> Iterator[str]:
    """A flow collection without its only entry, where comments stand beside that in the brackets."""
    start, end = span
    whole = text[_collection_start(text, node) : _content_end(text, node)]
    inside = whole.replace(text[start:end], "", 1)
    if "#" not in inside:
        return
    line, behind = _line_start(text, start), re.compile(r"[ \t]*,?[ \t]*").match(text, end)
    if behind is not None and not text[line:start].strip() and behind.end() == _line_end(text, end):
        yield text[:line] + text[_next_line(text, end) :]
    comma = re.compile(r"\s*,").match(text, end)
    yield text[:start] + text[comma.end() if comma else end :]


def _spans(
    text: str, node: MappingNode | SequenceNode, step: str | int
) -> tuple[int, list[tuple[int, int]]]:
    """From where to where each entry reaches, and which of them ``step`` names."""
    if isinstance(node, MappingNode):
        spans = [
            (key.start, max(key.end, _content_end(text, value))) for key, value in node.entries
        ]
        return [key.text for key, _ in node.entries].index(str(step)), spans
    starts = [item.start for item in node.items]
    if not node.flow:
        column = _column(text, _collection_start(text, node))
        starts = [_dash(text, item.start, column) for item in node.items]
    ends = [_content_end(text, item) for item in node.items]
    return int(step), [(start, max(start, end)) for start, end in zip(starts, ends, strict=True)]


def _dash(text: str, start: int, column: int) -> int:
    """The ``-`` of a block list's item: the nearest one before it in the list's column."""
    line = _line_start(text, start)
    while line >= 0:
        at = line + column
        if at < start and text[at : at + 1] == "-":
            return at
        if line == 0:
            break
        line = _line_start(text, line - 1)
    return start


def _without_flow_entry(text: str, spans: list[tuple[int, int]], index: int) -> Iterator[str]:
    start, end = spans[index]
    own_line = not text[_line_start(text, start) : start].strip()
    behind = re.compile(r"[ \t]*,?[ \t]*(?:#[^\r\n]*)?").match(text, end)
    assert behind is not None
    ends_line = behind.end() == _line_end(text, end)
    if own_line and ends_line:
        yield text[: _line_start(text, start)] + text[_next_line(text, end) :]
    if index + 1 < len(spans):
        following = spans[index + 1][0]
        if _line_start(text, following) == _line_start(text, end):
            yield _spliced(text, start, following, "")
        else:
            comma = re.compile(r"\s*,").match(text, end)
            head = text[:start].rstrip(" ") if comma and not own_line else text[:start]
            yield head + text[comma.end() if comma else end :]
        yield _spliced(text, start, following, "")
        return
    before = text[spans[index - 1][1] : start]
    comma = re.compile(r"(?:\s|#[^\r\n]*)*?,").match(before)
    if "#" in before and comma is not None:
        # The comment belongs to the entry before, whose comma goes.
        kept = before[: comma.end() - 1] + before[comma.end() :]
        yield text[: spans[index - 1][1]] + kept + text[end:]
    yield _spliced(text, spans[index - 1][1], end, "")


def _without_lines(text: str, spans: list[tuple[int, int]], index: int) -> Iterator[str]:
    start, end = spans[index]
    line, rest = _line_start(text, start), _next_line(text, end)
    if text[line:start].strip():  # behind the dash or colon that the next entry now stands behind
        indent = re.compile(r" *").match(text, rest)
        yield text[:start] + text[indent.end() if indent else rest :]
        if index + 1 < len(spans):
            yield _spliced(text, start, spans[index + 1][0], "")
        return
    yield text[:line] + text[rest:]
    # A deeper comment or a blank line must not become part of a block scalar above: comments move
    # out to where the removed entry began, blank lines go.
    column = start - line
    comments = ""
    while rest < len(text):
        content = _line_at(text, rest)
        indent_width = len(content) - len(content.lstrip(" "))
        if content.strip() and (indent_width <= column or not content.lstrip().startswith("#")):
            break
        following = _next_line(text, rest)
        if content.strip():
            comments += " " * column + text[rest:following].lstrip(" ")
        rest = following
    yield text[:line] + comments + text[rest:]


# --- places in the text ------------------------------------------------------------------------


def _spliced(text: str, start: int, end: int, new: str) -> str:
    return text[:start] + new + text[end:]


def _content_end(text: str, node: Node) -> int:
    """Where a node's last character stands, before trailing comments and blank lines."""
    if isinstance(node, ScalarNode):
        if node.style not in ("|", ">"):
            return node.end
        written = text[node.start : node.end]
        header = _BREAK.split(written, maxsplit=1)[0].split("#")[0]
        if "+" in header:  # blank lines at the end are content
            begin = _line_start(text, node.end)
            end = begin if not text[begin : node.end].strip() else node.end
            return end - len(_last_break(text[:end]))
        return node.start + len(written.rstrip())
    if node.flow:
        return node.end
    last = node.entries[-1] if isinstance(node, MappingNode) else node.items[-1:]
    return max(_content_end(text, part) for part in last)


def _collection_start(text: str, node: Node) -> int:
    """Where the first key or dash of a block stands, behind a tag."""
    if isinstance(node, MappingNode) and not node.flow and node.entries:
        return node.entries[0][0].start
    if isinstance(node, SequenceNode) and not node.flow and text[node.start] != "-":
        before = re.compile(r"-\s*$").search(text[node.start : node.items[0].start])
        return node.start + before.start() if before else node.start
    return node.start


def _mapping_column(text: str, node: MappingNode) -> int:
    return _column(text, node.entries[0][0].start)


def _after_colon(text: str, key: ScalarNode) -> int:
    match = re.compile(r"[ \t]*:").match(text, key.end)
    return match.end() if match else key.end


def _step(document: Document) -> int:
    """By how many columns the file indents, from the first nested block in it."""
    nodes: list[Node] = [document.root] if document.root is not None else []
    while nodes:
        node = nodes.pop(0)
        if isinstance(node, MappingNode) and not node.flow:
            column = _mapping_column(document.text, node)
            for _, value in node.entries:
                if isinstance(value, MappingNode) and not value.flow:
                    return max(1, _mapping_column(document.text, value) - column)
                nodes.append(value)
        elif isinstance(node, SequenceNode):
            nodes.extend(node.items)
    return _DEFAULT_STEP


def _column(text: str, index: int) -> int:
    return index - _line_start(text, index)


def _line_start(text: str, index: int) -> int:
    after_feed = text.rfind("\n", 0, index) + 1
    return text.rfind("\r", after_feed, index) + 1 or after_feed


def _line_end(text: str, index: int) -> int:
    match = _BREAK.search(text, index)
    return match.start() if match else len(text)


def _next_line(text: str, index: int) -> int:
    match = _BREAK.search(text, index)
    return match.end() if match else len(text)


def _line_at(text: str, index: int) -> str:
    return text[_line_start(text, index) : _line_end(text, index)]


def _line_break(text: str) -> str:
    match = _BREAK.search(text)
    return match.group() if match else "\n"


def _last_break(text: str) -> str:
    return "\r\n" if text.endswith("\r\n") else text[-1:] if text.endswith(("\n", "\r")) else ""


def _with_last_break(text: str) -> str:
    return text if not text or _last_break(text) else text + _line_break(text)


def _joined(text: str, lines: list[str]) -> str:
    return _line_break(text).join(lines)


def _split_mark(text: str) -> tuple[str, str]:
    rest = text.removeprefix(_BYTE_ORDER_MARK)
    return text[: len(text) - len(rest)], rest


# --- writing values ----------------------------------------------------------------------------


def _is_scalar(value: object) -> bool:
    return isinstance(value, str) or not isinstance(value, Mapping | Sequence)


def _wants_block(value: object, *, top_level: bool) -> bool:
    """Whether a mapping is written in lines: one at the top level, or with mappings inside."""
    if not isinstance(value, Mapping) or not value:
        return False
    return top_level or not all(
        _is_scalar(entry) or (not isinstance(entry, Mapping) and all(map(_is_scalar, entry)))
        for entry in value.values()
    )


def _block(value: Mapping[str, object], column: int, step: int, depth: int = 1) -> list[str]:
    lines: list[str] = []
    for key, entry in value.items():
        head = f"{' ' * column}{_text(key, in_flow=False, is_key=True)}:"
        if _wants_block(entry, top_level=depth == 0 or column == 0):
            assert isinstance(entry, Mapping)
            lines.append(head)
            lines.extend(_block(entry, column + step, step))
        else:
            lines.append(f"{head} {_flow(entry, in_flow=False)}")
    return lines


def _flow_entry(key: str, value: object) -> str:
    return f"{_text(key, in_flow=True, is_key=True)}: {_flow(value, in_flow=True)}"


def _flow(value: object, *, in_flow: bool) -> str:
    """A value in one line; ``in_flow`` tells that it stands within brackets."""
    if isinstance(value, str):
        return _text(value, in_flow=in_flow)
    if isinstance(value, Mapping):
        return f"{{{', '.join(_flow_entry(key, entry) for key, entry in value.items())}}}"
    if isinstance(value, Sequence):
        return f"[{', '.join(_flow(entry, in_flow=True) for entry in value)}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, date):
        return value.isoformat()
    return "null" if value is None else str(value)


def _number(value: float) -> str:
    if math.isnan(value):
        return ".nan"
    if math.isinf(value):
        return ".inf" if value > 0 else "-.inf"
    shown = repr(value)
    mantissa, exponent_sign, exponent = shown.partition("e")
    return shown if "." in mantissa else f"{mantissa}.0{exponent_sign}{exponent}"


def _text(value: str, *, in_flow: bool, is_key: bool = False) -> str:
    if _can_be_plain(value, in_flow=in_flow, is_key=is_key):
        return str.__str__(value)
    return f'"{"".join(map(_escaped, value))}"'


def _can_be_plain(value: str, *, in_flow: bool, is_key: bool) -> bool:
    """Whether text without quotes is this text to every reader, old ones of YAML 1.1 included."""
    if not value or value != value.strip() or value[0] in _NOT_FIRST or not value.isprintable():
        return False
    if ": " in value or " #" in value or value.endswith(":"):
        return False
    if (in_flow or is_key) and any(character in ",[]{}:#" for character in value):
        return False
    if value.lower() in _OLD_BOOLEANS or _NUMBER_LIKE.fullmatch(value):
        return False
    old_tag = _OLD_READER.resolve(yaml.ScalarNode, value, (True, False))  # type: ignore[no-untyped-call] # the stubs leave it out
    return old_tag == _TEXT_TAG and isinstance(resolve_plain(value), str)


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


# --- the file ----------------------------------------------------------------------------------


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:  # a loop of links
        raise ConfigurationError(f"{path}: cannot be followed: {error}") from None


def _decoded(content: bytes, path: Path) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        parse_document(content, file=str(path))  # says where, in the usual way
        raise


def _replace(target: Path, content: bytes) -> None:
    """Readers see the old file or the new one; its mode, and its owner where allowed, are kept."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        old = target.stat()
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if sys.platform != "win32":
            with suppress(PermissionError):  # only root may give files away
                os.chown(temporary, old.st_uid, old.st_gid)
        temporary.chmod(old.st_mode & 0o7777)
        os.replace(temporary, target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise _unwritable(target, error) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _unwritable(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"{path}: cannot be written: {error.strerror}",
        "Nothing was changed. Check the owner, the permissions and the free space.",
    )


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    """The edit lock of a file. Its lock file stays: removing it would let two in at once."""
    lock = target.with_name(f".{target.name}.lock")
    if not target.exists():
        raise ConfigurationError(f"{target}: does not exist")
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise _unwritable(lock, error) from error
    try:
        deadline = time.monotonic() + LOCK_WAIT_SECONDS
        while not _try_lock(descriptor):
            if time.monotonic() >= deadline:
                raise Locked(f"{target} is being edited by another stcli", "Try again.")
            time.sleep(_LOCK_POLL_SECONDS)
        yield
    finally:
        os.close(descriptor)  # closing releases


def _try_lock(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def difference(before: str, after: str, name: str) -> str:
    """What changed between two texts of a file, line by line; empty where nothing did."""
    lines = difflib.unified_diff(
        _BREAK.split(before),
        _BREAK.split(after),
        fromfile=name,
        tofile=name,
        lineterm="",
    )
    return "\n".join(lines)
