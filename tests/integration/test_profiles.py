"""Every device model over the wire: a simulated device that fits the profile, polled, and believed."""

from dataclasses import replace

import pytest

from poller.address import Framing, NetworkAddress
from poller.assemble import Snapshot, fold_poll, new_tracker
from poller.blocks import BlockFailure, BlockRead, Poll
from poller.bus import ModbusTransport
from poller.config import BusSettings
from poller.device import Device
from poller.plan import plan_device
from poller.profile import Profile, load_profile, profile_names
from poller.timetable import Job, Timetable
from poller.transport import ReadError
from readings.health import POLLER_HEALTH, Tally
from readings.reading import DeviceKey
from simulator.devices import profile_values
from simulator.gateway import Gateway
from simulator.house_bus import LiveHouse, house_bus
from simulator.registers import RegisterMap, Value
from tests.integration.test_bus_worker import WINTER_S

UNIT = 1
MODBUS = [name for name in profile_names() if load_profile(name).transport == "modbus"]


class Clock:
    """It stands still until it is told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def everything(profile: Profile) -> Device:
    return chosen(profile, tuple(profile.fields))


def chosen(profile: Profile, more: tuple[str, ...] = ()) -> Device:
    fields = profile.choose(more)
    return Device(DeviceKey(profile.kind, "it"), "", profile, fields, profile.interval_s, bus="b", unit=UNIT)


def polled(device: Device, gateway: Gateway, framing: str, clock: Clock, until_s: float) -> list[Poll]:
    """The polls of a device by the timetable, whose pauses cost nothing here."""
    host, port = gateway.address
    kind: Framing = "rtu" if framing == "rtu" else "socket"
    settings = BusSettings("b", NetworkAddress(host, port, kind), 0, 0.0)
    plan = plan_device(device, baud=9600, turnaround_s=0.03, distinct=framing == "rtu")
    timetable = Timetable([plan], clock.now, is_rtu=framing == "rtu")
    transport = ModbusTransport(settings, tally=Tally(POLLER_HEALTH))
    polls = []
    try:
        while clock.now < until_s:
            step = timetable.next(clock.now, is_connected=True)
            if not isinstance(step, Job):
                clock.now = min(step, until_s)
                continue
            try:
                outcome = replace(transport.read(step.block, UNIT, 2.0), read_at=clock.now)
            except ReadError as error:
                outcome = BlockFailure(step.block, error.reason, str(error), clock.now)
            over = timetable.report(step, outcome, clock.now)
            polls += [Poll(one.due, one.ended, one.outcomes) for one in over]
    finally:
        transport.close()
    return polls


def last_state(device: Device, polls: list[Poll]) -> Snapshot:
    tracker = new_tracker(device, 0.0)
    for poll in polls:
        folded = fold_poll(device, tracker, poll)
        tracker = folded.tracker
    assert folded.snapshot is not None
    return folded.snapshot


@pytest.mark.parametrize("framing", ["tcp", "rtu"])
@pytest.mark.parametrize("name", MODBUS)
def test_a_device_that_fits_the_profile_is_read_and_believed(name, framing):
    """All its fields: what the registers hold is what the state says, after the three polls that doubt takes."""
    clock = Clock()
    device = everything(load_profile(name))
    house = LiveHouse(start_s=WINTER_S, monotonic=clock)
    bus = house_bus(house, framing=framing, baud=0, turnaround_s=0, profiles={UNIT: device.profile})
    with Gateway(bus) as gateway:
        polls = polled(device, gateway, framing, clock, 2.5 * device.interval_s)
        truth = {name: value for one in gateway.exchanges for name, value in one.values.items()}
    assert all(isinstance(one, BlockRead) for one in polls[-1].outcomes), polls[-1].outcomes
    said = last_state(device, polls)
    assert said.held == frozenset()
    for field, one in device.fields.items():
        if one.point is None:
            continue
        # A sensor that is not there has no value, and a count of 0 is never believed.
        if truth[field] is None or (one.rules.kind == "energy" and truth[field] == 0):
            assert said.values[field] is None, field
        else:
            assert said.values[field] == pytest.approx(truth[field], rel=1e-6), field


def read(device: Device, holds: dict[str, Value]) -> Snapshot:
    """What three polls make of a device that holds this all the time."""
    points = [one.point for one in device.profile.fields.values() if one.point is not None]
    registers = RegisterMap(points)
    plan = plan_device(device, baud=9600, turnaround_s=0.03, distinct=False)
    polls = []
    for number in range(3):
        due = number * device.interval_s
        words = [registers.read(one.table, one.address, one.count, holds).words for one in plan.blocks]
        reads = (BlockRead(one, held, due + 1) for one, held in zip(plan.blocks, words, strict=True))
        polls.append(Poll(due, due + 1, tuple(reads)))
    return last_state(device, polls)


DEAD_L1: dict[str, Value] = {
    "voltage_L1_v": 0.0, "frequency_hz": 0.0, "power_L1_kw": 0.0, "power_L2_kw": 0.45, "power_L3_kw": 0.45,
    "power_total_kw": 0.9,
}  # fmt: skip
EXCUSED = [
    name for name in MODBUS if any(one.rules.live_when for one in load_profile(name).choose().values())
]


@pytest.mark.parametrize("name", EXCUSED)
def test_with_the_fuse_of_one_phase_gone_the_others_power_and_energy_are_read(name):
    """The voltage that excuses a frequency of 0 is not among the default fields: it is read, and not published."""
    device = chosen(load_profile(name))
    house = LiveHouse(start_s=WINTER_S, monotonic=lambda: 0.0).state()
    holds = {**profile_values(device.profile, house), **DEAD_L1}
    said = read(device, holds)
    assert said.values.keys() == device.fields.keys()
    assert said.values["frequency_hz"] is None
    assert said.values["power_total_kw"] == pytest.approx(0.9)
    counts = [one for one in device.fields if one.startswith("energy_") and holds.get(one)]
    assert counts
    assert {one: said.values[one] for one in counts} == pytest.approx(
        {one: holds[one] for one in counts}, rel=1e-4
    )
    assert not said.held
