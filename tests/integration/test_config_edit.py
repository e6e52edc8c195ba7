"""``config edit``: an editor on a copy, again until it is valid, and nothing lost on the way."""

from __future__ import annotations

import json
import os
import shlex
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.conftest import Cli, Ran

Editor = Callable[..., None]


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Editor:
    """Sets EDITOR to a real program: each step is Python run on the text, once for each opening;
    what it was shown is kept beside it."""

    def use(*steps: str) -> None:
        folder = tmp_path / "an editor"
        folder.mkdir()
        for number, step in enumerate(steps, start=1):
            (folder / f"step{number}.py").write_text(step, encoding="utf-8")
        program = folder / "edit.py"
        program.write_text(
            "import pathlib, sys\n"
            "here = pathlib.Path(__file__).parent\n"
            "file = pathlib.Path(sys.argv[-1])\n"
            "number = len(list(here.glob('shown*'))) + 1\n"
            "text = file.read_text(encoding='utf-8')\n"
            "(here / f'shown{number}').write_text(text, encoding='utf-8')\n"
            "step = here / f'step{number}.py'\n"
            "if step.exists():\n"
            "    exec(step.read_text(encoding='utf-8'))\n",
            encoding="utf-8",
        )
        monkeypatch.setenv(
            "EDITOR", f"{shlex.quote(sys.executable)} {shlex.quote(str(program))} -w"
        )
        monkeypatch.delenv("VISUAL", raising=False)

    return use


def _shown(tmp_path: Path, number: int) -> str:
    return (tmp_path / "an editor" / f"shown{number}").read_text(encoding="utf-8")


def _replacing(old: str, new: str) -> str:
    return f"assert {old!r} in text\nfile.write_text(text.replace({old!r}, {new!r}))"


def test_a_valid_change_is_saved(connected, cli, editor) -> None:
    """As it was typed, comments and all; the difference is shown."""
    editor(_replacing("leads:\n", "# ours\nleads:\n"))
    ran = cli("config", "edit")
    assert ran.code == 0, ran.text
    assert "+# ours" in ran.err
    assert ran.out == "spring-hvac: saved.\n"
    assert "# ours\nleads:\n" in connected.read_text(encoding="utf-8")


def test_problems_come_back_as_comments_until_they_are_mended(
    connected, cli, editor, tmp_path
) -> None:
    """With the line each has in the editor; the comments never reach the file."""
    editor(
        _replacing("action: create_booking", "actoin: create_booking"),
        _replacing("from: code}", "from: coed}"),
        _replacing("actoin", "action"),
        _replacing("from: coed}", "from: code, default: none}"),
    )
    ran = cli("config", "edit", "--json")
    assert ran.code == 0, ran.text
    assert ran.document["changed"]
    second = _shown(tmp_path, 2).splitlines()
    place = next(row for row in second if "there is no setting 'actoin'" in row)
    assert "did you mean action" in place
    assert second[int(place.split("line ")[1].split(",")[0]) - 1] == "  actoin: create_booking"
    assert "actoin" in _shown(tmp_path, 3)
    assert "did you mean code" in _shown(tmp_path, 4)
    text = connected.read_text(encoding="utf-8")
    assert "#!stcli" not in text
    assert "from: code, default: none}" in text


def test_giving_up_keeps_the_text_and_the_file(connected, cli, editor) -> None:
    """Saved again as it was: exit 3, and where the typed text is."""
    before = connected.read_bytes()
    editor(_replacing("action: create_booking", "actoin: create_booking"))
    ran = cli("config", "edit")
    assert ran.code == 3
    assert "did you mean action" in ran.err
    kept = Path(ran.err.split("kept in ")[1].strip().rstrip("."))
    assert "actoin: create_booking" in kept.read_text(encoding="utf-8")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert connected.read_bytes() == before


