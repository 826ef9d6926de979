"""What a source reports by itself takes the same way as polls do."""

import queue
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from poller.assemble import Report, Stamped
from poller.clock import MachineClock
from poller.config import PollerSettings
from poller.device import Device
from poller.journal import Journal
from poller.profile import load_profile
from poller.run import Poller
from poller.walltime import ClockReading
from readings.errors import SettingsError
from readings.reading import DeviceKey, DeviceState, Kind
from readings.settings import MqttSettings
from tests.conftest import free_port, wait_until

PROFILE = load_profile("shelly-blu-ht")
HALL = Device(DeviceKey(Kind.SENSOR, "hall"), "Hall", PROFILE, PROFILE.fields, interval_s=450)


def report(celsius: float) -> Report:
    return Report({"temperature_celsius": celsius})


@dataclass
class Sampled:
    """Reports what a function gives, fifty times a second; a device that is not in it is silent."""

    devices: Sequence[Device]
    sample: Callable[[], Mapping[DeviceKey, Report]] = dict

    def run(self, emit: Callable[[Device, Report], None], wait: Callable[[float], bool]) -> None:
        while not wait(0.02):
            reports = self.sample()
            for device in self.devices:
                if device.key in reports:
                    emit(device, reports[device.key])


@pytest.fixture
def settings(tmp_path: Path) -> PollerSettings:
    return PollerSettings(
        mqtt=MqttSettings(host="127.0.0.1", port=free_port()),
        name="house",
        journal=tmp_path / "journal.sqlite",
        journal_age_s=86400,
        journal_bytes=10**8,
        buses=(),
        devices=(),
    )


def journaled(settings: PollerSettings, device: Device) -> list[DeviceState]:
    journal = Journal(settings.journal, stream="reader", boot="reader")
    states = [
        state
        for one in journal.listed(device.key)
        for state in journal.states(device.key, one.stream, one.first, one.last)
    ]
    journal.close()
    return states


@pytest.fixture
def reports() -> queue.SimpleQueue[Report]:
    """What the source says, one report per look; then it is silent."""
    return queue.SimpleQueue()


def run(
    settings: PollerSettings,
    device: Device,
    reports: queue.SimpleQueue[Report],
    *,
    states: int,
    clock: MachineClock | None = None,
) -> Poller:
    """Run a poller with one source until so many states are journaled."""

    def sample() -> dict[DeviceKey, Report]:
        return {} if reports.empty() else {device.key: reports.get()}

    poller = Poller(settings, sources=[Sampled([device], sample)], trust_at_once=True, clock=clock)
    poller.start()
    wait_until(lambda: poller.tally.value("poller_states_journaled_total", device=device.key.name) >= states)
    poller.stop()
    return poller


def test_a_report_becomes_a_state_in_the_journal(settings, reports):
    reports.put(report(20.5))
    run(settings, HALL, reports, states=1)
    (state,) = journaled(settings, HALL)
    assert state.fresh == {"temperature_celsius": 20.5}
    assert state.values.keys() == PROFILE.fields.keys()


class LaterClock(MachineClock):
    """This machine's clocks, but the one that counts from the boot is 1000 s later."""

    def read(self) -> ClockReading:
        reading = super().read()
        return replace(reading, monotonic=reading.monotonic + 1000)


def test_the_time_of_arrival_is_that_of_the_poller_s_clock(settings, reports):
    reports.put(report(20.5))
    run(settings, HALL, reports, states=1, clock=LaterClock())
    (state,) = journaled(settings, HALL)
    assert abs(time.time() - state.time_ms / 1000) < 120


def test_what_a_report_does_not_bring_is_held(settings, reports):
    reports.put(report(20.5))
    reports.put(Report({"humidity_percent": 40}))
    run(settings, HALL, reports, states=2)
    last = journaled(settings, HALL)[-1]
    assert last.fresh == {"humidity_percent": 40}
    assert last.held == {"temperature_celsius"}


def test_a_source_that_falls_silent_is_lost_after_two_intervals(settings, reports):
    brief = Device(HALL.key, "Hall", PROFILE, PROFILE.fields, interval_s=0.5)
    reports.put(report(20.5))
    poller = run(settings, brief, reports, states=2)
    first, last = journaled(settings, brief)
    assert not first.is_lost
    assert last.is_lost
    assert 1000 <= last.time_ms - first.time_ms < 4000
    assert poller.tally.value("poller_device_up", device="hall") == 0


def test_an_impossible_time_of_a_source_is_replaced_and_counted(settings, reports):
    reports.put(Report({"temperature_celsius": Stamped(20.5, 1000)}))
    poller = run(settings, HALL, reports, states=1)
    assert poller.tally.value("poller_source_time_replaced_total", device="hall") == 1
    assert journaled(settings, HALL)[0].time_ms > 1000


def test_two_sources_of_one_series_are_refused(settings):
    sources = [Sampled([HALL]), Sampled([HALL])]
    with pytest.raises(SettingsError, match="sensor/hall"):
        Poller(settings, sources=sources)
