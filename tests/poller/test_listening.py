"""What others publish, through the real mosquitto: nothing that it keeps for the poller is lost, nothing old becomes new."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from poller.config import PollerSettings
from poller.journal import Journal
from poller.listening import MOST_MESSAGES, Incoming, Listener
from poller.run import Poller
from readings.payload import decode_info
from readings.reading import DeviceKey, DeviceState, Kind
from readings.settings import MqttSettings
from readings.topics import Topics
from tests.conftest import Server, needs, wait_until
from tests.poller.message_source import Rooms
from tests.poller.test_run import Ear

pytestmark = pytest.mark.mosquitto


@pytest.fixture
def settings(tmp_path: Path, mqtt_settings: MqttSettings) -> PollerSettings:
    return PollerSettings(
        mqtt=mqtt_settings,
        name="house",
        journal=tmp_path / "journal.sqlite",
        journal_age_s=86400,
        journal_bytes=10**8,
        buses=(),
        devices=(),
    )


class House:
    """A poller that can be ended and begun again, and somebody who publishes."""

    def __init__(self, settings: PollerSettings) -> None:
        self._settings = settings
        self.poller: Poller | None = None

    def start(self, *sources: Rooms) -> Poller:
        self.poller = Poller(self._settings, message_sources=sources, trust_at_once=True)
        self.poller.start()
        return self.poller

    def stop(self) -> None:
        if self.poller is not None:
            self.poller.stop()
        self.poller = None

    def publish(self, topic: str, *payloads: object, retain: bool = False) -> None:
        where = ["-p", str(self._settings.mqtt.port), "-t", topic, "-q", "1", *(["-r"] if retain else [])]
        subprocess.run(
            [needs("mosquitto_pub"), *where, "-l"],
            input="\n".join(json.dumps(one) for one in payloads),
            text=True,
            check=True,
            timeout=20,
        )

    def states(self, name: str) -> list[DeviceState]:
        journal = Journal(self._settings.journal, stream="reader", boot="reader")
        key = DeviceKey(Kind.SENSOR, name)
        found = [
            state
            for one in journal.listed(key)
            for state in journal.states(key, one.stream, one.first, one.last)
        ]
        journal.close()
        return found

    def taken(self, source: str = "rooms") -> float:
        assert self.poller is not None
        return self.poller.tally.value("poller_messages_heard_total", source=source, result="taken")


@pytest.fixture
def house(settings: PollerSettings) -> Iterator[House]:
    house = House(settings)
    yield house
    house.stop()


@pytest.fixture
def ear(mosquitto: Server) -> Iterator[Ear]:
    ear = Ear(mosquitto.port)
    yield ear
    ear.close()


def started(house: House) -> Rooms:
    """A poller that hears: it has asked, so its subscriptions are made."""
    rooms = Rooms()
    house.start(rooms)
    wait_until(lambda: rooms.asked)
    return rooms


def test_a_device_that_nobody_knew_appears_with_everything_a_device_has(house, ear):
    started(house)
    house.publish("rooms/hall", {"celsius": 20.5})
    wait_until(lambda: ear.states("hall"))
    assert ear.states("hall")[0].fresh == {"temperature_celsius": 20.5}
    wait_until(lambda: ear.last("sensor/hall/availability") == "online")
    assert decode_info(ear.last("sensor/hall/info").encode()).title == "hall"
    wait_until(lambda: json.loads(ear.last("sensor/hall/journal") or "[]"))


def test_what_is_published_while_the_poller_is_away_arrives_with_its_own_time(house):
    started(house)
    house.publish("rooms/hall", {"celsius": 20.0})
    wait_until(lambda: house.taken() == 1)
    house.stop()
    begin_ms = round(time.time() * 1000) - 500_000
    house.publish(
        "rooms/hall", *({"celsius": 20 + n / 100, "time_ms": begin_ms + 1000 * n} for n in range(300))
    )
    started(house)
    wait_until(lambda: house.taken() == 300)
    wait_until(lambda: len(house.states("hall")) == 301)
    came = [state for state in house.states("hall") if state.time_ms < begin_ms + 400_000]
    assert [state.time_ms for state in came] == [begin_ms + 1000 * n for n in range(300)]
    assert [state.fresh["temperature_celsius"] for state in came] == [20 + n / 100 for n in range(300)]


def test_what_waited_without_a_time_is_not_given_the_time_of_its_arrival(house):
    started(house)
    house.stop()
    house.publish("rooms/hall", {"celsius": 20.0}, {"celsius": 21.0})
    house.publish("rooms/attic", {"celsius": 5.0}, retain=True)
    started(house)
    house.publish("rooms/hall", {"celsius": 22.0})
    wait_until(lambda: house.states("hall"))
    assert [state.fresh for state in house.states("hall")] == [{"temperature_celsius": 22.0}]
    assert house.poller.tally.value("poller_source_ageless_total", device="hall") == 2
    assert house.poller.tally.value("poller_source_ageless_total", device="attic") >= 1
    assert house.states("attic") == []


def test_a_device_is_there_at_once_after_a_restart_and_gone_with_its_source(house, ear):
    started(house)
    house.publish("rooms/hall", {"celsius": 20.5})
    wait_until(lambda: ear.states("hall"))
    house.stop()
    wait_until(lambda: ear.last("sensor/hall/availability") == "offline")
    ear.lines.clear()
    poller = house.start(Rooms())
    wait_until(lambda: ear.last("sensor/hall/journal"))
    house.stop()
    poller = house.start(Rooms(where="cellars"))
    wait_until(lambda: poller._publisher.is_complete)
    assert not poller._publisher.devices
    house.stop()


def test_what_is_not_listened_to_any_more_does_not_pile_up_at_the_broker(house):
    started(house)
    house.stop()
    other = Rooms(where="cellars")
    house.start(other)
    wait_until(lambda: other.asked)
    house.publish("rooms/hall", {"celsius": 20.5})
    house.publish("cellars/wine", {"celsius": 12.0})
    wait_until(lambda: house.taken("cellars") == 1)
    assert house.poller.tally.value("poller_messages_heard_total", source="", result="unclaimed") == 0


@pytest.fixture
def listeners() -> Iterator[list[Listener]]:
    listeners: list[Listener] = []
    yield listeners
    for one in listeners:
        one.stop()


def listen(
    settings: MqttSettings,
    listeners: list[Listener],
    came: list[Incoming],
    run: str = "r1",
    most_messages: int = MOST_MESSAGES,
) -> Listener:
    listener = Listener(
        settings,
        name="house",
        topics=Topics("heating"),
        run=run,
        filters=["rooms/+", "heating/#"],
        take=came.append,
        monotonic=time.monotonic,
        jitter=lambda: 0.0,
        most_messages=most_messages,
    )
    listener.start(())
    listeners.append(listener)
    return listener


def test_what_is_not_acknowledged_comes_again(house, mqtt_settings, listeners):
    came: list[Incoming] = []
    first = listen(mqtt_settings, listeners, came)
    wait_until(lambda: first.connection)
    house.publish("rooms/hall", 1, 2, 3)
    wait_until(lambda: len(came) == 3)
    first.acknowledge(came[0])
    first.stop()
    again: list[Incoming] = []
    listen(mqtt_settings, listeners, again, run="r2")
    wait_until(lambda: len(again) == 2)
    assert [one.delivery.payload for one in again] == [b"2", b"3"]
    assert not any(one.is_live for one in again)
    house.publish("rooms/hall", 4)
    wait_until(lambda: len(again) == 3)
    assert again[2].is_live


def test_the_poller_does_not_listen_to_itself(house, mqtt_settings, listeners):
    came: list[Incoming] = []
    listener = listen(mqtt_settings, listeners, came)
    wait_until(lambda: listener.connection)
    house.publish("heating/sensor/hall/state", 1)
    house.publish("heating/else", 2)
    wait_until(lambda: came)
    assert [one.delivery.topic for one in came] == ["heating/else"]


def test_what_is_received_and_not_written_is_bounded(house, mqtt_settings, listeners):
    """The broker keeps the rest; mosquitto sends twenty before it waits for an acknowledgement."""
    came: list[Incoming] = []
    listener = listen(mqtt_settings, listeners, came, most_messages=5)
    wait_until(lambda: listener.connection)
    house.publish("rooms/hall", *range(30))
    wait_until(lambda: len(came) == 5)
    done = 0
    while len(came) < 30 or done < 30:
        assert len(came) - done <= 5
        wait_until(lambda done=done: len(came) > done)
        listener.acknowledge(came[done])
        done += 1
    assert [one.delivery.payload for one in came] == [b"%d" % n for n in range(30)]
