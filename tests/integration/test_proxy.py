"""Other programs at the proxy's port while the poller polls: mbpoll, and pymodbus in the manner of lg-r290-control."""

import contextlib
import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_network
from itertools import count, pairwise
from random import Random

import pytest
from pymodbus.client import ModbusTcpClient

from poller.address import NetworkAddress
from poller.blocks import Poll
from poller.bus import ModbusTransport
from poller.config import BusSettings
from poller.device import Device as PolledDevice
from poller.loop import BusWorker
from poller.proxy.rules import WriteRule
from poller.proxy.server import ProxyServer
from poller.proxy.settings import ProxySettings
from readings.health import POLLER_HEALTH, Tally
from simulator.bus import Bus, Device
from simulator.errors import IllegalAddressError
from simulator.gateway import Gateway
from simulator.registers import Answer
from simulator.wire import RtuFraming, TcpFraming
from tests.conftest import needs, wait_until
from tests.integration.world import device

METER, PUMP = 2, 7
UNITS = (METER, 3, 4, 5, 6, PUMP)
FRAMINGS = {"socket": TcpFraming, "rtu": RtuFraming}
INTERVAL_S = 1.0
"""Of the heat pump here; its 10 s, and the 20 s that its gap may have, are ten times as much."""


def held(unit: int, table: str, address: int) -> int:
    """What is at an address that nobody wrote: nowhere the same."""
    word = (
        unit * 7919 + {"coil": 1, "discrete": 2, "input": 3, "holding": 4}[table] * 1009 + address * 31
    ) % 65536
    return word % 2 if table in {"coil", "discrete"} else word


class Memory(Device):
    """A device with something of its own at every address, which keeps what is written."""

    def __init__(self, unit: int) -> None:
        super().__init__([], dict, turnaround_s=0.0)
        self.unit = unit
        self.written: dict[tuple[str, int], int] = {}

    def fields(self, table: str, address: int, count: int) -> frozenset[str]:
        return frozenset()

    def answer(self, table: str, address: int, count: int) -> tuple[Answer, int]:
        if address + count > 60_000:
            raise IllegalAddressError(f"{table} {address}")
        words = [self.word(table, place) for place in range(address, address + count)]
        return Answer(tuple(words), {}, ()), 0

    def write(self, table: str, address: int, words: tuple[int, ...]) -> None:
        self.written.update(((str(table), place), word) for place, word in enumerate(words, address))

    def word(self, table: str, address: int) -> int:
        return self.written.get((str(table), address), held(self.unit, str(table), address))


@dataclass
class House:
    """A gateway with six devices, the poller's thread that polls two of them, and its proxy."""

    gateway: Gateway
    devices: dict[int, Memory]
    server: ProxyServer
    tally: Tally
    answered: list[float] = field(default_factory=list)
    polls: int = 0

    @property
    def port(self) -> int:
        assert self.server.address is not None
        return self.server.address[1]

    def take(self, one: PolledDevice, poll: Poll) -> bool:
        if one.unit == PUMP:
            self.answered += [read.read_at for read in poll.reads]
        self.polls += len(poll.reads) == len(poll.outcomes)
        return False

    @property
    def gap_s(self) -> float:
        return max(later - earlier for earlier, later in pairwise([*self.answered, time.monotonic()]))

    def results(self) -> dict[str, float]:
        counted: dict[str, float] = {}
        for one in self.tally.samples().get("poller_proxy_requests_total", []):
            counted[one.labels["result"]] = counted.get(one.labels["result"], 0) + one.value
        return counted


