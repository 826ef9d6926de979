"""Every night one, also on a machine that is off at night; one that failed is tried again."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from heating.backup.__main__ import LOOK_EVERY_S, wait_for_nights
from heating.backup.schedule import find_due, find_pause
from tests.conftest import wait_until

ROOT = Path(__file__).parents[3]
BERLIN = ZoneInfo("Europe/Berlin")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("made", "now", "due"),
    [
        ([], "2026-11-26T12:00", "2026-11-26T12:00"),
        (["2026-11-26T02:00"], "2026-11-26T12:00", "2026-11-27T02:00"),
        (["2026-11-20T02:00", "2026-11-26T02:00"], "2026-11-26T12:00", "2026-11-27T02:00"),
        (["2026-11-20T02:00"], "2026-11-26T12:00", "2026-11-21T02:00"),
        (["2026-11-26T13:00"], "2026-11-26T14:00", "2026-11-27T02:00"),
        (["2026-11-26T01:00"], "2026-11-26T01:30", "2026-11-26T02:00"),
        (["2038-01-19T00:00"], "2026-11-26T12:00", "2026-11-26T12:00"),
        (["2026-03-28T02:00"], "2026-03-28T12:00", "2026-03-29T01:00"),
        (["2026-10-24T01:00"], "2026-10-24T12:00", "2026-10-25T02:00"),
    ],
    ids=[
        "the first one at once",
        "the next night",
        "the newest counts",
        "one that was missed is made up for",
        "one by hand counts as well",
        "one by hand in the evening, or just before",
        "one with a wrong clock does not count",
        "the night in which the clock goes forward",
        "the night in which the clock goes back",
    ],
)
def test_a_backup_is_due_at_three_at_home(made, now, due):
    assert find_due(map(utc, made), utc(now), time(3), BERLIN) == utc(due)


class Nights:
    """A clock that is turned by whoever waits."""

    def __init__(self, outcomes: list[bool], until: datetime) -> None:
        self.now = utc("2026-11-26T12:00")
        self.until = until
        self.outcomes = outcomes
        self.made: list[datetime] = []
        self.tried: list[datetime] = []
        self.stops_while_making = False

    def make(self) -> bool:
        self.tried.append(self.now)
        self.now += timedelta(minutes=7)
        if self.outcomes and not self.outcomes.pop(0):
            return False
        self.made.append(self.now)
        return True

    def wait(self, seconds: float) -> bool:
        self.now += timedelta(seconds=seconds)
        return self.now >= self.until

    def due(self) -> datetime:
        return find_due(self.made, self.now, time(3), UTC)


def pass_nights(*outcomes: bool, days: int) -> Nights:
    nights = Nights(list(outcomes), utc("2026-11-26T12:00") + timedelta(days=days))
    wait_for_nights(due=nights.due, make=nights.make, wait=nights.wait, now=lambda: nights.now, after_s=300.0)
    return nights


def test_every_night_has_one_and_the_first_comes_soon():
    nights = pass_nights(days=4)
    assert nights.tried[0] == utc("2026-11-26T12:05")
    assert len(nights.tried) == 5
    for tried in nights.tried[1:]:
        assert 0 <= (tried - tried.replace(hour=3, minute=0)).total_seconds() <= LOOK_EVERY_S


def test_one_that_failed_is_tried_again_soon_and_then_more_seldom():
    nights = pass_nights(False, False, False, days=1)
    waited = [(later - earlier).total_seconds() - 420 for earlier, later in pairwise(nights.tried)]
    assert waited[:3] == [find_pause(1), find_pause(2), find_pause(3)]
    assert len(nights.made) == 2


CONFIG = """\
[backup]
at = "03:00"
[poller]
data = "poller"
[bridge]
data = "bridge"
"""


@pytest.fixture
def start(tmp_path: Path):
    """The program itself, as the stack starts it."""
    config = tmp_path / "config.toml"
    config.write_text(CONFIG)
    started: list[subprocess.Popen[str]] = []

    def run(text: str = CONFIG) -> subprocess.Popen[str]:
        config.write_text(text)
        with (tmp_path / "log").open("a") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "heating.backup", "--config", str(config), "--after", "0"],
                cwd=ROOT,
                stdout=log,
                stderr=log,
                text=True,
                env={**os.environ, "HEATING_REPORT__TIMEZONE": "Europe/Berlin"},
            )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.wait(10)


def test_the_program_makes_one_says_when_the_next_is_due_and_ends_when_told_to(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path
):
    process = start()

    def said() -> str:
        return (tmp_path / "log").read_text()

    wait_until(lambda: "the next backup is due at" in said(), within_s=30, what="a backup")
    assert "a backup every night at 03:00, Europe/Berlin, into" in said()
    assert "left out, because there is none: store, journal" in said()
    assert len(list((tmp_path / "backups").glob("heating-*.tar.gz"))) == 1
    process.terminate()
    assert process.wait(10) == 0


def test_the_program_says_that_none_was_made(start: Callable[..., subprocess.Popen[str]], tmp_path: Path):
    process = start(CONFIG.replace('at = "03:00"', 'grafana = "nowhere/grafana.db"'))
    wait_until(
        lambda: "no backup was made; the next try is in 10 minutes" in (tmp_path / "log").read_text(),
        within_s=30,
        what="a failure",
    )
    assert "grafana.db: there is no such file" in (tmp_path / "log").read_text()
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[backup]\nat = "25:00"', "backup.at: "),
        ('[backup]\nat = "3"', "backup.at: "),
        ('[backup]\nevery = "night"', "backup.every: unknown key"),
    ],
)
def test_a_wrong_configuration_is_one_line(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path, text: str, says: str
):
    assert start(text).wait(20) == 2
    (line,) = (tmp_path / "log").read_text().splitlines()
    assert line.startswith(f"{tmp_path / 'config.toml'}: {says}")
