"""When Home Assistant is told what."""

import json

import pytest

from readings.announcer import LISTEN_S, REMOVED_S, SETTLE_S, SPREAD_S, Announcer
from readings.discovery import (
    Availability,
    Component,
    Discovery,
    DiscoveryTopics,
    Origin,
    ShownDevice,
    encode_discovery,
)
from readings.topics import Topics

TOPICS = DiscoveryTopics("homeassistant", Topics("heating"))
OURS = "heating/poller/house/availability"
WP = "homeassistant/device/heating/meter_wp/config"
OLD = "homeassistant/device/heating/meter_old/config"
STATUS = "homeassistant/status"


def meter(*fields: str, owner: str = OURS, platform: str = "sensor") -> Discovery:
    return Discovery(
        device=ShownDevice(identifiers=("heating/meter/wp",), name="Meter"),
        origin=Origin(name="heating", sw_version="1"),
        state_topic="heating/meter/wp/state",
        availability=(Availability(owner), Availability("heating/meter/wp/availability")),
        availability_mode="all",
        components={
            one: Component(platform=platform, unique_id=one, name=one)  # type: ignore[arg-type]
            for one in fields
        },
    )


class Stage:
    """An announcer that is connected at 100 s, and what it said."""

    def __init__(self, *fields: str, jitter: float = 0.0, **more) -> None:
        self.announcer = Announcer(TOPICS, OURS, jitter=lambda: jitter, **more)
        self.announcer.announce("meter", "wp", meter(*fields))
        self.announcer.connect(100)

    def hear(self, topic: str, payload: bytes, *, now: float = 100.1, retained: bool = True) -> bool:
        return self.announcer.hear(topic, payload, now, retained=retained)

    def said(self, until: float, since: float = 100) -> list[tuple[float, str, dict[str, str] | None]]:
        """Times, topics, and the platforms of the components with a name; without one of those that go."""
        said = []
        for tick in range(int(since * 4), int(until * 4) + 1):
            self.announcer.is_born(tick / 4)
            for topic, payload in self.announcer.take(tick / 4):
                parts = json.loads(payload)["components"] if payload else None
                said.append((tick / 4, topic, parts and {key: _shown(one) for key, one in parts.items()}))
        return said


def _shown(component: dict[str, str]) -> str:
    return component["platform"] if len(component) > 1 else f"no {component['platform']}"


def test_each_connection_is_told_once_after_it_had_time_to_hear_what_lies_there():
    stage = Stage("power")
    assert stage.said(400) == [(100 + LISTEN_S, WP, {"power": "sensor"})]
    stage.announcer.connect(500)
    assert stage.said(900, since=500) == [(500 + LISTEN_S, WP, {"power": "sensor"})]


@pytest.mark.parametrize("jitter", [0.0, 0.5, 1.0])
def test_when_home_assistant_starts_it_is_told_once_more_spread_by_chance(jitter):
    stage = Stage("power", jitter=jitter)
    stage.said(200)
    for _ in range(3):
        assert stage.hear(STATUS, b"online", now=200, retained=False)
    assert not stage.announcer.is_born(200 + SPREAD_S * jitter - 0.1)
    assert stage.announcer.is_born(200 + SPREAD_S * jitter)
    assert [topic for topic, _ in stage.announcer.take(200 + SPREAD_S * jitter)] == [WP]
    assert not stage.announcer.is_born(900)
    assert stage.said(900, since=220) == []


def test_when_home_assistant_stops_nothing_is_said():
    stage = Stage("power")
    stage.said(200)
    stage.hear(STATUS, b"offline", now=200, retained=False)
    assert stage.said(900, since=200) == []


def test_an_entity_that_is_gone_is_named_for_a_while_and_then_left_out():
    stage = Stage("power")
    stage.hear(WP, encode_discovery(meter("power", "energy", "voltage")))
    told = 100 + LISTEN_S
    assert stage.said(400) == [
        (told, WP, {"power": "sensor", "energy": "no sensor", "voltage": "no sensor"}),
        (told + REMOVED_S, WP, {"power": "sensor"}),
    ]


def test_home_assistant_that_starts_meanwhile_is_told_what_is_gone_too():
    stage = Stage("power")
    stage.hear(WP, encode_discovery(meter("power", "energy")))
    stage.said(120)
    stage.hear(STATUS, b"online", now=120, retained=False)
    both, one = {"power": "sensor", "energy": "no sensor"}, {"power": "sensor"}
    assert stage.said(400, since=120) == [(120.0, WP, both), (100 + LISTEN_S + REMOVED_S, WP, one)]


