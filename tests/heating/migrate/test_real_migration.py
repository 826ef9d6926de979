"""A Prometheus that the original filled, before and after: real blocks, real queries, the command as a process."""

import json
import re
import signal
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from grafana.source.queries import hourly
from heating.migrate.blocks import FOLDER
from tests.conftest import Server, needs, wait_until
from tests.heating.migrate.original import ENERGY, SCRAPED, OriginalHouse, Past, sample
from tests.heating.report.simple_house import berlin_midnight_s, days, fill, power_kw, utc
from tests.heating.report.test_real_report import ZONE, is_ready, serve
from tests.history import send
from tests.integration.prometheus_api import query
from tests.integration.test_dashboards import BOARDS, between

HIGHEST_KW = 3.0
NAME = r"\b(?:meter|heatpump|sensor|thermostat|poller|bridge)_\w+"
COUNT = f'meter_{ENERGY}{{device="meter"}}'


@dataclass
class Migrated:
    """A house, the Prometheus with its data, and what the commands said."""

    house: OriginalHouse
    server: Server
    folder: Path
    before: Sequence[str]
    looked: str = ""
    after_looking: Sequence[str] = ()
    applied: str = ""

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def entries(self) -> Sequence[str]:
        return sorted(path.name for path in self.data.iterdir() if path.suffix != ".tmp")

    def migrate(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(*words), capture_output=True, text=True, timeout=100, check=False)

    def command(self, *words: str) -> list[str]:
        at = f"http://127.0.0.1:{self.server.port}"
        return [sys.executable, "-m", "heating", "migrate", "--prometheus", at, *words]

    def apply(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.migrate("--apply", "--data", str(self.data), *words)

    def restart(self) -> None:
        """Prometheus looks for new blocks once a minute, and at its start."""
        self.server.stop()
        self.server.start()
        wait_until(lambda: is_ready(self.server.port), within_s=30, what="Prometheus is ready again")

    def count(self, at_s: int) -> float:
        (series,) = query(self.server.port, COUNT, at_s)
        return float(series["value"][1])


def original(folder: Path, past: Past) -> Migrated:
    """The original's year, and this system's days after it."""
    needs("promtool")
    house = OriginalHouse(past)
    fill(folder, house.lines())
    server = serve(folder, "--web.enable-admin-api")
    send(server.port, house.samples())
    # What is in blocks now stays so: nothing else is written.
    made = Migrated(house, server, folder, ())
    made.restart()
    made.before = made.entries()
    return made


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Migrated]:
    made = original(tmp_path_factory.mktemp("original"), Past())
    try:
        looked = made.migrate("--data", str(made.data))
        assert looked.returncode == 0, looked.stderr
        made.looked, made.after_looking = looked.stdout, made.entries()
        applied = made.apply()
        assert applied.returncode == 0, applied.stderr
        made.applied = applied.stdout
        made.restart()
        yield made
    finally:
        made.server.stop()


def test_looking_says_what_is_there_and_writes_nothing(migrated: Migrated):
    assert migrated.after_looking == migrated.before
    said = migrated.looked.splitlines()
    assert said[:3] == [
        'meter_* of "meter" from wago_*',
        "  there      2026-03-05 22:00 UTC to 2026-03-19 14:58 UTC, 48,300 samples",
        '  goes on    2026-03-19 15:02 UTC, as meter_*{device="meter", site="home"}',
    ]
    assert "  leaves out 89: 1 not_a_number, 2 range, 2 resolution, 60 rise, 24 unread" in said
    assert any("energy_total_kwh: another meter from 2026-03-10 12:02 UTC on" in line for line in said)
    assert said[-2].startswith("Nothing was written. --apply does it, in about ")
    assert said[-1] == (
        "wago_*, heatpump_*, sensor_*, thermostat_* stay as they are: --join makes those, too, with the labels of today."
    )
    assert "48,211 samples in 7 blocks" in migrated.applied