_NORMALISING = {
    "nothing": "file.write_text(new)",
    "line endings": "file.write_bytes(new.replace('\\n', '\\r\\n').encode())",
    "mark of the encoding": "file.write_bytes(b'\\xef\\xbb\\xbf' + new.encode())",
    "blanks": "file.write_text('\\n'.join(row.rstrip() for row in new.splitlines()))",
}


@pytest.mark.parametrize("save", _NORMALISING.values(), ids=_NORMALISING)
def test_giving_up_is_heard_whatever_an_editor_changes_itself(
    connected, cli, editor, tmp_path, save
) -> None:
    """The same mistake twice ends it, though the editor never leaves a file as it was."""
    before = connected.read_bytes()
    step = f"new = text.lstrip('\\ufeff').replace('from: code', 'from: coed')\n{save}"
    editor(*[step] * 5)
    ran = cli("config", "edit")
    assert ran.code == 3, ran.text
    assert "given up with" in ran.err
    assert "did you mean code" in ran.err
    assert (tmp_path / "an editor" / "shown2").exists()
    assert not (tmp_path / "an editor" / "shown3").exists()
    assert connected.read_bytes() == before


def test_an_editor_that_never_leaves_off_is_stopped_where_nobody_sits(
    connected, cli, editor, tmp_path
) -> None:
    """A program that makes another mistake each time would go on for ever."""
    editor(*["file.write_text(text + 'x')"] * 30)
    ran = cli("config", "edit")
    assert ran.code == 3, ran.text
    assert "given up with" in ran.err
    assert len(list((tmp_path / "an editor").glob("shown*"))) == 10


def test_a_pipe_in_the_place_of_the_copy_is_not_waited_for(connected, cli, editor) -> None:
    """Nobody would ever write to it."""
    editor("import os; file.unlink(); os.mkfifo(file)")
    ran = cli("config", "edit")
    assert ran.code == 3
    assert "no regular file" in ran.err


def test_own_lines_that_look_like_marks_stay(connected, cli, editor, tmp_path) -> None:
    """Only what was put on top is taken out again."""
    with connected.open("a", encoding="utf-8") as file:
        file.write("#!stcli: ours\n")
    before = connected.read_text(encoding="utf-8")
    editor("", _replacing("from: code", "from: coed"), _replacing("from: coed", "from: id"))
    assert cli("config", "edit").out == "spring-hvac: nothing was changed.\n"
    ran = cli("config", "edit")
    assert ran.code == 0, ran.text
    assert "Not saved yet" in _shown(tmp_path, 3)
    after = connected.read_text(encoding="utf-8")
    assert after == before.replace("from: code", "from: id")


@pytest.mark.parametrize("step", ["sys.exit(9)", "file.write_text(''); sys.exit(9)"])
def test_an_editor_that_fails_with_nothing_typed_leaves_nothing_behind(
    connected, cli, editor, home: Path, step
) -> None:
    """A copy that says what the file says is no text to keep; nor is one that was not begun."""
    editor(step)
    ran = cli("config", "edit")
    assert ran.code == 2
    assert "kept in" not in ran.err
    assert list((home / "state").glob("edit-*")) == []
    connected.write_bytes(b"\xff")
    assert cli("config", "edit").code == 3
    assert list((home / "state").glob("edit-*")) == []


@pytest.mark.parametrize(
    "step", ["", "file.write_text('')", "file.unlink()", "file.write_text('\\n  \\n')"]
)
def test_an_empty_or_unchanged_file_changes_nothing(connected, cli, editor, step) -> None:
    """The way out that everybody tries."""
    before = connected.read_bytes()
    editor(step)
    ran = cli("config", "edit")
    assert ran.code == 0, ran.text
    assert ran.out == "spring-hvac: nothing was changed.\n"
    assert connected.read_bytes() == before


def test_a_broken_file_can_be_mended(connected, cli, editor) -> None:
    """An invalid file opens like any other."""
    text = connected.read_text(encoding="utf-8")
    connected.write_text(text.replace("version: 1", "version 1"), encoding="utf-8")
    assert cli("map", "validate").code == 3
    editor(_replacing("version 1", "version: 1"))
    assert cli("config", "edit").code == 0
    assert connected.read_text(encoding="utf-8") == text


