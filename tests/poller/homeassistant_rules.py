"""What Home Assistant accepts without a warning, from 2025.4 to 2026.11; each rule was found by sending it payloads.

`check_device` judges a discovery message, `check_state` what an entity's
template makes of a state. Both give a list of sentences, empty when all is
well. `make test-homeassistant` asks the real one.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

ROOT_KEYS = {"device", "origin", "components", "state_topic", "command_topic", "qos", "encoding"}
AVAILABILITY_KEYS = {
    "availability", "availability_mode", "availability_topic", "availability_template",
    "payload_available", "payload_not_available",
}  # fmt: skip
DEVICE_KEYS = {
    "identifiers", "connections", "name", "manufacturer", "model", "model_id", "serial_number", "sw_version",
    "hw_version", "suggested_area", "configuration_url", "via_device",
}  # fmt: skip
ORIGIN_KEYS = {"name", "sw_version", "support_url"}
COMMON_KEYS = {
    "platform", "unique_id", "name", "state_topic", "value_template", "device_class", "entity_category",
    "enabled_by_default", "expire_after", "qos",
} | AVAILABILITY_KEYS  # fmt: skip
COMPONENT_KEYS = {
    "sensor": COMMON_KEYS
    | {"unit_of_measurement", "state_class", "suggested_display_precision", "options", "last_reset_value_template"},
    "binary_sensor": COMMON_KEYS | {"payload_on", "payload_off", "off_delay"},
}  # fmt: skip

MEASURED = {"measurement"}
COUNTED = {"total", "total_increasing"}
POWERS = {
    "power": {"mW", "W", "kW", "MW", "GW", "TW"},
    "reactive_power": {"var"},
    "apparent_power": {"VA"},
}
ENERGIES = {"J", "kJ", "MJ", "GJ", "mWh", "Wh", "kWh", "MWh", "GWh", "TWh", "cal", "kcal", "Mcal", "Gcal"}
CLASSES: Mapping[str, tuple[set[str], set[str]]] = {
    "power": (POWERS["power"], MEASURED),
    "reactive_power": (POWERS["reactive_power"], MEASURED),
    "apparent_power": (POWERS["apparent_power"], MEASURED),
    "energy": (ENERGIES, COUNTED),
    "energy_storage": (ENERGIES, MEASURED),
    "voltage": ({"mV", "V", "kV", "MV"}, MEASURED),
    "current": ({"mA", "A"}, MEASURED),
    "frequency": ({"Hz", "kHz", "MHz", "GHz"}, MEASURED),
    "power_factor": ({"%", ""}, MEASURED),
    "temperature": ({"°C", "°F", "K"}, MEASURED),
    "humidity": ({"%"}, MEASURED),
    "battery": ({"%"}, MEASURED),
    "pressure": ({"Pa", "hPa", "kPa", "bar", "cbar", "mbar", "mmHg", "inHg", "psi"}, MEASURED),
    "volume_flow_rate": ({"L/min", "m³/h", "mL/s", "ft³/min", "gal/min"}, MEASURED),
    "signal_strength": ({"dB", "dBm"}, MEASURED),
    "duration": ({"d", "h", "min", "s", "ms"}, MEASURED | COUNTED),
    "water": ({"L", "m³", "ft³", "gal", "CCF"}, COUNTED),
    "gas": ({"m³", "ft³", "CCF"}, COUNTED),
    "volume": ({"L", "m³", "ft³", "gal", "CCF"}, COUNTED),
    "timestamp": ({""}, set()),
    "enum": ({""}, set()),
}
"""Of each class of a sensor that both releases have: the units and the state classes that go with it."""

BINARY_CLASSES = {"running", "problem", "connectivity", "power", "heat", "cold", "safety"}
STATE_CLASSES = MEASURED | COUNTED
OWN_WORDS = {"unknown", "unavailable", "None", ""}
"""States that mean 'no value' to Home Assistant; an option of an enum must not be one."""


@dataclass(frozen=True)
class Published:
    """One discovery message."""

    topic: str
    payload: bytes


def check_all(messages: Iterable[Published], prefix: str = "homeassistant") -> list[str]:
    """All messages of an installation: each by itself, and what holds between them."""
    found = list(messages)
    problems = [one for message in found for one in check_device(message, prefix)]
    payloads = [json.loads(one.payload) for one in found if not check_device(one, prefix)]
    identifiers = [one for payload in payloads for one in payload["device"]["identifiers"]]
    problems += _twins("identifier", identifiers)
    problems += _twins("topic", [one.topic for one in found])
    problems += _twins(
        "unique_id",
        [
            f"{one['platform']} {one['unique_id']}"
            for payload in payloads
            for one in payload["components"].values()
            if "unique_id" in one
        ],
    )
    for payload in payloads:
        via = payload["device"].get("via_device")
        if via is not None and via not in identifiers:
            problems.append(f"via_device: {via} is no device that is published")
    return problems


def check_device(message: Published, prefix: str = "homeassistant") -> list[str]:
    """One message by itself."""
    try:
        payload = json.loads(message.payload)
    except ValueError:
        return ["payload: not JSON"]
    if not isinstance(payload, dict):
        return ["payload: not an object"]
    return [
        *_topic(message.topic, prefix),
        *_envelope(payload),
        *_device(payload.get("device")),
        *_availability(payload, "root"),
        *(
            one
            for key, component in (payload.get("components") or {}).items()
            for one in _component(key, component, payload)
        ),
    ]


def check_state(component: Mapping[str, Any], rendered: str) -> list[str]:
    """What an entity's template made of a message."""
    return list(_state(component, rendered))


