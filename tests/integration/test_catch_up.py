"""Nothing is lost, with the real broker and the real Prometheus: each journal row is compared with what was stored."""

import itertools
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from poller.assemble import Report
from poller.clock import MachineClock
from poller.config import PollerSettings
from poller.device import Device
from poller.profile import load_profile
from poller.run import Poller
from poller.walltime import ClockReading
from readings.reading import DeviceKey, Kind
from readings.settings import MqttSettings
from tests.conftest import Server, free_port, wait_until
from tests.integration.prometheus_api import samples

FIELD = "temperature_celsius"
PROFILE = load_profile("shelly-blu-ht")
DEVICES = tuple(
    Device(DeviceKey(Kind.SENSOR, name), name, PROFILE, {FIELD: PROFILE.fields[FIELD]}, 30)
    for name in ("hall", "cellar", "attic", "garage")
)
EVERY_S = 0.2
"""Twenty states a second from four devices."""


class DoubtfulClock(MachineClock):
    """The machine's clocks, of which the kernel says only later that they follow a time server."""

    is_synchronised = False

    def read(self) -> ClockReading:
        reading = super().read()
        return ClockReading(reading.wall_ms, reading.monotonic, self.is_synchronised)


class House:
    """A poller with four sensors that report five times a second, and a bridge that is a process of its own."""

    devices = DEVICES

    def __init__(self, folder: Path, mqtt_port: int, prometheus_port: int) -> None:
        self.prometheus_port = prometheus_port
        self.clock = DoubtfulClock()
        self.journal = folder / "journal.sqlite"
        self.config = folder / "config.toml"
        self.config.write_text(
            f'[mqtt]\nhost = "127.0.0.1"\nport = {mqtt_port}\n'
            f'[bridge]\ndata = "{folder}/bridge"\nlisten = "127.0.0.1:{free_port()}"\n'
            f'[[remote_write]]\nurl = "http://127.0.0.1:{prometheus_port}/api/v1/write"\n'
        )
        self.log = folder / "bridge.log"
        self.numbers = itertools.count()
        self.poller = Poller(
            PollerSettings(
                MqttSettings(host="127.0.0.1", port=mqtt_port),
                "house",
                self.journal,
                7 * 86400,
                10**8,
                (),
                (),
            ),
            sources=[self],
            clock=self.clock,
            on_hang=pytest.fail,
        )
        self.is_polling = True
        self.bridge: subprocess.Popen[bytes] | None = None
        self.start_bridge()
        self.poller.start()

    def run(self, emit: Callable[[Device, Report], None], wait: Callable[[float], bool]) -> None:
        """The poller's source of them."""
        while not wait(EVERY_S):
            for device in DEVICES if self.is_polling else ():
                emit(device, Report({FIELD: 20 + next(self.numbers) % 50 / 10}, None))

    def start_bridge(self) -> None:
        with self.log.open("ab") as log:
            self.bridge = subprocess.Popen(
                [sys.executable, "-m", "bridge", "--config", str(self.config)], stdout=log, stderr=log
            )

    def kill_bridge(self) -> None:
        self.bridge.kill()
        self.bridge.wait(10)

    def journaled(self) -> float:
        tally = self.poller.tally
        return sum(tally.value("poller_states_journaled_total", device=one.key.name) for one in DEVICES)

    def pass_states(self, count: int) -> None:
        goal = self.journaled() + count
        wait_until(lambda: self.journaled() >= goal, within_s=20, what=f"{count} more states")

    def rows(self) -> dict[tuple[str, int | None], float]:
        """What the journal holds: the value by device and time."""
        with sqlite3.connect(self.journal) as connection:
            found = connection.execute(
                "SELECT device.name, time_ms, payload FROM state JOIN device ON device.id = state.device"
            ).fetchall()
        connection.close()
        return {(name, time_ms): msgspec.json.decode(payload)[FIELD] for name, time_ms, payload in found}

    def stored(self) -> dict[tuple[str, int], float]:
        found = samples(self.prometheus_port, f"sensor_{FIELD}")
        return {(device, at): value for (_, device), pairs in found.items() for at, value in pairs}

    def stop(self) -> None:
        self.poller.stop()
        self.bridge.terminate()
        self.bridge.wait(10)


@pytest.fixture
def house(tmp_path: Path, mosquitto: Server, prometheus: Server) -> Iterator[House]:
    house = House(tmp_path, mosquitto.port, prometheus.port)
    yield house
    house.stop()


@pytest.mark.mosquitto
@pytest.mark.prometheus
def test_every_row_of_the_journal_is_in_prometheus_whoever_was_killed(house: House, mosquitto: Server):
    """Half a minute of a bad day: no trusted clock at first, the bridge killed, the broker killed and emptied."""
    house.pass_states(30)
    house.clock.is_synchronised = True
    house.pass_states(30)
    house.kill_bridge()
    house.pass_states(40)
    house.start_bridge()
    house.pass_states(20)
    mosquitto.kill()
    for file in mosquitto.log.parent.glob("*.db"):
        file.unlink()
    house.pass_states(30)
    mosquitto.start()
    house.pass_states(30)
    house.is_polling = False

    def missing() -> set[tuple[str, int | None]]:
        return house.rows().keys() - house.stored().keys()

    wait_until(lambda: not missing(), within_s=40, what="every row in Prometheus")
    rows = house.rows()
    assert len(rows) == house.journaled() >= 180, "no two rows of a device have one time"
    assert house.stored() == rows
    replayed = sum(
        house.poller.tally.value("poller_states_replayed_total", device=one.key.name) for one in DEVICES
    )
    assert replayed > 0
