"""The bus thread against the simulated gateway, at the pace of 9600 baud, with faults mixed in."""

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from typing import Literal

import pytest

from poller.address import NetworkAddress
from poller.assemble import Tracker, fold_poll, new_tracker
from poller.blocks import BlockRead, Poll
from poller.bus import ModbusTransport
from poller.config import BusSettings
from poller.decode import NoNumber, decode_block
from poller.device import Device
from poller.loop import BusWorker
from poller.profile import load_profile
from poller.request import READING
from readings.health import POLLER_HEALTH, Tally
from readings.reading import DeviceKey
from simulator.faults import Fault, FaultKind
from simulator.gateway import Gateway
from simulator.house_bus import HEAT_PUMP_UNIT, METER_UNIT, LiveHouse, house_gateway
from tests.conftest import wait_until

WINTER_S = 1_795_400_000.0
INTERVALS = {METER_UNIT: 0.7, HEAT_PUMP_UNIT: 1.0}
FAULTS = [
    Fault(FaultKind.SILENT),
    Fault(FaultKind.LATE, delay_s=0.25),
    Fault(FaultKind.TRUNCATED),
    Fault(FaultKind.SHORT),
    Fault(FaultKind.WRONG_UNIT),
    Fault(FaultKind.EXCEPTION),
    Fault(FaultKind.GARBLED),
    Fault(FaultKind.CLOSED),
    Fault(FaultKind.WRONG_TRANSACTION),
]


def device(profile_name: str, unit: int, interval_s: float) -> Device:
    profile = replace(load_profile(profile_name), timeout_s=0.2)
    return Device(
        DeviceKey(profile.kind, "it"), "", profile, profile.choose(), interval_s, bus="rs485", unit=unit
    )


@contextmanager
def worker(
    address: tuple[str, int], framing: Literal["socket", "rtu"], take: Callable[[Device, Poll], bool]
) -> Iterator[Tally]:
    """A bus thread at work, as long as it is wanted."""
    host, port = address
    tally = Tally(POLLER_HEALTH)
    stopped = threading.Event()
    settings = BusSettings("rs485", NetworkAddress(host, port, framing), 9600, 0.005)
    bus = BusWorker(
        settings,
        [
            device(profile, unit, INTERVALS[unit])
            for profile, unit in (("wago-879", METER_UNIT), ("lg-r290", HEAT_PUMP_UNIT))
        ],
        transport=ModbusTransport(settings, tally=tally),
        monotonic=time.monotonic,
        wait=stopped.wait,
        on_poll=take,
        tally=tally,
    )
    thread = threading.Thread(target=bus.run)
    thread.start()
    try:
        yield tally
    finally:
        stopped.set()
        thread.join(5)
    assert not thread.is_alive()


def run_worker(
    gateway: Gateway, framing: Literal["socket", "rtu"], until: Callable[[list[tuple[int, Poll]]], bool]
) -> tuple[list[tuple[int, Poll]], Tally]:
    polls: list[tuple[int, Poll]] = []

    def take(one: Device, poll: Poll) -> bool:
        polls.append((one.unit or 0, poll))
        return False

    with worker(gateway.address, framing, take) as tally:
        wait_until(lambda: until(polls), within_s=30, what="enough polls")
    return polls, tally


def of(unit: int, polls: list[tuple[int, Poll]]) -> list[Poll]:
    return [poll for one, poll in polls if one == unit]


def was_sent(gateway: Gateway, unit: int, read: BlockRead) -> bool:
    """Whether the gateway held these very values when it was asked for this block."""
    block = read.block
    values = {name: value for name, value in decode_block(read).items() if not isinstance(value, NoNumber)}
    return any(
        all(math.isclose(value, exchange.values[name], rel_tol=1e-6) for name, value in values.items())
        for exchange in gateway.exchanges
        if (exchange.unit, exchange.function, exchange.address, exchange.count)
        == (unit, READING[block.table], block.address, block.count)
        and exchange.carries_values
        and exchange.taken_at <= read.read_at
    )


