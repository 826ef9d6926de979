"""The compose stack in a real Docker engine, with the simulated house in place of hardware.

Grafana is left out: the tests look at what it would ask Prometheus for, and its image is the largest.
"""

import json
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import needs

pytestmark = [pytest.mark.docker, pytest.mark.long, pytest.mark.timeout(900)]

ROOT = Path(__file__).parent.parent.parent
SERVICES = ["mosquitto", "prometheus", "simulator", "poller", "bridge"]
OURS = ["poller", "bridge", "simulator"]

FREE_PORTS = """\
services:
  mosquitto: {ports: !override ["127.0.0.1::1883"]}
  bridge: {ports: !override ["127.0.0.1::9100"]}
  prometheus: {ports: !override ["127.0.0.1::9090"]}
"""


class Stack:
    """A compose project of its own, on free ports."""

    def __init__(self, override: Path) -> None:
        self._command = [
            needs("docker"),
            *("compose", "--project-name", "heating-test", "--project-directory", str(ROOT)),
            *(
                "--env-file",
                str(ROOT / "demo.env"),
                "--file",
                str(ROOT / "compose.yaml"),
                "--file",
                str(override),
            ),
        ]

    def __call__(self, *arguments: str) -> str:
        outcome = subprocess.run([*self._command, *arguments], capture_output=True, text=True, check=False)
        assert outcome.returncode == 0, outcome.stdout + outcome.stderr
        return outcome.stdout

    def get(self, service: str, port: int, path: str) -> str:
        # A restarted container is published on another port.
        address = self("port", service, str(port)).strip()
        with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as answer:
            return str(answer.read().decode())

    def query(self, expression: str) -> list[dict[str, Any]]:
        answer = self.get("prometheus", 9090, f"/api/v1/query?query={urllib.parse.quote(expression)}")
        return list(json.loads(answer)["data"]["result"])

    def inspect(self, service: str) -> dict[str, Any]:
        container = self("ps", "--all", "--quiet", service).strip()
        shown = subprocess.run(["docker", "inspect", container], capture_output=True, text=True, check=True)
        return dict(json.loads(shown.stdout)[0])


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    docker = needs("docker")
    if subprocess.run([docker, "info"], capture_output=True, check=False).returncode:
        pytest.skip("no Docker engine answers")
    override = tmp_path_factory.mktemp("compose") / "ports.yaml"
    override.write_text(FREE_PORTS)
    stack = Stack(override)
    # What a killed run left behind.
    stack("down", "--volumes", "--remove-orphans")
    try:
        stack("up", "--build", "--detach", "--wait", "--wait-timeout", "180", *SERVICES)
        yield stack
    finally:
        stack("down", "--volumes")


def eventually(stack: Stack, expression: str, within_s: float = 90) -> list[dict[str, Any]]:
    deadline = time.monotonic() + within_s
    while not (result := stack.query(expression)):
        logs = "" if time.monotonic() < deadline else stack("logs", "--tail", "20", *OURS)
        assert time.monotonic() < deadline, f"no answer to {expression}\n{logs}"
        time.sleep(1)
    return result


def test_the_files_are_read_without_a_complaint(stack: Stack):
    assert stack("config", "--quiet") == ""


def test_readings_of_every_device_reach_prometheus(stack: Stack):
    for metric in ("meter_power_total_kw", "wago_energy_total_kwh", "heatpump_flow_temperature_celsius"):
        (series,) = eventually(stack, metric)
        # What is pushed has no scraper's labels, so it cannot collide with what is scraped.
        assert set(series["metric"]) == {"__name__", "device"}


def test_prometheus_scrapes_the_health_of_both_programs_and_no_reading(stack: Stack):
    assert eventually(stack, 'bridge_broker_connected{job="heating"} == 1')
    assert eventually(stack, 'poller_device_up{job="heating"} == 1')
    assert not stack.query('{__name__=~"(meter|wago|heatpump)_.+",job!=""}')


def test_the_page_answers(stack: Stack):
    assert "Heat pump meter" in stack.get("bridge", 9100, "/")


@pytest.mark.parametrize("service", SERVICES)
def test_no_container_has_more_rights_than_it_needs(stack: Stack, service: str):
    container = stack.inspect(service)
    host = container["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert host["Memory"] > 0
    assert container["Config"]["User"].split(":")[0] not in {"", "0", "root"}
    assert container["RestartCount"] == 0


@pytest.mark.parametrize("service", ["bridge", "prometheus"])
def test_a_restart_costs_no_reading(stack: Stack, service: str):
    """The heat pump is read every ten seconds, so two samples further apart have lost one between them."""
    (before,) = eventually(stack, "timestamp(heatpump_flow_temperature_celsius)")
    stack("restart", service)
    restarted = float(before["value"][1]) + 30
    eventually(stack, f"timestamp(heatpump_flow_temperature_celsius) > {restarted}")
    (series,) = stack.query("heatpump_flow_temperature_celsius[10m]")
    times = [float(moment) for moment, _ in series["values"]]
    assert max(later - earlier for earlier, later in pairwise(times)) < 15


def test_programs_end_when_they_are_told_to(stack: Stack):
    """Nothing has to be killed, which the engine does after ten seconds."""
    for service in OURS:
        stack("stop", service)
        assert stack.inspect(service)["State"]["ExitCode"] in {0, 143}
