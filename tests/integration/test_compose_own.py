"""The stack with less than everything of ours: what a person has already, and the networks that it joins."""

import json
import os
import re
import shlex
import shutil
import ssl
import subprocess
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import needs, wait_until
from tests.heating.migrate.original import ENERGY, OriginalHouse, Past
from tests.heating.report.simple_house import fill, utc
from tests.history import send
from tests.integration.stack import ROOT, Stack, docker, needs_engine

pytestmark = [pytest.mark.docker, pytest.mark.long, pytest.mark.timeout(600)]

EVERYTHING = {"secrets", "mosquitto", "poller", "bridge", "prometheus", "grafana", "backup"}

CONFIG = """\
[mqtt]
host = "their-broker"
[[bus]]
name = "rs485"
connect = "tcp://simulator:5020"
[[device]]
name = "heatpump"
bus = "rs485"
profile = "lg-r290"
unit = 7
[[remote_write]]
url = "http://their-prometheus:9090/api/v1/write"
"""

THEIRS = """\
services:
  their-broker:
    image: eclipse-mosquitto:2.0.22
    command: [mosquitto, -c, /mosquitto-no-auth.conf]
  their-prometheus:
    image: prom/prometheus:v3.5.0
    command: [--config.file=/etc/prometheus/prometheus.yml, --storage.tsdb.path=/prometheus, --web.enable-remote-write-receiver]
    ports: ["127.0.0.1::9090"]
  bridge:
    ports: !override ["127.0.0.1::9100"]
    healthcheck: {interval: 2s}
  poller:
    command: !override [python, /test/poller_at_once.py, --config, /etc/heating/config.toml]
    volumes: ["./tests/faults/poller_at_once.py:/test/poller_at_once.py:ro"]
"""


def files(*names: str) -> list[Path]:
    return [ROOT / "compose.yaml", *(ROOT / "compose" / f"{name}.yaml" for name in names)]


@pytest.mark.parametrize(
    ("names", "left_out"),
    [
        ((), set()),
        (("own-broker",), {"mosquitto"}),
        (("own-prometheus",), {"prometheus"}),
        (("own-grafana",), {"grafana"}),
        (("own-broker", "own-prometheus", "own-grafana"), {"mosquitto", "prometheus", "grafana"}),
        (("serial",), set()),
        (("shelly-network",), set()),
        (("beside-original",), set()),
        (("migrate",), set()),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, tuple) else "",
)
def test_a_line_in_env_leaves_out_what_somebody_has(names: tuple[str, ...], left_out: set[str]):
    stack = Stack("heating-own", files(*names), {"HEATING_CONFIG": os.devnull})
    assert set(stack("config", "--services").split()) == EVERYTHING - left_out


@pytest.mark.parametrize(
    ("name", "variable"),
    [
        ("own-broker", "HEATING_BACKUP__MOSQUITTO"),
        ("own-prometheus", "HEATING_BACKUP__PROMETHEUS_DATA"),
        ("own-grafana", "HEATING_BACKUP__GRAFANA"),
    ],
)
def test_what_somebody_has_is_left_out_of_the_backup_and_can_still_be_put_back(name: str, variable: str):
    stack = Stack("heating-own", files(name), {"HEATING_CONFIG": os.devnull, "COMPOSE_PROFILES": "restore"})
    services = json.loads(stack("config", "--format", "json"))["services"]
    assert services["backup"]["environment"][variable] == ""
    assert services["restore"]["environment"][variable]


def test_every_file_that_changes_the_stack_is_tried():
    assert {file.stem for file in (ROOT / "compose").glob("*.yaml")} == {
        "own-broker",
        "own-prometheus",
        "own-grafana",
        "serial",
        "shelly-network",
        "beside-original",
        "migrate",
    }


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Stack]:
    needs_engine()
    (config := tmp_path / "config.toml").write_text(CONFIG)
    config.chmod(0o644)
    tmp_path.chmod(0o755)
    (theirs := tmp_path / "theirs.yaml").write_text(THEIRS)
    environment = {
        "HEATING_CONFIG": str(config),
        "HEATING_NETWORK": "heating-own",
        "COMPOSE_PROFILES": "demo",
        "PROMETHEUS_URL": "http://their-prometheus:9090",
    }
    chosen = [*files("own-broker", "own-prometheus", "own-grafana"), theirs]
    with Stack("heating-own", chosen, environment).running() as stack:
        yield stack


def test_with_a_broker_and_a_prometheus_of_somebodys_own_the_rest_starts_and_uses_them(own: Stack):
    """Whatever `up` starts, without naming services."""
    names = docker(
        "ps", "--all", "--filter", "label=com.docker.compose.project=heating-own", "--format", "{{.Names}}"
    )
    started = {name.removeprefix("heating-own-").removesuffix("-1") for name in names.split()}
    assert started == {
        "secrets", "poller", "bridge", "backup", "simulator", "their-broker", "their-prometheus"
    }  # fmt: skip
    assert own.eventually("heatpump_flow_temperature_celsius", service="their-prometheus")