@pytest.mark.parametrize(("framing", "name"), [("socket", "tcp"), ("rtu", "rtu")])
def test_a_meter_and_a_heat_pump_share_a_line(framing, name):
    house = LiveHouse(start_s=WINTER_S, monotonic=time.monotonic)
    with house_gateway(house, framing=name, baud=9600) as gateway:
        polls, tally = run_worker(
            gateway,
            framing,
            lambda polls: len(of(METER_UNIT, polls)) >= 3 and len(of(HEAT_PUMP_UNIT, polls)) >= 2,
        )
    for unit, interval_s in INTERVALS.items():
        steps = [(after.due - before.due) / interval_s for before, after in pairwise(of(unit, polls))]
        assert steps == pytest.approx([max(1, round(one)) for one in steps]), "each keeps its own timetable"
    assert all(len(poll.reads) == len(poll.outcomes) for _, poll in polls)
    assert all(was_sent(gateway, unit, read) for unit, poll in polls for read in poll.reads)
    assert {len(poll.outcomes) for poll in of(METER_UNIT, polls)} == {3}
    assert {len(poll.outcomes) for poll in of(HEAT_PUMP_UNIT, polls)} == {4}
    assert tally.value("poller_connects_total", bus="rs485") == 1
    assert polls[0][0] == HEAT_PUMP_UNIT, "what stops when it is not polled goes first"
    assert of(METER_UNIT, polls)[0].identity["serial_number"] == house.state().meter.serial_number


def test_while_the_gateway_refuses_connections_every_device_goes_offline_and_comes_back():
    """The heat pump tries to connect every second; the meter beside it stayed online for ever."""
    said: dict[int, list[bool]] = {METER_UNIT: [], HEAT_PUMP_UNIT: []}
    trackers: dict[int, Tracker] = {}

    def take(one: Device, poll: Poll) -> bool:
        unit = one.unit or 0
        folded = fold_poll(one, trackers.setdefault(unit, new_tracker(one, poll.due)), poll)
        trackers[unit] = folded.tracker
        if folded.online is not None and said[unit][-1:] != [folded.online]:
            said[unit].append(folded.online)
        return False

    house = LiveHouse(start_s=WINTER_S, monotonic=time.monotonic)
    with house_gateway(house, baud=9600) as gateway, worker(gateway.address, "socket", take):
        wait_until(lambda: said == {2: [True], 7: [True]}, within_s=10, what="both devices")
        gateway.stop()
        wait_until(lambda: said == {2: [True, False], 7: [True, False]}, within_s=10, what="both to be lost")
        with house_gateway(house, port=gateway.address[1], baud=9600):
            wait_until(
                lambda: said == {2: [True, False, True], 7: [True, False, True]},
                within_s=10,
                what="both to be back",
            )


@pytest.mark.parametrize(("framing", "name"), [("socket", "tcp"), ("rtu", "rtu")])
def test_whatever_the_gateway_does_no_value_is_taken_that_the_device_did_not_hold(framing, name):
    house = LiveHouse(start_s=WINTER_S, monotonic=time.monotonic)
    with house_gateway(house, framing=name, baud=9600, seed=7) as gateway:
        # Without transaction numbers there is nothing wrong with an answer to "another" request of this length.
        for fault in FAULTS if name == "tcp" else FAULTS[:-1]:
            gateway.faults.at_random(fault, 0.04)
        polls, _ = run_worker(
            gateway,
            framing,
            lambda polls: (
                sum(len(poll.reads) for _, poll in polls) > 10
                and sum(exchange.fault is not None for exchange in gateway.exchanges) > 10
            ),
        )
    reads = [(unit, read) for unit, poll in polls for read in poll.reads]
    assert all(was_sent(gateway, unit, read) for unit, read in reads)
