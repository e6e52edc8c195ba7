"""Damaged campaign files: every command answers with a place in the file, never with a defect."""

import random
import re

import pytest

from stcli.cli.app import run
from tests.scale import damaged_files
from tests.scale.damaged_files import (
    DAMAGES,
    RICH,
    DamagedFile,
    Ran,
    Tally,
    Workshop,
    damaged_file,
    fault_of,
    places_in,
    samples,
    summary,
    try_file,
    try_files,
    unlikely_places,
)

SEEDS = range(8_000, 8_150)
VALIDATE = ("map", "validate")
SET = ("map", "set", "summary", "--value", "x")


def test_damaged_files_are_refused_with_a_place_or_read(tmp_path):
    """Files with every kind of damage: no defect, no traceback, no wait, a place for
    each refusal, no byte changed by a refusal, nothing touched beside the home."""
    tally = try_files(tmp_path / "work", SEEDS)
    assert [str(violation) for violation in tally.violations] == []
    assert tally.files == len(SEEDS)
    assert {kind for kind, _ in tally.by_kind} == set(DAMAGES)
    assert {code for _, code in tally.by_command} == {0, 3, 4}
    assert {command for command, _ in tally.by_command} == {
        *damaged_files.READING,
        "map set",
    }
    assert tally.by_command["map set", 0] > 0
    assert tally.by_command["map set", 3] > 0


@pytest.mark.parametrize(
    "file",
    [
        RICH + "".join(f"x{number}: 1\n" for number in range(30_000)),
        RICH.replace("[trim, title]", f"[{'nonsense, ' * 90_000}]"),
        RICH.replace(
            "  fields:\n", "  fields:\n" + "".join(f"    t{n}: x\n" for n in range(30_000))
        ),
    ],
    ids=["unknown settings", "unknown transforms", "rules that are none"],
)
def test_a_mistake_made_many_thousand_times_is_told_in_time(tmp_path, file):
    """The first of them are named; nobody waits for the rest."""
    shop = Workshop(tmp_path / "work")
    shop.file.write_text(file, encoding="utf-8")
    ran = shop.ran(VALIDATE)
    assert ran.code == 3
    assert fault_of(shop, DamagedFile(0, ("many",), file.encode()), ran) is None


@pytest.mark.parametrize("sample", samples())
def test_the_samples_are_ready_before_they_are_damaged(tmp_path, sample):
    """What is refused afterwards is refused for the damage."""
    shop = Workshop(tmp_path / "work")
    shop.file.write_bytes(sample.encode())
    ran = shop.ran(VALIDATE)
    assert ran.code == 0, ran.out


def test_a_seed_makes_the_same_file_again():
    """A violation can be looked at again; another seed is another file."""
    files = [damaged_file(seed) for seed in range(50)]
    assert [damaged_file(seed) for seed in range(50)] == files
    assert len({file.content for file in files}) > 40


@pytest.mark.parametrize("kind", DAMAGES)
def test_every_kind_of_damage_damages(kind):
    """No kind leaves all files as they are, and each can be done to any text, empty too."""
    changed = 0
    for seed in range(30):
        chance = random.Random(seed)
        text = chance.choice([*samples(), "", "\n"])
        changed += DAMAGES[kind](chance, text) != text
    assert changed > 5


# --- the checks find what they look for --------------------------------------------------------

GOOD = DamagedFile(0, ("none",), RICH.encode())
BAD = DamagedFile(0, ("none",), b"version: 1\nleads: [\n")


def violated(folder, file, command):
    """What is noted where stcli were ``command``."""
    shop, tally = Workshop(folder / "work", command), Tally()
    try_file(shop, file, tally)
    return " ".join({violation.reason for violation in tally.violations})


def answering(code, text="", change=lambda: None):
    """A command line that prints this, does this and ends with this code."""

    def command(words):
        print(text)
        change()
        return code

    return command


@pytest.mark.parametrize("code", [1, 4, 5, 6, 130])
def test_a_code_that_does_not_fit_is_found(tmp_path, code):
    """A defect is one, and what only a command with a network may say."""
    assert "an exit code that does not fit" in violated(tmp_path, GOOD, answering(code))


def test_a_traceback_is_found(tmp_path):
    """Whatever the exit code."""
    command = answering(0, "Traceback (most recent call last):\n  File")
    assert "a traceback" in violated(tmp_path, GOOD, command)


def test_a_long_wait_is_found(tmp_path):
    """The limit is compared with the time the command took."""
    shop = Workshop(tmp_path / "work")
    shop.file.write_bytes(GOOD.content)
    ran = shop.ran(VALIDATE)
    assert fault_of(shop, GOOD, ran) is None
    assert fault_of(shop, GOOD, ran, limit=ran.seconds / 2).startswith("took")


