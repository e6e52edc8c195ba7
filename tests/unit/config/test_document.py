"""Reading YAML: what values mean, where they stand, what is refused, and that nothing breaks it."""

import io
import math
import os
import random
import time
from unittest.mock import patch

import pytest
import ruamel.yaml
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from stcli.config import document as module
from stcli.config.document import (
    MAX_BYTES,
    MAX_DEPTH,
    MappingNode,
    Position,
    ScalarNode,
    parse_document,
    path_text,
    read_document,
)
from stcli.errors import ConfigurationError

EXAMPLES = int(os.environ.get("STCLI_TEST_EXAMPLES", "300"))
QUICK = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
LOADERS = [yaml.SafeLoader, *([yaml.CSafeLoader] if hasattr(yaml, "CSafeLoader") else [])]

ANYTHING = st.one_of(
    st.binary(max_size=60),
    st.text(max_size=60),
    st.text(alphabet="ab:-[]{}'\"|> \n#&*!?,\t%\\0", max_size=40),
)

SAMPLE = """\
version: 1
referral_campaign: spring-hvac        # code or id
servicetitan:
  tenant_id: 985798691
  client_id: "cid.8f3k"
leads:
  since: 2026-11-23                   # a date
  fields:
    name:    {type: dynamic, from: first_name}
    summary: {type: template, template: "Referred by {referrer.first_name}"}
sync:
  fields:
    first_name: {from: name, transform: [first_name, trim]}
  note: |
    two
    lines
  tags:
  - one
  - {two: 2}
"""


@pytest.fixture(params=LOADERS, ids=lambda loader: loader.__name__, autouse=True)
def loader(request, monkeypatch):
    """Every test runs with PyYAML's Python parser and with libyaml's."""
    monkeypatch.setattr(module, "_LOADER", request.param)


def problems_of(content):
    with pytest.raises(ConfigurationError) as caught:
        parse_document(content, file="x.yaml")
    return caught.value.problems


def places(content):
    return [(one.line, one.column, one.path) for one in problems_of(content)]


@pytest.mark.parametrize(
    "text",
    "0123 00 007 08 -01 +01 00.5 8:30 190:20:30 NO no yes Yes on off y n 2026-11-23 1_000 0b11 0xZZ "
    "+0x1F 0o8 1e 1.2.3 .inff nulll tRUE 2001-12-14T21:59:43Z 12e03x 0123.4 1,5 =".split(),
)
def test_what_is_no_number_of_yaml_1_2_stays_text(text):
    """Postcodes, times, dates and YAML 1.1 booleans stay exactly what was written."""
    assert parse_document(f"a: {text}").value == {"a": text}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("Null", None),
        ("true", True),
        ("TRUE", True),
        ("False", False),
        ("12", 12),
        ("-12", -12),
        ("+5", 5),
        ("0x1F", 31),
        ("0o17", 15),
        ("1.10", 1.1),
        (".5", 0.5),
        ("1.", 1.0),
        ("1e3", 1000.0),
        ("-.inf", -math.inf),
        ("!!str 12", "12"),
        ("! 12", "12"),
        ("!!int 12", 12),
        ("!!float 12", 12.0),
        ("!!map {a: 1}", {"a": 1}),
        ("!!seq [1]", [1]),
        ('"12"', "12"),
        ("'true'", "true"),
        ('""', ""),
        ("|\n  12", "12"),
        (">-\n  a\n  b\n", "a b"),
        ('"\\u2028\\x00"', "\u2028\0"),
    ],
)
def test_plain_values_follow_the_core_rules(text, value):
    """Null, booleans, integers and floats are read; quoted and block text never."""
    found = parse_document(f"a: {text}").value["a"]
    assert found == value
    assert type(found) is type(value)


def test_not_a_number_is_one():
    """``.nan`` is a float as in YAML 1.2."""
    assert math.isnan(parse_document("a: .nan").value["a"])


def test_keys_are_text_as_written():
    """A key is never a number, a boolean or null."""
    assert parse_document("1: a\ntrue: b\n~: c\nNO: d\n0x10: e\n1.10: f\n").value == {
        "1": "a",
        "true": "b",
        "~": "c",
        "NO": "d",
        "0x10": "e",
        "1.10": "f",
    }


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n", "\ufeff", "~"])
def test_an_empty_file_is_none(text):
    """Nothing, comments or null: the value is None."""
    assert parse_document(text).value is None


