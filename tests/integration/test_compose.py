"""The compose stack in a real Docker engine, with the simulated house in place of hardware.

Grafana is left out: the tests look at what it would ask Prometheus for, and its image is the largest.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from heating.passwords import NAMES
from tests.conftest import needs, wait_until
from tests.integration.stack import ROOT, Stack, docker, needs_engine

pytestmark = [pytest.mark.docker, pytest.mark.long, pytest.mark.timeout(600)]

NETWORK = "heatpump_dashboard_default"
SERVICES = ["mosquitto", "prometheus", "simulator", "poller", "bridge"]
OURS = ["poller", "bridge", "simulator"]

FOR_THE_TEST = """\
services:
  mosquitto:
    ports: !override ["127.0.0.1::1883"]
    healthcheck: {interval: 2s}
    volumes: ["FOLDER/acl:/mosquitto/config/acl:ro"]
  bridge:
    ports: !override ["127.0.0.1::9100"]
    healthcheck: {interval: 2s}
  prometheus:
    ports: !override ["127.0.0.1::9090"]
    healthcheck: {interval: 2s}
  poller:
    # Nobody waits the two minutes in which an unsynchronised clock shows that it is steady.
    command: !override [python, /test/poller_at_once.py, --config, /etc/heating/config.toml]
    volumes: ["./tests/faults/poller_at_once.py:/test/poller_at_once.py:ro"]
"""

FOREIGN = f"""\
name: heating-test-foreign
services:
  control:
    image: python:3.13-slim
    command: [python, -c, "import urllib.request as u; print(u.urlopen('http://bridge:9100/-/healthy').read().decode())"]
    networks: [heating]
networks:
  heating: {{name: {NETWORK}, external: true}}
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    needs_engine()
    folder = tmp_path_factory.mktemp("compose")
    shutil.copy(ROOT / "mosquitto" / "acl", folder)
    # Its user is another one.
    for place in (folder, folder.parent):
        place.chmod(0o755)
    (override := folder / "test.yaml").write_text(FOR_THE_TEST.replace("FOLDER", str(folder)))
    demo = dict(re.findall(r"^(\w+)=(.*)$", (ROOT / "demo.env").read_text(), re.MULTILINE))
    stack = Stack("heating-test", [ROOT / "compose.yaml", override], {**demo, "HEATING_NETWORK": NETWORK})
    stack("down", "--volumes", "--remove-orphans", "--timeout", "2")
    if docker("network", "ls", "--quiet", "--filter", f"name=^{NETWORK}$"):
        pytest.skip(f"this machine has a network {NETWORK} of its own: it seems to run the stack")
    with stack.running(*SERVICES):
        yield stack


@pytest.fixture(scope="module")
def acl(stack: Stack) -> Path:
    """The broker's rules, a copy that a test may change."""
    mounts = stack.inspect("mosquitto")["Mounts"]
    return Path(next(one["Source"] for one in mounts if one["Destination"] == "/mosquitto/config/acl"))


def password(stack: Stack, name: str) -> str:
    return stack("run", "--rm", "--no-TTY", "secrets", name).strip()


