"""Whose turn it is, by each campaign's own interval."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import pytest

from stcli.domain.ids import CampaignName
from stcli.errors import ConfigurationError
from stcli.wiring import Application
from stcli.worker.working import Intervals
from tests.integration.conftest import Cli

SPRING = CampaignName("spring-hvac")


@pytest.fixture
def app(connected: Path) -> Iterator[Application]:
    """This home, as a worker opens it."""
    opened = Application(os.environ)
    yield opened
    opened.state.close()


@pytest.fixture
def file(connected: Path) -> Path:
    """The campaign's."""
    return connected


def had_its_turn(app: Application, minutes: int) -> None:
    app.state.turns.took(SPRING, app.now() - timedelta(minutes=minutes))


def test_a_campaign_is_due_after_its_interval(app: Application) -> None:
    """At once where it never had a turn; else after a quarter of an hour."""
    intervals = Intervals(app)
    assert intervals.due() == [SPRING]
    had_its_turn(app, 14)
    assert intervals.due() == []
    had_its_turn(app, 16)
    assert intervals.due() == [SPRING]


def test_a_file_that_changed_counts_from_the_next_tick_on(app: Application, file: Path) -> None:
    """Also one that can no longer be read: its pass then says so."""
    intervals = Intervals(app)
    had_its_turn(app, 20)
    assert intervals.due() == [SPRING]
    text = file.read_text(encoding="utf-8")
    file.write_text(text + "worker: {every: 1h}\n", encoding="utf-8")
    assert intervals.due() == []
    file.write_text(text + "worker: {every: often}\n", encoding="utf-8")
    assert intervals.due() == [SPRING]


def test_a_file_that_did_not_change_is_not_read_again(
    app: Application, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tick comes four times a minute, for hundreds of campaigns."""
    read: list[CampaignName] = []
    settings_of = Application.settings_of
    monkeypatch.setattr(
        Application,
        "settings_of",
        lambda self, name: (read.append(name), settings_of(self, name))[1],
    )
    intervals = Intervals(app)
    for _ in range(3):
        intervals.due()
    assert read == [SPRING]
    file.touch()
    intervals.due()
    assert read == [SPRING, SPRING]


def test_a_file_that_could_not_be_read_once_is_read_again(
    app: Application, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of it has to change: too many open files, a disk that was away."""
    with file.open("a", encoding="utf-8") as more:
        more.write("worker: {every: 1h}\n")
    intervals = Intervals(app)
    had_its_turn(app, 20)
    with monkeypatch.context() as patch:
        patch.setattr(Application, "settings_of", _fails)
        assert intervals.due() == [SPRING]
    assert intervals.due() == []


def _fails(_app: Application, _name: CampaignName) -> NoReturn:
    raise ConfigurationError("too many open files", "Close some.")


def test_only_what_is_here_and_connected_has_a_turn(
    app: Application, file: Path, cli: Cli, home: Path
) -> None:
    """A file without a connection has none yet, and a campaign whose file other hosts have is theirs."""
    (home / "campaigns" / "autumn.yaml").write_text(
        file.read_text(encoding="utf-8"), encoding="utf-8"
    )
    assert Intervals(app).due() == [SPRING]
    file.rename(home / "elsewhere.yaml")
    assert Intervals(app).due() == []
    (home / "elsewhere.yaml").rename(file)
    assert cli("disconnect", "spring-hvac", "--yes").code == 0
    assert Intervals(app).due() == []
