"""A rule in a real poller on a real broker: what others publish is in the journal, at its own time or not at all."""

import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from poller.config import PollerSettings, read_config
from poller.journal import Journal
from poller.run import Poller
from readings.reading import DeviceKey, DeviceState, Kind
from tests.conftest import Server, needs, wait_until

CONFIG = """
[mqtt]
host = "127.0.0.1"
port = {port}
[[rule]]
name = "dated"
kind = "sensor"
topic = "zigbee2mqtt/{{device}}"
time = "last_seen"
[rule.fields]
temperature_celsius = "temperature"
humidity_percent = "humidity"
[[rule]]
name = "undated"
kind = "sensor"
payload = "text"
[rule.fields]
temperature_celsius = {{ topic = "{{device}}/sensor/temperature/state" }}
"""


class World:
    """A broker, somebody who publishes, and a poller that comes and goes."""

    def __init__(self, folder: Path, broker: Server) -> None:
        self.port = broker.port
        config = folder / "config.toml"
        config.write_text(CONFIG.format(port=broker.port))
        self.settings: PollerSettings = read_config(config, {})
        self.poller: Poller | None = None

    def start(self) -> Poller:
        self.poller = Poller(self.settings, trust_at_once=True, on_hang=pytest.fail)
        self.poller.start()
        listener = self.poller._listener
        wait_until(lambda: listener._is_live, within_s=20, what="the poller hears what is published now")
        return self.poller

    def stop(self) -> None:
        if self.poller is not None:
            self.poller.stop()
            self.poller = None

    def publish(self, topic: str, payload: str, *options: str) -> None:
        program = needs("mosquitto_pub")
        command = [program, "-p", str(self.port), "-q", "1", "-t", topic, "-m", payload, *options]
        subprocess.run(command, check=True, timeout=20)

    def states(self, name: str) -> list[DeviceState]:
        journal = Journal(self.settings.journal, stream="reader", boot="reader")
        key = DeviceKey(Kind.SENSOR, name)
        found = [
            state
            for one in journal.listed(key)
            for state in journal.states(key, one.stream, one.first, one.last)
        ]
        journal.close()
        return found

    def wait_for(self, metric: str, **labels: str) -> None:
        poller = self.poller
        assert poller is not None
        wait_until(lambda: poller.tally.value(metric, **labels) >= 1, within_s=20, what=f"{metric} {labels}")


@pytest.fixture
def world(tmp_path: Path, mosquitto: Server) -> Iterator[World]:
    world = World(tmp_path, mosquitto)
    yield world
    world.stop()


def climate(seen_s: int, celsius: float) -> str:
    seen = datetime.fromtimestamp(seen_s, UTC).isoformat()
    return f'{{"temperature":{celsius},"humidity":55,"last_seen":"{seen}"}}'


@pytest.mark.mosquitto
def test_what_others_publish_is_journaled_at_its_time_also_when_the_poller_was_away(world: World):
    now_s = int(time.time())
    world.start()
    world.publish("zigbee2mqtt/hall", climate(now_s - 50, 20.0), "-r")
    world.wait_for("poller_states_journaled_total", device="hall")
    world.stop()
    for number in range(5):
        world.publish("zigbee2mqtt/hall", climate(now_s - 40 + number, 21.0 + number))
    world.start()
    world.wait_for("poller_device_up", device="hall")
    wait_until(lambda: len(world.states("hall")) >= 6, within_s=20, what="what came while it was away")
    assert [
        (one.time_ms, one.values["temperature_celsius"]) for one in world.states("hall") if not one.is_lost
    ] == [
        ((now_s - 50) * 1000, 20.0),
        *(((now_s - 40 + number) * 1000, 21.0 + number) for number in range(5)),
    ], "each once: the retained message came again and is older than what is known"


@pytest.mark.mosquitto
def test_what_says_no_time_counts_only_when_it_comes_live(world: World):
    """Nobody knows how old a retained number is, nor one that waited at the broker."""
    world.publish("esp/sensor/temperature/state", "20.5", "-r")
    world.start()
    world.wait_for("poller_source_ageless_total", device="esp")
    world.publish("esp/sensor/temperature/state", "21.5")
    world.wait_for("poller_states_journaled_total", device="esp")
    world.stop()
    world.publish("esp/sensor/temperature/state", "22.5")
    world.start()
    world.wait_for("poller_source_ageless_total", device="esp")
    world.publish("esp/sensor/temperature/state", "23.5")
    wait_until(lambda: len(world.states("esp")) >= 2, within_s=20, what="the second live one")
    assert [one.values["temperature_celsius"] for one in world.states("esp")] == [21.5, 23.5]


@pytest.mark.mosquitto
def test_a_bad_message_is_counted_by_rule_and_reason_and_harms_nothing(world: World):
    poller = world.start()
    world.publish("zigbee2mqtt/hall", "{")
    world.publish("zigbee2mqtt/hall", '{"temperature":21,"last_seen":"yesterday"}')
    world.publish("zigbee2mqtt/hall", climate(int(time.time()), 500.0))
    world.publish("zigbee2mqtt/hall", climate(int(time.time()) + 1, 20.0))
    world.wait_for("poller_device_up", device="hall")
    for reason in ("not_json", "time"):
        assert poller.tally.value("poller_messages_refused_total", source="rule dated", reason=reason) == 1
    assert (
        poller.tally.value(
            "poller_readings_rejected_total", device="hall", field="temperature_celsius", reason="range"
        )
        == 1
    )
    wait_until(lambda: [one.fresh.get("temperature_celsius") for one in world.states("hall")][-1:] == [20.0])