@contextlib.contextmanager
def run_house(framing: str, *, baud: int = 0, interval_s: float = INTERVAL_S) -> Iterator[House]:
    devices = {unit: Memory(unit) for unit in UNITS}
    stopping, tally = threading.Event(), Tally(POLLER_HEALTH)
    rule = WriteRule((ip_network("127.0.0.1"),), PUMP, (range(100),), (range(10_000),))
    server = ProxyServer(
        "rs485",
        ProxySettings("127.0.0.1", 0, (rule,)),
        stopping=stopping,
        tally=tally,
        monotonic=time.monotonic,
    )
    with Gateway(Bus(devices, FRAMINGS[framing](), baud=baud), remembers=1000) as gateway:
        house = House(gateway, devices, server, tally)
        settings = BusSettings("rs485", NetworkAddress(*gateway.address, framing), baud, 0.0)
        worker = BusWorker(
            settings,
            [
                device("wago-879", METER, interval_s=interval_s),
                device("lg-r290", PUMP, interval_s=interval_s),
            ],
            transport=ModbusTransport(settings, tally=tally),
            monotonic=time.monotonic,
            wait=server.desk.wait,
            on_poll=house.take,
            tally=tally,
            desk=server.desk,
        )
        threads = [threading.Thread(target=target, daemon=True) for target in (worker.run, server.run)]
        for thread in threads:
            thread.start()
        try:
            wait_until(lambda: server.address and house.answered)
            yield house
        finally:
            stopping.set()
            server.wake()
            for thread in threads:
                thread.join(5)
    assert not any(thread.is_alive() for thread in threads)


@pytest.fixture(params=FRAMINGS)
def house(request: pytest.FixtureRequest) -> Iterator[House]:
    with run_house(request.param) as one:
        yield one


TYPES = {"coil": "0", "discrete": "1", "input": "3", "holding": "4"}


