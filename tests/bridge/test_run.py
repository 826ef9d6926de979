"""The bridge as a whole, against the real broker and the real Prometheus."""

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from readings.broker import Message, Session
from readings.health import decode_health
from readings.payload import FieldInfo, Info, StreamRange, encode_info, encode_journal, encode_state
from readings.reading import DeviceKey, DeviceState, Kind
from readings.settings import MqttSettings
from readings.topics import Leaf, Topics
from tests.conftest import Server, free_port, wait_until

METER = DeviceKey(Kind.METER, "wp")
TOPICS = Topics("heating")


def info(stream: str) -> Info:
    return Info(
        contract=1,
        poller="poller",
        stream=stream,
        title="Heat pump meter",
        manufacturer="WAGO",
        model="879",
        profile="wago-879",
        interval=5,
        fields={
            "power_total_kw": FieldInfo(unit="kW", prefixes=("meter", "wago"), labels={"device": "wp"}),
            "energy_total_kwh": FieldInfo(unit="kWh", prefixes=("meter",), labels={"device": "wp"}),
        },
    )


@dataclass
class Poller:
    """Publishes as the contract says: announcement, states, and the list of them."""

    session: Session
    stream: str = "k3f9"
    taken: list[DeviceState] = field(default_factory=list)

    def announce(self) -> None:
        self.publish(Leaf.INFO, encode_info(info(self.stream)), retain=True)

    def list_states(self) -> None:
        ranges = [StreamRange(self.stream, 1, len(self.taken))]
        self.publish(Leaf.JOURNAL, encode_journal(ranges), retain=True)

    def take(self, power: float | None, time_ms: int | None = None) -> DeviceState:
        number = len(self.taken) + 1
        at = time_ms or time.time_ns() // 1_000_000
        state = DeviceState(at, self.stream, number, {"power_total_kw": power, "energy_total_kwh": number})
        self.taken.append(state)
        self.publish(Leaf.STATE, encode_state(state), retain=True)
        return state

    def publish(self, leaf: Leaf, payload: bytes, *, retain: bool) -> None:
        assert self.session.publish(Message(TOPICS.device(METER, leaf), payload, retain))


@pytest.fixture
def poller(mqtt_settings: MqttSettings) -> Iterator[Poller]:
    with Session(mqtt_settings, client_id="poller", clean=True, jitter=lambda: 0.0) as session:
        wait_until(lambda: session.is_connected)
        yield Poller(session)


class Program:
    """`python -m bridge` with a configuration of its own; may be killed and started again."""

    def __init__(self, folder: Path, mqtt: MqttSettings, receiver_port: int | None) -> None:
        self.port = free_port()
        self.log = folder / "bridge.log"
        self.store = folder / "data" / "store.sqlite"
        self._config = folder / "config.toml"
        remote_write = f'[[remote_write]]\nurl = "http://127.0.0.1:{receiver_port}/api/v1/write"\nlabels = {{site = "home"}}\n'
        self._config.write_text(
            f'[mqtt]\nhost = "{mqtt.host}"\nport = {mqtt.port}\n\n'
            f'[bridge]\nlisten = "127.0.0.1:{self.port}"\n\n' + (remote_write if receiver_port else "")
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "bridge", "--config", str(self._config)], stderr=log, stdout=log
            )

    def metrics(self) -> str:
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer,
        ):
            return answer.read().decode()
        return ""

    def wait_until_subscribed(self) -> None:
        """It has heard of the announcement that lies at the broker."""
        wait_until(lambda: 'received_total{message="info"} 1' in self.metrics(), what=str(self.log))

    def end(self, number: int) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(10)

    def __enter__(self) -> "Program":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.end(signal.SIGKILL)


@dataclass(frozen=True)
class PrometheusClient:
    port: int

    def values(self, query: str, at_ms: int | None = None) -> list[tuple[float, float]]:
        """Every sample of a range query, as (time, value), without markers."""
        answer = self._get("query", query=query, time=(at_ms or time.time_ns() // 1_000_000) / 1000)
        return [
            (float(when), float(value))
            for series in answer["result"]
            for when, value in series.get("values", [series.get("value")])
        ]

    def _get(self, what: str, **parameters: object) -> dict:
        url = f"http://127.0.0.1:{self.port}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]


@pytest.fixture
def database(prometheus: Server) -> PrometheusClient:
    return PrometheusClient(prometheus.port)


def expected(states: list[DeviceState]) -> list[tuple[float, float]]:
    return [(state.time_ms / 1000, state.values["power_total_kw"]) for state in states]


def test_states_reach_prometheus_with_their_own_times(tmp_path, mqtt_settings, poller, prometheus, database):
    now = time.time_ns() // 1_000_000
    with Program(tmp_path, mqtt_settings, prometheus.port) as bridge:
        poller.announce()
        bridge.wait_until_subscribed()
        for number in range(5):
            poller.take(1.5 + number, now - 60_000 + number * 5_000)
        poller.list_states()
        query = 'wago_power_total_kw{device="wp",site="home"}[10m]'
        wait_until(lambda: len(database.values(query)) == 5, what=str(bridge.log))
        assert database.values(query) == expected(poller.taken)
        assert database.values("meter_energy_total_kwh[10m]")[-1] == ((now - 40_000) / 1000, 5.0)
        assert "up to 2w late" in bridge.log.read_text()
        assert bridge.end(signal.SIGTERM) == 0
