"""A rule in a real poller on a real broker: what others publish is in the journal, at its own time or not at all."""

import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from poller.config import read_config
from poller.run import Poller
from tests.conftest import Server, needs, wait_until
from tests.poller.test_listening import House

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


class World(House):
    """A broker, somebody who publishes, and a poller that comes and goes."""

    def __init__(self, folder: Path, broker: Server) -> None:
        config = folder / "config.toml"
        config.write_text(CONFIG.format(port=broker.port))
        super().__init__(read_config(config, {}))

    def start(self) -> Poller:
        poller = super().start()
        wait_until(lambda: poller._listener._is_live, within_s=20, what="it hears what is published now")
        return poller

    def publish_raw(self, topic: str, payload: str) -> None:
        """What json.dumps would not make."""
        where = ["-p", str(self._settings.mqtt.port), "-q", "1", "-t", topic, "-m", payload]
        subprocess.run([needs("mosquitto_pub"), *where], check=True, timeout=20)

    def wait_for(self, metric: str, **labels: str) -> None:
        poller = self.poller
        assert poller is not None
        wait_until(lambda: poller.tally.value(metric, **labels) >= 1, within_s=20, what=f"{metric} {labels}")


@pytest.fixture
def world(tmp_path: Path, mosquitto: Server) -> Iterator[World]:
    world = World(tmp_path, mosquitto)
    yield world
    world.stop()


def climate(seen_s: int, celsius: float) -> dict[str, object]:
    seen = datetime.fromtimestamp(seen_s, UTC).isoformat()
    return {"temperature": celsius, "humidity": 55, "last_seen": seen}


@pytest.mark.mosquitto
def test_what_others_publish_is_journaled_at_its_time_also_when_the_poller_was_away(world: World):
    now_s = int(time.time())
    world.start()
    world.publish("zigbee2mqtt/hall", climate(now_s - 50, 20.0), retain=True)
    world.wait_for("poller_states_journaled_total", device="hall")
    world.stop()
    world.publish("zigbee2mqtt/hall", *(climate(now_s - 40 + number, 21.0 + number) for number in range(5)))
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
    world.publish("esp/sensor/temperature/state", 20.5, retain=True)
    world.start()
    world.wait_for("poller_source_ageless_total", device="esp")
    world.publish("esp/sensor/temperature/state", 21.5)
    world.wait_for("poller_states_journaled_total", device="esp")
    world.stop()
    world.publish("esp/sensor/temperature/state", 22.5)
    world.start()
    world.wait_for("poller_source_ageless_total", device="esp")
    world.publish("esp/sensor/temperature/state", 23.5)
    wait_until(lambda: len(world.states("esp")) >= 2, within_s=20, what="the second live one")
    assert [one.values["temperature_celsius"] for one in world.states("esp")] == [21.5, 23.5]


@pytest.mark.mosquitto
def test_a_bad_message_is_counted_by_rule_and_reason_and_harms_nothing(world: World):
    poller = world.start()
    world.publish_raw("zigbee2mqtt/hall", "{")
    world.publish("zigbee2mqtt/hall", {"temperature": 21, "last_seen": "yesterday"})
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