def test_positions_count_from_one():
    """Line and column of values and keys are those an editor shows."""
    document = parse_document(SAMPLE)
    assert document.position(("version",)) == Position(1, 10)
    assert document.key_position(("servicetitan", "tenant_id")) == (4, 3)
    assert document.position(("servicetitan", "client_id")) == (5, 14)
    assert document.position(("leads", "fields", "name", "from")) == (9, 36)
    assert document.position(("sync", "fields", "first_name", "transform", 1)) == (13, 54)
    assert document.key_position(("sync", "tags", 1, "two")) == (19, 6)
    assert document.key_position(("sync", "tags", 0)) == (18, 5)


def test_positions_fall_back_to_the_nearest_parent():
    """A missing value is shown at the key of what it is missing from."""
    document = parse_document(SAMPLE)
    assert document.position(("leads", "fields", "email", "from")) == (8, 3)
    assert document.key_position(("leads", "action")) == (6, 1)
    assert document.position(("sync", "tags", 7)) == (17, 3)
    assert document.position(("version", "x", 1)) == (1, 1)
    assert document.position(("nothing",)) == (1, 1)
    assert document.position(()) == (1, 1)


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_positions_with_every_line_ending(newline):
    """Windows and old Mac line endings count as one line each, and characters as one column."""
    document = parse_document(f"\ufeffé: 😀{newline}{newline}b: {{ü: x}}{newline}".encode())
    assert document.key_position(("b", "ü")) == (3, 5)
    assert document.position(("é",)) == (1, 4)


def test_raw_is_the_text_as_written():
    """A field that wants text can have it before any type was looked at."""
    document = parse_document("a: 1.10\nb: 0x10\nc: true\nd: 'it''s'\ne: [1]\nf:\ng: !!int 3\n")
    raws = [document.raw((key,)) for key in "abcdefgh"]
    assert raws == ["1.10", "0x10", "true", "it's", None, "", "3", None]
    assert document.raw(("e", 0)) == "1"
    assert document.raw(("e", "0")) is None
    assert document.raw(()) is None


def test_a_document_does_not_change():
    """The value is a copy each time, so no caller can change it for another."""
    document = parse_document(SAMPLE)
    document.value["leads"].clear()
    assert document.value["leads"]["since"] == "2026-11-23"
    with pytest.raises(AttributeError):
        document.file = "y"  # type: ignore[misc] # the point of the test


def test_problems_can_be_made_at_places():
    """A later stage reports at the same places."""
    document = parse_document(SAMPLE, file="x.yaml")
    problem = document.problem(("leads", "since"), "is no date", "Write 2026-11-23.")
    assert str(problem) == "x.yaml:7:10: leads.since: is no date"
    assert str(document.key_problem(("sync", "tags", 9), "is unknown")).startswith("x.yaml:17:3: ")
    assert path_text(("a", 0, "b.c", 2)) == "a[0].b.c[2]"
    assert path_text((1, "a")) == "[1].a"


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ("a:\n\tb: 1\n", 2, 1, "tab"),
        ("a: 1\nb\nc: 2\n", 2, 1, "colon is missing"),
        ("b\nc: 2\n", 1, 1, "colon is missing"),
        ("a: 1\nb:2\nc: 3\n", 2, 1, "space after the colon"),
        ("a: 'x\nb: 2\n", 1, 4, "never closed"),
        ('a: 1\nb: "x\n', 2, 4, "never closed"),
        ("a: [1, 2\nb: 3\n", 1, 4, "not closed"),
        ("a: {x: 1\n", 1, 4, "not closed"),
        ("a: b: c\n", 1, 5, "second ': '"),
        ("a: 1\n  b: 2\n", 2, 3, "indented deeper"),
        ("a:\n  b: 1\n c: 2\n", 3, 2, "does not fit"),
        ("- a\nb: 1\n", 2, 1, "does not fit"),
        ("a: - b\n", 1, 4, "list"),
        ("a: @x\n", 1, 4, "cannot start with '@'"),
        ("a: %x\n", 1, 4, "cannot start with '%'"),
        ("a: 'x' y\n", 1, 8, "already complete"),
        ("a: {b: 1} c\n", 1, 11, "already complete"),
        ("a: ]\n", 1, 4, "missing before ']'"),
        ("a: |x\n  b\n", 1, 5, "line break"),
        ("a: 1\n...\nb: 2\n", 3, 1, "end of the document"),
        ("a: *\n", 1, 4, "means something else"),
        ("a: !<\n", 1, 4, "means something else"),
        ("%YAML 3.0\n---\na: 1", 1, 1, "'%'"),
        ("a: [1, 2 3: 4: 5]", 1, 14, "expected"),
    ],
)
def test_syntax_errors_in_plain_words(text, line, column, words):
    """The place is where the person has to look, and no term of a parser is used."""
    (problem,) = problems_of(text)
    assert (problem.line, problem.column) == (line, column)
    assert words in problem.message
    assert not any(term in str(problem) for term in ("token", "scanning", "mapping values", "<"))


