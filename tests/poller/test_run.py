"""The whole poller, against the simulated gateway and the real mosquitto."""

import json
import math
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from pymodbus.client import ModbusTcpClient

from poller.blocks import BlockRead, FailureReason, Poll, RegisterBlock
from poller.clock import MachineClock
from poller.config import PollerSettings, read_config
from poller.journal_file import open_file
from poller.proxy.settings import ProxySettings
from poller.request import Request
from poller.run import Poller
from poller.transport import ReadError
from poller.walltime import ClockReading
from readings.payload import decode_state
from readings.reading import DeviceState
from simulator.gateway import Gateway
from simulator.house_bus import LiveHouse, house_gateway
from tests.conftest import Server, free_port, needs, wait_until

CONFIG = """
[mqtt]
host = "127.0.0.1"
port = {mqtt_port}
[poller]
name = "house"
[[bus]]
name = "rs485"
connect = "tcp://127.0.0.1:{gateway_port}"
[[device]]
name = "wp"
bus = "rs485"
profile = "wago-879"
unit = 2
interval = 1
[[device]]
name = "lg"
bus = "rs485"
profile = "lg-r290"
unit = 7
interval = 1
"""

NAMES = ("wp", "lg")


def write_config(folder: Path, *, mqtt_port: int, gateway_port: int) -> Path:
    path = folder / "config.toml"
    path.write_text(CONFIG.format(mqtt_port=mqtt_port, gateway_port=gateway_port))
    return path


def settings(folder: Path, *, mqtt_port: int, gateway_port: int) -> PollerSettings:
    """As configured, but two polls a second, so that a test need not wait for them."""
    told = read_config(write_config(folder, mqtt_port=mqtt_port, gateway_port=gateway_port), {})
    return replace(told, devices=tuple(replace(one, interval_s=0.5) for one in told.devices))


def make_gateway(port: int = 0) -> Gateway:
    house = LiveHouse(start_s=1_795_400_000, monotonic=time.monotonic)
    return house_gateway(house, port=port, baud=0, turnaround_s=0)


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with make_gateway() as gateway:
        yield gateway