def test_a_month_drawn_across_the_day_has_no_break(migrated: Migrated):
    """One series, and a point for each hour but those in which the original itself had none."""
    past = migrated.house.past
    start_s, end_s = past.start_s + 3600, past.end_s
    for metric, truth, tolerance in (
        ("meter_power_total_kw", power_kw, 0.1),
        ("meter_frequency_hz", lambda _at_s: 50.0, 0.03),
    ):
        (series,) = between(migrated.server.port, f'{metric}{{device="meter"}}', start_s, end_s, 3600)
        drawn = {int(at): float(value) for at, value in series["values"]}
        missing = {at_s for at_s in range(start_s, end_s + 1, 3600) if at_s not in drawn}
        assert missing == set(range(past.away_s[0] + 3600, past.away_s[1] + 1, 3600))
        for at_s, value in drawn.items():
            if not past.frozen_s[0] <= at_s <= past.frozen_s[1]:
                assert value == pytest.approx(truth(at_s), abs=tolerance), at_s


def test_the_dashboards_show_that_month_whole(migrated: Migrated):
    """What they ask for of the meter: each one series, no hour empty but the original's own, and its bars add up to what was used."""
    past, port = migrated.house.past, migrated.server.port
    start_s, end_s = past.start_s // 3600 * 3600 + 7200, past.end_s // 3600 * 3600 - 3600
    fields = {f"meter_{name}" for name in migrated.house.meter(past.start_s)}
    asked = {
        target["expr"].replace("$meter", "meter")
        for board in BOARDS.values()
        for panel in board["panels"]
        for target in panel["targets"]
        if not target.get("instant") and {*re.findall(NAME, target["expr"])} <= fields
    }
    assert len(asked) >= 4
    nothing = {
        at_s
        for at_s in range(start_s, end_s + 1, 3600)
        for begin_s, stop_s in (past.away_s, (past.latched_s, past.unlatched_s))
        if begin_s <= at_s <= stop_s + 3600
    }
    for expression in asked:
        (series,) = between(port, expression.replace("$price", "1"), start_s, end_s, 3600)
        drawn = {int(at) for at, _ in series["values"]}
        assert set(range(start_s, end_s + 1, 3600)) - drawn <= nothing, expression
    (bars,) = between(port, hourly(COUNT), start_s, end_s - 3600, 3600)
    used = sum(float(value) for _, value in bars["values"])
    assert used == pytest.approx(
        migrated.house.kwh(start_s, end_s), abs=2 * HIGHEST_KW * past.new_step_s / 3600
    )


def test_a_count_and_its_increase_are_right_across_meters_mishaps_and_the_day(migrated: Migrated):
    """To what is used between two scrapes, and twice that where a meter was replaced."""
    house, past = migrated.house, migrated.house.past
    between_kwh = HIGHEST_KW * past.new_step_s / 3600
    for from_s, to_s in (
        (past.latched_s - 3600, past.unlatched_s + 3600),
        (past.replaced_s - 86400, past.replaced_s + 86400),
        (past.frozen_s[0] - 3600, past.frozen_s[1] + 3600),
        (past.changed_s - 86400, past.changed_s + 86400),
        (past.start_s + 3600, past.end_s),
    ):
        truth = house.kwh(from_s, to_s)
        assert migrated.count(to_s) - migrated.count(from_s) == pytest.approx(truth, abs=2 * between_kwh)
        (series,) = query(migrated.server.port, f"increase({COUNT}[{to_s - from_s}s])", to_s)
        assert float(series["value"][1]) == pytest.approx(truth, abs=2 * between_kwh)


def test_nothing_is_shown_while_the_original_showed_a_count_that_was_too_high(migrated: Migrated):
    past = migrated.house.past
    assert query(migrated.server.port, f"wago_{ENERGY}", past.latched_s + 1800)[0]["value"][1] == "65535"
    assert query(migrated.server.port, COUNT, past.latched_s + 1800) == []


