"""What the poller says on the bus, heard through the real mosquitto."""

import json
import queue
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest

from poller.device import Device
from poller.errors import JournalError
from poller.profile import load_profile
from poller.publish import ANSWER_STATES, Publisher, will
from readings.broker import Delivery, Message, Session
from readings.health import POLLER_HEALTH, HealthSample, Tally, decode_health
from readings.payload import (
    Replay,
    StreamRange,
    decode_info,
    decode_journal,
    decode_state,
    encode_replay,
)
from readings.reading import DeviceKey, DeviceState, Kind
from readings.settings import MqttSettings
from readings.topics import Topics
from tests.conftest import Server, needs, wait_until

PROFILE = load_profile("wago-879")
METER = Device(
    key=DeviceKey(Kind.METER, "wp"),
    title="Wärmepumpe",
    profile=PROFILE,
    fields={"power_total_kw": PROFILE.fields["power_total_kw"]},
    interval_s=30,
    bus="rs485",
    unit=2,
)
OTHER = Device(
    key=DeviceKey(Kind.METER, "house"), title="House", profile=PROFILE, fields=METER.fields, interval_s=30
)


def state(seq: int, power: float | None = 1.234) -> DeviceState:
    return DeviceState(1_795_406_706_123, "k3f9", seq, {"power_total_kw": power})


@dataclass
class FakeBroker:
    """Keeps what was handed over; says nothing when it is not connected."""

    connection: int = 1
    is_connected: bool = True
    said: list[Message] = field(default_factory=list)

    def publish(self, message: Message) -> bool:
        assert self.is_connected
        self.said.append(message)
        return True

    def topics(self) -> list[str]:
        topics = [one.topic.removeprefix("heating/") for one in self.said]
        self.said.clear()
        return topics


@dataclass
class Stage:
    """A publisher and what it stands on."""

    broker: FakeBroker
    tally: Tally
    listed: dict[DeviceKey, tuple[StreamRange, ...]]
    publisher: Publisher


def make_stage(broker: FakeBroker | Session, *devices: Device) -> Stage:
    tally = Tally(POLLER_HEALTH)
    listed = {one.key: (StreamRange("k3f9", 1, 7),) for one in devices}

    def ranges(key: DeviceKey) -> tuple[StreamRange, ...]:
        if key not in listed:
            raise JournalError("it cannot be read")
        return listed[key]

    def states(key: DeviceKey, stream: str, first: int, last: int) -> list[DeviceState]:
        ranges(key)
        return [state(seq) for seq in range(first, min(last, 700) + 1) if stream == "k3f9"]

    publisher = Publisher(
        broker, Topics("heating"), "house", devices, stream="k3f9", ranges=ranges, states=states, tally=tally
    )
    return Stage(broker, tally, listed, publisher)


@pytest.fixture
def stage() -> Stage:
    return make_stage(FakeBroker(), METER)


GREETING = [
    "poller/house/availability",
    "meter/wp/availability",
    "meter/wp/info",
    "meter/wp/journal",
    "poller/house/health",
]


def test_every_connection_is_greeted_in_the_contracts_order(stage):
    stage.publisher.attend(0)
    assert stage.broker.topics() == GREETING
    stage.publisher.send(METER.key, state(8))
    assert stage.broker.topics() == ["meter/wp/state"]
    stage.broker.connection = 2
    stage.publisher.attend(1)
    assert stage.broker.topics() == [*GREETING[:4], "meter/wp/state", GREETING[4]]
    assert stage.tally.value("poller_broker_connects_total") == 2


def test_everything_is_retained_and_sent_with_qos_1(stage):
    stage.publisher.send(METER.key, state(8))
    stage.publisher.attend(0)
    assert {(one.retain, one.qos) for one in stage.broker.said} == {(True, 1)}


