"""What lies at the broker in a poller's name: what Home Assistant is told, and what earlier runs left."""

import json
import subprocess
from dataclasses import replace

import pytest

from poller.device import Device, describe_device
from poller.leftovers import WAIT_S
from poller.presence import Presence, subscriptions
from poller.profile import load_profile
from poller.publish import Publisher
from readings.announcer import LISTEN_S, SPREAD_S
from readings.broker import Delivery, Message, Session
from readings.health import POLLER_HEALTH, Tally
from readings.payload import encode_info
from readings.reading import DeviceKey, DeviceState, Kind
from readings.settings import HomeAssistantSettings, MqttSettings
from readings.topics import Topics
from tests.conftest import needs, wait_until

PROFILE = load_profile("wago-879")
WP = Device(DeviceKey(Kind.METER, "wp"), "Wärmepumpe", PROFILE, PROFILE.choose(), 30)
OLD = replace(WP, key=DeviceKey(Kind.METER, "old"))
TOPICS = Topics("heating")
ON = HomeAssistantSettings()
STATE = DeviceState(1_795_406_706_123, "k3f9", 1, {"power_total_kw": 1.234})


def info(device: Device, poller: str) -> bytes:
    return encode_info(describe_device(device, poller, "k3f9"))


def delivery(topic: str, payload: bytes, *, retained: bool = True, connection: int = 1) -> Delivery:
    return Delivery(topic, payload, retained, connection, 0, 0)


class Broker:
    """Keeps what it is given."""

    is_connected = True
    connection = 1

    def __init__(self) -> None:
        self.said: list[tuple[str, bytes]] = []

    def publish(self, message: Message) -> bool:
        assert message.retain
        self.said.append((message.topic, message.payload))
        return True

    def take(self) -> list[tuple[str, bytes]]:
        said, self.said = self.said, []
        return said


def make_publisher(broker: Broker | Session, *devices: Device, jitter: float = 0.0) -> Publisher:
    publisher = Publisher(
        broker,
        TOPICS,
        "house",
        devices,
        stream="k3f9",
        ranges=lambda _: (),
        states=lambda *_: (),
        tally=Tally(POLLER_HEALTH),
        homeassistant=ON,
        jitter=lambda: jitter,
    )
    publisher.is_complete = True
    return publisher


def topics(said: list[tuple[str, bytes]]) -> list[str]:
    return [topic for topic, _ in said]


# What Home Assistant is told


def test_discovery_comes_last_on_each_connection_and_not_with_each_poll():
    broker = Broker()
    publisher = make_publisher(broker, WP)
    publisher.send(WP.key, STATE)
    publisher.attend(0)
    assert not any(topic.startswith("homeassistant/") for topic in topics(broker.take()))
    publisher.attend(LISTEN_S)
    assert topics(broker.take()) == [
        "homeassistant/device/heating/poller_house/config",
        "homeassistant/device/heating/meter_wp/config",
    ]
    for tick in range(3, 20):
        publisher.send(WP.key, STATE)
        publisher.attend(tick)
    assert not any(topic.startswith("homeassistant/") for topic in topics(broker.take()))


def test_when_home_assistant_starts_availability_and_states_are_said_again_before_discovery():
    broker = Broker()
    publisher = make_publisher(broker, WP, jitter=0.5)
    publisher.attend(0)
    publisher.send(WP.key, STATE)
    publisher.attend(LISTEN_S)
    broker.take()
    publisher.hear(delivery("homeassistant/status", b"online", retained=False))
    publisher.attend(10)
    assert broker.take() == []
    publisher.attend(10 + SPREAD_S / 2)
    assert topics(broker.take()) == [
        "heating/poller/house/availability",
        "heating/meter/wp/availability",
        "heating/meter/wp/state",
        "homeassistant/device/heating/poller_house/config",
        "homeassistant/device/heating/meter_wp/config",
    ]
    publisher.attend(20)
    assert broker.take() == []


# What is left of earlier runs


