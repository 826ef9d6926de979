"""A bus on which everything goes wrong, and nothing published that a device did not hold.

The poller's own thread, transport and filters read the simulated house: in
memory on a clock of its own, and over sockets. Every value that a state calls
fresh is compared with what the simulated device held at that exchange. Beside
it a naive reader takes the same answers as they come; it publishes hundreds of
wrong values, which is how we know that the faults bite.
"""

import time
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from random import Random

import pytest

from poller.address import NetworkAddress
from poller.bus import ModbusTransport
from poller.config import BusSettings
from readings.health import POLLER_HEALTH, Tally
from simulator.bus import Bus
from simulator.faults import GARBAGE_KINDS, Fault, FaultKind
from simulator.gateway import Gateway
from simulator.house_bus import HEAT_PUMP_UNIT, METER_UNIT, LiveHouse
from tests.integration.trouble import IndependentFaults, mix_all
from tests.integration.truth import Judge, NaiveReader, Witness
from tests.integration.world import BAUD, FRAMINGS, TURNAROUND_S, WINTER_S, Framing, Reader, World, device

both_framings = pytest.mark.parametrize("framing", FRAMINGS)


def read_with_all_faults(framing: Framing, reads: int, *, seed: int, has_all: bool = False) -> World:
    """Each kind of fault in 1 % of the requests, a device gone now and then, two new meters."""
    world = World(framing, seed=seed, has_all=has_all)
    mix_all(world.faults, world.devices, probability=0.01, late_s=(0.5, 1.2, 1.9, 2.5))
    hours = reads / 2000  # 4 requests each 10 s, 2 each 30 s, and what is asked again
    for start_s in range(0, int(hours * 3600), 3000):
        for unit, gone_s, back_s in ((METER_UNIT, 300, 600), (HEAT_PUMP_UNIT, 1200, 1380)):
            world.at(start_s + gone_s, lambda unit=unit: world.bus.unplug(unit))
            world.at(start_s + back_s, lambda unit=unit: world.bus.plug_in(unit))
        for refused_s in (900, 1700, 2500):
            world.at(start_s + refused_s, lambda: world.line.refuse(5))
    world.at(hours / 3 * 3600, lambda: world.replace_meter("30000001", 0.0))
    world.at(hours * 2 / 3 * 3600, lambda: world.replace_meter("30000002", 7000.0))
    world.run(lambda: world.witness.requests >= reads)
    return world


def show(faulty: Mapping[FaultKind, int], naive: Mapping[FaultKind, int], judge: Judge) -> None:
    """Visible with `pytest -rP`."""
    print("fault              requests  wrong values of the naive reader")
    for kind in FaultKind:
        print(f"{kind:18} {faulty.get(kind, 0):8}  {naive.get(kind, 0):8}")
    print(f"fresh values: {sum(judge.fresh.values())}, wrong: {len(judge.wrong)}, echoes: {judge.echoes}")


def hold_against_the_truth(world: World, framing: Framing, reads: int) -> None:
    judge = world.reader.judge
    show(world.faulty, world.naive.wrong, judge)
    assert judge.wrong == []
    assert len(judge.echoes) <= max(1, reads / 10_000)
    missing = {kind for kind in FaultKind if not world.faulty[kind]}
    assert missing <= {FaultKind.WRONG_TRANSACTION} if framing == "rtu" else not missing
    bites = GARBAGE_KINDS | ({FaultKind.LATE} if framing == "rtu" else set())
    assert {kind for kind in FaultKind if world.naive.wrong[kind]} >= bites, "the stream bites"


@both_framings
def test_in_20_000_reads_with_all_faults_no_value_is_wrong(framing):
    world = read_with_all_faults(framing, 20_000, seed=1)
    hold_against_the_truth(world, framing, 20_000)
    judge = world.reader.judge
    for one in world.devices:
        for name in one.fields:
            assert judge.fresh[one.key.name, name] > 0.75 * judge.states[one.key.name], (
                f"{name} is published all the same"
            )
    for (_, name), count in judge.energy.items():
        assert count.meters == 2
        assert 0 < count.lost < 1, f"{name}: two replacements cost what no register showed, in kWh"


@pytest.mark.long
@pytest.mark.timeout(600)
@both_framings
@pytest.mark.parametrize("has_all", [False, True], ids=["default fields", "every field"])
@pytest.mark.parametrize("seed", [2, 3])
def test_in_100_000_reads_with_all_faults_no_value_is_wrong(framing, has_all, seed):
    world = read_with_all_faults(framing, 100_000, seed=seed, has_all=has_all)
    hold_against_the_truth(world, framing, 100_000)


@pytest.mark.parametrize("kind", sorted(GARBAGE_KINDS - {FaultKind.SHIFTED}))
def test_garbage_for_minutes(kind):
    """Whole answers of what every reading shows to be garbage are never believed, however often they come.

    A block that stays shifted is left out: the heat pump's setpoints, shifted,
    are setpoints.
    """
    world = World("rtu", seed=4)
    world.faults.take = super(IndependentFaults, world.faults).take
    world.at(600, lambda: world.faults.next(Fault(kind), times=None))
    world.at(1800, world.faults.clear)
    world.run(lambda: world.clock.now >= 3600)
    judge = world.reader.judge
    assert judge.wrong == judge.echoes == []
    assert world.naive.wrong[kind] > 1000
    assert judge.fresh["meter", "power_total_kw"] > 40
    assert judge.fresh["meter", "energy_total_kwh"] > 40
    assert judge.fresh["heatpump", "flow_temperature_celsius"] > 120