def test_a_count_never_falls(migrated: Migrated):
    past = migrated.house.past
    span = f"{past.end_s - past.start_s}s"
    assert query(migrated.server.port, f"resets({COUNT}[{span}])", past.end_s)[0]["value"][1] == "0"


def test_the_day_before_and_after_are_the_same_series(migrated: Migrated):
    past = migrated.house.past
    series = query(migrated.server.port, '{__name__=~"meter_.+"}', past.changed_s - 3600)
    assert len(series) == 5
    for one in series:
        assert one["metric"] == {"__name__": one["metric"]["__name__"], "device": "meter", "site": "home"}


def test_the_report_is_right_to_a_tenth_on_every_day(migrated: Migrated, tmp_path: Path):
    (config := tmp_path / "config.toml").write_text(f"[report]\n{ZONE}")
    at = f"http://127.0.0.1:{migrated.server.port}"
    words = ["daily", "--from", "2026-03-06", "--to", "2026-04-04", "--format", "json"]
    command = [sys.executable, "-m", "heating", "report", *words, "--prometheus", at, "--config", str(config)]
    said = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)
    by_day = {row["name"]: row for row in said["rows"]}
    assert list(by_day) == list(days("2026-03-06", "2026-04-04"))
    for day, row in by_day.items():
        assert row["status"] == "OK", day
        assert row["energy_kwh"] == pytest.approx(truth_of(migrated.house, day), abs=0.1), day


def truth_of(house: OriginalHouse, day: str) -> float:
    following = f"{datetime.fromisoformat(day) + timedelta(days=1):%Y-%m-%d}"
    return house.kwh(berlin_midnight_s(day), berlin_midnight_s(following))


def test_once_more_does_nothing(migrated: Migrated):
    entries = migrated.entries()
    again = migrated.apply()
    assert again.returncode == 0, again.stderr
    assert again.stdout.splitlines() == [
        'meter_* of "meter" from wago_*: nothing lies before 2026-03-05 22:02 UTC',
        "Nothing is left to make.",
    ]
    assert migrated.entries() == entries


@pytest.mark.long
def test_what_kept_its_name_joins_where_it_is_wanted(migrated: Migrated):
    """Under one name two series are drawn: one of the original's time, which stays, and one of all time."""
    past, port = migrated.house.past, migrated.server.port
    names = "wago_power_total_kw|heatpump_flow_rate_lpm|sensor_temperature_celsius"
    selector = f'{{__name__=~"{names}"}}'
    span = f"[{past.end_s - past.start_s}s]"
    apart = query(port, f"count_over_time({selector}{span})", past.end_s)
    assert len(apart) == 6
    joined = migrated.apply("--join")
    assert joined.returncode == 0, joined.stderr
    migrated.restart()
    after = query(port, f"count_over_time({selector}{span})", past.end_s)
    assert len(after) == 6

    def of(found, *, scraped):
        return sum(int(one["value"][1]) for one in found if ("job" in one["metric"]) is scraped)

    assert of(after, scraped=True) == of(apart, scraped=True)
    # All of the original's but four zeros, two powers that were garbage and one too high.
    refused = 7
    assert of(after, scraped=False) == of(apart, scraped=False) + of(apart, scraped=True) - refused


def test_undo_takes_away_what_was_made_and_nothing_else(migrated: Migrated):
    """The last of this file: it undoes what the others look at."""
    past, port = migrated.house.past, migrated.server.port
    undone = migrated.migrate("--undo", "--data", str(migrated.data))
    assert undone.returncode == 0, undone.stderr
    assert query(port, '{__name__=~"(meter|wago|heatpump|sensor)_.+",job=""}', past.changed_s - 3600) == []
    assert len(query(port, '{job!=""}', past.changed_s - 3600)) == 9
    assert len(query(port, '{__name__=~"meter_.+"}', past.end_s)) == 5
    assert not (migrated.data / FOLDER).exists()
    assert "48,211 samples" in migrated.migrate().stdout