def test_a_change_by_somebody_else_is_not_overwritten(connected, cli, editor) -> None:
    """Both texts are there afterwards."""
    editor(
        f"other = pathlib.Path({str(connected)!r})\n"
        "other.write_text(other.read_text() + '# theirs\\n')\n"
        "file.write_text(text + '# mine\\n')"
    )
    ran = cli("config", "edit")
    assert ran.code == 3
    assert "changed by somebody else" in ran.err
    kept = Path(ran.err.split("kept in ")[1].strip().rstrip("."))
    assert kept.read_text(encoding="utf-8").endswith("# mine\n")
    assert connected.read_text(encoding="utf-8").endswith("# theirs\n")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("no-such-editor", "no such program"),
        ("'unclosed", "no such program"),
        ("false", "ended with 1"),
        (os.devnull, "no such program"),
    ],
)
def test_an_editor_that_fails_changes_nothing(connected, cli, monkeypatch, value, message) -> None:
    """Exit 2, naming the variable."""
    before = connected.read_bytes()
    monkeypatch.setenv("EDITOR", value)
    monkeypatch.delenv("VISUAL", raising=False)
    ran = cli("config", "edit")
    assert ran.code == 2
    assert message in ran.err
    assert "EDITOR" in ran.err
    assert connected.read_bytes() == before


def _kept(ran: Ran) -> Path:
    return Path(ran.err.split("kept in ")[1].strip().rstrip("."))