def test_what_is_left_of_a_device_that_is_gone_is_taken_back_the_info_last():
    broker = Broker()
    publisher = make_publisher(broker, WP)
    publisher.attend(0)
    publisher.hear(delivery("heating/meter/old/info", info(OLD, "house")))
    publisher.attend(1)
    broker.take()
    publisher.attend(1 + WAIT_S)
    assert [one for one in broker.take() if not one[1]] == [
        ("heating/meter/old/state", b""),
        ("heating/meter/old/journal", b""),
        ("heating/meter/old/availability", b""),
        ("heating/meter/old/info", b""),
    ]
    publisher.attend(100)
    assert all(payload for _, payload in broker.take())


@pytest.mark.parametrize(
    "heard",
    [
        delivery("heating/meter/old/info", info(OLD, "other")),
        delivery("heating/meter/wp/info", info(WP, "house")),
        delivery("heating/meter/old/info", info(OLD, "house"), retained=False),
        delivery("heating/meter/old/info", info(OLD, "house"), connection=0),
        delivery("heating/meter/old/info", b""),
        delivery("heating/meter/old/info", b"not ours"),
        delivery("heating/meter/old/state", info(OLD, "house")),
        delivery("other/meter/old/info", info(OLD, "house")),
    ],
)
def test_nothing_else_is_taken_back(heard):
    broker = Broker()
    publisher = make_publisher(broker, WP)
    publisher.attend(0)
    publisher.hear(heard)
    publisher.attend(1)
    publisher.attend(100)
    assert all(payload for _, payload in broker.take())


def test_a_device_that_is_gone_is_spoken_for_until_the_journal_has_none_of_it():
    broker = Broker()
    publisher = make_publisher(broker, WP)
    publisher.keep({WP.key: info(WP, "house"), OLD.key: info(OLD, "house")})
    gone = "heating/meter/old/"
    for connection in (1, 2):
        broker.connection = connection
        publisher.attend(connection * 100)
        publisher.attend(connection * 100 + WAIT_S)
        assert [one for one in broker.take() if "old" in one[0]] == [
            (gone + "availability", b"offline"),
            (gone + "info", info(OLD, "house")),
            (gone + "journal", b"[]"),
            (gone + "state", b""),
        ]
    publisher.attend(300)
    assert gone + "journal" in topics(broker.take())
    publisher.keep({WP.key: info(WP, "house")})
    publisher.attend(301)
    said = [one for one in broker.take() if "old" in one[0]]
    assert {payload for _, payload in said} == {b""}
    assert said[-1][0] == gone + "info"
    publisher.attend(500)
    assert not any("old" in topic for topic in topics(broker.take()))


@pytest.mark.parametrize("retained", [True, False])
def test_a_device_that_another_poller_speaks_for_now_is_left_to_it(retained):
    broker = Broker()
    publisher = make_publisher(broker, WP)
    publisher.keep({OLD.key: info(OLD, "house")})
    publisher.attend(0)
    if not retained:
        publisher.attend(WAIT_S)
        broker.take()
    publisher.hear(delivery("heating/meter/old/info", info(OLD, "other"), retained=retained))
    for now in (1, WAIT_S + 1, 100, 200):
        publisher.attend(now)
    publisher.keep({})
    publisher.attend(300)
    assert not any("old" in topic for topic in topics(broker.take()))


def test_what_the_journal_does_not_know_of_a_device_that_is_gone_may_lie_at_the_broker():
    broker = Broker()
    publisher = make_publisher(broker, WP)
    publisher.keep({OLD.key: b""})
    publisher.attend(0)
    publisher.attend(WAIT_S)
    assert not any("old" in topic for topic in topics(broker.take()))
    publisher.hear(delivery("heating/meter/old/info", info(OLD, "house")))
    publisher.attend(WAIT_S + 1)
    assert "heating/meter/old/journal" in topics(broker.take())


def test_a_device_that_a_source_found_in_an_earlier_run_is_left_alone():
    presence = Presence("house", TOPICS, ON, jitter=lambda: 0.0)
    presence.connect(0)
    presence.hear(delivery("heating/meter/old/info", info(OLD, "house")))
    presence.listen(1, 0.1)
    assert all(payload for _, payload in presence.take(100, is_complete=False))
    presence.add(OLD)
    assert all(payload for _, payload in presence.take(200, is_complete=True))


# With the real broker


