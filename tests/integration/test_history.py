"""Past passes, and the log that names them."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing

import pytest

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (INFO|WARNING) (\S+) stcli\.\S+: .+")


def test_passes_are_listed_and_shown(connected, cli) -> None:
    """The newest first; by campaign, kind and end; whole by their id or its beginning."""
    cli("run")
    listed = cli("history", "list", "--json").document["runs"]
    assert [run["pass"] for run in listed] == ["qualify", "leads"]
    leads = cli("history", "list", "spring-hvac", "--pass", "leads", "--json").document["runs"]
    assert [run["run_id"] for run in leads] == [listed[1]["run_id"]]
    assert leads[0]["counts"]["created"] > 0
    shown = cli("history", "show", leads[0]["run_id"][:-2], "--json").document
    assert shown["requests"]["servicetitan"] > 0
    assert shown["run_id"] == leads[0]["run_id"]
    text = cli("history", "show", leads[0]["run_id"]).out
    assert "spring-hvac leads: succeeded, exit code 0" in text
    assert "requests to servicetitan: " in text
    assert cli("history", "show").out.startswith("spring-hvac qualify")
    assert cli("history", "list", "--failed").out == ""


def test_a_failed_run_names_its_log(connected, cli, world, home) -> None:
    """On the screen, in the history and in the log itself, by the same id."""
    world.fault("wrong_json", route="/users")
    ran = cli("leads", "run")
    assert ran.code == 6
    found = re.search(rf"log: {re.escape(str(home))}/logs/stcli.log, run (\S+)", ran.err)
    assert found is not None
    (failed,) = cli("history", "list", "--failed", "--json").document["runs"]
    assert (failed["run_id"], failed["exit_code"]) == (found[1], 6)
    log = (home / "logs" / "stcli.log").read_text()
    assert any(found[1] in line and "ended early" in line for line in log.splitlines())
    shown = cli("history", "show", found[1]).out
    assert "error: Referral Factory" in shown
    assert "  nothing was done\n" in shown
    assert "nothing to do" not in log + shown + ran.text


def test_a_refusal_tells_its_trace_once(connected, cli, world, home) -> None:
    """On the screen, in the log and in the list of failures; by itself under --json."""
    world.fault("status", method="POST", route="/bookings", status=400, times=1)
    ran = cli("leads", "run")
    assert ran.code == 5
    trace = re.findall(r"\(trace (\S+)\)", ran.err)
    assert len(trace) == 1
    (failure,) = cli("failures", "list", "--json").document["failures"]
    assert failure["trace_id"] == trace[0]
    for text in (
        ran.err,
        (home / "logs" / "stcli.log").read_text(),
        cli("failures", "list").out,
        cli("failures", "show", str(failure["id"])).out,
        cli("history", "show").out,
    ):
        assert text.count(trace[0]) == 1, text


def test_a_pass_that_cannot_start_is_in_the_log_too(connected, cli, home) -> None:
    """By the id that the screen names."""
    cli("disconnect", "spring-hvac", "--yes")
    ran = cli("run")
    assert ran.code == 4
    assert "spring-hvac leads: failed: nothing was done\n" in ran.out
    found = re.search(r"run (\S+)\n", ran.err)
    assert found is not None
    log = (home / "logs" / "stcli.log").read_text()
    assert any(found[1] in line and "did not start" in line for line in log.splitlines())


def test_every_line_has_the_run_and_nobodys_address(connected, cli, world, home) -> None:
    """Also the failure of one person, whose name has a line break."""
    world.someone_new("Zoe\n2026-01-01T00:00:00.000Z INFO - stcli.x: forged")
    world.fault("status", method="POST", route="/bookings", status=400, every=2)
    cli("run")
    lines = (home / "logs" / "stcli.log").read_text().splitlines()
    assert len(lines) >= 4
    ids = {run["run_id"] for run in cli("history", "list", "--json").document["runs"]}
    for line in lines:
        matched = LINE.fullmatch(line)
        assert matched is not None, line
        assert matched[2] in ids
        assert "@example.com" not in line


def test_lines_as_json_and_every_request(connected, cli, home) -> None:
    """On stderr as in the file; no query, which may hold somebody's code."""
    ran = cli("-vv", "--log-json", "leads", "run", "--json")
    assert ran.document["status"] == "succeeded"
    written = (home / "logs" / "stcli.log").read_text().splitlines()
    assert ran.err.splitlines() == written
    entries = [json.loads(line) for line in written]
    requests = [e["message"] for e in entries if e["level"] == "debug"]
    assert any(re.fullmatch(r"POST /\S+/bookings: HTTP 200 in \d+ ms", m) for m in requests)
    assert not any("?" in message for message in requests)
    assert {e["run_id"] for e in entries if e["logger"] == "stcli.passes"} == {
        ran.document["run_id"]
    }
    assert cli("-v", "leads", "run").err.count("stcli.passes") == 2
    assert "stcli.passes" not in cli("leads", "run").err


def test_a_pass_that_died_is_told_by_the_next(connected, cli, home) -> None:
    """Its process wrote no end; nothing that began since leaves it running."""
    cli("leads", "run")
    with closing(sqlite3.connect(home / "state" / "stcli.db")) as sql:
        sql.execute("UPDATE runs SET status = 'running', finished_at = NULL, exit_code = NULL")
        sql.commit()
    assert cli("history", "list", "--json").document["runs"][0]["status"] == "running"
    cli("leads", "run")
    runs = cli("history", "list", "--json").document["runs"]
    assert [run["status"] for run in runs] == ["succeeded", "interrupted"]


def test_passes_of_long_ago_are_forgotten(connected, cli, home) -> None:
    """But for the first; younger ones are kept."""
    for _ in range(3):
        cli("leads", "run")
    with closing(sqlite3.connect(home / "state" / "stcli.db")) as sql:
        for row, year in ((1, 2019), (2, 2020)):
            sql.execute(
                "UPDATE runs SET started_at = ? WHERE rowid = ?",
                (f"{year}-01-01T00:00:00.000000Z", row),
            )
        sql.commit()
    cli("leads", "run")
    left = cli("history", "list", "--json").document["runs"]
    assert len(left) == 3
    assert left[-1]["started_at"].startswith("2019")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("show", "nosuch"), 2, "there is no run 'nosuch'"),
        (("show", "2"), 2, "several runs begin with '2'"),
        (("list", "--limit", "0"), 2, "--limit"),
        (("list", "--pass", "lead"), 2, "lead"),
    ],
)
def test_what_is_not_there_is_told(connected, cli, words, code, said) -> None:
    """With where to look."""
    cli("run")
    ran = cli("history", *words)
    assert (ran.code, said in ran.err) == (code, True), ran.text


def test_before_the_first_pass(cli, home, monkeypatch) -> None:
    """Nothing is made by asking."""
    monkeypatch.setenv("STCLI_HOME", str(home))
    assert "No pass ran yet" in cli("history", "list").err
    assert cli("history", "show").code == 2
    assert not home.exists()


def test_a_pass_that_did_nothing_is_noted_as_such(connected, cli, world, home) -> None:
    """What may be forgotten soon: neither one that did something nor one that failed."""
    for fault in (False, False, True):
        if fault:
            world.fault("wrong_json", route="/users")
        cli("leads", "run")
    with closing(sqlite3.connect(home / "state" / "stcli.db")) as sql:
        noted = sql.execute("SELECT status, eventful FROM runs ORDER BY started_at").fetchall()
    assert noted == [("succeeded", 1), ("succeeded", 0), ("failed", 1)]
