"""Scanning real sockets: who answers, what it is, and what is found when it is interrupted."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count, groupby

import pytest

from poller.address import NetworkAddress
from poller.bus import ModbusTransport
from poller.commissioning.ask import Asker, LostBusError
from poller.commissioning.scan import Scan, units_in
from poller.config import BusSettings
from poller.profile import load_profile, profile_names
from readings.health import POLLER_HEALTH, Tally
from simulator.bus import Bus, Device
from simulator.devices import meter_values
from simulator.faults import Fault, FaultKind
from simulator.gateway import Gateway
from simulator.house_bus import HEAT_PUMP_UNIT, METER_UNIT, LiveHouse, house_bus
from simulator.registers import points_of
from simulator.wire import TcpFraming

PROFILES = [load_profile(name) for name in ("wago-879", "lg-r290")]
MODBUS = [one for one in map(load_profile, profile_names()) if one.transport == "modbus"]
PROBE_S = 0.5
"""Nobody waits so long where the gateway says at once that it reached nobody."""


@pytest.fixture
def house() -> LiveHouse:
    return LiveHouse(start_s=1_768_449_600.0, monotonic=time.monotonic)


@pytest.fixture(params=["tcp", "rtu"])
def gateway(request: pytest.FixtureRequest, house: LiveHouse) -> Iterator[Gateway]:
    bus = house_bus(house, framing=request.param, baud=0, turnaround_s=0)
    bus._reports_silence = True
    with Gateway(bus) as one:
        yield one


@pytest.fixture
def opened() -> Iterator[list[ModbusTransport]]:
    transports: list[ModbusTransport] = []
    yield transports
    for one in transports:
        one.close()


@pytest.fixture
def scan_of(opened: list[ModbusTransport]) -> Callable[..., Scan]:
    return partial(make_scan, opened)


def make_scan(
    opened: list[ModbusTransport],
    gateway: Gateway,
    *,
    rest: Callable[[float], object] = lambda _: None,
    on_step: Callable[[int, int, str], None] = lambda *_: None,
    monotonic: Callable[[], float] = time.monotonic,
    probe_s: float = PROBE_S,
) -> Scan:
    is_rtu = gateway.bus.framing.has_checksum
    address = NetworkAddress(*gateway.address, "rtu" if is_rtu else "socket")
    transport = ModbusTransport(BusSettings("rs485", address, 9600, 0.03), tally=Tally(POLLER_HEALTH))
    opened.append(transport)
    return Scan(
        Asker(transport, rest=rest, monotonic=monotonic),
        PROFILES,
        is_rtu=is_rtu,
        probe_s=probe_s,
        on_step=on_step,
    )


def test_every_unit_of_the_house_is_found_and_known(gateway, scan_of):
    scan = scan_of(gateway)
    scan.run(range(1, 13))
    assert [(one.unit, one.fits[0].profile.name) for one in scan.found] == [(2, "wago-879"), (7, "lg-r290")]
    assert all(one.fits[0].is_sure and len(one.fits) == 1 for one in scan.found)
    assert sorted(scan.asked) == list(range(1, 13))


def test_the_likely_units_are_asked_first(gateway, scan_of):
    scan = scan_of(gateway)
    scan.run((5, 200, 33, 1))
    assert scan.asked == [1, 5, 33, 200]


def test_a_device_that_no_profile_fits_is_found_all_the_same(scan_of):
    with Gateway(Bus({4: Device((), dict)}, TcpFraming())) as gateway:
        scan = scan_of(gateway)
        scan.run((3, 4))
    assert [(one.unit, one.fits) for one in scan.found] == [(4, ())]


def test_a_device_that_answers_as_every_unit_is_one_device(house, scan_of):
    with Gateway(Bus(dict.fromkeys(range(1, 248), house.meter()), TcpFraming())) as gateway:
        scan = scan_of(gateway)
        scan.run(range(1, 248))
    assert scan.is_any_unit
    assert [one.unit for one in scan.found] == [1]


def test_a_device_that_lacks_some_addresses_fits_without_them(house, scan_of):
    """A single-phase meter: the rest of its registers is the same."""
    lacking = {"power_L2_kw", "power_L3_kw", "energy_L2_kwh", "energy_L3_kwh", "voltage_L2_v", "voltage_L3_v"}
    points = [one for one in points_of(load_profile("wago-879")) if one.name not in lacking]
    single = Device(points, lambda: meter_values(house.state()), strict=True)
    with Gateway(Bus({2: single}, TcpFraming())) as gateway:
        scan = scan_of(gateway)
        scan.run((2,))
    (fit,) = scan.found[0].fits
    assert fit.is_sure
    assert set(fit.missing) == lacking - {"voltage_L2_v", "voltage_L3_v"}


def test_a_gateway_that_answers_late_makes_the_scan_patient(house, scan_of):
    """It waits for each silent unit longer than the scan does: the answers pile up."""
    bus = house_bus(house, framing="tcp", baud=0, turnaround_s=0)
    bus._silence_s = 0.12
    with Gateway(bus) as gateway:
        scan = scan_of(gateway, rest=time.sleep, probe_s=0.05)
        scan.run(range(1, 13))
    assert {one.unit for one in scan.found} == {2, 7}
    assert scan.probe_s > 0.05


@pytest.mark.parametrize("gateway", ["tcp"], indirect=True)
def test_a_heat_pump_that_stops_when_nobody_asks_it_is_asked_all_the_while(gateway, scan_of):
    """The poller is stopped for a scan; an LG waits half a minute at most."""
    seconds = count(0.0, 0.5)
    scan = scan_of(gateway, monotonic=lambda: next(seconds))
    scan.run(range(1, 60))
    asked = [one.unit for one in gateway.exchanges]
    since_found = asked[asked.index(HEAT_PUMP_UNIT) :]
    gaps = [
        len(list(group))
        for unit, group in groupby(since_found, lambda one: one == HEAT_PUMP_UNIT)
        if not unit
    ]
    assert len(gaps) > 5
    assert max(gaps) * 0.5 < 20
    assert [one.unit for one in scan.found] == [METER_UNIT, HEAT_PUMP_UNIT]


@pytest.mark.parametrize("gateway", ["rtu"], indirect=True)
def test_garbled_answers_are_noted(gateway, scan_of):
    gateway.faults.next(Fault(FaultKind.GARBLED), times=2)
    scan = scan_of(gateway)
    scan.run((2,))
    assert (scan.found, set(scan.garbled)) == ([], {2})


def test_what_was_found_is_there_when_it_is_interrupted(gateway, scan_of):
    def interrupt(done: int, of: int, what: str) -> None:
        if what == "unit 5":
            raise KeyboardInterrupt

    scan = scan_of(gateway, on_step=interrupt)
    with pytest.raises(KeyboardInterrupt):
        scan.run(range(1, 13))
    assert [one.unit for one in scan.found] == [2]
    assert scan.asked == [1, 2, 3, 4]


def test_a_gateway_that_has_gone_ends_the_scan(gateway, scan_of):
    scan = scan_of(gateway)
    gateway.stop()
    with pytest.raises(LostBusError, match="nothing listens there"):
        scan.run(range(1, 13))


@pytest.mark.parametrize("text", ["", "0", "1-", "5-1", "248", "a", "1,,2", "-3"])
def test_what_is_no_list_of_units_is_refused(text):
    with pytest.raises(ValueError):  # noqa: PT011  # the command says in words what was expected
        tuple(units_in(text))


def test_every_profile_is_found_by_its_device(house, scan_of):
    """Or another one that has the same registers, just as likely."""
    found = {}
    for profile in MODBUS:
        with Gateway(Bus({2: house.device(profile)}, TcpFraming())) as gateway:
            scan = scan_of(gateway)
            scan.profiles = MODBUS
            scan.run((2,))
        fits = {fit.profile.name: fit.bits for fit in scan.found[0].fits}
        assert fits.get(profile.name) == max(fits.values()), (profile.name, fits)
        found[profile.name] = set(fits) - {profile.name}
    assert found["lg-r290"] == found["janitza-b23"] == found["schneider-iem3000"] == set()
    assert found["wago-879"] == {"inepro-pro380"}, "the same meter under another name"
