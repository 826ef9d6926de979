"""The poller's bus thread, transport and filters, reading the simulated house on a clock of its own."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Literal

from poller.address import NetworkAddress
from poller.assemble import fold_poll, new_tracker
from poller.blocks import Poll
from poller.bus import ModbusTransport
from poller.config import BusSettings
from poller.device import Device
from poller.loop import BusWorker
from poller.profile import load_profile
from poller.transport import Transport
from readings.health import POLLER_HEALTH, Tally
from readings.reading import DeviceKey
from simulator.bus import Bus, Exchange
from simulator.devices import meter_values
from simulator.faults import FaultKind
from simulator.house_bus import HEAT_PUMP_UNIT, METER_UNIT, LiveHouse
from simulator.wire import RtuFraming, TcpFraming
from tests.integration.line_in_memory import Clock, LineInMemory
from tests.integration.trouble import IndependentFaults
from tests.integration.truth import Judge, NaiveReader, Witness

WINTER_S = 1_768_449_600.0
"""2026-01-15: around 0 °C outside, so that zeros are everyday values."""

BAUD = 9600
TURNAROUND_S = 0.03
FRAMINGS = {"socket": TcpFraming, "rtu": RtuFraming}
Framing = Literal["socket", "rtu"]


def device(profile_name: str, unit: int, *, name: str = "", has_all: bool = False, **keys: float) -> Device:
    profile = load_profile(profile_name)
    if "timeout_s" in keys:
        profile = replace(profile, timeout_s=keys["timeout_s"])
    fields = profile.choose(tuple(profile.fields) if has_all else ())
    interval_s = keys.get("interval_s", profile.interval_s)
    return Device(
        DeviceKey(profile.kind, name or profile.kind.value), "", profile, fields, interval_s, "rs485", unit
    )


class Reader:
    """The poller's bus thread and filters, between a witness and a judge."""

    def __init__(self, devices: list[Device], witness: Witness, monotonic: Callable[[], float]) -> None:
        self.tally = Tally(POLLER_HEALTH)
        self.judge = Judge(witness)
        self._devices = devices
        self._witness = witness
        self._monotonic = monotonic
        self._trackers = {one.key: new_tracker(one, monotonic()) for one in devices}

    def run(self, settings: BusSettings, wait: Callable[[float], bool]) -> None:
        BusWorker(
            settings,
            self._devices,
            transport=self._witness,
            monotonic=self._monotonic,
            wait=wait,
            on_poll=self._take,
            tally=self.tally,
        ).run()

    def _take(self, one: Device, poll: Poll) -> bool:
        folded = fold_poll(one, self._trackers[one.key], poll)
        self._trackers[one.key] = folded.tracker
        self.judge.see(one, poll, folded.snapshot)
        return folded.wants_identity


class World:
    """The house on a line in memory, and the poller that reads it."""

    def __init__(self, framing: Framing, *, seed: int, has_all: bool = False) -> None:
        chance = Random(seed)
        is_rtu = framing == "rtu"
        self.clock = Clock()
        self.house = LiveHouse(start_s=WINTER_S, monotonic=lambda: self.clock.asked_at, seed=seed)
        self.bus = Bus(
            {
                METER_UNIT: self.house.meter(turnaround_s=TURNAROUND_S),
                HEAT_PUMP_UNIT: self.house.heat_pump(turnaround_s=TURNAROUND_S),
            },
            FRAMINGS[framing](),
            baud=BAUD,
            silence_s=0.05,
        )
        self.devices = [
            device("wago-879", METER_UNIT, has_all=has_all),
            device("lg-r290", HEAT_PUMP_UNIT, has_all=has_all),
        ]
        self.faults = IndependentFaults(chance.random)
        self.naive = NaiveReader(self.devices, is_rtu=is_rtu)
        self.faulty: Counter[FaultKind] = Counter()
        self.line = LineInMemory(self.bus, self.faults, self.clock, chance, self._watch)
        self.settings = BusSettings("rs485", NetworkAddress("127.0.0.1", 502, framing), BAUD, TURNAROUND_S)
        self.witness = Witness(
            self._transport(),
            monotonic=lambda: self.clock.now,
            exchanges=lambda: self.line.exchanges,
            settle=self.faults.settle,
            is_rtu=is_rtu,
        )
        self.reader = Reader(self.devices, self.witness, lambda: self.clock.now)
        self.events: list[tuple[float, Callable[[], None]]] = []
        self._replaced: Counter[str] = Counter()

    def at(self, seconds: float, event: Callable[[], None]) -> None:
        """Let something happen so long after the start."""
        self.events.append((self.clock.now + seconds, event))
        self.events.sort(key=lambda one: one[0])

    def replace_meter(self, serial_number: str, count_kwh: float) -> None:
        before = meter_values(self.house.state())
        self.house.replace_meter(serial_number, count_kwh)
        after = meter_values(self.house.state())
        for name in before:
            if name.startswith(("energy", "reactive_energy")):
                self._replaced[name] += before[name] - after[name]
        self.reader.judge.added.append((self.clock.now, dict(self._replaced)))

    def run(self, is_over: Callable[[], bool]) -> None:
        def wait(seconds: float) -> bool:
            self.clock.now += seconds
            while self.events and self.events[0][0] <= self.clock.now:
                self.events.pop(0)[1]()
            return is_over()

        self.reader.run(self.settings, wait)

    def _watch(self, exchange: Exchange) -> None:
        self.naive.see(exchange)
        if exchange.fault is not None:
            self.faulty[exchange.fault.kind] += 1

    def _transport(self) -> Transport:
        transport = ModbusTransport(
            self.settings, tally=Tally(POLLER_HEALTH), monotonic=lambda: self.clock.now
        )
        transport._exchange._line = self.line  # in the place of the socket
        return transport