def test_nothing_is_handed_over_without_a_connection_or_before_its_greeting(stage):
    stage.broker.is_connected = False
    stage.publisher.send(METER.key, state(1))
    stage.publisher.set_online(METER.key, online=True)
    stage.publisher.attend(0)
    stage.broker.is_connected = True
    stage.publisher.send(METER.key, state(2))
    assert stage.broker.topics() == []
    assert stage.tally.value("poller_states_published_total", device="wp") == 0
    stage.publisher.attend(1)
    assert json.loads(stage.broker.said[-2].payload)["seq"] == 2


def test_lists_come_every_minute_and_health_every_half(stage):
    stage.publisher.attend(0)
    stage.broker.topics()
    said = {}
    for now in range(1, 125):
        stage.publisher.attend(now)
        if topics := stage.broker.topics():
            said[now] = topics
    assert said == {
        30: ["poller/house/health"],
        60: ["meter/wp/journal", "poller/house/health"],
        90: ["poller/house/health"],
        120: ["meter/wp/journal", "poller/house/health"],
    }


def test_a_new_stream_is_listed_with_its_first_state(stage):
    """A consumer that stores states would wait for the next minute's list."""
    stage.publisher.attend(0)
    stage.broker.said.clear()
    stage.publisher.send(METER.key, replace(state(1), seq=None, time_ms=None))
    stage.publisher.attend(1)
    assert stage.broker.topics() == ["meter/wp/state"], "nothing is in the journal with a time yet"
    stage.publisher.send(METER.key, state(20))
    stage.publisher.attend(2)
    assert stage.broker.topics() == ["meter/wp/state", "meter/wp/journal"]
    stage.publisher.send(METER.key, state(21))
    stage.publisher.attend(3)
    assert stage.broker.topics() == ["meter/wp/state"]


def test_a_list_that_shrinks_is_said_at_once(stage):
    stage.publisher.attend(0)
    stage.broker.topics()
    stage.publisher.list_soon({METER.key, DeviceKey(Kind.METER, "no-longer-configured")})
    stage.publisher.attend(1)
    assert stage.broker.topics() == ["meter/wp/journal"]
    stage.publisher.attend(2)
    assert stage.broker.topics() == []


def test_a_journal_that_cannot_say_what_it_holds_is_not_called_empty(stage):
    del stage.listed[METER.key]
    stage.publisher.attend(0)
    assert "meter/wp/journal" not in stage.broker.topics()


def test_availability_is_offline_at_first_and_said_when_it_changes(stage):
    stage.publisher.attend(0)
    assert stage.broker.said[1].payload == b"offline"
    stage.broker.topics()
    for online in (False, True, True, False):
        stage.publisher.set_online(METER.key, online=online)
    assert [one.payload for one in stage.broker.said] == [b"online", b"offline"]
    assert stage.tally.value("poller_device_up", device="wp") == 0


def test_how_long_a_sensor_may_be_silent_is_told_with_the_name_that_its_readings_have(stage):
    profile = load_profile("shelly-ht")
    attic = Device(
        DeviceKey(Kind.SENSOR, "attic"), "", profile, profile.choose(), 4500, labels={"sensor_name": "Attic"}
    )
    stage.publisher.add(attic)
    limits = stage.tally.samples()["poller_sensor_silent_after_seconds"]
    assert limits == [HealthSample({"device": "attic", "sensor_name": "Attic"}, 9000)]


def ask(stage: Stage, first: int, last: int, device: Device = METER, connection: int = 1) -> None:
    payload = encode_replay(Replay("k3f9", first, last))
    topic = f"heating/meter/{device.key.name}/replay"
    stage.publisher.hear(Delivery(topic, payload, False, connection, 0, 0))


def sent_again(stage: Stage) -> list[tuple[str, int]]:
    """Device and number of what the next round sends again."""
    stage.broker.said.clear()
    stage.publisher.attend(2)
    assert not any(one.retain or one.qos != 1 for one in stage.broker.said)
    return [(one.topic.split("/")[2], json.loads(one.payload)["seq"]) for one in stage.broker.said]