@pytest.mark.parametrize("text", ['a: "x\\q"\n', 'a: "\\ud800"', 'a: "\\UFFFFFFFF"', 'a: "\\x"'])
def test_unknown_escapes_are_problems(text):
    """A backslash that starts nothing YAML knows is reported, never a crash."""
    assert len(problems_of(text)) == 1


def test_every_tab_is_named():
    """One run shows all lines to mend."""
    assert [place[:2] for place in places("a:\n\tb: 1\n \tc: 2\nd: 1\n")] == [(2, 1), (3, 2)]


def test_all_problems_in_one_go():
    """Duplicates, anchors, aliases, merge keys, tags and a syntax error come together, in order."""
    text = (
        "a: &x 1\nb: *x\nc:\n  <<: {d: 1}\n  e: !mine 2\n  e: 3\n1: x\n'1': y\n? [q]\n: 1\n"
        "f: [1, !!int z]\ng: 'open\n"
    )
    problems = problems_of(text)
    assert [(one.line, one.path) for one in problems] == [
        (1, "a"),
        (2, "b"),
        (4, "c.<<"),
        (5, "c.e"),
        (6, "c.e"),
        (8, "1"),
        (9, ""),
        (11, "f[1]"),
        (12, ""),
    ]
    assert "line 5" in problems[4].message


def test_equal_keys_name_the_first():
    """The second of two equal keys is refused, never silently the one that counts."""
    (problem,) = problems_of("a:\n  b: 1\n  c: 2\n  b: 3\n")
    assert (problem.line, problem.column, problem.path) == (4, 3, "a.b")
    assert "line 2" in problem.message
    assert "earlier on this line" in problems_of("{a: 1, a: 2}")[0].message
    assert len(problems_of("a: 1\na: 2\na: 3\n")) == 2
    assert parse_document("a: {k: 1}\nb: {k: 1}\n").value["b"] == {"k": 1}


def test_a_quoted_merge_key_is_a_key():
    """Only the plain ``<<`` merges in YAML."""
    assert parse_document('"<<": 1').value == {"<<": 1}


def test_bombs_are_refused_before_they_grow():
    """Aliases of aliases are counted, never expanded."""
    lines = ["a0: &a0 [x]"] + [
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)
    ]
    began = time.process_time()
    assert len(problems_of("\n".join(lines))) == 100
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    "tag", ["!!binary aGk=", "!!python/object:os.system x", "!!timestamp 1", "!x y"]
)
def test_other_tags_are_refused(tag):
    """Nothing of a library is constructed."""
    assert "tag" in problems_of(f"a: {tag}")[0].message


def test_several_documents_are_refused():
    """A file is one document."""
    assert places("a: 1\n---\nb: 2\n") == [(2, 1, "")]
    assert parse_document("--- \na: 1\n...\n").value == {"a": 1}


@pytest.mark.parametrize("opening", ["[", "{", "- ", "? ", "a: {", "!!map {a: ", "[{a: "])
def test_depth_is_limited(opening):
    """Deep nesting is a problem, not a recursion error."""
    assert "deeper than 40" in problems_of(opening * 20_000)[-1].message