@pytest.fixture
def joined(tmp_path: Path) -> Iterator[tuple[Stack, str]]:
    """Mosquitto and poller beside two networks that others made; the poller has no devices and a serial port."""
    needs_engine()
    others = {
        "shelly_bt_temp_default": "heating-test-shelly",
        "heatpump_dashboard_default": "heating-test-original",
    }
    for network in others.values():
        docker("network", "create", network)
    (config := tmp_path / "config.toml").write_text("")
    config.chmod(0o644)
    tmp_path.chmod(0o755)
    # The names are taken where the real stack runs on this machine.
    (renamed := tmp_path / "renamed.yaml").write_text(
        "networks:\n"
        f"  shelly: {{name: {others['shelly_bt_temp_default']}}}\n"
        f"  original: {{name: {others['heatpump_dashboard_default']}}}\n"
        "  default: {name: heating-test-joined}\n"
        'services:\n  mosquitto: {ports: !override ["127.0.0.1::1883"], healthcheck: {interval: 2s}}\n'
    )
    environment = {"HEATING_CONFIG": str(config), "SERIAL_DEVICE": "/dev/zero", "SERIAL_GROUP": "4711"}
    chosen = [ROOT / "compose.yaml", *files("shelly-network")[1:], ROOT / "compose" / "serial.yaml"]
    try:
        both = Stack(
            "heating-joined", [*chosen, ROOT / "compose" / "beside-original.yaml", renamed], environment
        )
        with both.running("mosquitto", "poller") as stack:
            yield stack, "poller"
    finally:
        for network in others.values():
            docker("network", "rm", network)


def test_the_poller_alone_joins_the_networks_of_others_and_sees_a_serial_port(joined: tuple[Stack, str]):
    """For Home Assistant nothing else is needed than a broker and the poller."""
    stack, service = joined
    networks = stack.inspect(service)["NetworkSettings"]["Networks"]
    assert set(networks) == {"heating-test-joined", "heating-test-shelly", "heating-test-original"}
    seen = stack("exec", "--no-TTY", service, "sh", "-c", "id -G; test -c /dev/ttyUSB0 && echo there")
    assert "4711" in seen.split()
    assert "there" in seen.split()


SENSORS_ALONE = """\
[[shelly]]
prefix = "shellypro2-00005e005301"
[[shelly.sensor]]
name = "temp_indoor"
address = "00:00:5e:00:53:11"
device_id = 200
temperature = 202
"""
"""No bus, no device, no receiver; what a sensor's number is need not be asked."""


@pytest.fixture
def sensors_alone(tmp_path: Path) -> Iterator[Stack]:
    """Broker, poller and bridge; mosquitto/own holds what the page on security says to put there."""
    needs_engine()
    (config := tmp_path / "config.toml").write_text(SENSORS_ALONE)
    config.chmod(0o644)
    (tmp_path / "mosquitto" / "own").mkdir(parents=True)
    (command,) = re.findall(
        r"^openssl .* mosquitto/own/.*$", (ROOT / "docs" / "security.md").read_text(), re.MULTILINE
    )
    command = command.replace("raspberrypi.local", "localhost").replace("openssl", needs("openssl"), 1)
    subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    # Only root may give it to the broker's user, as the page does.
    (tmp_path / "mosquitto" / "own" / "server.key").chmod(0o644)
    tmp_path.chmod(0o755)
    (changed := tmp_path / "changed.yaml").write_text(
        "services:\n"
        '  mosquitto: {ports: !override ["127.0.0.1::1883"], healthcheck: {interval: 2s},'
        f' volumes: ["{tmp_path}/mosquitto/own:/mosquitto/own:ro"]}}\n'
        '  bridge: {ports: !override ["127.0.0.1::9100"], healthcheck: {interval: 2s}}\n'
        "  poller:\n"
        "    command: !override [python, /test/poller_at_once.py, --config, /etc/heating/config.toml]\n"
        '    volumes: ["./tests/faults/poller_at_once.py:/test/poller_at_once.py:ro"]\n'
    )
    environment = {"HEATING_CONFIG": str(config), "HEATING_NETWORK": "heating-sensors"}
    stack = Stack("heating-sensors", [*files(), changed], environment)
    with stack.running("mosquitto", "poller", "bridge"):
        yield stack


