"""The stack in a real Docker engine: a backup, everything destroyed, and the stack made again from it on an empty host.

The simulated house stands outside, as a real one does, and goes on all the time.
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import needs, wait_until
from tests.integration.stack import ROOT, Stack, docker, needs_engine

pytestmark = [pytest.mark.docker, pytest.mark.long, pytest.mark.timeout(600)]

NETWORK = "heating-test-backup"
IMAGE = "heating-test-backup"
SERVICES = ["mosquitto", "prometheus", "poller", "bridge"]

CONFIG = """\
[mqtt]
host = "localhost"
[[bus]]
name = "rs485"
connect = "tcp://simulator:5020"
baud = 0
[[device]]
name = "meter"
bus = "rs485"
profile = "wago-879"
unit = 2
interval = 1
[[device]]
name = "heatpump"
bus = "rs485"
profile = "lg-r290"
unit = 7
interval = 2
[[remote_write]]
url = "http://localhost:9090/api/v1/write"
[backup]
also = ["certificates"]
"""

FOR_THE_TEST = f"""\
services:
  secrets: {{image: {IMAGE}}}
  mosquitto:
    ports: !override ["127.0.0.1::1883"]
    healthcheck: {{interval: 2s}}
  bridge:
    image: {IMAGE}
    ports: !override ["127.0.0.1::9100"]
    healthcheck: {{interval: 2s}}
  prometheus:
    ports: !override ["127.0.0.1::9090"]
    healthcheck: {{interval: 2s}}
  poller:
    image: {IMAGE}
    command: !override [python, /test/poller_at_once.py, --config, /etc/heating/config.toml]
    volumes: ["./tests/faults/poller_at_once.py:/test/poller_at_once.py:ro"]
  backup:
    image: {IMAGE}
    # Nobody waits the five minutes that a machine needs which has just started.
    command: !override [python, -m, heating.backup, --config, /etc/heating/config.toml, --after, "0"]
    volumes: ["FOLDER/home:/stack:ro"]
  restore:
    image: {IMAGE}
    volumes: ["FOLDER/home:/stack"]
networks:
  default: !override {{name: {NETWORK}, external: true}}
"""


@pytest.fixture
def house(tmp_path: Path) -> Iterator[tuple[Stack, Path]]:
    """The stack without Grafana, and the folder in which a person keeps it."""
    needs_engine()
    home = tmp_path / "home"
    (home / "mosquitto" / "own").mkdir(parents=True)
    (home / "certificates").mkdir()
    (home / "config.toml").write_text(CONFIG)
    (home / "config.toml").chmod(0o644)
    (home / ".env").write_text("COMPOSE_FILE=compose.yaml:compose/own-grafana.yaml\n")
    (home / "certificates" / "ca.crt").write_text("of a receiver")
    (key := home / "mosquitto" / "own" / "server.key").write_text("a secret of the broker's")
    key.chmod(0o400)
    os.chown(key, 1883, 1883)
    (tmp_path / "backups").mkdir()
    os.chown(tmp_path / "backups", 1000, 1000)
    (tmp_path / "backups" / "README").touch()
    for folder in (tmp_path, home):
        folder.chmod(0o755)
    (override := tmp_path / "test.yaml").write_text(FOR_THE_TEST.replace("FOLDER", str(tmp_path)))
    environment = {
        "HEATING_CONFIG": str(home / "config.toml"),
        "HEATING_BACKUPS": str(tmp_path / "backups"),
        "COMPOSE_PROFILES": "",
    }
    files = [ROOT / "compose.yaml", ROOT / "compose" / "own-grafana.yaml", override]
    stack = Stack("heating-test-backup", files, environment)
    with contextlib.ExitStack() as undo:
        docker("network", "create", NETWORK)
        undo.callback(docker, "network", "rm", NETWORK)
        stack("build", "--quiet", "secrets")
        simulator = docker(
            "run", "--detach", "--rm", "--network", NETWORK, "--network-alias", "simulator",
            IMAGE, "python", "-m", "simulator", "--listen", "0.0.0.0:5020",
        ).strip()  # fmt: skip
        undo.callback(docker, "stop", "--time", "2", simulator)
        with stack.running(*SERVICES):
            yield stack, tmp_path


Samples = dict[tuple[str, int], float]


def samples(stack: Stack, until_s: float) -> Samples:
    """Every sample of the devices, by series and milliseconds."""
    found = stack.query(f'{{__name__=~"(meter|heatpump)_.+"}}[1h] @ {until_s:.3f}')
    return {
        (json.dumps(series["metric"], sort_keys=True), round(float(at) * 1000)): float(value)
        for series in found
        for at, value in series["values"]
    }


@dataclass(frozen=True)
class Journal:
    """What the poller's journal holds: its streams, oldest first, the time of each row by device, and each payload."""

    streams: tuple[str, ...]
    rows: frozenset[tuple[str, int]]
    payloads: tuple[tuple[str, str, str], ...]