def test_an_entity_that_comes_back_meanwhile_is_not_named_as_gone():
    stage = Stage("power")
    stage.hear(WP, encode_discovery(meter("power", "energy")))
    stage.said(120)
    stage.announcer.announce("meter", "wp", meter("power", "energy"))
    assert {str(parts) for _, _, parts in stage.said(400, since=120)} == {
        str({"power": "sensor", "energy": "sensor"})
    }


def test_an_entity_of_another_sort_with_the_same_key_makes_room_first():
    stage = Stage("power")
    stage.hear(WP, encode_discovery(meter("power", platform="binary_sensor")))
    assert [parts for _, _, parts in stage.said(400)] == [
        {"power": "no binary_sensor"},
        {"power": "sensor"},
    ]


def test_what_is_half_removed_is_removed_by_the_next_run():
    stage = Stage("power")
    first = meter("power", "energy")
    stage.hear(WP, encode_discovery(first).replace(b'"unique_id":"energy","name":"energy",', b""))
    _, _, parts = stage.said(400)[0]
    assert parts["energy"] == "no sensor"


def test_a_device_that_is_gone_is_taken_back_once():
    stage = Stage("power")
    stage.hear(OLD, encode_discovery(meter("power")))
    assert stage.said(400) == [(100.0, OLD, None), (100 + LISTEN_S, WP, {"power": "sensor"})]


@pytest.mark.parametrize(
    ("topic", "payload", "retained"),
    [
        (OLD, encode_discovery(meter("power", owner="heating/poller/other/availability")), True),
        (OLD, encode_discovery(meter("power")), False),
        (OLD, b"", True),
        (OLD, b"not ours", True),
        (OLD, b"[]", True),
        ("homeassistant/device/other/meter_old/config", encode_discovery(meter("power")), True),
        ("homeassistant/device/heating_meter_old/config", encode_discovery(meter("power")), True),
        ("homeassistant/sensor/heating/config", encode_discovery(meter("power")), True),
        (WP, encode_discovery(meter("power")), True),
    ],
)
def test_nothing_else_is_touched(topic, payload, retained):
    stage = Stage("power")
    stage.hear(topic, payload, retained=retained)
    assert stage.said(400) == [(100 + LISTEN_S, WP, {"power": "sensor"})]


def test_nothing_is_taken_back_before_all_that_there_is_has_been_announced():
    """What a source found in an earlier run comes with its memory, perhaps after the connection."""
    stage = Stage("power")
    stage.hear(OLD, encode_discovery(meter("power")))
    stage.hear(WP, encode_discovery(meter("power", "energy")))
    told = list(stage.announcer.take(200, is_complete=False))
    assert [topic for topic, _ in told] == [WP]
    stage.announcer.announce("meter", "old", meter("power"))
    stage.announcer.announce("meter", "wp", meter("power", "energy"))
    assert {topic: parts for _, topic, parts in stage.said(400, since=201)} == {
        WP: {"power": "sensor", "energy": "sensor"},
        OLD: {"power": "sensor"},
    }


def test_a_device_that_appears_is_announced_at_once():
    stage = Stage("power")
    stage.said(200)
    stage.announcer.announce("sensor", "attic", meter("temperature"))
    topic = "homeassistant/device/heating/sensor_attic/config"
    assert stage.said(900, since=200) == [(200.0, topic, {"temperature": "sensor"})]


def test_a_device_that_finds_one_field_after_the_other_gives_home_assistant_its_time():
    stage = Stage("power")
    told = stage.said(200)
    stage.announcer.announce("meter", "wp", meter("power", "energy"))
    told += stage.said(201, since=200)
    stage.announcer.announce("meter", "wp", meter("power", "energy", "voltage"))
    told += stage.said(900, since=201)
    assert [(at, sorted(parts)) for at, _, parts in told] == [
        (100 + LISTEN_S, ["power"]),
        (200.0, ["energy", "power"]),
        (200.0 + SETTLE_S, ["energy", "power", "voltage"]),
    ]


def test_where_nobody_is_to_find_anything_what_was_announced_is_taken_back_and_nothing_said():
    stage = Stage("power", is_wanted=False)
    assert stage.said(200) == []
    stage.hear(WP, encode_discovery(meter("power")), now=200)
    stage.hear(OLD, encode_discovery(meter("power")), now=200)
    assert stage.said(900, since=200) == [(200.0, WP, None), (200.0, OLD, None)]


def test_what_an_ended_connection_left_unsaid_is_not_said_on_the_next():
    stage = Stage("power")
    stage.hear(OLD, encode_discovery(meter("power")))
    stage.hear(WP, encode_discovery(meter("power", "energy")))
    stage.announcer.connect(101)
    assert stage.said(400, since=101) == [(101 + LISTEN_S, WP, {"power": "sensor"})]