def _state(component: Mapping[str, Any], rendered: str) -> Iterable[str]:
    if rendered == "None":
        return []
    if component["platform"] == "binary_sensor":
        allowed = {component.get("payload_on", "ON"), component.get("payload_off", "OFF")}
        return [] if rendered in allowed else [f"{rendered!r} is neither of {sorted(allowed)}"]
    if component.get("device_class") == "timestamp":
        return _is_time(rendered)
    if "options" in component:
        return [] if rendered in component["options"] else [f"{rendered!r} is no option"]
    if any(key in component for key in ("unit_of_measurement", "state_class", "suggested_display_precision")):
        return _is_number(rendered, component)
    return [] if 0 < len(rendered) <= 255 else ["a text has 1 to 255 characters"]


def _twins(what: str, values: list[str]) -> Iterator[str]:
    for value in sorted({one for one in values if values.count(one) > 1}):
        yield f"{what}: {value} is there more than once"


def _topic(topic: str, prefix: str) -> Iterator[str]:
    if not re.fullmatch(rf"{re.escape(prefix)}/device/(?:[a-zA-Z0-9_-]+/)?[a-zA-Z0-9_-]+/config", topic):
        yield f"topic: {topic} is not <prefix>/device/[<node>/]<id>/config with ids of [a-zA-Z0-9_-]"


def _envelope(payload: Mapping[str, Any]) -> Iterator[str]:
    if unknown := payload.keys() - ROOT_KEYS - AVAILABILITY_KEYS:
        yield f"root: {sorted(unknown)} drop the whole device"
    origin = payload.get("origin")
    if not isinstance(origin, dict) or not origin.get("name"):
        yield "origin: a name is required"
    elif unknown := origin.keys() - ORIGIN_KEYS:
        yield f"origin: {sorted(unknown)} drop the whole device"
    elif "support_url" in origin and not _is_url(origin["support_url"]):
        yield "origin: support_url is no URL"
    if not isinstance(payload.get("components"), dict) or not payload["components"]:
        yield "components: at least one is required"
    if payload.get("qos", 0) not in {0, 1, 2}:
        yield "qos: 0, 1 or 2"


def _device(device: Any) -> Iterator[str]:
    if not isinstance(device, dict):
        yield "device: required"
        return
    if unknown := device.keys() - DEVICE_KEYS:
        yield f"device: {sorted(unknown)} drop the whole device"
    if not device.get("identifiers") and not device.get("connections"):
        yield "device: identifiers or connections are required"
    if not device.get("name"):
        yield "device: without a name it is called after its identifier"
    if "configuration_url" in device and not _is_url(device["configuration_url"]):
        yield "device: configuration_url is no URL"


def _is_url(text: object) -> bool:
    return (
        isinstance(text, str) and urlsplit(text).scheme in {"http", "https"} and bool(urlsplit(text).netloc)
    )


def _availability(part: Mapping[str, Any], place: str) -> Iterator[str]:
    if "availability" in part and "availability_topic" in part:
        yield f"{place}: availability and availability_topic drop the whole device"
    if part.get("availability_mode", "latest") not in {"all", "any", "latest"}:
        yield f"{place}: availability_mode drops the whole device"
    entries = part.get("availability", [])
    if len(entries) > 1 and part.get("availability_mode", "latest") != "all":
        yield f"{place}: of several availabilities all must say online"
    for entry in entries:
        yield from _plain_topic(entry.get("topic"), f"{place}: availability")


def _plain_topic(topic: object, place: str) -> Iterator[str]:
    if not isinstance(topic, str) or not topic or any(char in topic for char in "+#\0"):
        yield f"{place}: {topic!r} is no topic to listen to"