def test_forty_levels_are_fine():
    """The limit itself is allowed."""
    document = parse_document("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    assert document.value
    assert places("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1))[0][:2] == (1, MAX_DEPTH + 1)


def test_size_is_limited(tmp_path):
    """A file of more than a megabyte is not read."""
    assert "larger" in problems_of("#" * (MAX_BYTES + 1))[0].message
    assert "larger" in problems_of("é" * (MAX_BYTES // 2 + 1))[0].message
    assert parse_document(b"#" * MAX_BYTES).value is None
    file = tmp_path / "big.yaml"
    file.write_bytes(b"#" * (MAX_BYTES + 5))
    with pytest.raises(ConfigurationError):
        read_document(file)


def test_other_encodings_are_refused_with_every_place():
    """Bytes that are not UTF-8 are named one by one; UTF-16 is named as such."""
    assert places(b"a: caf\xe9\nb: \xff\nb: 1\n") == [(1, 7, ""), (2, 4, ""), (3, 1, "b")]
    assert "0xE9" in problems_of(b"a: \xe9")[0].message
    assert "UTF-16" in problems_of("a: 1".encode("utf-16"))[0].message
    assert len(problems_of("a: 1".encode("utf-16-le"))) == 1


@pytest.mark.parametrize("character", "\0\x01\x07\x1b\x7f\x85\x9f\u2028\u2029\ufeff\ufffe\ud800")
def test_control_characters_are_refused(character):
    """What an editor does not show is not accepted."""
    (problem,) = problems_of(f"a: b{character}c")
    assert (problem.line, problem.column) == (1, 5)


def test_numbers_of_absurd_length_are_refused():
    """A number that Python would not print is a problem, in quotes it is text."""
    assert "digits" in problems_of(f"a: {'9' * 5000}")[0].message
    assert parse_document(f"a: '{'9' * 5000}'").value["a"] == "9" * 5000


def test_reading_a_file(tmp_path):
    """A byte order mark is skipped, the path is how problems name the file."""
    file = tmp_path / "x.yaml"
    file.write_bytes(b"\xef\xbb\xbfa: 1\r\n")
    assert read_document(file).value == {"a": 1}
    file.write_text("a: [")
    with pytest.raises(ConfigurationError, match=r"x\.yaml:1:4: "):
        read_document(file)


def test_files_that_cannot_be_read(tmp_path):
    """A folder is a problem; what a missing file means is left to the caller."""
    with pytest.raises(ConfigurationError, match="regular file"):
        read_document(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_document(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    "content",
    [
        start * 100_000
        for start in [
            "a\n",
            "- ",
            "a: ",
            "'",
            "{a},",
            "? a\n",
            "&a ",
            "!a ",
            "\t",
            "- a\n",
            "[a,\n",
        ]
    ]
    + [start * 100_000 for start in ['"\\\n', "|\n", ": ", "%A\n", "a:\n", "#\n", "k: [", '{"']],
    ids=lambda content: repr(content[:4]),
)
def test_long_nonsense_ends_quickly(content):
    """No input keeps the reader busy."""
    began = time.process_time()
    accepted(content[:100_000])
    assert time.process_time() - began < 55


def accepted(content):
    """The document, or None with well-formed problems; anything else is a failure."""
    try:
        return parse_document(content, file="x.yaml")
    except ConfigurationError as error:
        check_problems(content, error.problems)
        return None


def check_problems(content, problems):
    text = content if isinstance(content, str) else content.decode("utf-8", "replace")
    lines = len(text.splitlines()) + 1
    assert problems
    for problem in problems:
        assert 0 <= problem.line <= lines
        assert problem.column >= (problem.line > 0)
        assert str(problem)


NASTY = [
    *"\t\n\r \0:-?,[]{}#&*!|>'\"%@`\\~<=.0123é\x85\u2028\ufeff",
    *(
        ": ",
        "- ",
        "\n  ",
        "\r\n",
        "<<: ",
        "*a",
        "&a ",
        "!!int ",
        "|\n",
        "'",
        "---\n",
        "...\n",
        " #",
    ),
    *('"\\u', '"\\U00110000"', "0x", "1e999", "? ", "{{", "]]"),
]


def mutated(seed):
    """The sample after a few random cuts, repeats and insertions."""
    chance = random.Random(seed)
    text = SAMPLE
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(text) + 1)
        end = min(len(text), at + chance.choice([0, 0, 1, 3, 40]))
        new = chance.choice([*NASTY, "", text[at:end] * 2])
        text = text[:at] + new + text[end:]
    return text


def compared(content):
    """Both parsers agree on the tree or both refuse; the end of block text may differ."""
    found = []
    for one in LOADERS:
        with patch.object(module, "_LOADER", one):
            document = accepted(content)
            found.append(document and shape(document.root))
    return found


def shape(node):
    if isinstance(node, ScalarNode):
        if not node.text and not node.style:
            return "nothing"  # where nothing stands the two parsers differ by a space
        end = None if node.style in ("|", ">") else node.end
        return (node.text, repr(node.value), node.style, node.start, end)
    if isinstance(node, MappingNode):
        return [("map", node.flow)] + [(shape(key), shape(value)) for key, value in node.entries]
    return node and [("list", node.flow)] + [shape(item) for item in node.items]


@QUICK
@given(
    st.one_of(
        st.binary(max_size=60),
        st.text(max_size=60),
        st.text(alphabet="ab:-[]{}'\"|> \n#&*!?,\t%\\0", max_size=40),
    )
)
@example("? - a\n  b\n")
def test_any_input_is_a_document_or_problems(content):
    """Random bytes and text never do anything else."""
    compared(content)


@QUICK
@given(st.integers(0, 2**40))
def test_any_broken_campaign_file_is_a_document_or_problems(seed):
    """A real file with random damage is read alike by both parsers, or refused."""
    content = mutated(seed)
    found = compared(content)
    if all(found):
        assert found[0] == found[-1]


def ruamel_shape(node):
    """Kinds and texts of ruamel.yaml's own tree."""
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


def test_ruamel_reads_the_sample_alike():
    """The second reader finds the same structure and texts."""
    other = ruamel.yaml.YAML(typ="safe", pure=True).compose(io.StringIO(SAMPLE))
    assert ruamel_shape(other) == our_shape(parse_document(SAMPLE).root)