class Ear:
    """mosquitto_sub on everything of ours."""

    def __init__(self, port: int) -> None:
        self.lines: list[tuple[str, str]] = []
        command = [needs("mosquitto_sub"), "-p", str(port), "-t", "heating/#", "-v"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            topic, _, payload = line.rstrip("\n").partition(" ")
            self.lines.append((topic.removeprefix("heating/"), payload))

    def close(self) -> None:
        self._process.terminate()
        self._thread.join(5)
        self._process.wait(5)
        self._process.stdout.close()

    def last(self, topic: str) -> str | None:
        return next((payload for found, payload in reversed(self.lines) if found == topic), None)

    def states(self, name: str) -> list[DeviceState]:
        return [
            decode_state(payload.encode()) for topic, payload in self.lines if topic.endswith(f"{name}/state")
        ]


@pytest.fixture
def ear(mosquitto: Server) -> Iterator[Ear]:
    ear = Ear(mosquitto.port)
    yield ear
    ear.close()


def journaled(folder: Path) -> dict[str, list[int]]:
    """The seqs of each device's rows, as another program reads them."""
    with sqlite3.connect(folder / "data" / "journal.sqlite") as file:
        found = {
            name: [
                seq
                for (seq,) in file.execute(
                    "SELECT seq FROM state, device WHERE device.id = device AND name = ? ORDER BY stream, seq",
                    (name,),
                )
            ]
            for name in NAMES
        }
    file.close()
    return found


def test_every_poll_that_was_answered_is_journaled_and_published(tmp_path, mosquitto, gateway, ear):
    poller = Poller(
        settings(tmp_path, mqtt_port=mosquitto.port, gateway_port=gateway.address[1]), trust_at_once=True
    )
    poller.start()
    wait_until(lambda: all(len(ear.states(name)) >= 3 for name in NAMES))
    poller.stop()
    rows = journaled(tmp_path)
    for name in NAMES:
        answered = (
            poller.tally.value("poller_polls_total", device=name, result=how)
            for how in ("complete", "partial")
        )
        assert sum(answered) == len(rows[name])
        assert poller.tally.value("poller_states_dropped_total", device=name) == 0
        assert rows[name] == list(range(1, len(rows[name]) + 1))
        published = [state for state in ear.states(name) if state.seq is not None]
        assert [state.seq for state in published] == rows[name][-len(published) :]
        assert len({state.stream for state in published}) == 1
        assert abs(published[-1].time_ms / 1000 - time.time()) < 5
    assert ear.states("lg")[-1].values["flow_temperature_celsius"] == pytest.approx(30, abs=15)


def test_an_orderly_end_says_offline(tmp_path, mosquitto, gateway, ear):
    poller = Poller(settings(tmp_path, mqtt_port=mosquitto.port, gateway_port=gateway.address[1]))
    poller.start()
    online = ["poller/house/availability", "meter/wp/availability", "heatpump/lg/availability"]
    wait_until(lambda: all(ear.last(topic) == "online" for topic in online))
    began = time.monotonic()
    poller.stop()
    assert time.monotonic() - began < 5
    wait_until(lambda: all(ear.last(topic) == "offline" for topic in online))


def test_it_starts_without_broker_and_without_gateway(tmp_path):
    mqtt_port, gateway_port = free_port(), free_port()
    poller = Poller(settings(tmp_path, mqtt_port=mqtt_port, gateway_port=gateway_port), trust_at_once=True)
    poller.start()
    wait_until(lambda: poller.tally.value("poller_connect_failures_total", bus="rs485") > 0)
    with make_gateway(gateway_port):
        wait_until(lambda: poller.tally.value("poller_states_journaled_total", device="lg") >= 1)
        config = tmp_path / "mosquitto.conf"
        config.write_text(f"listener {mqtt_port} 127.0.0.1\nallow_anonymous true\nuser root\n")
        broker = Server([needs("mosquitto"), "-c", str(config)], mqtt_port, tmp_path / "log")
        broker.start()
        ear = Ear(mqtt_port)
        wait_until(lambda: ear.last("heatpump/lg/state"), within_s=20)
        assert json.loads(ear.last("heatpump/lg/journal"))[0][1] == 1, "what was taken meanwhile is listed"
        poller.stop()
        ear.close()
        broker.stop()


class FakeTransport:
    """Answers zeros at once; remembers when it was first asked; hangs when it is told to."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.is_connected = True

    def read(self, block: RegisterBlock, unit: int, timeout_s: float) -> BlockRead:
        self.asked.set()
        if not self.goes_on.wait(20):
            raise ReadError(FailureReason.TIMEOUT, "hung")
        return BlockRead(block, (0,) * block.count, time.monotonic())

    def clear_at(self, request: Request) -> float:
        return -math.inf

    def late_units(self) -> frozenset[int]:
        return frozenset()

    def close(self) -> None:
        pass


def test_the_first_request_waits_neither_for_the_disk_nor_for_the_broker(tmp_path):
    """A heat pump stops when nobody asks it."""
    disk = threading.Event()

    def hang(path):
        assert disk.wait(20)
        return open_file(path)

    transport = FakeTransport()
    poller = Poller(
        settings(tmp_path, mqtt_port=free_port(), gateway_port=1),
        make_transport=lambda *_: transport,
        open_journal=hang,
    )
    poller.start()
    assert transport.asked.wait(2)
    wait_until(lambda: poller.tally.value("poller_polls_total", device="lg", result="complete") >= 2)
    assert poller.tally.value("poller_states_journaled_total", device="lg") == 0
    disk.set()
    wait_until(lambda: poller.tally.value("poller_states_journaled_total", device="lg") >= 2)
    poller.stop()


def test_the_bus_reads_the_serial_number_when_the_filters_want_it(tmp_path):
    """What a poll makes is known after it; the number that it brought is not asked for again meanwhile."""
    poller = Poller(
        settings(tmp_path, mqtt_port=free_port(), gateway_port=1),
        make_transport=lambda *_: FakeTransport(),
    )
    meter = settings(tmp_path, mqtt_port=1, gateway_port=1).devices[0]
    plain, with_number = Poll(0, 1, ()), Poll(0, 1, (), {"serial_number": "210500A7"})
    assert not poller._on_poll(meter, plain)
    poller._trackers._wanting.add(meter.key)
    assert poller._on_poll(meter, plain)
    assert not poller._on_poll(meter, with_number)


def test_a_bus_thread_that_hangs_is_noticed(tmp_path):
    reasons: list[str] = []
    transport = FakeTransport()
    poller = Poller(
        settings(tmp_path, mqtt_port=free_port(), gateway_port=1),
        make_transport=lambda *_: transport,
        on_hang=reasons.append,
        hangs_after_s=1.5,
    )
    poller.start()
    assert transport.asked.wait(5)
    assert poller.find_hang() is None
    transport.goes_on.clear()
    wait_until(lambda: reasons, what="the watchdog bites")
    assert reasons[0].startswith("the thread of bus rs485 has not moved for 2 s")
    transport.goes_on.set()
    poller.stop()


def with_proxy(folder: Path, *, mqtt_port: int, gateway_port: int, proxy_port: int) -> PollerSettings:
    told = settings(folder, mqtt_port=mqtt_port, gateway_port=gateway_port)
    proxy = ProxySettings("127.0.0.1", proxy_port)
    return replace(told, buses=tuple(replace(one, proxy=proxy) for one in told.buses))


class StuckListener:
    """A port that holds up its thread."""

    socket = None

    def __init__(self) -> None:
        self.goes_on = threading.Event()

    def attend(self, now: float) -> None:
        assert self.goes_on.wait(20)

    def close(self) -> None:
        """It was never open."""


def test_a_proxys_thread_that_hangs_is_noticed(tmp_path, gateway):
    reasons: list[str] = []
    told = with_proxy(tmp_path, mqtt_port=free_port(), gateway_port=gateway.address[1], proxy_port=1)
    poller = Poller(told, on_hang=reasons.append, hangs_after_s=1.5)
    stuck = poller._proxies["rs485"]._listener = StuckListener()
    poller.start()
    wait_until(lambda: reasons, what="the watchdog bites")
    assert reasons[0].startswith("the thread of the proxy of bus rs485 has not moved for 2 s")
    stuck.goes_on.set()
    poller.stop()


def test_other_programs_reach_the_bus_through_the_poller(tmp_path, gateway):
    port = free_port()
    told = with_proxy(tmp_path, mqtt_port=free_port(), gateway_port=gateway.address[1], proxy_port=port)
    poller = Poller(told)
    poller.start()
    wait_until(lambda: poller.tally.value("poller_proxy_listening", bus="rs485"))
    with closing(ModbusTcpClient("127.0.0.1", port=port, timeout=5)) as client:
        assert client.read_input_registers(0, count=14, device_id=7).registers[5] == 65536 - 649
        assert client.write_coil(0, False, device_id=7).exception_code == 1
    assert poller.find_hang() is None
    began = time.monotonic()
    poller.stop()
    assert time.monotonic() - began < 5
    assert not any(thread.is_alive() for thread in poller._threads.values())


def test_a_proxy_whose_port_is_taken_does_not_keep_the_poller_from_polling(tmp_path, gateway):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = with_proxy(tmp_path, mqtt_port=free_port(), gateway_port=gateway.address[1], proxy_port=port)
        poller = Poller(told)
        poller.start()
        wait_until(lambda: poller.tally.value("poller_polls_total", device="lg", result="complete") >= 2)
        assert poller.tally.value("poller_proxy_listening", bus="rs485") == 0
        assert poller.find_hang() is None
        poller.stop()


def test_a_disk_that_hangs_is_noticed_and_a_slow_one_is_not(tmp_path):
    disk, hangs = threading.Event(), threading.Event()

    def hang(path):
        hangs.set()
        assert disk.wait(20)
        return open_file(path)

    clock = SkippingClock()
    poller = Poller(
        settings(tmp_path, mqtt_port=free_port(), gateway_port=1),
        make_transport=lambda *_: FakeTransport(),
        open_journal=hang,
        clock=clock,
        on_hang=lambda _: None,
    )
    poller.start()
    assert hangs.wait(5)
    clock.skipped_s = 250
    assert poller.find_hang() is None
    clock.skipped_s = 301
    assert poller.find_hang().startswith("the journal's thread has not moved for 30")
    disk.set()
    wait_until(lambda: poller.find_hang() is None)
    poller.stop()


class SkippingClock(MachineClock):
    """This machine's clocks, some seconds later."""

    skipped_s = 0.0

    def read(self) -> ClockReading:
        now = super().read()
        return replace(now, monotonic=now.monotonic + self.skipped_s)


def test_a_process_that_stood_still_has_not_hung(tmp_path):
    """Ctrl-Z and `fg`, or a container that was paused: what looks for hangs stood still as well."""
    now, rests, looks = 0.0, [1.0, 40.0, 1.0], []

    def rest(_: float) -> bool:
        nonlocal now
        if not rests:
            return True
        now += rests.pop(0)
        return False

    poller = Poller(settings(tmp_path, mqtt_port=free_port(), gateway_port=1), monotonic=lambda: now)
    poller.find_hang = lambda: looks.append(now)
    poller._stopping.wait = rest
    poller._keep_watch()
    assert looks == [1.0, 42.0]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_ends_by_a_mistake_is_noticed(tmp_path):
    reasons: list[str] = []
    transport = FakeTransport()
    transport.read = lambda *_: 1 / 0
    poller = Poller(
        settings(tmp_path, mqtt_port=free_port(), gateway_port=1),
        make_transport=lambda *_: transport,
        on_hang=reasons.append,
    )
    poller.start()
    wait_until(lambda: reasons)
    assert reasons == ["the thread of bus rs485 has ended"]
    poller.stop()


def test_a_hang_ends_the_process_with_a_code_and_a_line():
    code = "from poller.run import end_process; end_process('the thread of bus rs485 has ended')"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 70
    assert ended.stderr == "the thread of bus rs485 has ended: ending the process\n"


class Process:
    """`python -m poller` as systemd would run it."""

    def __init__(self, config: Path) -> None:
        self.log = config.with_suffix(".log")
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "poller", "--config", str(config)], stderr=log, env=os.environ
            )

    def end(self, number: signal.Signals, within_s: float = 5) -> int:
        self.process.send_signal(number)
        return self.process.wait(within_s)