class Poller:
    """A publisher on a session, driven by the test."""

    def __init__(self, settings: MqttSettings, *devices: Device, told: HomeAssistantSettings = ON) -> None:
        self.session = Session(
            settings,
            client_id="heating-poller-house",
            clean=True,
            subscriptions=[(topic, 0) for topic in subscriptions(TOPICS, told)],
            on_message=self._hear,
            jitter=lambda: 0.0,
        )
        self.publisher = Publisher(
            self.session,
            TOPICS,
            "house",
            devices,
            stream="k3f9",
            ranges=lambda _: (),
            states=lambda *_: (),
            tally=Tally(POLLER_HEALTH),
            homeassistant=told,
        )
        self.publisher.is_complete = True
        for one in devices:
            self.publisher.send(one.key, STATE)
        self.now = 0.0

    def _hear(self, heard: Delivery) -> None:
        self.publisher.hear(heard)

    def run_until(self, condition) -> None:
        """A hundred seconds of its time for each of ours."""

        def attended() -> bool:
            self.now += 1
            self.publisher.attend(self.now)
            return condition()

        with self.session:
            wait_until(attended)


class Board:
    """What lies at the broker, as somebody sees it who was there from the start."""

    def __init__(self, settings: MqttSettings) -> None:
        self.lies: dict[str, str] = {}
        self.session = Session(
            settings,
            client_id="board",
            clean=True,
            subscriptions=[("#", 0)],
            on_message=self._hear,
            jitter=lambda: 0.0,
        )

    def _hear(self, heard: Delivery) -> None:
        self.lies[heard.topic] = heard.payload.decode()

    def topics(self, start: str = "") -> set[str]:
        return {topic for topic, payload in self.lies.items() if payload and topic.startswith(start)}

    def fields(self, topic: str) -> set[str]:
        return set(json.loads(self.lies[topic])["components"])


def publish(settings: MqttSettings, topic: str, payload: str) -> None:
    command = [needs("mosquitto_pub"), "-p", str(settings.port), "-t", topic, "-m", payload, "-r"]
    subprocess.run(command, check=True)


@pytest.mark.mosquitto
def test_what_was_taken_out_of_the_configuration_while_the_poller_was_off_leaves_the_broker(mqtt_settings):
    """A device, a field, and at last discovery itself; what others said stays."""
    config = "homeassistant/device/heating/meter_wp/config"
    garage = replace(OLD, key=DeviceKey(Kind.METER, "garage"))
    others = {
        "heating/meter/garage/info": info(garage, "other").decode(),
        "heating/meter/garage/state": "{}",
        "homeassistant/device/other/config": "{}",
        "homeassistant/sensor/lamp/config": "{}",
        "zigbee2mqtt/lamp": "on",
    }
    board = Board(mqtt_settings)
    with board.session:
        for topic, payload in others.items():
            publish(mqtt_settings, topic, payload)
        Poller(mqtt_settings, WP, OLD).run_until(lambda: config in board.topics())
        wait_until(lambda: "homeassistant/device/heating/meter_old/config" in board.topics())

        def is_left() -> bool:
            return board.lies.get("heating/meter/old/availability") == "offline"

        wait_until(lambda: "heating/meter/old/info" in board.topics())
        board.lies["heating/meter/old/availability"] = "online"
        later = Poller(mqtt_settings, WP)
        later.publisher.keep({OLD.key: b""})
        later.run_until(
            lambda: is_left() and "homeassistant/device/heating/meter_old/config" not in board.topics()
        )
        wait_until(lambda: board.lies.get("heating/meter/old/state") == "")
        assert "heating/meter/old/info" in board.topics(), "as long as the journal has rows of it"

        shorter = replace(WP, fields={"power_total_kw": WP.fields["power_total_kw"]})
        Poller(mqtt_settings, shorter).run_until(
            lambda: not any("old" in one for one in board.topics()) and len(board.fields(config)) == 1
        )
        assert board.fields(config) == {"power_total_kw"}

        off = HomeAssistantSettings(discovery=False)
        Poller(mqtt_settings, shorter, told=off).run_until(
            lambda: not board.topics("homeassistant/device/heating/")
        )
        assert {topic: board.lies[topic] for topic in others} == others
        assert "heating/meter/wp/state" in board.topics()