def _component(key: str, component: Any, payload: Mapping[str, Any]) -> Iterator[str]:
    if not re.fullmatch(r"[a-zA-Z0-9_-]+", key):
        yield f"{key}: a key of [a-zA-Z0-9_-]"
    platform = component.get("platform")
    if platform not in COMPONENT_KEYS:
        yield f"{key}: platform is required, sensor or binary_sensor"
        return
    if component.keys() == {"platform"}:
        return  # says that it is to be removed
    if not component.get("unique_id"):
        yield f"{key}: unique_id is required, without it the whole device is dropped"
    if unknown := component.keys() - COMPONENT_KEYS[platform]:
        yield f"{key}: {sorted(unknown)} are ignored"
    yield from _availability(component, key)
    has_availability = {"availability", "availability_topic"} & (component.keys() | payload.keys())
    if not has_availability and component.get("device_class") != "connectivity":
        yield f"{key}: without availability an old value looks new"
    yield from _plain_topic(component.get("state_topic", payload.get("state_topic")), f"{key}: state_topic")
    yield from _name(key, component.get("name"), (payload.get("device") or {}).get("name", ""))
    if component.get("entity_category") not in {None, "diagnostic"}:
        yield f"{key}: entity_category can only be diagnostic"
    if component.get("qos", 0) not in {0, 1, 2}:
        yield f"{key}: qos is 0, 1 or 2"
    expire = component.get("expire_after", 0)
    if not isinstance(expire, int) or expire < 0:
        yield f"{key}: expire_after is whole seconds"
    yield from (_sensor if platform == "sensor" else _binary_sensor)(key, component)


def _name(key: str, name: object, device: str) -> Iterator[str]:
    if not isinstance(name, str) or not name:
        yield f"{key}: without a name it is called MQTT sensor"
    elif device and device.lower() in name.lower():
        yield f"{key}: the device's name would be shown twice"


def _sensor(key: str, component: Mapping[str, Any]) -> Iterator[str]:
    device_class, unit = component.get("device_class", ""), component.get("unit_of_measurement", "")
    state_class = component.get("state_class", "")
    if device_class and device_class not in CLASSES:
        yield f"{key}: {device_class} is not a class of every release"
    elif device_class:
        units, states = CLASSES[device_class]
        if unit not in units:
            yield f"{key}: {unit!r} does not go with {device_class}"
        if state_class and state_class not in states:
            yield f"{key}: {state_class} does not go with {device_class}"
    if state_class and state_class not in STATE_CLASSES:
        yield f"{key}: there is no state class {state_class}"
    if "last_reset_value_template" in component and state_class != "total":
        yield f"{key}: last_reset_value_template goes with total only"
    if unit and not device_class and component.get("enabled_by_default", True):
        yield f"{key}: a quantity without a class is off at first"
    yield from _options(key, component)
    precision = component.get("suggested_display_precision")
    is_number = unit or state_class
    if is_number and precision is None:
        yield f"{key}: without a precision its decimals are cut off"
    if precision is not None and (not isinstance(precision, int) or precision < 0):
        yield f"{key}: suggested_display_precision is 0 or more"


def _options(key: str, component: Mapping[str, Any]) -> Iterator[str]:
    options = component.get("options")
    if (component.get("device_class") == "enum") != bool(options):
        yield f"{key}: enum and its options go together"
    if options is not None and ("unit_of_measurement" in component or "state_class" in component):
        yield f"{key}: options have neither unit nor state class"
    for option in options or ():
        if not isinstance(option, str) or option in OWN_WORDS or len(option) > 255:
            yield f"{key}: {option!r} cannot be an option"
    if len(set(options or ())) != len(options or ()):
        yield f"{key}: an option is there twice"


def _binary_sensor(key: str, component: Mapping[str, Any]) -> Iterator[str]:
    if component.get("device_class") not in {None, *BINARY_CLASSES}:
        yield f"{key}: {component['device_class']} is no class of a binary sensor"
    if component.get("payload_on", "ON") == component.get("payload_off", "OFF"):
        yield f"{key}: on and off are the same"


def _is_number(rendered: str, component: Mapping[str, Any]) -> Iterator[str]:
    try:
        number = float(rendered)
    except ValueError:
        yield f"{rendered!r} is no number"
        return
    if not math.isfinite(number) or "_" in rendered or rendered != rendered.strip():
        yield f"{rendered!r} is no finite number"
    elif number < 0 and component.get("state_class") == "total_increasing":
        yield f"{rendered!r} is negative and cannot be a count"


def _is_time(rendered: str) -> Iterator[str]:
    try:
        has_offset = datetime.fromisoformat(rendered).tzinfo is not None
    except ValueError:
        has_offset = False
    if not has_offset:
        yield f"{rendered!r} is no ISO 8601 time with an offset"