def test_what_is_asked_for_is_sent_again_as_history(stage):
    stage.publisher.attend(0)
    ask(stage, 3, 5)
    assert stage.publisher.is_asked
    assert sent_again(stage) == [("wp", 3), ("wp", 4), ("wp", 5)]
    assert {one.topic for one in stage.broker.said} == {"heating/meter/wp/history"}
    assert decode_state(stage.broker.said[0].payload) == state(3)
    assert not stage.publisher.is_asked
    assert stage.tally.value("poller_states_replayed_total", device="wp") == 3


def test_devices_are_answered_in_turn_a_part_at_a_time():
    stage = make_stage(FakeBroker(), METER, OTHER)
    stage.publisher.attend(0)
    ask(stage, 1, 200)
    ask(stage, 1, 200)
    ask(stage, 1, 3, OTHER)
    parts = [sent_again(stage) for _ in range(4)]
    assert [(part[0], part[-1]) for part in parts if part] == [
        (("wp", 1), ("wp", ANSWER_STATES)),
        (("house", 1), ("house", 3)),
        (("wp", ANSWER_STATES + 1), ("wp", 200)),
    ], "and what is asked for twice is sent once"


def test_what_was_asked_for_on_an_ended_connection_is_forgotten(stage):
    stage.publisher.attend(0)
    ask(stage, 1, 200)
    sent_again(stage)
    stage.broker.is_connected = False
    stage.publisher.attend(1)
    assert not stage.publisher.is_asked
    stage.broker.is_connected, stage.broker.connection = True, 2
    ask(stage, 1, 5, connection=1)
    stage.publisher.attend(1)
    stage.publisher.attend(1)
    assert sent_again(stage) == []


@pytest.mark.parametrize("payload", [b"", b"{}", b'{"stream":"k3f9","from":1,"to":201}', b"\xff"])
def test_a_request_that_the_contract_does_not_allow_is_counted(stage, payload):
    stage.publisher.attend(0)
    stage.publisher.hear(Delivery("heating/meter/wp/replay", payload, False, 1, 0, 0))
    assert sent_again(stage) == []
    assert stage.tally.value("poller_replays_refused_total") == 1


def test_a_journal_that_cannot_be_read_answers_nothing(stage):
    stage.publisher.attend(0)
    del stage.listed[METER.key]
    ask(stage, 1, 5)
    assert sent_again(stage) == []
    assert not stage.publisher.is_asked


@pytest.fixture
def heard(mqtt_settings: MqttSettings) -> Iterator[queue.Queue[Delivery]]:
    """Everything below heating/, as a subscriber hears it."""
    inbox: queue.Queue[Delivery] = queue.Queue()
    listening = {"clean": True, "jitter": lambda: 0.0, "subscriptions": [("heating/#", 1)]}
    with Session(mqtt_settings, client_id="ear", on_message=inbox.put, **listening) as ear:
        wait_until(lambda: ear.is_connected)
        ear.publish(Message("heating/ready", b""))
        while inbox.get(timeout=5).topic != "heating/ready":
            pass
        yield inbox


def poller_session(mqtt_settings: MqttSettings) -> Session:
    return Session(
        mqtt_settings,
        client_id="poller",
        clean=True,
        will=will(Topics("heating"), "house"),
        jitter=lambda: 0.0,
    )


def test_the_contract_decodes_what_was_said(mqtt_settings, heard):
    with poller_session(mqtt_settings) as session:
        wait_until(lambda: session.is_connected)
        stage = make_stage(session, METER)
        stage.publisher.attend(0)
        stage.publisher.send(METER.key, state(8))
        got = [heard.get(timeout=5) for _ in range(6)]
    assert [one.topic.removeprefix("heating/") for one in got] == [*GREETING, "meter/wp/state"]
    info = decode_info(got[2].payload)
    assert (info.poller, info.stream, info.title, info.interval) == ("house", "k3f9", "Wärmepumpe", 30)
    assert decode_journal(got[3].payload) == (StreamRange("k3f9", 1, 7),)
    assert decode_health(got[4].payload).metrics["poller_broker_connects_total"][0].value == 1
    assert decode_state(got[5].payload) == state(8)