def test_sensors_alone_come_over_tls_and_are_shown_and_not_sent(sensors_alone: Stack, tmp_path: Path):
    """A Shelly reaches the published port with the certificate only; poller and bridge reach the other one as ever."""
    stack = sensors_alone
    port = stack.address("mosquitto", 1883).rsplit(":", 1)[1]
    password = stack("run", "--rm", "--no-TTY", "secrets", "devices").strip()
    message = tomllib.loads((ROOT / "tests" / "data" / "shelly" / "messages.toml").read_text())[
        "blu_temperature"
    ]
    payload = re.sub(r'(?<="last_updated_ts":)\d+', lambda _: str(int(time.time())), message["payload"])

    def publish(*more: str) -> int:
        command = [needs("mosquitto_pub"), "-h", "localhost", "-p", port, "-q", "1", *more]
        command += ["-u", "devices", "-P", password, "-t", message["topic"], "-m", payload]
        return subprocess.run(command, capture_output=True, check=False, timeout=30).returncode

    def is_shown() -> bool:
        assert publish("--cafile", str(tmp_path / "mosquitto" / "own" / "server.crt")) == 0
        shown = stack.get("bridge", 9100, "/metrics")
        return bool(
            re.search(r'^sensor_temperature_celsius{.*sensor_name="temp_indoor"} 20.4$', shown, re.MULTILINE)
        )

    wait_until(is_shown, within_s=30, what="the sensor is on the page")
    assert publish() != 0
    assert "Readings are shown, not sent" in stack.get("bridge", 9100, "/")


NAMES_FILES = """\
[mqtt]
host = "their-broker"
username = "heating"
password_file = "secrets/mqtt"
ca = "secrets/ca.crt"
[[remote_write]]
url = "https://their-prometheus:9090/api/v1/write"
username = "heating"
password_file = "secrets/receiver"
"""


def test_a_file_that_the_configuration_names_is_found_where_the_page_says_to_put_it(tmp_path: Path):
    """`heating check` finds it, and misses it without the page's compose.override.yaml."""
    needs_engine()
    page = (ROOT / "docs" / "with-docker.md").read_text()
    (override,) = re.findall(
        r"^```yaml\n(.*?:/etc/heating/secrets:ro.*?)^```$", page, re.MULTILINE | re.DOTALL
    )
    (config := tmp_path / "config.toml").write_text(NAMES_FILES)
    (tmp_path / "secrets").mkdir()
    for name in ("mqtt", "receiver"):
        (tmp_path / "secrets" / name).write_text("a password")
    shutil.copy(ssl.get_default_verify_paths().cafile, tmp_path / "secrets" / "ca.crt")
    for place in (tmp_path, *tmp_path.rglob("*")):
        place.chmod(0o755)
    (added := tmp_path / "compose.override.yaml").write_text(
        override.replace("./secrets", f"{tmp_path}/secrets")
    )
    environment = {"HEATING_CONFIG": str(config), "HEATING_NETWORK": "heating-files"}
    chosen = files("own-broker", "own-prometheus", "own-grafana")
    check = ("run", "--rm", "--no-TTY", "--no-deps", "poller", "heating", "check")
    without = Stack("heating-files", chosen, environment)
    with_them = Stack("heating-files", [*chosen, added], environment)
    try:
        without("build", "--quiet", "secrets")
        missed = without.try_to(*check)
        assert missed.returncode == 2
        assert "mqtt.ca: expected a file with certificates, got 'secrets/ca.crt'" in missed.stderr
        assert "remote_write[0].password_file: secrets/receiver: cannot be read: " in missed.stderr
        assert "config.toml: good" in with_them(*check)
        for service in ("poller", "bridge", "backup"):
            seen = with_them(
                "run", "--rm", "--no-TTY", "--no-deps", service, "cat", "/etc/heating/secrets/mqtt"
            )
            assert seen == "a password"
    finally:
        with_them("down", "--volumes", "--timeout", "2")


ORIGINAL_VOLUME = "heating-test-original-data"
THEIR_VOLUME = "heating-test-their-data"


@pytest.fixture
def migrating(tmp_path: Path) -> Iterator[Stack]:
    """The stack in the original's volume, under another name: a machine with the real one is left alone."""
    needs_engine()
    (ports := tmp_path / "ports.yaml").write_text(
        'services:\n  prometheus: {ports: !override ["127.0.0.1::9090"], healthcheck: {interval: 2s}}\n'
    )
    environment = {
        "HEATING_CONFIG": os.devnull,
        "HEATING_NETWORK": "heating-migrate",
        "PROMETHEUS_VOLUME": ORIGINAL_VOLUME,
    }
    stack = Stack("heating-migrate", [*files("migrate"), ports], environment)
    # With its profile, or what ended under it stays.
    away = ("--profile", "migrate", "down", "--volumes", "--remove-orphans", "--timeout", "2")
    stack(*away)
    docker("volume", "rm", "--force", ORIGINAL_VOLUME)
    docker("volume", "create", ORIGINAL_VOLUME)
    try:
        with stack.running("prometheus"):
            yield stack
    finally:
        stack(*away)
        docker("volume", "rm", ORIGINAL_VOLUME)


