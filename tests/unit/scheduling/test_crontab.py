"""The lines of a crontab, held against a ``crontab`` command that keeps its table in a file."""

from __future__ import annotations

import os
import stat
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from stcli.errors import ConfigurationError, StateError
from stcli.scheduling.crontab import Crontab, _next, block
from stcli.scheduling.job import CADENCES, Installed, Job, carried, schedule_name, secrets_in
from stcli.scheduling.schedules import Schedules

COMMAND = """\
#!/bin/sh
case "$1" in
-l) [ -f "$TABLE" ] || { echo "no crontab for somebody" >&2; exit 1; }; cat "$TABLE" ;;
-r) rm "$TABLE" ;;
-) cat > "$TABLE" ;;
esac
"""


def job(home: str = "/home/alex/stcli", **changes: object) -> Job:
    settings: dict[str, object] = {
        "name": "stcli-0a1b2c3d",
        "home": Path(home),
        "program": ("/usr/local/bin/stcli",),
        "campaigns": (),
        "environment": {"STCLI_HOME": home},
        **changes,
    }
    return Job(**settings)  # type: ignore[arg-type] # a test's short-hand


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "table"


@pytest.fixture
def crontab(tmp_path: Path, table: Path) -> Crontab:
    command = tmp_path / "bin" / "crontab"
    command.parent.mkdir()
    command.write_text(COMMAND)
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    return Crontab({"PATH": f"{command.parent}:{os.environ['PATH']}", "TABLE": str(table)})


OTHERS = [
    b"",
    b"# mine\n0 4 * * * backup\n",
    b"# without an end of line\n0 4 * * * backup",
    b"\n\n  \t\n# Windows\r\n*/5 * * * * x\r\n",
    b"# caf\xe9 \xff\nMAILTO=me\n@reboot x # BEGIN stcli\n",
]


@pytest.mark.parametrize("before", OTHERS)
def test_other_lines_stay_byte_for_byte(crontab: Crontab, table: Path, before: bytes) -> None:
    """Installed, installed again, changed, removed: what others wrote is what it was."""
    if before:
        table.write_bytes(before)
    assert crontab.install(job()) is True
    assert table.read_bytes().startswith(before)
    once = table.read_bytes()
    assert crontab.install(job()) is False
    assert table.read_bytes() == once
    assert crontab.install(job(cadence="1h")) is True
    assert table.read_bytes().count(b"BEGIN stcli-0a1b2c3d") == 1
    after = table.read_bytes() + b"# added behind\n"
    table.write_bytes(after)
    assert crontab.remove("stcli-0a1b2c3d") is True
    ended = b"" if not before or before.endswith(b"\n") else b"\n"
    assert table.read_bytes() == before + ended + b"# added behind\n"
    assert crontab.remove("stcli-0a1b2c3d") is False


@pytest.mark.parametrize("before", [table for table in OTHERS if table])
def test_what_was_last_is_last_again(crontab: Crontab, table: Path, before: bytes) -> None:
    """To the byte, also where the last line had no end, and after a change."""
    table.write_bytes(before)
    crontab.install(job())
    assert Schedules([crontab]).differences(_found(crontab), job()) == []
    assert crontab.install(job()) is False
    crontab.install(job(cadence="1h"))
    crontab.remove("stcli-0a1b2c3d")
    assert table.read_bytes() == before


def test_a_crontab_that_must_end_its_lines_is_served(crontab: Crontab, table: Path) -> None:
    """Debian's refuses what it had before: the end of line stays, and only that."""
    command = Path(str(crontab._environment["PATH"]).split(":")[0]) / "crontab"
    refuse = 'cat > "$TABLE.new"; [ -z "$(tail -c 1 "$TABLE.new")" ] || { echo no >&2; exit 1; }'
    command.write_text(COMMAND.replace('cat > "$TABLE"', f'{refuse}; mv "$TABLE.new" "$TABLE"'))
    table.write_bytes(b"0 4 * * * backup")
    crontab.install(job())
    assert crontab.remove("stcli-0a1b2c3d") is True
    assert table.read_bytes() == b"0 4 * * * backup\n"


def test_what_somebody_saves_meanwhile_is_not_lost(crontab: Crontab, table: Path) -> None:
    """An editor that is saved between our two looks: nothing is written over it."""
    command = Path(str(crontab._environment["PATH"]).split(":")[0]) / "crontab"
    save = '[ -f "$TABLE.once" ] || { touch "$TABLE.once"; echo "0 5 * * * new" >> "$TABLE"; }'
    command.write_text(COMMAND.replace('cat "$TABLE" ;;', f'cat "$TABLE"; {save} ;;'))
    for act in (lambda: crontab.install(job()), lambda: crontab.remove("stcli-0a1b2c3d")):
        table.write_text("0 4 * * * backup\n" + block(job(cadence="6h")))
        saved = table.read_text() + "0 5 * * * new\n"
        Path(f"{table}.once").unlink(missing_ok=True)
        with pytest.raises(StateError, match="changed meanwhile"):
            act()
        assert table.read_text() == saved


