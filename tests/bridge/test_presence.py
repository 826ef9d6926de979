"""What Home Assistant is told of the bridge."""

import json

import jinja2
import pytest

from bridge.presence import Presence, describe_bridge
from readings.announcer import LISTEN_S, SPREAD_S
from readings.broker import Delivery
from readings.discovery import DiscoveryTopics, encode_discovery
from readings.health import BRIDGE_HEALTH, Health, Tally, encode_health
from readings.settings import HomeAssistantSettings
from readings.topics import Topics
from tests.poller.homeassistant_rules import Published, check_all, check_state

TOPICS = Topics("heating")
CONFIG = "homeassistant/device/heating/bridge_main/config"


def make_presence(*, discovery: bool = True) -> Presence:
    return Presence("main", TOPICS, HomeAssistantSettings(discovery=discovery), jitter=lambda: 1.0)


def delivery(topic: str, payload: bytes, *, retained: bool = False) -> Delivery:
    return Delivery(topic, payload, retained, 1, 0, 0)


def test_it_keeps_every_rule():
    payload = encode_discovery(describe_bridge("main", DiscoveryTopics("homeassistant", TOPICS)))
    assert check_all([Published(CONFIG, payload)]) == []


@pytest.mark.parametrize(
    ("complete", "waiting", "expected"),
    [(1, (), ("1", "0")), (0, (3, 4), ("0", "7")), (None, (), ("None", "0"))],
)
def test_it_says_whether_all_data_have_arrived(complete, waiting, expected):
    tally = Tally(BRIDGE_HEALTH)
    if complete is not None:
        tally.set("bridge_data_complete", complete)
    for number, count in enumerate(waiting):
        tally.set("bridge_states_waiting", count, device=f"d{number}")
    health = json.loads(encode_health(Health(name="main", version="1", metrics=tally.samples())))
    parts = describe_bridge("main", DiscoveryTopics("homeassistant", TOPICS)).components
    environment = jinja2.Environment()  # noqa: S701  # no page is made of it
    entities = json.loads(
        encode_discovery(describe_bridge("main", DiscoveryTopics("homeassistant", TOPICS)))
    )["components"]
    shown = []
    for key in ("data_complete", "states_waiting"):
        rendered = environment.from_string(parts[key].value_template).render(value_json=health)
        assert check_state(entities[key], rendered) == []
        shown.append(rendered)
    assert tuple(shown) == expected


def test_it_is_announced_on_each_connection_and_when_home_assistant_starts():
    presence = make_presence()
    assert not presence.listen(1, 0)
    assert list(presence.take(0)) == []
    assert [topic for topic, _ in presence.take(LISTEN_S)] == [CONFIG]
    assert presence.hear(delivery("homeassistant/status", b"online"))
    assert not presence.listen(1, 10)
    assert presence.listen(1, 10 + SPREAD_S)
    assert [topic for topic, _ in presence.take(10 + SPREAD_S)] == [CONFIG]
    assert not presence.listen(2, 100)
    assert [topic for topic, _ in presence.take(100 + LISTEN_S)] == [CONFIG]


def test_where_nobody_is_to_find_it_it_is_taken_back():
    payload = encode_discovery(describe_bridge("main", DiscoveryTopics("homeassistant", TOPICS)))
    presence = make_presence(discovery=False)
    presence.listen(1, 0)
    assert list(presence.take(LISTEN_S)) == []
    assert presence.hear(delivery(CONFIG, payload, retained=True))
    presence.listen(1, 10)
    assert list(presence.take(10)) == [(CONFIG, b"")]


def test_what_is_no_business_of_it_is_left_to_others():
    assert not make_presence().hear(delivery("heating/meter/wp/state", b"{}"))