def mbpoll(house: House, *words: str) -> subprocess.Popen[str]:
    command = [needs("mbpoll"), "-0", "-q", "-o", "5", "-p", str(house.port), *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def said(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=60)
    return output


def values(output: str) -> list[int]:
    """The values of one look of mbpoll: `[0]: 64887 (-649)`."""
    return [int(value) for value in re.findall(r"^\[\d+\]:\s+(\d+)", output, re.MULTILINE)]


@pytest.mark.parametrize("table", TYPES)
def test_mbpoll_reads_every_table_of_every_unit(house, table):
    for unit in (METER, 4, PUMP):
        output = said(
            mbpoll(house, "-1", "-a", str(unit), "-t", TYPES[table], "-r", "200", "-c", "20", "127.0.0.1")
        )
        assert values(output) == [held(unit, table, 200 + place) for place in range(20)], output


def test_mbpoll_writes_what_it_may_and_reads_it_back(house):
    for table, written in (
        ("coil", [1, 0, 0, 1]),
        ("coil", [0]),
        ("holding", [350]),
        ("holding", [7, 65535, 0]),
    ):
        there = ["-1", "-a", str(PUMP), "-t", TYPES[table], "-r", "3", "127.0.0.1"]
        output = said(mbpoll(house, *there, *map(str, written)))
        assert f"Written {len(written)} references" in output
        assert values(said(mbpoll(house, "-c", str(len(written)), *there))) == written
    refused = said(mbpoll(house, "-1", "-a", str(METER), "-t", "4", "-r", "3", "127.0.0.1", "1"))
    assert "Illegal data address" in refused
    assert house.devices[METER].written == {}
    assert "Target device failed to respond" in said(
        mbpoll(house, "-1", "-a", "99", "-t", "4", "-r", "3", "127.0.0.1")
    )


class Readers:
    """mbpoll processes that read all units again and again, every one its own addresses."""

    def __init__(self, house: House, processes: int) -> None:
        self._house = house
        self.right = 0
        self.wrong: list[str] = []
        self._processes = []
        self._threads = []
        for number in range(processes):
            first, size = 100 + 50 * number, 5 + 7 * number
            units = ",".join(map(str, UNITS))
            process = mbpoll(
                house, "-l", "11", "-a", units, "-t", "4", "-r", str(first), "-c", str(size), "127.0.0.1"
            )
            self._processes.append(process)
            self._threads.append(threading.Thread(target=self._read, args=(process, size)))
            self._threads[-1].start()

    def _read(self, process: subprocess.Popen[str], size: int) -> None:
        unit, seen = 0, 0
        assert process.stdout is not None
        for line in process.stdout:
            if not line.endswith("\n"):
                return  # it was ended in the middle of a word
            if match := re.match(r"-- Polling slave (\d+)", line):
                unit, seen = int(match[1]), 0
            elif match := re.match(r"\[(\d+)\]:\s+(\d+)", line):
                seen += 1
                if held(unit, "holding", int(match[1])) != int(match[2]):
                    self.wrong.append(f"unit {unit}: {line}")
                self.right += seen == size
            elif "failed" in line:
                self.wrong.append(f"unit {unit}: {line}")

    def end(self) -> None:
        for process in self._processes:
            process.terminate()
        for process, thread in zip(self._processes, self._threads, strict=True):
            thread.join(10)
            process.wait(10)
            process.stdout.close()


def write_and_read_back(house: House, ends: threading.Event, first: int) -> list[str]:
    """As long as it is asked to, in the manner of lg-r290-control: commands, and whether they were done."""
    wrong = []
    chance = Random(first)
    client = ModbusTcpClient("127.0.0.1", port=house.port, timeout=5, retries=0)
    while not ends.is_set():
        address, value = first + chance.randrange(20), chance.randrange(65536)
        if client.write_register(address, value, device_id=PUMP).isError():
            wrong.append(f"writing {address}: an error")
        if (got := client.read_holding_registers(address, count=1, device_id=PUMP).registers) != [value]:
            wrong.append(f"{address}: wrote {value}, read {got}")
        coil, on = (first + chance.randrange(20)) % 100, chance.random() < 0.5
        if client.write_coil(coil, on, device_id=PUMP).isError():
            wrong.append(f"writing coil {coil}: an error")
        if client.read_coils(coil, count=1, device_id=PUMP).bits[0] != on:
            wrong.append(f"coil {coil}: wrote {on}")
    client.close()
    return wrong


def ask(house: House, requests: int) -> None:
    """So many requests of mbpoll and pymodbus at once, while the poller polls: no wrong answer, no gap."""
    ends = threading.Event()
    wrong: list[str] = []
    writers = [
        threading.Thread(target=lambda first=first: wrong.extend(write_and_read_back(house, ends, first)))
        for first in (5000, 5040)
    ]
    for writer in writers:
        writer.start()
    readers = Readers(house, 3)
    polls = house.polls
    began = time.monotonic()
    wait_until(lambda: readers.right >= requests or readers.wrong, within_s=110 + requests / 20)
    took_s = time.monotonic() - began
    ends.set()
    for writer in writers:
        writer.join(20)
    readers.end()
    gap_s = house.gap_s
    print(
        f"{readers.right} answers to mbpoll in {took_s:.0f} s, {house.results()}, longest gap {gap_s:.2f} s"
    )
    assert readers.wrong == []
    assert wrong == []
    assert readers.right >= requests
    assert gap_s < 2 * INTERVAL_S
    assert house.polls - polls >= 2 * (took_s - 1) * 0.9 / INTERVAL_S
    assert house.results().keys() <= {"answered", "recent"}


def test_hundreds_of_requests_of_several_programs_have_no_wrong_answer(house):
    ask(house, 600)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_ten_thousand_requests_have_no_wrong_answer(house):
    ask(house, 10_000)


@pytest.mark.long
@pytest.mark.parametrize("framing", FRAMINGS)
def test_at_9600_baud_and_its_real_interval_the_heat_pump_is_asked_in_time(framing):
    """Two programs that keep the line busy for 45 s, and two that read."""
    with run_house(framing, baud=9600, interval_s=10) as one:
        ends = threading.Event()
        wrong: list[str] = []
        writers = [
            threading.Thread(target=lambda first=first: wrong.extend(write_and_read_back(one, ends, first)))
            for first in (5000, 5040)
        ]
        for writer in writers:
            writer.start()
        readers = Readers(one, 2)
        pump_polls = lambda: one.tally.value("poller_polls_total", device="heatpump", result="complete")  # noqa: E731
        wait_until(lambda: pump_polls() >= 5 or readers.wrong, within_s=100)
        ends.set()
        for writer in writers:
            writer.join(20)
        readers.end()
        print(f"{readers.right} answers to mbpoll, {one.results()}, longest gap {one.gap_s:.2f} s")
        assert readers.wrong == wrong == []
        assert one.gap_s < 11
        assert one.results().keys() <= {"answered", "recent"}


def test_lg_r290_control_goes_on_as_before(house):
    """Its three reads with 0.2 s between them and a timeout of 5 s; then power, mode, target and offset."""
    client = ModbusTcpClient("127.0.0.1", port=house.port, timeout=5, retries=3)
    for _ in range(3):
        for ask_for, table, size in (
            (client.read_input_registers, "input", 13),
            (client.read_holding_registers, "holding", 10),
            (client.read_coils, "coil", 1),
        ):
            time.sleep(0.2)
            answer = ask_for(0, count=size, device_id=PUMP)
            got = [int(bit) for bit in answer.bits[:size]] if table == "coil" else answer.registers
            assert got == [held(PUMP, table, place) for place in range(size)]
    for address, value in ((1, 0), (0, 4), (2, 350), (4, 65534)):
        time.sleep(0.2)
        assert not client.write_register(address, value, device_id=PUMP).isError()
    time.sleep(0.2)
    assert not client.write_coil(0, True, device_id=PUMP).isError()
    assert house.devices[PUMP].written == {
        ("holding", 1): 0, ("holding", 0): 4, ("holding", 2): 350, ("holding", 4): 65534, ("coil", 0): 1
    }  # fmt: skip
    client.close()
    assert house.gap_s < 2 * INTERVAL_S


def test_slow_and_broken_programs_do_no_harm(house):
    """One sends half a request, one garbage, one takes no answers, two ask a unit that is not there."""
    broken = [socket.create_connection(("127.0.0.1", house.port)) for _ in range(5)]
    half, garbage, deaf, *lost = broken
    half.sendall(bytes.fromhex("0001 0000 0006 07"))
    garbage.sendall(b"\xff" * 300)
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    deaf.settimeout(0.2)
    with contextlib.suppress(TimeoutError):
        deaf.sendall(bytes.fromhex("0001 0000 0006 07 03 0100 007d") * 2000)
    for one in lost:
        one.sendall(bytes.fromhex("0001 0000 0006 63 03 0000 0001") * 2)
    for unit in UNITS * 3:
        output = said(mbpoll(house, "-1", "-a", str(unit), "-t", "4", "-r", "20", "-c", "3", "127.0.0.1"))
        assert values(output) == [held(unit, "holding", 20 + place) for place in range(3)], output
    assert house.gap_s < 2 * INTERVAL_S
    for one in broken:
        one.close()


def test_while_the_gateway_is_away_programs_are_told_so_and_go_on_afterwards(house):
    with contextlib.closing(ModbusTcpClient("127.0.0.1", port=house.port, timeout=5, retries=0)) as client:
        addresses = count(300)

        def look() -> int:
            """The exception; 0 for the right answer. Every time at another address, so that none is remembered."""
            address = next(addresses)
            answer = client.read_holding_registers(address, count=1, device_id=3)
            if answer.isError():
                return answer.exception_code
            assert answer.registers == [held(3, "holding", address)]
            return 0

        assert look() == 0
        house.gateway.refuse(3)
        house.gateway.close_connections()
        wait_until(lambda: look() == 10)
        wait_until(lambda: look() == 0)