def _found(crontab: Crontab) -> Installed:
    found = crontab.installed("stcli-0a1b2c3d")
    assert found is not None
    return found


def test_an_empty_crontab_is_taken_away(crontab: Crontab, table: Path) -> None:
    """Who had none has none again."""
    crontab.install(job())
    crontab.remove("stcli-0a1b2c3d")
    assert not table.exists()


def test_two_homes_have_a_block_each(crontab: Crontab, table: Path) -> None:
    """And the one's removal leaves the other's."""
    first, second = job("/a", name="stcli-aaaaaaaa"), job("/b", name="stcli-bbbbbbbb")
    crontab.install(first)
    crontab.install(second)
    crontab.remove(first.name)
    assert table.read_text() == block(second)


def test_marks_that_were_damaged_are_not_guessed_at(crontab: Crontab, table: Path) -> None:
    """Everything below a mark without its end may be somebody else's."""
    crontab.install(job())
    damaged = table.read_text().replace("# END stcli-0a1b2c3d\n", "") + "0 4 * * * backup\n"
    table.write_text(damaged)
    for act in (lambda: crontab.install(job()), lambda: crontab.remove("stcli-0a1b2c3d")):
        with pytest.raises(StateError, match="marks") as caught:
            act()
        assert "crontab -e" in caught.value.hint
    assert table.read_text() == damaged


@pytest.mark.parametrize(
    ("line", "is_told"),
    [
        ("0 * * * * /opt/stcli/bin/stcli run --all", True),
        ("@hourly stcli run --all", True),
        ("0 * * * * cd /x && stcli -v run roofing 2>&1", True),
        ("0 * * * * it's stcli run", True),
        ("# 0 * * * * stcli run --all", False),
        ("0 * * * * stcli doctor", False),
        ("0 * * * * STCLI_HOME=/home/alex/../alex/stcli stcli run --all", True),
        ("0 * * * * STCLI_HOME=/home/other stcli run --all", False),
        ('STCLI_HOME = "/home/other"\n0 * * * * stcli run --all', False),
    ],
)
def test_a_line_written_by_hand_is_told(
    crontab: Crontab, table: Path, line: str, is_told: bool
) -> None:
    """One schedule is enough; a comment is none, and neither are the blocks and lines of other
    homes."""
    home = "/home/alex/stcli"
    name = schedule_name(Path(home), is_default=False)
    crontab.install(job(home, name=name))
    crontab.install(job("/home/other", name="stcli-bbbbbbbb"))
    assert crontab.others(name) == ()
    table.write_text(table.read_text() + line + "\n")
    assert ["another line" in remark.message for remark in crontab.others(name)] == [True] * is_told


