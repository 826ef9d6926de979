"""The dashboards, asked of a Prometheus that holds a week of the house: nothing empty, and a day's energy is the meter's."""

import json
import re
import urllib.parse
import urllib.request
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from bridge.sample import Sample, Series
from grafana.source.panels import PHASES
from grafana.source.queries import hourly, today
from readings.reading import Kind
from tests.conftest import Server, start_prometheus
from tests.history import History, Replacement, Silence, health, send
from tests.integration.prometheus_api import query

BOARDS = {
    path.stem: json.loads(path.read_text())
    for path in (Path(__file__).parents[2] / "grafana" / "dashboards").glob("*.json")
}
PANELS = [
    pytest.param(panel, target, id=f"{name}-{panel['title']}-{target['refId']}")
    for name, board in BOARDS.items()
    for panel in board["panels"]
    for target in panel["targets"]
]
MEASURED = [
    one
    for one in PANELS
    if one.values[0]["type"] == "timeseries"
    and re.search(r"\b(?:sensor|thermostat)_\w+_(?:celsius|percent|dbm)\b", one.values[1]["expr"])
]
"""Lines of what a sensor or a thermostat says."""

CHOSEN = {
    "meter": "heating", "heatpump": "heatpump", "indoor": "temp_indoor", "outdoor": "temp_outdoor",
    "buffer": "temp_buffer", "price": "0.30", "began": "0",
}  # fmt: skip
HOME = ZoneInfo("Europe/Berlin")
STEPS_S = {None: 60, "5m": 300, "15m": 900, "1h": 3600}
SELDOM = ("sensor_", "thermostat_")
COUNT = 'meter_energy_total_kwh{device="heating"}'
TAKEN = ("energy_total_kwh", "energy_total_raw_kwh", "energy_L1_kwh", "energy_L2_kwh", "energy_L3_kwh")
ONLY_IMPORT = (("energy_import_total_kwh",), TAKEN)
"""What docs/metrics.md says to houses that feed in; most meters make no other count by themselves."""


@pytest.fixture(scope="module")
def week(tmp_path_factory) -> Iterator[tuple[Server, float]]:
    """A week in January, every two minutes, which ends while the compressor runs; and its end."""
    server = start_prometheus(tmp_path_factory.mktemp("week"))
    house = History(start_s=1768449600, end_s=1768449600 + 7 * 86_400, step_s=120)
    yield server, fill(server, house.samples())
    server.stop()


@pytest.fixture(scope="module")
def sparse(tmp_path_factory) -> Iterator[tuple[Server, float]]:
    """Two days of a house whose meter counts only what it takes, and whose sensors speak every hour; and their end."""
    server = start_prometheus(tmp_path_factory.mktemp("sparse"))
    house = History(start_s=1768449600, end_s=1768449600 + 2 * 86_400, step_s=120, meter_fields=ONLY_IMPORT)
    yield server, fill(server, hourly_sensors(house.samples()))
    server.stop()


def hourly_sensors(samples: Iterable[Sample]) -> Iterator[Sample]:
    """Of each series of a sensor, and of the thermostat, the first sample of an hour."""
    hours: dict[Series, int] = {}
    for sample in samples:
        hour = sample.timestamp_ms // 3_600_000
        if not sample.series.name.startswith(SELDOM) or hours.get(sample.series) != hour:
            hours[sample.series] = hour
            yield sample


def fill(server: Server, made: Iterable[Sample]) -> float:
    """Store it up to where the compressor has run for a while; gives that time."""
    running = 0.0
    for_so_long = 0
    samples = []
    for sample in made:
        samples.append(sample)
        if sample.series.name == "heatpump_compressor_running":
            for_so_long = for_so_long + 1 if sample.value else 0
            if for_so_long >= 5:
                running = sample.timestamp_ms / 1000
    send(server.port, (one for one in samples if one.timestamp_ms <= running * 1000))
    send(server.port, health(running - 86_400, running + 1))
    return running


def chosen(expression: str, range_s: int, step: str = "1m") -> str:
    """The expression as Grafana sends it."""
    own = {"__range": f"{range_s}s", "__rate_interval": "120s", "__interval": step}
    for name, value in {**own, **CHOSEN}.items():
        expression = re.sub(rf"\$\{{?{name}\b\}}?", value, expression)
    assert "$" not in expression
    return expression


def between(port: int, expression: str, start_s: float, end_s: float, step_s: int) -> list[dict[str, Any]]:
    words = urllib.parse.urlencode({"query": expression, "start": start_s, "end": end_s, "step": step_s})
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query_range?{words}", timeout=30) as answer:
        return json.load(answer)["data"]["result"]


NOT_BOTH = {"week": {"Total"}, "sparse": set(PHASES)}
"""What "Energy by day" has not: the whole stands there only for the phases that a meter does not count."""


