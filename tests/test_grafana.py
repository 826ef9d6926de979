"""The dashboard asks for what the pipeline makes, in words that Prometheus understands."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from grafana.source.__main__ import as_json, dashboards
from heating.report.queries import COUNTS
from poller.profile import load_profile, profile_names
from readings.health import BRIDGE_HEALTH, POLLER_HEALTH
from readings.reading import Kind
from tests.conftest import needs

GRAFANA = Path(__file__).parent.parent / "grafana"
DASHBOARDS = {path.stem: json.loads(path.read_text()) for path in (GRAFANA / "dashboards").glob("*.json")}
PANELS = [
    pytest.param(panel, id=f"{name}-{panel['title']}")
    for name, board in DASHBOARDS.items()
    for panel in board["panels"]
]
METRIC = re.compile(r"\b(?:meter|wago|heatpump|sensor|thermostat|bridge|poller)_(?!name\b)\w+")


UNITS = {
    "short", "kwatt", "celsius", "kelvin", "pressurebar", "flowlpm", "hertz", "percent", "percentunit", "s", "decbytes",
    "suffix:kWh", "suffix:W", "suffix:dBm", "suffix:min",
}  # fmt: skip
"""Those of Grafana's that we use, as its own list of value formats names them; `suffix:` takes any text."""

OWN_KINDS = {"barchart", "state-timeline", "xychart", "text"}
"""Kinds of panels without a schema; what they need is looked at by name."""


def queries(board: dict[str, Any]) -> Iterator[str]:
    for panel in board["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))


def readings() -> set[str]:
    """The metrics of every field that a shipped profile reads unless told otherwise."""
    return {
        f"{profile.kind.value}_{field}"
        for profile in map(load_profile, profile_names())
        for field in profile.choose()
    }


def strings(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        for value in part.values():
            yield from strings(value)
    elif isinstance(part, list):
        for value in part:
            yield from strings(value)
    elif isinstance(part, str):
        yield part


@pytest.mark.parametrize("board", DASHBOARDS.values(), ids=DASHBOARDS)
def test_every_metric_is_a_reading_under_its_neutral_name(board: dict[str, Any]):
    variables = [one["query"]["query"] for one in board["templating"]["list"] if one["type"] == "query"]
    asked = {name for text in [*queries(board), *variables] for name in METRIC.findall(text)}
    assert asked
    assert asked <= readings() | POLLER_HEALTH.keys() | BRIDGE_HEALTH.keys()


@pytest.mark.parametrize("meter", [name for name in profile_names() if load_profile(name).kind is Kind.METER])
def test_every_meter_makes_a_count_that_dashboards_and_report_know(meter: str):
    assert set(COUNTS) & load_profile(meter).choose().keys()


@pytest.mark.parametrize("board", DASHBOARDS.values(), ids=DASHBOARDS)
def test_every_variable_is_declared(board: dict[str, Any]):
    declared = {one["name"] for one in board["templating"]["list"]}
    used = {name for text in strings(board) for name in re.findall(r"\$\{?(\w+)", text)}
    assert {name for name in used if not name.startswith("__")} == declared


@pytest.mark.parametrize("panel", PANELS)
def test_every_panel_has_a_title_a_description_and_a_unit(panel: dict[str, Any]):
    assert panel["title"]
    assert panel["description"]
    assert panel["fieldConfig"]["defaults"]["unit"]


@pytest.mark.parametrize("panel", PANELS)
def test_no_panel_names_a_data_source_of_one_installation(panel: dict[str, Any]):
    assert {one["datasource"]["uid"] for one in [panel, *panel["targets"]]} == {"${datasource}"}


@pytest.mark.parametrize("board", DASHBOARDS.values(), ids=DASHBOARDS)
def test_panels_do_not_overlap(board: dict[str, Any]):
    taken: dict[tuple[int, int], str] = {}
    for panel in board["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]


@pytest.mark.prometheus
def test_prometheus_can_parse_every_query(tmp_path: Path):
    promtool = needs("promtool")
    expressions = [
        re.sub(r"\$\{?__\w+\}?", "1d", expression).replace("$", "")
        for board in DASHBOARDS.values()
        for expression in queries(board)
    ]
    rules = [{"record": f"query:{number}", "expr": text} for number, text in enumerate(expressions)]
    # JSON is YAML.
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "queries", "rules": rules}]}))
    outcome = subprocess.run(
        [promtool, "check", "rules", str(tmp_path / "rules.yml")], capture_output=True, text=True, check=False
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert f"{len(expressions)} rules found" in outcome.stdout


def schema(name: str) -> dict[str, Any]:
    return json.loads((Path(__file__).parent / "data" / "grafana" / f"{name}.json").read_text())


def test_the_files_are_what_the_source_makes():
    """`make dashboards` writes them; nobody edits them by hand."""
    made = {name: as_json(board) for name, board in dashboards().items()}
    files = {path.stem: path.read_text(encoding="utf-8") for path in (GRAFANA / "dashboards").glob("*.json")}
    assert files == made


@pytest.mark.parametrize("board", DASHBOARDS.values(), ids=DASHBOARDS)
def test_a_dashboard_is_one_by_grafana_s_own_types(board: dict[str, Any]):
    jsonschema.validate(board, schema("dashboard"))
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_is_one_by_grafana_s_own_types(panel: dict[str, Any]):
    kind = panel["type"]
    if kind in OWN_KINDS:
        assert panel["targets"]
        return
    jsonschema.validate(panel["options"], schema(f"{kind}.options"))
    if kind == "timeseries":
        jsonschema.validate(panel["fieldConfig"]["defaults"]["custom"], schema("timeseries.custom"))


@pytest.mark.parametrize("panel", PANELS)
def test_every_unit_is_one(panel: dict[str, Any]):
    units = {panel["fieldConfig"]["defaults"]["unit"]}
    for override in panel["fieldConfig"]["overrides"]:
        units |= {one["value"] for one in override["properties"] if one["id"] == "unit"}
    assert units <= UNITS


@pytest.mark.parametrize("panel", PANELS)
def test_every_axis_says_what_it_shows(panel: dict[str, Any]):
    if panel["type"] in {"timeseries", "barchart"}:
        assert panel["fieldConfig"]["defaults"]["custom"]["axisLabel"]


@pytest.mark.parametrize("panel", PANELS)
def test_a_bar_of_the_calendar_is_made_of_whole_hours(panel: dict[str, Any]):
    """Named after their day, or month, in the dashboard's zone, and added up there."""
    if panel["type"] != "barchart":
        return
    steps = {one["id"]: one["options"] for one in panel["transformations"]}
    assert list(steps)[:3] == ["joinByField", "formatTime", "groupBy"]
    assert steps["formatTime"]["useTimezone"] is True
    legends = {target["legendFormat"] for target in panel["targets"]}
    assert steps["groupBy"]["fields"].keys() == {"Time"} | legends
    assert {target["interval"] for target in panel["targets"]} == {"1h"}
    assert panel["maxDataPoints"] >= 366 * 24


def test_the_home_dashboard_is_there():
    compose = (GRAFANA.parent / "compose.yaml").read_text()
    (path,) = re.findall(r"DEFAULT_HOME_DASHBOARD_PATH: /etc/grafana/dashboards/(\S+)", compose)
    assert (GRAFANA / "dashboards" / path).exists()