@pytest.mark.parametrize("cadence", CADENCES)
def test_every_cadence_has_its_line(cadence: str) -> None:
    """So many minutes of an hour; above an hour each hour, with the age that counts."""
    made = block(job(cadence=cadence))
    line = made.splitlines()[1]
    minutes = line.split()[0]
    each_hour = 60 if minutes == "*" else len(minutes.split(","))
    assert each_hour == max(60 // CADENCES[cadence], 1)
    assert (f"--at-most-every {cadence}" in line) == (CADENCES[cadence] > 60)


def test_what_is_written_is_read_back(crontab: Crontab) -> None:
    """Cadence and campaigns stand in the first mark."""
    crontab.install(job(cadence="6h", campaigns=("spring-hvac", "roofing")))
    found = crontab.installed("stcli-0a1b2c3d")
    assert found is not None
    assert (found.cadence, found.campaigns) == ("6h", ("spring-hvac", "roofing"))
    crontab.install(job())
    found = crontab.installed("stcli-0a1b2c3d")
    assert found is not None
    assert (found.cadence, found.campaigns) == ("15m", ())


def test_a_shell_reads_strange_paths_as_they_are(tmp_path: Path) -> None:
    """Blanks, quotes, dollars, and the percent sign that ends a command for cron."""
    program = tmp_path / 'it\'s 100% $HOME "quoted" & co' / "stcli"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "$STCLI_HOME|$*" >&2\n')
    program.chmod(0o755)
    home = "/home/a b/100%/$x"
    made = block(job(home, program=(str(program),), environment={"STCLI_HOME": home}))
    command = made.splitlines()[1].split(" ", 5)[5].partition("; ")[2]
    assert "%" not in command.replace("\\%", "")
    ended = subprocess.run(
        ["/bin/sh", "-c", command.replace("\\%", "%")], capture_output=True, text=True, check=True
    )
    assert (ended.stdout, ended.stderr) == ("", f"{home}|run --all\n")


@pytest.mark.parametrize("strange", ["a b/100%/$x", 'it\'s \\\\ "quoted"', "a=b;c&d|%%"])
@pytest.mark.parametrize("cadence", ["1m", "15m", "6h"])
def test_program_and_variables_are_read_back(crontab: Crontab, strange: str, cadence: str) -> None:
    """As they were given, whatever quotes they need; of a line that is another, nothing."""
    environment = {"STCLI_HOME": f"/home/{strange}", "STCLI_HOST_ID": "run"}
    program = (f"/opt/{strange}/python", "-m", "stcli")
    crontab.install(job(program=program, environment=environment, cadence=cadence))
    found = crontab.installed("stcli-0a1b2c3d")
    assert found is not None
    assert (found.program, found.environment) == (program, environment)


@pytest.mark.parametrize(
    "line", ["", "* * * * * true", "* * * * * env 'x run", "env run", "@daily"]
)
def test_of_another_line_nothing_is_read(crontab: Crontab, table: Path, line: str) -> None:
    """It is told that it differs."""
    table.write_text(f"# BEGIN stcli-0a1b2c3d: x\n{line}\n# END stcli-0a1b2c3d\n")
    found = crontab.installed("stcli-0a1b2c3d")
    assert found is not None
    assert (found.program, found.environment) == ((), {})


def test_a_line_too_long_for_cron_is_refused() -> None:
    """It would be cut off, or the whole crontab refused."""
    with pytest.raises(ConfigurationError, match="990"):
        block(job(campaigns=tuple(f"campaign-number-{n}" for n in range(60))))


def test_next_time_is_told_from_the_line() -> None:
    """In the minutes that stand there, with the seconds it sleeps."""
    now = datetime(2026, 11, 24, 14, 50, 30, tzinfo=UTC)
    assert _next("4,34 * * * * sleep 9; env x", now) == datetime(2026, 11, 24, 15, 4, 9, tzinfo=UTC)
    assert _next("50 * * * * sleep 40; x", now) == datetime(2026, 11, 24, 14, 50, 40, tzinfo=UTC)
    assert _next("* * * * * env x", now) == datetime(2026, 11, 24, 14, 51, tzinfo=UTC)
    assert _next("@daily x", now) is None


def test_only_what_a_run_needs_is_carried() -> None:
    """No secret, no other variable; files that hold secrets are named."""
    environment = {
        "STCLI_HOME": "/x",
        "STCLI_RF_TOKEN": "made-up",
        "STCLI_ST_CLIENT_SECRET__SPRING_HVAC": "made-up",
        "STCLI_RF_TOKEN_FILE": "/run/secrets/token",
        "EDITOR": "vi",
        "PATH": "/opt/bin",
        "HTTPS_PROXY": "http://proxy.example:3128",
        "DBUS_SESSION_BUS_ADDRESS": "unix:path=/run/user/1000/bus",
        "SSL_CERT_FILE": "",
    }
    assert carried(environment) == {
        "DBUS_SESSION_BUS_ADDRESS": "unix:path=/run/user/1000/bus",
        "HTTPS_PROXY": "http://proxy.example:3128",
        "STCLI_HOME": "/x",
        "STCLI_RF_TOKEN_FILE": "/run/secrets/token",
    }
    assert carried(environment, with_path=True)["PATH"] == "/opt/bin"
    assert secrets_in(environment) == ["STCLI_RF_TOKEN", "STCLI_ST_CLIENT_SECRET__SPRING_HVAC"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("HTTPS_PROXY", "http://user:made-up@proxy.example"), ("STCLI_HOME", "/x\n* * * * * evil")],
)
def test_a_variable_that_would_do_harm_is_refused(name: str, value: str) -> None:
    """A password that others could read; a line break that would be a line of its own."""
    with pytest.raises(ConfigurationError, match=name) as caught:
        carried({name: value})
    assert "made-up" not in str(caught.value)


def test_names_tell_homes_apart() -> None:
    """The default one is called plainly."""
    names = {schedule_name(Path(f"/h{n}"), is_default=False) for n in range(50)}
    assert len(names) == 50
    assert schedule_name(Path("/x"), is_default=True) == "stcli"