@pytest.mark.prometheus
@pytest.mark.parametrize("house", NOT_BOTH)
@pytest.mark.parametrize(("panel", "target"), PANELS)
def test_no_panel_is_empty(
    panel: dict[str, Any], target: dict[str, Any], house: str, request: pytest.FixtureRequest
):
    server, end_s = request.getfixturevalue(house)
    expression = chosen(target["expr"], 6 * 3600, target.get("interval", "1m"))
    if target.get("instant"):
        found = query(server.port, expression, at_s=end_s)
    else:
        step_s = STEPS_S[target.get("interval")]
        found = between(server.port, expression, end_s // 3600 * 3600 - 6 * 3600, end_s, step_s)
    is_empty = panel["title"] == "Energy by day" and target["legendFormat"] in NOT_BOTH[house]
    assert bool(found) is not is_empty, expression


@pytest.mark.prometheus
@pytest.mark.parametrize(("panel", "target"), MEASURED)
def test_what_speaks_every_hour_is_a_point_an_hour(
    panel: dict[str, Any], target: dict[str, Any], sparse: tuple[Server, float]
):
    """No value stands there again as if it were measured again, and the line joins it to the next one."""
    server, end_s = sparse
    step = target["interval"]
    start_s = end_s // 3600 * 3600 - 6 * 3600 + 3599
    expression = chosen(target["expr"], 6 * 3600, step)
    for series in between(server.port, expression, start_s, start_s + 5 * 3600, STEPS_S[step]):
        assert len(series["values"]) == 5
    looks = [
        {one["id"]: one["value"] for one in override["properties"]}
        for override in panel["fieldConfig"]["overrides"]
        if override["matcher"] == {"id": "byFrameRefID", "options": target["refId"]}
    ]
    assert looks[0]["custom.showPoints"] == "always"
    assert looks[0]["custom.spanNulls"] >= 3 * 3_600_000


@pytest.mark.prometheus
def test_it_is_not_well_while_nobody_says_so(week: tuple[Server, float]):
    """Bridge and poller report in the last day only: before it they might as well have been dead."""
    server, end_s = week
    (panel,) = (one for one in BOARDS["overview"]["panels"] if one["title"] == "Is anything wrong?")
    expression = chosen(panel["targets"][0]["expr"], 6 * 3600)
    for at_s, wrong in ((end_s, "0"), (end_s - 3 * 86_400, "2")):
        (found,) = query(server.port, expression, at_s=at_s)
        assert found["value"][1] == wrong


def days(port: int, start: datetime, count: int) -> dict[str, float]:
    """As the bars are made: an hour's growth by the hour that begins, named after its day at home, added up."""
    end = start + timedelta(days=count)
    added: dict[str, float] = defaultdict(float)
    for series in between(port, hourly(COUNT), start.timestamp(), end.timestamp() - 1, 3600):
        for at, value in series["values"]:
            added[datetime.fromtimestamp(at, HOME).date().isoformat()] += float(value)
    return added


@pytest.mark.prometheus
@pytest.mark.parametrize(
    ("first", "has_trouble"),
    [
        (datetime(2026, 3, 28, tzinfo=HOME), False),
        (datetime(2026, 10, 24, tzinfo=HOME), False),
        (datetime(2026, 1, 17, tzinfo=HOME), True),
    ],
    ids=["spring forward", "fall back", "a meter replaced, and four hours without it"],
)
def test_a_day_s_energy_is_the_meter_s(first: datetime, has_trouble: bool, prometheus: Server):
    """Three days at home: what the panels show is what the meter counted, to 0.01 kWh."""
    start, end = first.timestamp(), (first + timedelta(days=3)).timestamp()
    noon = (first + timedelta(days=1, hours=12)).timestamp()
    house = History(
        start_s=start - 3600,
        end_s=end + 3600,
        step_s=300,
        replacements=(Replacement(noon, "99887766", 17.0),) if has_trouble else (),
        silences=(Silence("heating", noon + 79_200, noon + 93_600),) if has_trouble else (),
    )
    counts: dict[float, float] = {}
    samples = []
    for sample in house.samples():
        samples.append(sample)
        if sample.series.name == "meter_energy_total_kwh":
            counts[sample.timestamp_ms / 1000] = sample.value
    send(prometheus.port, samples)
    shown = days(prometheus.port, first, 3)
    for number in range(3):
        begins = first + timedelta(days=number)
        ends = first + timedelta(days=number + 1)
        truth = counts[ends.timestamp()] - counts[begins.timestamp()]
        assert shown[begins.date().isoformat()] == pytest.approx(truth, abs=0.01)
        # The number for today, five minutes before midnight.
        almost = ends.timestamp() - 300
        range_s = round(almost - begins.timestamp())
        (now,) = query(prometheus.port, chosen(today(COUNT), range_s), at_s=almost)
        assert float(now["value"][1]) == pytest.approx(counts[almost] - counts[begins.timestamp()], abs=0.01)


def test_the_history_has_what_the_dashboards_ask_for():
    assert {one.key.kind for one in History(start_s=0, end_s=0).devices} == set(Kind)
