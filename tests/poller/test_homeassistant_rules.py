"""Each rule of Home Assistant catches a payload that breaks it."""

import json
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

import pytest

from tests.poller.homeassistant_rules import Published, check_all, check_device, check_state

Change = Callable[[dict[str, Any]], object]


def at(*path: str, **changes: Any) -> Change:
    """Set keys somewhere in the payload; `None` takes one out."""

    def change(payload: dict[str, Any]) -> None:
        target = payload
        for step in path:
            target = target[step]
        for key, value in changes.items():
            if value is None:
                target.pop(key, None)
            else:
                target[key] = value

    return change


POWER = "components", "power"
MODE = "components", "mode"
PUMP = "components", "pump"
GOOD: Mapping[str, Any] = {
    "device": {"identifiers": ["a"], "name": "House"},
    "origin": {"name": "heating"},
    "state_topic": "heating/meter/a/state",
    "availability": [{"topic": "heating/poller/p/availability"}, {"topic": "heating/meter/a/availability"}],
    "availability_mode": "all",
    "components": {
        "power": {
            "platform": "sensor",
            "unique_id": "a/power",
            "name": "Power",
            "value_template": "{{ value_json.power }}",
            "device_class": "power",
            "unit_of_measurement": "kW",
            "state_class": "measurement",
            "suggested_display_precision": 3,
        },
        "mode": {
            "platform": "sensor",
            "unique_id": "a/mode",
            "name": "Mode",
            "value_template": "{{ value_json.mode }}",
            "device_class": "enum",
            "options": ["off", "on"],
        },
        "pump": {
            "platform": "binary_sensor",
            "unique_id": "a/pump",
            "name": "Pump",
            "value_template": "{{ value_json.pump }}",
            "device_class": "running",
            "payload_on": "1",
            "payload_off": "0",
        },
    },
}
TOPIC = "homeassistant/device/heating/meter_a/config"

BREAKS: Mapping[str, Change] = {
    "an unknown root key": at(colour="red"),
    "a topic base at the root": at(**{"~": "heating"}),
    "no origin": at(origin=None),
    "an origin without a name": at("origin", name=None),
    "an unknown key of the origin": at("origin", author="me"),
    "an origin with half an address": at("origin", support_url="192.168.1.5"),
    "no device": at(device=None),
    "a device without identifiers": at("device", identifiers=None),
    "a device without a name": at("device", name=None),
    "an unknown key of the device": at("device", colour="red"),
    "an address of the device without a scheme": at("device", configuration_url="192.168.1.5"),
    "no components": at(components={}),
    "a quality of service that there is not": at(qos=3),
    "two ways to say availability": at(availability_topic="heating/poller/p/availability"),
    "an availability mode that there is not": at(availability_mode="most"),
    "the newest of two availabilities": at(availability_mode=None),
    "an availability with a wildcard": at(availability=[{"topic": "heating/+/availability"}]),
    "no availability": at(availability=None, availability_mode=None),
    "a component without a platform": at(*POWER, platform=None),
    "a component without a unique_id": at(*POWER, unique_id=None),
    "a component with an unknown key": at(*POWER, colour="red"),
    "an object_id, which is gone": at(*POWER, object_id="power"),
    "a component without a name": at(*POWER, name=None),
    "a name that repeats the device's": at(*POWER, name="House power"),
    "a key with a space": at("components", **{"my power": GOOD["components"]["power"]}),
    "a state topic with a wildcard": at(*POWER, state_topic="heating/#"),
    "a component's quality of service": at(*POWER, qos=7),
    "the category of a setting": at(*POWER, entity_category="config"),
    "an expiry that is no number of seconds": at(*POWER, expire_after=-1),
    "a unit that does not go with its class": at(*POWER, unit_of_measurement="kWh"),
    "a class without its unit": at(*POWER, unit_of_measurement=None),
    "a degree that is none": at(*POWER, device_class="temperature", unit_of_measurement="C"),
    "a unit that only newer releases take": at(
        *POWER, device_class="reactive_power", unit_of_measurement="kvar"
    ),
    "a class that only newer releases have": at(
        *POWER, device_class="temperature_delta", unit_of_measurement="K"
    ),
    "a state class that does not go with its class": at(*POWER, state_class="total_increasing"),
    "a state class that there is not": at(
        *POWER,
        device_class=None,
        unit_of_measurement=None,
        state_class="increasing",
    ),
    "energy that is measured": at(*POWER, device_class="energy", unit_of_measurement="kWh"),
    "a time with a unit": at(*POWER, device_class="timestamp", unit_of_measurement="s", state_class=None),
    "a reset of what only increases": at(
        *POWER,
        device_class="energy",
        unit_of_measurement="kWh",
        state_class="total_increasing",
        last_reset_value_template="{{ 0 }}",
    ),
    "a number without a precision": at(*POWER, suggested_display_precision=None),
    "a negative precision": at(*POWER, suggested_display_precision=-1),
    "a unit without a class that is on at first": at(*POWER, device_class=None),
    "an enum without options": at(*MODE, options=None),
    "an enum with no option": at(*MODE, options=[]),
    "options without enum": at(*MODE, device_class=None),
    "options with a unit": at(*MODE, unit_of_measurement="kW", suggested_display_precision=0),
    "an option that means no value": at(*MODE, options=["unknown", "on"]),
    "an option twice": at(*MODE, options=["on", "on"]),
    "a class of a binary sensor that there is not": at(*PUMP, device_class="pumping"),
    "on and off that are the same": at(*PUMP, payload_on="0"),
}