@pytest.mark.parametrize(
    ("end", "code", "message"),
    [
        ("sys.exit(9)", 2, "ended with 9"),
        ("import os; os.kill(os.getpid(), 9)", 2, "stopped by signal 9"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", 2, "stopped by signal 15"),
        ("file.write_bytes((text + '# mine').encode('utf-16'))", 3, "UTF-8"),
    ],
)
def test_what_was_typed_is_kept_however_the_editor_ends(
    connected, cli, editor, end, code, message
) -> None:
    """And the message says where."""
    before = connected.read_bytes()
    editor("file.write_text(text + '# mine')\n" + end)
    ran = cli("config", "edit")
    assert ran.code == code
    assert message in ran.err
    assert b"m\0i\0n\0e" in _kept(ran).read_bytes() or b"# mine" in _kept(ran).read_bytes()
    assert connected.read_bytes() == before


def test_an_editor_that_the_system_cannot_run_is_wrong_usage(
    connected, cli, monkeypatch, tmp_path
) -> None:
    """Executable, and no program."""
    program = tmp_path / "editor"
    program.write_text("no program", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("VISUAL", str(program))
    ran = cli("config", "edit")
    assert ran.code == 2
    assert "cannot be run" in ran.err
    assert "VISUAL" in ran.err


def test_a_folder_in_the_place_of_the_copy_is_told(connected, cli, editor) -> None:
    """Whatever an editor makes of it."""
    editor("file.unlink(); file.mkdir(); (file / 'text').write_text('mine')")
    ran = cli("config", "edit")
    assert ran.code == 3
    assert "cannot be read" in ran.err
    assert "is in " in ran.err


def test_marks_go_however_an_editor_saves_them(connected, cli, editor) -> None:
    """Indented, or behind the mark that some editors begin a file with."""
    editor(
        _replacing("action: create_booking", "actoin: create_booking"),
        "rows = text.replace('actoin', 'action').splitlines(keepends=True)\n"
        "rows = ['   ' + row if row.startswith('#!') else row for row in rows]\n"
        "file.write_text('\\ufeff' + ''.join(rows) + '# ours\\n', encoding='utf-8')",
    )
    ran = cli("config", "edit")
    assert ran.code == 0, ran.text
    text = connected.read_text(encoding="utf-8")
    assert "#!stcli" not in text
    assert text.endswith("# ours\n")


def test_other_line_endings_are_a_change_and_told(connected, cli, editor) -> None:
    """What the difference of lines cannot show."""
    editor("file.write_bytes(text.replace('\\n', '\\r\\n').encode())")
    ran = cli("config", "edit", "--json")
    assert ran.document["changed"] is True
    assert "Only line endings" in ran.err
    assert b"\r\n" in connected.read_bytes()


def test_what_the_editor_prints_is_not_in_the_document(connected, editor, tmp_path) -> None:
    """Its stdout is not that of the command."""
    editor("print('hello from the editor', flush=True)")
    ran = subprocess.run(
        [sys.executable, "-m", "stcli", "config", "edit", "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(ran.stdout)["changed"] is False
    assert "hello from the editor" in ran.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_a_signal_while_the_editor_runs_loses_nothing(
    connected, editor, tmp_path, number, code
) -> None:
    """Ctrl-C is the editor's; SIGTERM ends both, and the text is kept."""
    editor(
        "import signal, time\n"
        "signal.signal(signal.SIGINT, lambda *_: None)\n"
        "file.write_text(text + '# mine\\n')\n"
        "(here / 'ready').touch()\n"
        "time.sleep(2)"
    )
    before = connected.read_text(encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, "-m", "stcli", "config", "edit"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (tmp_path / "an editor" / "ready").exists():
        time.sleep(0.02)
    process.send_signal(number)
    out, err = process.communicate(timeout=15)
    assert process.returncode == code, err
    ran = Ran(code, out, err)
    if code:
        assert "stopped by SIGTERM" in err
        assert _kept(ran).read_text(encoding="utf-8") == before + "# mine\n"
    assert connected.read_text(encoding="utf-8") == before + ("" if code else "# mine\n")


def test_without_an_editor_the_variable_is_named(connected, cli, monkeypatch) -> None:
    """Where nobody sits there is nothing to guess."""
    monkeypatch.delenv("EDITOR", raising=False)
    monkeypatch.delenv("VISUAL", raising=False)
    ran = cli("config", "edit")
    assert ran.code == 2
    assert "export EDITOR" in ran.err


def test_a_new_campaign_names_its_schema(pointed, cli: Cli, home: Path) -> None:
    """The first line points to a file beside the campaigns, which is what ``config schema`` prints."""
    assert cli("connect", "spring-hvac", "--tenant-id", "985798691").code == 0
    file = home / "campaigns" / "spring-hvac.yaml"
    first = file.read_text(encoding="utf-8").splitlines()[0]
    schema = (file.parent / first.split("$schema=")[1]).resolve()
    assert schema.read_text(encoding="utf-8") == cli("config", "schema").out


@pytest.mark.parametrize("words", [("copy", "spring-hvac"), ("connect", "--tenant-id=985798691")])
def test_a_schema_file_that_is_none_is_written_anew(connected, cli, home: Path, words) -> None:
    """Old, damaged, or no file at all: it is stcli's own."""
    schema = home / "campaign.schema.json"
    for number, there in enumerate((b"\xff\xfe", b"{}", None)):
        schema.unlink(missing_ok=True)
        if there is None:
            os.mkfifo(schema)
        else:
            schema.write_bytes(there)
        ran = cli(*words, f"new-{number}", "--referral-campaign", "spring-hvac")
        assert ran.code == 0, ran.text
        assert schema.read_text(encoding="utf-8") == cli("config", "schema").out


def test_a_schema_that_cannot_be_written_keeps_nobody_from_a_campaign(
    connected, cli, home: Path
) -> None:
    """It helps editors, nothing else: what is wrong with it is told."""
    (home / "campaign.schema.json").mkdir()
    for number, words in enumerate((("copy", "spring-hvac"), ("connect", "--tenant-id=985798691"))):
        ran = cli(*words, f"new-{number}", "--referral-campaign", "spring-hvac", "--json")
        assert ran.code == 0, ran.text
        assert ran.document["campaign"] == f"new-{number}"
        assert "campaign.schema.json cannot be written: Is a directory" in ran.err
        assert cli("config", "validate", f"new-{number}").code == 0
