"""The whole pipeline into receivers that are set up otherwise than ours: with a password, and not a Prometheus."""

import base64
import json
import sqlite3
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from bridge.config import read_config as read_bridge_config
from bridge.run import Bridge
from heating.simulated import SimulatedHouse
from poller.config import read_config as read_poller_config
from poller.run import Poller
from tests.conftest import Server, free_port, needs, wait_until

pytestmark = pytest.mark.mosquitto

PASSWORD = "only for this test"
HASH = "$2b$05$abcdefghijklmnopqrstuubyNe9wMd5jVXU5IcsF4WSt4zL9IRFXS"
"""Of that password, as `htpasswd -nB` makes one."""

FIELD = "power_total_kw"

CONFIG = """
[mqtt]
host = "127.0.0.1"
port = {mqtt_port}
[poller]
data = "poller"
[bridge]
data = "bridge"
listen = "127.0.0.1:0"
[[bus]]
name = "rs485"
connect = "tcp://127.0.0.1:{gateway_port}"
[[device]]
name = "wp"
bus = "rs485"
profile = "wago-879"
unit = 2
interval = 1
[[remote_write]]
{remote_write}
"""


def measured(journal: Path) -> dict[int, float]:
    """The meter's power in the poller's journal, by milliseconds."""
    with sqlite3.connect(journal) as connection:
        found = connection.execute("SELECT time_ms, payload FROM state WHERE time_ms IS NOT NULL").fetchall()
    connection.close()
    states = {time_ms: msgspec.json.decode(payload) for time_ms, payload in found}
    return {
        time_ms: values[FIELD]
        for time_ms, values in states.items()
        if values[FIELD] is not None and FIELD not in values["held"]
    }


@contextmanager
def pipeline(folder: Path, mqtt_port: int, remote_write: str) -> Iterator[Path]:
    """From a simulated meter to that receiver; gives the poller's journal."""
    with SimulatedHouse(speed=1, seed=3) as house:
        config = folder / "config.toml"
        config.write_text(
            CONFIG.format(mqtt_port=mqtt_port, gateway_port=house.port, remote_write=remote_write)
        )
        bridge = Bridge(read_bridge_config(config, {}))
        poller = Poller(read_poller_config(config, {}), trust_at_once=True, on_hang=pytest.fail)
        bridge.start()
        poller.start()
        try:
            yield folder / "poller" / "journal.sqlite"
        finally:
            poller.stop()
            bridge.stop()


def assert_all_arrives(ask, journal: Path) -> None:
    """`ask` gives what the receiver has of the meter's power, by milliseconds."""
    wait_until(lambda: len(ask()) >= 5, within_s=40, what="five readings are there")
    taken = measured(journal)
    wait_until(lambda: taken.keys() <= ask().keys(), within_s=20, what="so are all of the journal")
    there = ask()
    assert {time_ms: there[time_ms] for time_ms in taken} == taken


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Server]:
    """A Prometheus with the web.yml that docs/security.md shows."""
    program = needs("prometheus")
    port = free_port()
    folder = tmp_path / "guarded"
    folder.mkdir()
    (folder / "prometheus.yml").write_text("storage:\n  tsdb:\n    out_of_order_time_window: 14d\n")
    (folder / "web.yml").write_text(f"basic_auth_users:\n  heating: {HASH}\n")
    server = Server(
        [
            program,
            f"--config.file={folder}/prometheus.yml",
            f"--web.config.file={folder}/web.yml",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{port}",
            "--web.enable-remote-write-receiver",
        ],
        port,
        folder / "log",
    )
    server.start()
    yield server
    server.stop()


@pytest.mark.prometheus
def test_a_prometheus_with_a_password(tmp_path: Path, mosquitto: Server, guarded: Server):
    (secret := tmp_path / "receiver").write_text(PASSWORD)
    url = f"http://127.0.0.1:{guarded.port}/api/v1"
    basic = base64.b64encode(f"heating:{PASSWORD}".encode()).decode()

    def ask() -> dict[int, float]:
        query = urllib.parse.urlencode({"query": f"meter_{FIELD}[10m]"})
        request = urllib.request.Request(f"{url}/query?{query}", headers={"Authorization": f"Basic {basic}"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            result = json.load(answer)["data"]["result"]
        return {round(float(at) * 1000): float(value) for one in result for at, value in one["values"]}

    remote_write = f'url = "{url}/write"\nusername = "heating"\npassword_file = "{secret}"'
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{url}/query?query=up", timeout=10)
    with pipeline(tmp_path, mosquitto.port, remote_write) as journal:
        assert_all_arrives(ask, journal)


@pytest.fixture
def victoria_metrics(tmp_path: Path) -> Iterator[Server]:
    program = needs("victoria-metrics")
    port = free_port()
    command = [
        program,
        f"-httpListenAddr=127.0.0.1:{port}",
        f"-storageDataPath={tmp_path}/victoria",
        "-memory.allowedBytes=64MB",
    ]
    server = Server(command, port, tmp_path / "victoria.log")
    server.start()
    yield server
    server.stop()


def test_victoria_metrics(tmp_path: Path, mosquitto: Server, victoria_metrics: Server):
    url = f"http://127.0.0.1:{victoria_metrics.port}/api/v1"

    def ask() -> dict[int, float]:
        selector = urllib.parse.urlencode({"match[]": f"meter_{FIELD}"})
        with urllib.request.urlopen(f"{url}/export?{selector}", timeout=10) as answer:
            series = [json.loads(line) for line in answer]
        return {
            time_ms: value
            for one in series
            for time_ms, value in zip(one["timestamps"], one["values"], strict=True)
        }

    with pipeline(tmp_path, mosquitto.port, f'url = "{url}/write"') as journal:
        assert_all_arrives(ask, journal)