def test_the_originals_volume_is_taken_over_and_no_down_removes_it(migrating: Stack):
    migrating("exec", "--no-TTY", "prometheus", "touch", "/prometheus/theirs")
    container = migrating.container("prometheus")
    held = docker("inspect", "--format", "{{range .Mounts}}{{.Name}} {{end}}", container)
    assert ORIGINAL_VOLUME in held.split()
    migrating("down", "--volumes", "--timeout", "2")
    assert docker("volume", "ls", "--quiet", "--filter", f"name=^{ORIGINAL_VOLUME}$")
    migrating("up", "--detach", "--wait", "prometheus")
    assert migrating("exec", "--no-TTY", "prometheus", "ls", "/prometheus/theirs")


def test_its_readings_are_brought_under_the_names_of_this_system(migrating: Stack, tmp_path: Path):
    """The commands of docs/migration.md, of a stack that had a volume of its own before."""
    past = Past(changed_s=utc("2026-03-12T15:00"), end_s=utc("2026-03-13T00:00"))
    house = OriginalHouse(past)
    needs("promtool")
    data = fill(tmp_path, house.lines())
    mounts = ["--volume", f"{data}:/from:ro", "--volume", f"{THEIR_VOLUME}:/to"]
    copy = "cp -r /from/. /to && chown -R 65534:65534 /to"
    docker("run", "--rm", *mounts, "--entrypoint", "sh", "python:3.13-slim", "-c", copy)
    page = (ROOT / "docs" / "migration.md").read_text(encoding="utf-8")
    (typed,) = re.findall(r"^ *docker (run .*)$", page, re.MULTILINE)
    names = {"heatpump_dashboard_prometheus_data": THEIR_VOLUME, "heating_prometheus": ORIGINAL_VOLUME}
    for name, here in names.items():
        typed = typed.replace(f" {name}:", f" {here}:")
    migrating("stop", "prometheus")
    try:
        docker(*shlex.split(typed))
    finally:
        docker("volume", "rm", "--force", THEIR_VOLUME)
    migrating("start", "prometheus")
    assert migrating.eventually(f"count_over_time(wago_power_factor[{2 * 365}d])")
    send(int(migrating.address("prometheus", 9090).rsplit(":", 1)[1]), house.samples())

    looked = migrating("run", "--rm", "--no-TTY", "migrate")
    assert 'meter_* of "meter" from wago_*' in looked
    assert "\nNothing was written. --apply does it, in about " in looked
    applied = migrating("run", "--rm", "--no-TTY", "migrate", "--apply")
    assert "blocks are with Prometheus, which shows them within a minute" in applied
    at_s = past.changed_s - 3600
    expression = f'meter_{ENERGY}{{device="meter"}}'
    (before,) = migrating.eventually(f"{expression} @ {at_s}")
    (after,) = migrating.eventually(f"{expression} @ {past.end_s}")
    used = float(after["value"][1]) - float(before["value"][1])
    assert used == pytest.approx(house.kwh(at_s, past.end_s), abs=0.2)
    again = migrating("run", "--rm", "--no-TTY", "migrate", "--apply")
    assert again.endswith("Nothing is left to make.\n")
    assert "deleted " in migrating("run", "--rm", "--no-TTY", "migrate", "--undo")
    assert migrating.query(f"{expression} @ {at_s}") == []
    assert migrating.query(f"wago_{ENERGY} @ {at_s}")


def test_it_has_the_name_that_the_original_gave_it():
    stack = Stack("heating-migrate", files("migrate"), {"HEATING_CONFIG": os.devnull})
    volume = json.loads(stack("config", "--format", "json"))["volumes"]["prometheus"]
    assert volume == {"name": "heatpump_dashboard_prometheus_data", "external": True}
    plain = Stack("heating-migrate", files(), {"HEATING_CONFIG": os.devnull})
    assert "external" not in json.loads(plain("config", "--format", "json"))["volumes"]["prometheus"]


def test_promtool_is_that_of_the_prometheus_that_runs():
    services = json.loads(
        Stack("heating-migrate", files("migrate"), {"HEATING_CONFIG": os.devnull})(
            "--profile", "migrate", "config", "--format", "json"
        )
    )["services"]
    assert services["promtool"]["image"] == services["prometheus"]["image"]
    page = (ROOT / "docs" / "migration.md").read_text(encoding="utf-8")
    assert set(re.findall(r"prom/prometheus:\S+", page)) == {services["prometheus"]["image"]}
