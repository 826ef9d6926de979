"""The bridge as a whole, against the real broker and the real Prometheus."""

import contextlib
import json
import queue
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import pytest

from bridge.database import Database
from bridge.store import Store
from readings.broker import Delivery, Message, Session
from readings.health import decode_health
from readings.payload import FieldInfo, Info, StreamRange, encode_info, encode_journal, encode_state
from readings.reading import DeviceKey, DeviceState, Kind
from readings.settings import MqttSettings
from readings.topics import Leaf, Topics
from tests.bridge import states
from tests.bridge.receiver import Receiver
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
        if self.taken:
            at = max(at, self.taken[-1].time_ms + 1)
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

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.end(signal.SIGKILL)


@dataclass(frozen=True)
class PrometheusClient:
    port: int

    def values(self, query: str, at_ms: int | None = None) -> list[tuple[float, float]]:
        """Every sample of a query, as (time, value), without markers; none while it reads its log."""
        at_s = (at_ms or time.time_ns() // 1_000_000) / 1000
        try:
            answer = self._get("query", query=query, time=at_s)
        except urllib.error.HTTPError as error:
            if error.code != 503:
                raise
            return []
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
        # Prometheus shows them before the bridge has heard so, and asks for its window.
        wait_until(lambda: "up to 2w late" in bridge.log.read_text(), what=str(bridge.log))
        assert bridge.end(signal.SIGTERM) == 0


def test_a_series_ends_where_its_field_turns_to_null(tmp_path, mqtt_settings, poller, prometheus, database):
    now = time.time_ns() // 1_000_000
    with Program(tmp_path, mqtt_settings, prometheus.port) as bridge:
        poller.announce()
        bridge.wait_until_subscribed()
        poller.take(1.5, now - 20_000)
        lost = poller.take(None, now - 10_000)
        poller.list_states()
        wait_until(lambda: database.values("meter_energy_total_kwh", lost.time_ms), what=str(bridge.log))
        assert database.values("meter_power_total_kw", lost.time_ms - 1)
        assert database.values("meter_power_total_kw", lost.time_ms) == []


def test_states_wait_while_prometheus_is_away(tmp_path, mqtt_settings, poller, prometheus, database):
    query = "meter_power_total_kw[10m]"
    with Program(tmp_path, mqtt_settings, prometheus.port) as bridge:
        poller.announce()
        bridge.wait_until_subscribed()
        poller.take(1.0)
        poller.list_states()
        wait_until(lambda: len(database.values(query)) == 1, what=str(bridge.log))
        prometheus.kill()
        for number in range(20):
            poller.take(2.0 + number)
        poller.list_states()
        wait_until(lambda: 'bridge_states_waiting{device="wp"} 20' in bridge.metrics())
        assert "bridge_data_complete 0" in bridge.metrics()
        prometheus.start()
        wait_until(lambda: len(database.values(query)) == 21, what=str(bridge.log))
        assert database.values(query) == expected(poller.taken)
        wait_until(lambda: "bridge_data_complete 1" in bridge.metrics())


def test_what_was_dropped_unsent_is_not_there(tmp_path, mqtt_settings):
    now_ms = time.time_ns() // 1_000_000
    with Receiver().running() as receiver:
        bridge = Program(tmp_path, mqtt_settings, urllib.parse.urlsplit(receiver.url).port)
        file = Database(bridge.store)
        Store(file).commit(
            [
                states.state(1, "old", time_ms=now_ms - 7 * 86_400_000),
                states.info(),
                states.state(1, time_ms=now_ms),
                states.journal(("a", 1, 1)),
            ],
            now_ms,
        )
        file.close()
        with bridge:
            wait_until(lambda: receiver.kept, what=str(bridge.log))
            wait_until(
                lambda: 'bridge_states_waiting{device="wp"} 0' in bridge.metrics(), what=str(bridge.log)
            )
            assert 'bridge_states_dropped_total{device="wp",reason="age"} 1' in bridge.metrics()
            assert "bridge_data_complete 0" in bridge.metrics()


def test_when_its_store_breaks_it_goes_on_with_a_new_one_on_the_same_connection(
    tmp_path, mqtt_settings, poller
):
    with Receiver().running() as receiver:
        port = urllib.parse.urlsplit(receiver.url).port
        with Program(tmp_path, mqtt_settings, port) as bridge:
            poller.announce()
            lost = poller.take(1.0)
            poller.list_states()
            wait_until(lambda: receiver.kept, what=str(bridge.log))
            with contextlib.closing(sqlite3.connect(bridge.store)) as file, file:
                file.execute("UPDATE device SET name = CAST(x'ff77' AS TEXT)")
            wait_until(bridge.store.with_name("store.sqlite.damaged-1").exists, what=str(bridge.log))
            state = poller.take(2.0)
            poller.publish(Leaf.HISTORY, encode_state(lost), retain=False)
            wait_until(
                lambda: state.time_ms in {time_ms for _, time_ms in receiver.kept}, what=str(bridge.log)
            )
            assert "bridge_broker_connects_total 1" in bridge.metrics()


def test_killed_while_states_flow_it_stores_and_sends_each_once(
    tmp_path, mqtt_settings, poller, prometheus, database
):
    """What it had not acknowledged comes again from the broker, what it had not sent from its store."""
    program = Program(tmp_path, mqtt_settings, prometheus.port)
    with program as bridge:
        poller.announce()
        bridge.wait_until_subscribed()
        for number in range(150):
            poller.take(float(number))
            if number % 30 == 29:
                poller.list_states()
            if number in {40, 75, 110}:
                bridge.end(signal.SIGKILL)
                bridge.start()
            time.sleep(0.01)
        query = "meter_power_total_kw[10m]"
        wait_until(lambda: len(database.values(query)) == 150, within_s=20, what=str(bridge.log))
        assert database.values(query) == expected(poller.taken)
        wait_until(lambda: 'bridge_states_waiting{device="wp"} 0' in bridge.metrics())
        assert bridge.end(signal.SIGTERM) == 0
    with contextlib.closing(sqlite3.connect(program.store)) as store:
        assert [seq for (seq,) in store.execute("SELECT seq FROM state ORDER BY seq")] == list(range(1, 151))
        assert store.execute("SELECT first, last FROM had").fetchall() == [(1, 150)]
        assert store.execute("SELECT count(*) FROM quarantine").fetchone() == (0,)


def test_without_a_receiver_nothing_is_stored_and_metrics_are_there(tmp_path, mqtt_settings, poller):
    program = Program(tmp_path, mqtt_settings, None)
    with program as bridge:
        poller.announce()
        bridge.wait_until_subscribed()
        poller.take(1.25)
        wait_until(lambda: 'wago_power_total_kw{device="wp"} 1.25' in bridge.metrics())
        assert bridge.end(signal.SIGTERM) == 0
    assert not program.store.exists()


def test_it_reports_its_health_and_says_when_it_goes(tmp_path, mqtt_settings, poller):
    heard: queue.Queue[Delivery] = queue.Queue()
    with (
        Session(
            mqtt_settings,
            client_id="listener",
            clean=True,
            subscriptions=[("heating/bridge/bridge/#", 1)],
            on_message=heard.put,
            jitter=lambda: 0.0,
        ),
        Program(tmp_path, mqtt_settings, free_port()) as bridge,
    ):
        came = [heard.get(timeout=10) for _ in range(2)]
        payloads = {one.topic.rpartition("/")[2]: one.payload for one in came}
        assert payloads["availability"] == b"online"
        health = decode_health(payloads["health"])
        assert health.name == "bridge"
        assert health.metrics["bridge_broker_connected"][0].value == 1
        bridge.end(signal.SIGKILL)
        assert heard.get(timeout=10).payload == b"offline", "its will"
        bridge.start()
        while heard.get(timeout=10).payload != b"online":
            pass
        wait_until(bridge.metrics)
        assert bridge.end(signal.SIGTERM) == 0
        while heard.get(timeout=10).payload != b"offline":
            pass


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("[bridge]\nnam = 'x'\n", 2, "bridge.nam: unknown key"),
        ("[bridge]\nlisten = '127.0.0.1:{taken}'\n", 1, "cannot listen on 127.0.0.1:{taken}"),
        ("[bridge]\ndata = 'config.toml'\n[[remote_write]]\nurl = 'http://h/'\n", 1, "store.sqlite"),
    ],
)
def test_what_it_cannot_do_ends_the_start_with_one_line(tmp_path, text, code, said):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        config = tmp_path / "config.toml"
        config.write_text(text.replace("{taken}", port))
        done = subprocess.run(
            [sys.executable, "-m", "bridge", "--config", str(config)],
            check=False,
            capture_output=True,
            text=True,
            timeout=20,
        )
    assert done.returncode == code
    assert said.replace("{taken}", port) in done.stderr
    assert len(done.stderr.splitlines()) == 1