SHORT = Past(
    start_s=utc("2026-03-05T22:00"),
    away_s=(0, 0),
    frozen_s=(0, 0),
    replaced_s=utc("2026-03-09T12:00"),
    changed_s=utc("2026-03-12T15:00"),
    end_s=utc("2026-03-13T00:00"),
)


@pytest.mark.long
def test_a_run_that_is_killed_changes_nothing_and_the_next_one_does_all(tmp_path: Path):
    made = original(tmp_path, SHORT)
    try:
        command = made.command("--apply", "--data", str(made.data))
        blocks = made.data / FOLDER / "under-way" / "blocks"
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            wait_until(
                lambda: list(blocks.glob("*/meta.json")) or process.poll() is not None,
                within_s=60,
                what="a first block is made",
            )
            assert process.poll() is None, "it ended by itself"
            process.send_signal(signal.SIGKILL)
        assert sorted({*made.entries()} - {FOLDER}) == made.before
        made.restart()
        assert query(made.server.port, COUNT, SHORT.changed_s - 60) == []

        applied = made.apply()
        assert applied.returncode == 0, applied.stderr
        (record,) = (made.data / FOLDER).glob("*.json")
        put = json.loads(record.read_bytes())["blocks"]
        assert {*made.entries()} == {*made.before, *put, FOLDER}

        # Killed while the blocks were put in their places: one of them is not.
        blocks.mkdir(parents=True)
        (made.data / put[0]).rename(blocks / put[0])
        record.rename(blocks.parent / "complete.json")
        finished = made.apply()
        assert finished.returncode == 0, finished.stderr
        assert finished.stdout.startswith("An earlier run made its blocks and was interrupted:")
        assert {*made.entries()} == {*made.before, *put, FOLDER}

        early = made.apply()
        assert early.returncode == 1
        assert "was made already, and Prometheus does not show it" in early.stderr
        made.restart()
        page = (Path(__file__).parents[3] / "docs" / "migration.md").read_text(encoding="utf-8")
        (url,) = re.findall(r"'http://localhost:9090(\S*delete_series\S*)'", page)
        path, _, words = url.partition("?")
        name, _, value = words.partition("=")
        deleted = urllib.request.Request(
            f"http://127.0.0.1:{made.server.port}{path}?{name}={urllib.parse.quote(value)}", method="POST"
        )
        assert urllib.request.urlopen(deleted, timeout=30).status == 204
        assert query(made.server.port, '{job!=""}', SHORT.changed_s - 60) == []
        assert made.count(SHORT.changed_s) - made.count(SHORT.replaced_s + SHORT.step_s) == pytest.approx(
            made.house.kwh(SHORT.replaced_s, SHORT.changed_s), abs=HIGHEST_KW * SHORT.new_step_s / 3600
        )
    finally:
        made.server.stop()


def test_what_is_in_the_memory_of_prometheus_waits(tmp_path: Path):
    """A block that reaches into it would make Prometheus forget the rest at its next start."""
    past = Past(changed_s=utc("2026-03-06T00:00"), end_s=utc("2026-03-06T00:20"))
    house = OriginalHouse(past)
    made = Migrated(house, serve(tmp_path), tmp_path, ())
    try:
        scraped = [
            sample("wago_power_total_kw", SCRAPED, power_kw(at_s), at_s)
            for at_s in range(past.start_s, past.changed_s, past.step_s)
        ]
        send(made.server.port, [*scraped, *house.samples()])
        looked, refused = made.migrate(), made.apply()
    finally:
        made.server.stop()
    assert looked.stdout.endswith(refused.stderr)
    assert (refused.returncode, refused.stderr) == (
        1,
        "Prometheus has the time from 2026-03-05 22:00 UTC on in its memory still: "
        "try again 4 hours after 2026-03-05 23:58 UTC\n",
    )
    assert not (made.data / FOLDER).exists()
