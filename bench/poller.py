"""The bus thread against bare pymodbus: what a poll costs the processor."""

import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pymodbus.client import ModbusTcpClient

from bench.processes import BenchError, gateway
from bench.table import Table, ratios, spread
from poller.address import NetworkAddress
from poller.blocks import Poll
from poller.bus import ModbusTransport
from poller.config import BusSettings, BusTable
from poller.device import Device
from poller.loop import BusWorker
from poller.plan import plan_device
from poller.profile import load_profile
from poller.trackers import Trackers
from poller.walltime import WallTime
from readings.health import POLLER_HEALTH, Tally
from readings.payload import encode_state
from readings.reading import DeviceKey, DeviceState, Kind
from simulator.house_bus import METER_UNIT

BAUD = 9600
TURNAROUND_S = BusTable(name="bench", connect="", baud=BAUD).turnaround_ms / 1000
"""What the poller reckons with where the configuration says nothing: the requests are those that a user's poller makes."""

AT_ONCE_S = 1e-6
"""An interval that is always over: the next poll begins when one has ended."""


def make_meter(interval_s: float) -> Device:
    """The simulated house's meter with the profile's default fields."""
    profile = load_profile("wago-879")
    key = DeviceKey(Kind.METER, "meter")
    return Device(key, "", profile, profile.choose(), interval_s, bus="bench", unit=METER_UNIT)


def make_settings(address: tuple[str, int]) -> BusSettings:
    """A bus whose requests are planned for a line of 9600 baud, whatever the gateway does."""
    return BusSettings("bench", NetworkAddress(*address, "socket"), BAUD, TURNAROUND_S)


def measure(*, is_quick: bool) -> Table:
    """Poll as fast as it goes, in turns with the floor."""
    polls, rounds = (20, 1) if is_quick else (1000, 7)
    meter = make_meter(AT_ONCE_S)
    found: tuple[list[float], list[float], list[float]] = ([], [], [])
    with tempfile.TemporaryDirectory() as folder, gateway(Path(folder), baud=0) as address:
        runs: Sequence[Callable[[], None]] = (
            lambda: _poll(address, meter, polls, lambda _: None),
            lambda: _poll(address, meter, polls, _make_states(meter)),
            lambda: _read(address, meter, polls),
        )
        for _ in range(rounds):
            for run, into in zip(runs, found, strict=True):
                began = time.process_time()
                run()
                into.append((time.process_time() - began) / polls * 1000)
    bus, states, floor = found
    requests = len(plan_device(meter, baud=BAUD, turnaround_s=TURNAROUND_S, distinct=False).blocks)
    return Table(
        "Poller: a poll",
        "python -m bench poller",
        ("measure", "poller", "floor", "poller / floor", "unit"),
        tuple(
            (what, spread(ours), spread(floor), spread(ratios(ours, floor)), "s CPU per 1,000 polls")
            for what, ours in (("bus thread alone", bus), ("with filters and the state as JSON", states))
        ),
        f"{len(meter.fields)} values of a meter in {requests} requests, from a simulated gateway that answers at once,"
        f" in another process; the floor reads the same registers with bare pymodbus. {polls:,} polls a round,"
        f" {rounds} rounds in turns.",
    )


def _poll(address: tuple[str, int], meter: Device, polls: int, take: Callable[[Poll], None]) -> None:
    stopped = threading.Event()
    left = polls
    tally = Tally(POLLER_HEALTH)
    settings = make_settings(address)

    def on_poll(_device: Device, poll: Poll) -> bool:
        nonlocal left
        if len(poll.reads) != len(poll.outcomes):
            raise BenchError(f"the gateway does not answer: {poll.outcomes}")
        take(poll)
        left -= 1
        if not left:
            stopped.set()
        return False

    BusWorker(
        settings,
        [meter],
        transport=ModbusTransport(settings, tally=tally),
        monotonic=time.monotonic,
        wait=stopped.wait,
        on_poll=on_poll,
        tally=tally,
    ).run()


def _make_states(meter: Device) -> Callable[[Poll], None]:
    """What the journal's thread does with a poll, but for the journal."""
    trackers = Trackers([meter], Tally(POLLER_HEALTH))
    trackers.restore({}, time.monotonic())
    clock = WallTime(0.0, 0.0, is_trusted=True)

    def make(poll: Poll) -> None:
        snapshot = trackers.fold(meter, poll, clock).snapshot
        if snapshot is None:
            raise BenchError("a poll made no state")
        encode_state(DeviceState(clock.at(snapshot.taken), "b3nc4a11", 1, snapshot.values, snapshot.held))

    return make


def _read(address: tuple[str, int], meter: Device, polls: int) -> None:
    blocks = plan_device(meter, baud=BAUD, turnaround_s=TURNAROUND_S, distinct=False).blocks
    host, port = address
    with ModbusTcpClient(host, port=port) as client:
        for _ in range(polls):
            for block in blocks:
                client.read_holding_registers(block.address, count=block.count, device_id=METER_UNIT)