def test_a_refusal_without_a_place_is_found(tmp_path):
    """As text and as JSON; the real command names one."""
    command = answering(3, '{"error": {"message": "not valid"}}')
    assert violated(tmp_path / "a", BAD, command) == "a refusal without a place"
    assert violated(tmp_path / "b", BAD, run) == ""


def test_a_place_that_the_file_does_not_have_is_found(tmp_path):
    """Lines end at CR too, and columns are those of characters."""
    file = tmp_path / "x.yaml"
    text = f"{file}:2:3: a: wrong\n{file}:9:1: b: wrong"
    ran = Ran(VALIDATE, 3, text, "", 0.0)
    assert places_in(file, ran) == [(2, 3), (9, 1)]
    content = "\ufeffa: 1\r\u00e9: 2\r\n".encode()
    assert unlikely_places(content, [(1, 5), (2, 5), (3, 1)]) == []
    assert unlikely_places(content, [(0, 1), (1, 6), (2, 6), (4, 1), (2, 0)]) == [
        (0, 1),
        (1, 6),
        (2, 6),
        (4, 1),
        (2, 0),
    ]


@pytest.mark.parametrize("code", [0, 3])
def test_a_change_of_the_file_is_found(tmp_path, code):
    """A command that reads or refuses has no business there."""
    shop = tmp_path / "work" / "home" / "campaigns" / "spring-hvac.yaml"
    command = answering(code, "not mapped:", lambda: shop.write_text("version: 1\n"))
    assert "the file was changed" in violated(tmp_path, GOOD, command)


def test_a_wrong_edit_is_found(tmp_path):
    """``map set`` has to say what was asked for and to leave everything else."""
    shop = Workshop(tmp_path / "work")
    shop.file.write_bytes(GOOD.content)
    assert shop.ran(SET).code == 0
    right = shop.file.read_bytes()
    ran = Ran(SET, 0, "", "", 0.0)
    assert fault_of(shop, GOOD, ran) is None
    for wrong in (
        GOOD.content,
        right.replace(b"value: x", b"value: y"),
        right.replace(b"hold_days: 7", b"hold_days: 8"),
        right.replace(b"from: meta.City", b"from: meta.Street"),
    ):
        shop.file.write_bytes(wrong)
        assert "does not say what was asked for" in fault_of(shop, GOOD, ran)


@pytest.mark.parametrize("name", ["spring-hvac.yaml.tmp", ".spring-hvac.yaml.1.tmp"])
def test_what_is_left_beside_the_file_is_found(tmp_path, name):
    """A temporary file that nobody cleans up."""
    folder = tmp_path / "work" / "home" / "campaigns"
    command = answering(0, "", lambda: (folder / name).write_text("x"))
    assert "left beside the file" in violated(tmp_path, GOOD, command)


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "notes.txt").write_text("ours now\n"),
        lambda folder: (folder / "notes.txt").unlink(missing_ok=True),
        lambda folder: (folder / "new").mkdir(exist_ok=True),
        lambda folder: (folder / "notes.txt").replace(folder / "notes.txt"),
    ],
)
def test_what_is_touched_beside_the_home_is_found(tmp_path, change):
    """Files that come, go or change, in the folder of the command too."""
    beside = tmp_path / "work" / "beside"
    command = answering(0, "{}", lambda: change(beside))
    assert "reached beyond the home" in violated(tmp_path, GOOD, command)
    command = answering(0, "{}", lambda: (tmp_path / "b" / "work" / "home" / "x").write_text("x"))
    assert "beyond" not in violated(tmp_path / "b", GOOD, command)


def test_output_that_is_no_document_is_found(tmp_path):
    """Under ``--json`` there is nothing but one document on stdout."""
    shop = Workshop(tmp_path / "work", answering(0, "{} {}"))
    shop.file.write_bytes(GOOD.content)
    ran = shop.ran((*VALIDATE, "--json"))
    assert fault_of(shop, GOOD, ran) == "stdout is no JSON document"


def test_text_that_no_stream_takes_is_found(tmp_path):
    """Streams are those of a terminal in UTF-8: half a character cannot be printed."""
    shop = Workshop(tmp_path / "work", answering(0, "\ud800"))
    shop.file.write_bytes(GOOD.content)
    with pytest.raises(UnicodeEncodeError):
        shop.ran(VALIDATE)


def test_the_summary_names_kinds_codes_and_the_slowest(tmp_path):
    """What is printed at the end has every number."""
    tally = try_files(tmp_path / "work", range(20))
    text = summary(tally, 1.0)
    assert text.startswith("20 damaged files")
    validated = re.search(r"^\| map validate \|(.*)\|$", text, re.MULTILINE)
    assert validated is not None
    assert sum(map(int, validated.group(1).split("|"))) == 20
    assert text.count(" s  ") == 5
    assert text.endswith("violations: 0")