def mqtt(stack: Stack, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """mosquitto_sub or mosquitto_pub, from outside of the containers."""
    host, port = stack.address("mosquitto", 1883).rsplit(":", 1)
    command = [needs(program), "-h", host, "-p", port, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)


def test_the_files_are_read_without_a_complaint(stack: Stack):
    assert stack("config", "--quiet") == ""


def test_prometheus_scrapes_the_health_of_both_programs_and_no_reading(stack: Stack):
    assert stack.eventually('bridge_broker_connected{job="heating"} == 1')
    assert stack.eventually('poller_device_up{job="heating"} == 1')
    assert not stack.query('{__name__=~"(meter|wago|heatpump)_.+",job!=""}')


@pytest.mark.parametrize("service", SERVICES)
def test_no_container_has_more_rights_than_it_needs(stack: Stack, service: str):
    container = stack.inspect(service)
    host = container["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert host["Memory"] > 0
    assert host["LogConfig"]["Config"] == {"max-size": "10m", "max-file": "3"}
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    assert container["RestartCount"] == 0


@pytest.mark.parametrize("service", SERVICES)
def test_no_process_is_root_or_has_a_capability(stack: Stack, service: str):
    """As the kernel has it, not as it was asked for."""
    lines = docker("top", stack.container(service), "-o", "pid").split()[1:]
    assert lines
    for pid in lines:
        status = Path(f"/proc/{pid}/status").read_text()
        assert "0" not in re.search(r"^Uid:(.*)$", status, re.MULTILINE)[1].split()
        held = re.findall(r"^Cap(?:Prm|Eff|Bnd):\s+(\w+)$", status, re.MULTILINE)
        assert [int(one, 16) for one in held] == [0, 0, 0]
        assert "NoNewPrivs:\t1" in status


@pytest.mark.parametrize("service", [*SERVICES, "secrets"])
def test_nothing_was_written_beside_the_volumes(stack: Stack, service: str):
    """The engine itself makes the places that something is mounted on."""
    container = stack.inspect(service)
    mounted = [
        "/usr/sbin/docker-init",
        *(mount["Destination"] for mount in container["Mounts"]),
        *(container["HostConfig"].get("Tmpfs") or {}),
    ]
    for line in docker("diff", stack.container(service)).splitlines():
        _, path = line.split(maxsplit=1)
        assert any(f"{place}/".startswith(f"{path}/") for place in mounted), line


def test_no_secret_stands_where_others_look(stack: Stack):
    secrets = [password(stack, name) for name in NAMES]
    assert len(set(secrets)) == 6
    seen = stack("logs", "--no-log-prefix") + stack("config")
    seen += "".join(json.dumps(stack.inspect(service)) for service in [*SERVICES, "secrets"])
    for service in SERVICES:
        for pid in docker("top", stack.container(service), "-o", "pid").split()[1:]:
            seen += Path(f"/proc/{pid}/environ").read_text() + Path(f"/proc/{pid}/cmdline").read_text()
    assert not [one for one in secrets if one in seen]


def test_a_service_sees_no_secret_of_another(stack: Stack):
    for service, name in (("poller", "poller"), ("bridge", "bridge"), ("simulator", "devices")):
        held = stack("exec", "--no-TTY", service, "sh", "-c", "cat /secrets/*/* 2>/dev/null || true").split()
        assert held == [password(stack, name)]
    assert not stack("exec", "--no-TTY", "prometheus", "sh", "-c", "ls /secrets 2>/dev/null || true")
    held = stack("exec", "--no-TTY", "mosquitto", "sh", "-c", "cat /secrets/*")
    assert [
        name for name in ("poller", "bridge", "devices", "grafana") if password(stack, name) in held
    ] == []


def test_the_first_start_made_the_passwords_and_the_next_one_keeps_them(stack: Stack):
    before = password(stack, "viewer")
    assert stack("run", "--rm", "--no-TTY", "secrets").strip() == "every password is there"
    assert password(stack, "viewer") == before


def test_without_a_password_the_broker_refuses(stack: Stack):
    for who in ([], ["-u", "viewer"], ["-u", "viewer", "-P", "viewer"], ["-u", "admin", "-P", "admin"]):
        refused = mqtt(stack, "mosquitto_sub", *who, "-t", "#", "-C", "1", "-W", "5")
        assert refused.returncode != 0
        assert "not authorised" in refused.stderr


def test_the_viewer_sees_the_readings(stack: Stack):
    """From outside with its password, and inside of the broker's container without typing it."""
    topic = "heating/meter/meter/availability"
    seen = mqtt(
        stack,
        "mosquitto_sub",
        "-u",
        "viewer",
        "-P",
        password(stack, "viewer"),
        "-t",
        topic,
        "-C",
        "1",
        "-W",
        "9",
    )
    assert seen.stdout == "online\n"
    inside = ["exec", "--no-TTY", "mosquitto", "mosquitto_sub", "-t", topic, "-C", "1", "-W", "9"]
    assert stack(*inside) == "online\n"


def test_another_project_that_joins_the_network_starts(stack: Stack, tmp_path: Path):
    """As lg-r290-control does."""
    (file := tmp_path / "foreign.yaml").write_text(FOREIGN)
    foreign = Stack("heating-test-foreign", [file], {})
    try:
        assert "The bridge runs." in foreign("run", "--rm", "--no-TTY", "control")
    finally:
        foreign("down")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may kill a container's process from outside")
@pytest.mark.parametrize("service", ["poller", "bridge", "mosquitto"])
def test_what_crashes_is_started_again(stack: Stack, service: str):
    """`docker kill` would count as stopped by hand."""
    os.kill(stack.inspect(service)["State"]["Pid"], signal.SIGKILL)
    wait_until(
        lambda: stack.inspect(service)["RestartCount"] == 1, within_s=30, what=f"{service} is restarted"
    )
    wait_until(lambda: stack.inspect(service)["State"]["Running"], within_s=30, what=f"{service} runs")


@pytest.mark.parametrize("service", ["mosquitto", "bridge", "prometheus", "poller"])
def test_a_restart_costs_no_reading(stack: Stack, service: str):
    """Every row of the poller's journal is in Prometheus, with its time."""
    stack("restart", service)
    stack.eventually(f"timestamp(heatpump_flow_temperature_celsius) > {time.time()}")
    assert_nothing_is_missing(stack)


def test_an_update_takes_in_every_change_costs_no_reading_and_the_heat_pump_is_asked_again_within_20_s(
    stack: Stack, acl: Path, capsys: pytest.CaptureFixture[str]
):
    """With the options of the page: new containers of the old names, also where only a mounted file is another one."""
    page = (ROOT / "docs" / "with-docker.md").read_text()
    (options,) = re.findall(r"^docker compose up (-d .*?) +# a heat pump is without", page, re.MULTILINE)
    # As `git pull` writes it: another file of the same name.
    (new := acl.with_name("new")).write_text(f"{acl.read_text()}# An update.\n")
    new.replace(acl)
    # Built once: without BuildKit, `up --build` builds one image for every service that names it.
    # And without the house, which goes on.
    changed = [one for one in SERVICES if one != "simulator"]
    stack("up", *(one for one in options.split() if one != "--build"), *changed)
    stack("up", "--detach", "--no-recreate", "--wait", "--wait-timeout", "120", *SERVICES)
    assert stack("exec", "--no-TTY", "mosquitto", "tail", "-n", "1", "/run/mosquitto/acl") == "# An update.\n"
    started = stack.inspect("poller")["State"]["StartedAt"]
    stack.eventually(f"timestamp(heatpump_flow_temperature_celsius) > {time.time()}")
    answered = stack("logs", "--no-log-prefix", "--timestamps", "poller").split("heatpump/heatpump: answers")[
        0
    ]
    assert_nothing_is_missing(stack)
    gap = max(later - earlier for earlier, later in pairwise(asked_at(stack)))
    with capsys.disabled():
        first = answered.splitlines()[-1].split()[0]
        print(f"\npoller started {started}, first answer {first}; longest gap of the heat pump {gap:.1f} s")
    assert gap < 20


def rows(stack: Stack) -> list[tuple[int, bool]]:
    """Of the heat pump in the poller's journal: milliseconds, and whether its flow temperature was measured."""
    script = (
        "import json, sqlite3\n"
        "sql = sqlite3.connect('file:/data/journal.sqlite?mode=ro', uri=True)\n"
        "print(json.dumps(sql.execute('SELECT time_ms, payload FROM state JOIN device ON device.id = device"
        ' WHERE name = "heatpump" AND time_ms IS NOT NULL ORDER BY time_ms\').fetchall()))\n'
    )
    field = "flow_temperature_celsius"
    found = []
    for time_ms, payload in json.loads(stack("exec", "--no-TTY", "poller", "python", "-c", script)):
        state = json.loads(payload)
        found.append((time_ms, state[field] is not None and field not in state["held"]))
    return found


def asked_at(stack: Stack) -> list[float]:
    return [time_ms / 1000 for time_ms, _ in rows(stack)]


def assert_nothing_is_missing(stack: Stack) -> None:
    expected = {time_ms for time_ms, is_measured in rows(stack) if is_measured}
    assert expected

    def missing() -> set[int]:
        (series,) = stack.eventually("heatpump_flow_temperature_celsius[30m]")
        return expected - {round(float(moment) * 1000) for moment, _ in series["values"]}

    wait_until(lambda: not missing(), within_s=60, what="every row of the journal is in Prometheus")


def test_readings_of_every_device_reach_prometheus(stack: Stack):
    """Late in the file, because an energy count is believed with the third reading."""
    for metric in (
        "meter_power_total_kw",
        "wago_energy_total_kwh",
        "heatpump_flow_temperature_celsius",
        "thermostat_switch_state",
    ):
        (series,) = stack.eventually(metric)
        # What is pushed has no scraper's labels, so it cannot collide with what is scraped.
        assert set(series["metric"]) == {"__name__", "device"}
    for sensor in ("temp_indoor", "temp_outdoor", "temp_buffer"):
        (series,) = stack.eventually(f'sensor_temperature_celsius{{sensor_name="{sensor}"}}')
        assert "job" not in series["metric"]


def test_the_page_shows_every_device(stack: Stack):
    names = ("Heating meter", "Heat pump", "Living room", "Thermostat")

    def shows_all() -> bool:
        page = stack.get("bridge", 9100, "/")
        return all(name in page for name in names)

    # A Bluetooth sensor speaks once a minute.
    wait_until(shows_all, within_s=150, what="all of them are on the page")


def test_memory_is_printed(stack: Stack, capsys: pytest.CaptureFixture[str]):
    """docs/performance.md has what it is after ten minutes."""
    total = 0.0
    for service in ("poller", "bridge", "mosquitto"):
        usage = docker("stats", "--no-stream", "--format", "{{.MemUsage}}", stack.container(service))
        number, unit = re.match(r"([\d.]+)(\w+)", usage).groups()
        total += float(number) * {"KiB": 1 / 1024, "MiB": 1, "GiB": 1024}[unit]
    with capsys.disabled():
        print(f"\npoller, bridge and mosquitto together: {total:.0f} MiB")
    assert total > 0


def test_programs_end_when_they_are_told_to(stack: Stack):
    """Nothing has to be killed, which the engine does after ten seconds."""
    for service in OURS:
        stack("stop", service)
        assert stack.inspect(service)["State"]["ExitCode"] in {0, 143}
