"""The alert rules: each is tried by promtool, says what to do, and asks for what the pipeline makes."""

import re
import subprocess
from pathlib import Path

import pytest

from grafana.source.climate import OFFLINE, SILENT
from heating.backup.figure import NEWEST
from poller.profile import load_profile, profile_names
from readings.health import BRIDGE_HEALTH, POLLER_HEALTH
from tests.conftest import needs

ROOT = Path(__file__).parent.parent
RULES = ROOT / "prometheus" / "rules" / "heating.yml"
TRIALS = sorted((Path(__file__).parent / "prometheus").glob("*_test.yml"))
PAGE = ROOT / "docs" / "alerts.md"
ALERTS = re.findall(r"^      - alert: (\w+)$", RULES.read_text(), re.MULTILINE)


@pytest.mark.prometheus
@pytest.mark.parametrize("trial", TRIALS, ids=lambda path: path.stem)
def test_each_alert_fires_when_it_should_and_only_then(trial: Path):
    """On a busy machine promtool's storage compacts nine days while they are judged, and then finds nothing.

    A rule that is wrong fails every time.
    """
    for _ in range(3):
        tried = subprocess.run(
            [needs("promtool"), "test", "rules", str(trial)], capture_output=True, text=True, check=False
        )
        if tried.returncode == 0:
            return
    pytest.fail(tried.stdout + tried.stderr)


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_is_tried(alert: str):
    trials = "".join(file.read_text() for file in TRIALS)
    assert re.search(rf"alertname: {alert}\n\s+eval_time: \w+\n\s+exp_alerts:\n", trials), (
        "never seen to fire"
    )


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_says_what_is_the_matter_and_what_to_do(alert: str):
    (rule,) = re.findall(rf"- alert: {alert}\n(.*?)(?=\n\n|\n  - name|\Z)", RULES.read_text(), re.DOTALL)
    for key in ("severity: ", "summary: ", "description: ", "action: ", "for: "):
        assert key in rule


def test_no_group_is_asked_so_seldom_that_its_alerts_go_stale_in_between():
    """`ALERTS` is written with each evaluation and is gone 5 minutes later: who watches it would ring each time."""
    intervals = re.findall(r"^ +interval: (\w+)$", RULES.read_text(), re.MULTILINE)
    assert set(intervals) <= {"30s", "1m", "2m"}


@pytest.mark.parametrize(("alert", "counted"), [("SensorSilent", SILENT), ("SensorOffline", OFFLINE)])
def test_the_panel_counts_the_sensors_of_which_the_alerts_tell(alert: str, counted: str):
    rule = re.search(rf"- alert: {alert}\n +expr: >-\n(.*?)\n +for: ", RULES.read_text(), re.DOTALL)
    assert rule is not None
    assert " ".join(rule[1].split()) == counted


def test_they_ask_for_what_the_pipeline_makes():
    readings = {
        f"{profile.kind}_{field}"
        for profile in map(load_profile, profile_names())
        for field in profile.fields
    }
    expressions = re.sub(
        r"^\s+(summary|description|action|- alert|- name|- record): .*$",
        "",
        RULES.read_text(),
        flags=re.MULTILINE,
    )
    asked = set(
        re.findall(r"\b(?:meter|heatpump|sensor|thermostat|bridge|poller|backup)_[a-zA-Z0-9_]+", expressions)
    )
    asked -= {"poller", "bridge", "sensor_name"}  # labels
    assert len(asked) > 15
    assert asked <= readings | BRIDGE_HEALTH.keys() | POLLER_HEALTH.keys() | {NEWEST}


@pytest.mark.parametrize("alert", ALERTS)
def test_the_page_names_each_alert(alert: str):
    assert f"`{alert}`" in PAGE.read_text()