def test_a_state_is_one_readable_line(mosquitto: Server, mqtt_settings):
    command = [needs("mosquitto_sub"), "-p", str(mosquitto.port), "-t", "heating/+/+/state", "-v", "-C", "2"]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as ear,
        poller_session(mqtt_settings) as session,
    ):
        wait_until(lambda: session.is_connected)
        stage = make_stage(session, METER)
        stage.publisher.attend(0)
        stage.publisher.send(METER.key, state(8))
        assert ear.stdout.readline() == (
            'heating/meter/wp/state {"time":"2026-11-23T04:05:06.123Z","stream":"k3f9","seq":8,'
            '"power_total_kw":1.234,"held":[]}\n'
        )
        stage.publisher.send(METER.key, state(9, power=None))
        assert '"power_total_kw":null' in ear.stdout.readline()


def retained(settings: MqttSettings, *, count: int) -> dict[str, bytes]:
    """What a new subscriber finds."""
    found: dict[str, bytes] = {}
    with Session(
        settings,
        client_id="late",
        clean=True,
        jitter=lambda: 0.0,
        subscriptions=[("heating/#", 1)],
        on_message=lambda one: found.update({one.topic.removeprefix("heating/"): one.payload}),
    ):
        wait_until(lambda: len(found) >= count, what=f"{count} retained messages, got {sorted(found)}")
    return found


def test_a_broker_that_has_forgotten_everything_is_told_everything_again(mosquitto: Server, mqtt_settings):
    with poller_session(mqtt_settings) as session:
        stage = make_stage(session, METER, OTHER)
        wait_until(lambda: session.is_connected)
        stage.publisher.attend(0)
        stage.publisher.set_online(METER.key, online=True)
        stage.publisher.send(METER.key, state(8))
        wait_until(lambda: len(retained(mqtt_settings, count=9)) == 9)
        before = retained(mqtt_settings, count=9)
        mosquitto.kill()
        for file in mosquitto.log.parent.glob("*.db"):
            file.unlink()
        mosquitto.start()
        wait_until(lambda: session.connection == 2 and session.is_connected)
        stage.publisher.attend(1)
        after = retained(mqtt_settings, count=9)
        assert {k: v for k, v in after.items() if "health" not in k} == {
            k: v for k, v in before.items() if "health" not in k
        }
        assert after["meter/wp/availability"] == b"online"
        assert after["meter/house/availability"] == b"offline"


def test_the_last_words_of_an_orderly_end(mqtt_settings, heard):
    session = poller_session(mqtt_settings)
    session.start()
    wait_until(lambda: session.is_connected)
    stage = make_stage(session, METER)
    stage.publisher.set_online(METER.key, online=True)
    stage.publisher.attend(0)
    for _ in GREETING:
        heard.get(timeout=5)
    session.stop(stage.publisher.farewell())
    last = [heard.get(timeout=5) for _ in range(2)]
    assert [(one.topic, one.payload) for one in last] == [
        ("heating/meter/wp/availability", b"offline"),
        ("heating/poller/house/availability", b"offline"),
    ]


def test_a_frozen_broker_does_not_keep_the_poller_from_ending(mosquitto: Server, mqtt_settings):
    session = poller_session(mqtt_settings)
    session.start()
    wait_until(lambda: session.is_connected)
    devices = [replace(OTHER, key=DeviceKey(Kind.METER, f"m{number}")) for number in range(20)]
    stage = make_stage(session, *devices)
    assert mosquitto.process is not None
    mosquitto.process.send_signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        session.stop(stage.publisher.farewell(), within_s=1.0)
        assert time.monotonic() - began < 2.8
    finally:
        mosquitto.process.send_signal(signal.SIGCONT)