def journal(stack: Stack) -> Journal:
    script = (
        "import json, sqlite3\n"
        "sql = sqlite3.connect('file:/data/journal.sqlite?mode=ro', uri=True)\n"
        "print(json.dumps(sql.execute('SELECT stream.name, device.name, time_ms, payload FROM state"
        " JOIN device ON device.id = device JOIN stream ON stream.id = stream"
        " WHERE time_ms IS NOT NULL ORDER BY stream.id, seq').fetchall()))\n"
    )
    rows = json.loads(stack("exec", "--no-TTY", "poller", "python", "-c", script))
    return Journal(
        tuple(dict.fromkeys(stream for stream, *_ in rows)),
        frozenset((device, time_ms) for _, device, time_ms, _ in rows),
        tuple((stream, device, payload) for stream, device, _, payload in rows),
    )


def passwords(stack: Stack) -> dict[str, str]:
    said = stack("run", "--rm", "--no-TTY", "--entrypoint", "grep", "secrets", "-r", "", "/secrets/all")
    return {Path(file).name: one for file, _, one in (line.partition(":") for line in said.splitlines())}


def say(stack: Stack, topic: str, text: str, password: str) -> None:
    """A retained message of Home Assistant's: of those that come again by themselves, none shows what was restored."""
    host, port = stack.address("mosquitto", 1883).rsplit(":", 1)
    who = ["-h", host, "-p", port, "-u", "homeassistant", "-P", password]
    subprocess.run([needs("mosquitto_pub"), *who, "-t", topic, "-m", text, "-r", "-q", "1"], check=True)


def hear(stack: Stack, topic: str) -> str:
    return stack("exec", "--no-TTY", "mosquitto", "mosquitto_sub", "-t", topic, "-C", "1", "-W", "9").strip()


def make_backup(stack: Stack, folder: Path) -> Path:
    """What the service does by itself, once the broker has written its file, as it does every minute."""
    stack("kill", "--signal", "USR1", "mosquitto")
    wait_until(
        lambda: "mosquitto.db" in stack("exec", "--no-TTY", "mosquitto", "ls", "/mosquitto/data"),
        what="the broker's file",
    )
    (sign := folder / "backups" / "README").rename(folder / "README")
    stack("up", "--detach", "--no-deps", "backup")
    wait_until(
        lambda: "no backup was made" in stack("logs", "backup"), within_s=40, what="its disk is missed"
    )
    assert "/backups: is empty: is its disk mounted?" in stack("logs", "backup")
    assert not list(sign.parent.iterdir())
    (folder / "README").rename(sign)
    stack("restart", "--timeout", "5", "backup")
    wait_until(lambda: "the next backup is due at" in stack("logs", "backup"), within_s=40, what="a backup")
    (made,) = (folder / "backups").glob("heating-*")
    return made


def check_rights(stack: Stack, made: Path) -> None:
    """As the kernel has them, not as they were asked for."""
    container = stack.inspect("backup")
    assert container["HostConfig"]["ReadonlyRootfs"]
    assert container["HostConfig"]["Memory"] == 128 << 20
    can_write = {mount["Destination"] for mount in container["Mounts"] if mount["RW"]}
    assert can_write == {"/backups", "/volumes/prometheus"}
    dac_override, chown = 1 << 1, 1 << 0
    for pid in docker("top", stack.container("backup"), "-o", "pid").split()[1:]:
        status = Path(f"/proc/{pid}/status").read_text()
        held = re.findall(r"^Cap(?:Prm|Eff|Bnd):\s+(\w+)$", status, re.MULTILINE)
        assert [int(one, 16) for one in held] == [dac_override | chown] * 3
        assert "NoNewPrivs:\t1" in status
    listening = stack("exec", "--no-TTY", "backup", "cat", "/proc/net/tcp", "/proc/net/tcp6")
    assert not [line for line in listening.splitlines() if line.split()[3] == "0A" and "0B00007F" not in line]
    state = made.stat()
    assert (state.st_uid, state.st_gid, state.st_mode & 0o777) == (1000, 1000, 0o600)