def test_a_killed_poller_is_offline_by_its_will_and_has_lost_no_row(tmp_path, mosquitto, gateway, ear):
    config = write_config(tmp_path, mqtt_port=mosquitto.port, gateway_port=gateway.address[1])
    poller = Process(config)
    wait_until(lambda: all(len(ear.states(name)) >= 3 for name in NAMES), within_s=20)
    poller.end(signal.SIGKILL)
    heard = {name: len(ear.states(name)) for name in NAMES}
    wait_until(lambda: ear.last("poller/house/availability") == "offline")
    rows = journaled(tmp_path)
    for name in NAMES:
        assert rows[name] == list(range(1, len(rows[name]) + 1))
        assert len(rows[name]) >= heard[name], "what was published is in the journal"


def test_sigterm_ends_it_in_order_though_the_broker_is_frozen(tmp_path, mosquitto, gateway, ear):
    config = write_config(tmp_path, mqtt_port=mosquitto.port, gateway_port=gateway.address[1])
    poller = Process(config)
    wait_until(lambda: ear.last("heatpump/lg/state"), within_s=20)
    mosquitto.process.send_signal(signal.SIGSTOP)
    try:
        assert poller.end(signal.SIGTERM) == 0
    finally:
        mosquitto.process.send_signal(signal.SIGCONT)
    assert "Traceback" not in poller.log.read_text()


def test_a_mistake_in_the_configuration_is_one_line_and_exit_code_2(tmp_path):
    config = write_config(tmp_path, mqtt_port=1883, gateway_port=70000)
    command = [sys.executable, "-m", "poller", "--config", str(config)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr == (
        f"{config}: bus[0].connect: expected tcp://HOST:PORT, rtu+tcp://HOST:PORT or"
        " serial:///dev/NAME?baud=9600&parity=N&stop=1, got 'tcp://127.0.0.1:70000'\n"
    )