def test_the_payload_that_is_broken_below_is_good():
    assert check_device(Published(TOPIC, json.dumps(GOOD).encode())) == []


@pytest.mark.parametrize("what", BREAKS)
def test_each_rule_catches_what_breaks_it(what):
    payload = deepcopy(dict(GOOD))
    BREAKS[what](payload)
    assert check_device(Published(TOPIC, json.dumps(payload).encode())) != []


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b"null"])
def test_what_is_no_object_is_caught(payload):
    assert check_device(Published(TOPIC, payload)) != []


@pytest.mark.parametrize(
    "topic",
    [
        "homeassistant/device/wärme/config",
        "homeassistant/device/a.b/config",
        "homeassistant/sensor/a/config",
        "device/a/config",
    ],
)
def test_a_topic_that_is_not_listened_to_is_caught(topic):
    assert check_device(Published(topic, json.dumps(GOOD).encode())) != []


@pytest.mark.parametrize("key", ["via_device", "unique_id", "identifiers", "topic"])
def test_what_two_messages_must_not_share_or_leave_open_is_caught(key):
    other = deepcopy(dict(GOOD)) | {"device": {"identifiers": ["b"], "name": "Other"}}
    for component in other["components"].values():
        component["unique_id"] += " other"
    topic = TOPIC.replace("meter_a", "meter_b")
    assert check_all([_message(TOPIC, GOOD), _message(topic, other)]) == []
    if key == "via_device":
        other["device"]["via_device"] = "nobody"
    elif key == "unique_id":
        other["components"]["power"]["unique_id"] = "a/power"
    elif key == "identifiers":
        other["device"]["identifiers"] = ["a"]
    assert check_all([_message(TOPIC, GOOD), _message(TOPIC if key == "topic" else topic, other)]) != []


def _message(topic: str, payload: Mapping[str, Any]) -> Published:
    return Published(topic, json.dumps(payload).encode())


@pytest.mark.parametrize(
    ("component", "rendered"),
    [
        (GOOD["components"]["power"], "nan"),
        (GOOD["components"]["power"], "inf"),
        (GOOD["components"]["power"], "n/a"),
        (GOOD["components"]["power"], "21,5"),
        (GOOD["components"]["power"], ""),
        (GOOD["components"]["power"] | {"state_class": "total_increasing"}, "-1"),
        (GOOD["components"]["mode"], "2"),
        (GOOD["components"]["pump"], "True"),
        (GOOD["components"]["pump"], "1.0"),
        ({"platform": "sensor", "device_class": "timestamp"}, "1795406706"),
        ({"platform": "sensor", "device_class": "timestamp"}, "2026-11-23T04:05:06"),
        ({"platform": "sensor"}, "x" * 256),
    ],
)
def test_a_state_that_home_assistant_complains_of_is_caught(component, rendered):
    assert check_state(component, rendered) != []