@pytest.mark.skipif(
    os.geteuid() != 0, reason="only root may give files to the broker's user, and look into processes"
)
def test_a_stack_that_was_destroyed_is_made_again_from_its_backup(
    house: tuple[Stack, Path], capsys: pytest.CaptureFixture[str]
):
    stack, folder = house
    home = folder / "home"
    stack.eventually("meter_energy_total_kwh and on () heatpump_flow_temperature_celsius")
    before_passwords = passwords(stack)
    say(stack, "homeassistant/status", "of before", before_passwords["homeassistant"])
    assert len(before_passwords) == 6
    time_s = time.time() - 3
    expected = samples(stack, time_s)
    made = make_backup(stack, folder)
    said = stack("logs", "--no-log-prefix", "backup")
    assert "checked: config, secrets, store, journal, prometheus, mosquitto\n" in said
    assert "left out, because [backup] says nothing of it: grafana\n" in said
    check_rights(stack, made)
    assert stack.eventually("backup_newest_timestamp_seconds > 0")
    snapshots = stack("exec", "--no-TTY", "prometheus", "ls", "/prometheus/snapshots")
    assert snapshots == "", "the snapshot is removed"
    before = journal(stack)

    restore = ("run", "--rm", "--no-TTY", "restore")
    refused = stack.try_to(*restore, f"/backups/{made.name}", "--force")
    assert refused.returncode == 1
    assert "a program has it open; stop the programs first" in refused.stderr

    # With nobody who has them open, journal and store are files in volumes that may only be read.
    stack("stop", "--timeout", "5", "poller", "bridge")
    assert "secrets, store, journal, prom" in stack(
        "exec", "--no-TTY", "backup", "heating", "backup", "-o", "/backups/by-hand"
    )

    # A disk that died.
    began = time.monotonic()
    stack("down", "--volumes", "--timeout", "2")
    shutil.rmtree(home)
    home.mkdir()
    assert not docker("volume", "ls", "--quiet", "--filter", "name=^heating-test-backup_")

    whole = made.read_bytes()
    (folder / "backups" / "cut.tar.gz").write_bytes(whole[: len(whole) // 2])
    (folder / "backups" / "photo.tar.gz").write_bytes(b"none of ours")
    for name, says in (("cut.tar.gz", "it is cut off or was changed"), ("photo.tar.gz", "this is no backup")):
        refused = stack.try_to(*restore, f"/backups/{name}")
        assert refused.returncode == 1
        assert f"/backups/{name}: {says}" in refused.stderr
    assert not list(home.iterdir())

    restored = stack(*restore, f"/backups/{made.name}")
    assert len(restored.splitlines()) == 9, restored
    assert (home / "config.toml").read_text() == CONFIG
    assert (home / "config.toml").stat().st_mode & 0o777 == 0o644
    assert (home / "certificates" / "ca.crt").read_text() == "of a receiver"
    assert "own-grafana" in (home / ".env").read_text()
    key = (home / "mosquitto" / "own" / "server.key").stat()
    assert (key.st_uid, key.st_gid, key.st_mode & 0o777) == (1883, 1883, 0o400)
    again = stack.try_to(*restore, f"/backups/{made.name}")
    assert again.returncode == 1, "what is there is not overwritten"
    assert "--force moves what is there aside" in again.stderr

    stack("up", "--detach", *SERVICES)
    stack("up", "--detach", "--no-recreate", "--wait", "--wait-timeout", "120", *SERVICES)
    stack.eventually(f"timestamp(meter_energy_total_kwh) > {time.time()}")
    assert passwords(stack) == before_passwords
    assert hear(stack, "homeassistant/status") == "of before"
    now = journal(stack)
    assert len(before.streams) == 1
    assert len(now.streams) == 2, "one of before, and a new one"
    assert now.streams[0] == before.streams[0]
    first = next(
        json.loads(one) for name, device, one in now.payloads if (name, device) == (now.streams[1], "meter")
    )
    assert first["energy_total_kwh"] is not None, (
        "the filters know the count, and do not wait for three readings"
    )
    assert "energy_total_kwh" not in first["held"]

    def missing() -> set[tuple[str, int]]:
        """Rows of the restored journal, and of the new one, that are in Prometheus with no sample."""
        there = samples(stack, time.time() + 60)
        return now.rows - {(json.loads(series)["device"], at) for series, at in there}

    wait_until(lambda: not missing(), within_s=60, what="every row of the journal is in Prometheus")
    seen = samples(stack, time.time() + 60)
    assert {place: seen.get(place) for place in expected} == expected
    counts = [
        value
        for (series, _), value in sorted(seen.items(), key=lambda one: one[0][1])
        if json.loads(series)["__name__"] == "meter_energy_total_kwh"
    ]
    assert counts == sorted(counts), "an energy count never falls"
    with capsys.disabled():
        print(
            f"\n{len(expected)} samples before the backup of {made.stat().st_size} bytes, {len(seen)} afterwards, "
            f"{len(now.rows)} rows in the journal, {time.monotonic() - began:.0f} s from the loss on"
        )