def read_over_sockets(framing: Framing, reads: int, seed: int) -> None:
    """The same over a real gateway's sockets, with late answers beyond the timeout, and beyond the wait for them."""
    timeout_s = 0.04
    # 8 times as fast as real the house moves between two reads, and its meter follows less than 45 kW.
    house = LiveHouse(start_s=WINTER_S, monotonic=time.monotonic, speed=8, seed=seed)
    devices = [
        device("wago-879", METER_UNIT, interval_s=0.01, timeout_s=timeout_s),
        device("lg-r290", HEAT_PUMP_UNIT, interval_s=0.3, timeout_s=timeout_s),
    ]
    bus = Bus({METER_UNIT: house.meter(), HEAT_PUMP_UNIT: house.heat_pump()}, FRAMINGS[framing]())
    faults = IndependentFaults(Random(seed).random)
    late_s = (1.4 * timeout_s, 2.4 * timeout_s)
    mix_all(faults, devices, probability=0.01, late_s=late_s)
    for delay_s in late_s:
        faults.at_random(Fault(FaultKind.LATE, delay_s=delay_s), 0.01)
    gateway = Gateway(bus)
    gateway.faults = faults
    is_rtu = framing == "rtu"
    events = [
        (reads * 0.2, lambda: bus.unplug(METER_UNIT)),
        (reads * 0.22, lambda: bus.plug_in(METER_UNIT)),
        (reads * 0.4, lambda: (gateway.refuse(0.3), gateway.close_connections())),
        (reads * 0.6, lambda: bus.unplug(HEAT_PUMP_UNIT)),
        (reads * 0.62, lambda: bus.plug_in(HEAT_PUMP_UNIT)),
        (reads * 0.8, lambda: (gateway.refuse(0.3), gateway.close_connections())),
    ]
    with gateway:
        settings = BusSettings("rs485", NetworkAddress(*gateway.address, framing), 0, 0.0)
        tally = Tally(POLLER_HEALTH)
        witness = Witness(
            ModbusTransport(settings, tally=tally),
            monotonic=time.monotonic,
            exchanges=lambda: gateway.exchanges,
            settle=faults.settle,
            is_rtu=is_rtu,
        )
        reader = Reader(devices, witness, time.monotonic)

        def wait(seconds: float) -> bool:
            while events and events[0][0] <= witness.requests:
                events.pop(0)[1]()
            time.sleep(seconds)
            return witness.requests >= reads

        reader.run(settings, wait)
    naive = NaiveReader(devices, is_rtu=is_rtu)
    for exchange in gateway.exchanges:
        naive.see(exchange)
    judge = reader.judge
    show(Counter(one.fault.kind for one in gateway.exchanges if one.fault), naive.wrong, judge)
    assert judge.wrong == []
    assert len(judge.echoes) <= max(1, reads / 1000)
    assert naive.wrong.total() > reads / 50, "the stream bites"
    if is_rtu and reads > 1000:
        assert naive.wrong[FaultKind.LATE]
    assert all(judge.fresh[one.key.name, name] for one in devices for name in one.fields)


@both_framings
def test_over_sockets_no_value_is_wrong(framing):
    read_over_sockets(framing, 300, seed=1)


@pytest.mark.long
@pytest.mark.timeout(600)
@both_framings
def test_in_2000_reads_over_sockets_no_value_is_wrong(framing):
    read_over_sockets(framing, 2000, seed=2)


@both_framings
@pytest.mark.parametrize("seed", range(3))
def test_in_an_hour_of_trouble_the_heat_pump_is_asked_in_time(framing, seed):
    """A dead, a late and a garbling meter, and a gateway that refuses sockets for 5 s every 90 s."""
    world = World(framing, seed=seed)
    meters = {"dead": 3, "late": 4, "garbling": 5}
    world.bus = world.line.bus = Bus(
        {
            HEAT_PUMP_UNIT: world.house.heat_pump(turnaround_s=TURNAROUND_S),
            **dict.fromkeys((METER_UNIT, *meters.values()), world.house.meter(turnaround_s=TURNAROUND_S)),
        },
        FRAMINGS[framing](),
        baud=BAUD,
        silence_s=1.0,
    )
    world.devices += [device("wago-879", unit, name=name, interval_s=10) for name, unit in meters.items()]
    world.bus.unplug(meters["dead"])
    for delay_s, probability in ((2.5, 0.3), (1.5, 0.5), (0.7, 1.0)):
        late = Fault(FaultKind.LATE, delay_s=delay_s)
        world.faults.at_random(late, probability, unit=meters["late"])
    for kind in (FaultKind.GARBLED, FaultKind.TRUNCATED, FaultKind.CLOSED):
        world.faults.at_random(Fault(kind), 0.4, unit=meters["garbling"])
    for start_s in range(60, 3600, 90):
        world.at(start_s, lambda: world.line.refuse(5))
    world.reader = Reader(world.devices, world.witness, lambda: world.clock.now)
    world.run(lambda: world.clock.now >= 4600)
    answered = world.witness.answered_at[HEAT_PUMP_UNIT]
    assert max(later - earlier for earlier, later in pairwise([1000.0, *answered, 4600.0])) < 20
    assert world.reader.judge.wrong == []
    assert len(world.witness.answered_at[METER_UNIT]) > 100, "and the good meter is read"
