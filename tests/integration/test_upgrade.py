"""What an older version left on disk is read: journal, store, and what the filters remember.

`tests/data/<version>/` holds both databases as that version wrote them, after nine
seconds with a meter, a heat pump and no receiver. A version that changes a table
adds a folder of its own.
"""

import sqlite3
from pathlib import Path

import msgspec
import pytest

from bridge.config import read_config as read_bridge_config
from bridge.run import Bridge
from heating.simulated import SimulatedHouse
from poller.config import read_config as read_poller_config
from poller.kept import restore as restore_tracker
from poller.run import Poller
from tests.bridge.receiver import Receiver
from tests.conftest import Server, wait_until

EXAMPLE = Path(__file__).parents[2] / "config.example.toml"
LEFT_BEHIND = sorted(Path(__file__).parent.parent.glob("data/[0-9]*"))

CONFIG = """
[mqtt]
host = "127.0.0.1"
port = {mqtt_port}
[poller]
data = "."
[bridge]
data = "."
listen = "127.0.0.1:0"
# The databases grow older with every year in which this test runs.
store_days = 36500
[[bus]]
name = "rs485"
connect = "tcp://127.0.0.1:{gateway_port}"
[[device]]
name = "meter"
bus = "rs485"
profile = "wago-879"
unit = 2
interval = 1
[[device]]
name = "heatpump"
bus = "rs485"
profile = "lg-r290"
unit = 7
interval = 2
[[remote_write]]
url = "{receiver}"
"""


def restore(folder: Path, name: str, to: Path) -> None:
    connection = sqlite3.connect(to / f"{name}.sqlite")
    connection.executescript((folder / f"{name}.sql").read_text())
    connection.close()


def power(journal: Path) -> dict[int, float]:
    """What was measured of the meter's power, by milliseconds."""
    connection = sqlite3.connect(journal)
    rows = connection.execute(
        "SELECT time_ms, payload FROM state JOIN device ON device.id = device WHERE name = 'meter'"
        " AND time_ms IS NOT NULL"
    ).fetchall()
    connection.close()
    return {time_ms: msgspec.json.decode(payload)["power_total_kw"] for time_ms, payload in rows}


@pytest.mark.mosquitto
@pytest.mark.parametrize("left", LEFT_BEHIND, ids=lambda path: path.name)
def test_nothing_of_an_older_version_is_lost(left: Path, tmp_path: Path, mosquitto: Server):
    restore(left, "journal", tmp_path)
    restore(left, "store", tmp_path)
    old = power(tmp_path / "journal.sqlite")
    assert len(old) == 5
    receiver = Receiver()

    def received(metric: str) -> dict[int, float]:
        return {
            time_ms: float.fromhex(value)
            for (labels, time_ms), value in receiver.kept.items()
            if dict(labels)["__name__"] == metric
        }

    with receiver.running(), SimulatedHouse(speed=1, seed=3) as house:
        config = tmp_path / "config.toml"
        config.write_text(
            CONFIG.format(mqtt_port=mosquitto.port, gateway_port=house.port, receiver=receiver.url)
        )
        bridge = Bridge(read_bridge_config(config, {}))
        poller = Poller(read_poller_config(config, {}), trust_at_once=True, on_hang=pytest.fail)
        bridge.start()
        poller.start()
        try:
            wait_until(
                lambda: received("meter_power_total_kw").keys() - old.keys(),
                within_s=40,
                what="new readings arrive",
            )
        finally:
            poller.stop()
            bridge.stop()
    there = received("meter_power_total_kw")
    assert {time_ms: there[time_ms] for time_ms in old} == old
    assert len(receiver.writes) == len(set(receiver.writes))


@pytest.mark.parametrize("left", LEFT_BEHIND, ids=lambda path: path.name)
def test_the_filters_remember_what_an_older_version_knew(left: Path, tmp_path: Path):
    """So an energy count goes on with the first reading, where the very first of all takes three."""
    restore(left, "journal", tmp_path)
    (device,) = [one for one in read_poller_config(EXAMPLE, {}).devices if one.key.name == "meter"]
    connection = sqlite3.connect(tmp_path / "journal.sqlite")
    ((kept,),) = connection.execute("SELECT kept FROM device WHERE name = 'meter'").fetchall()
    connection.close()
    tracker = restore_tracker(device, kept, same_boot=False, now=0.0)
    assert tracker.identity.serial == "21470815"
    assert tracker.counts["energy_total_kwh"].published == 12345.682
    assert tracker.memories["power_total_kw"].accepted == 1.312


def test_there_is_something_to_read():
    assert LEFT_BEHIND
