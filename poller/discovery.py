"""What Home Assistant is told of a device: made from its fields' rows of the vocabulary and its profile alone.

Home Assistant has a class for many quantities, and refuses a class with a
unit that does not go with it. The classes here are those that every release
from 2025.4 on takes with the unit in question; a quantity without such a
class is a number with a unit, and off until somebody wants it.
"""

import json
from collections.abc import Mapping
from math import ceil
from types import MappingProxyType
from typing import Literal

from msgspec.structs import replace

from poller.device import Device
from poller.points import Field
from readings.discovery import EPOCH_TO_ISO, Availability, Component, Discovery, DiscoveryTopics, ShownDevice
from readings.program_discovery import ORIGIN, describe_program, latest, total
from readings.topics import Leaf, Program, ProgramLeaf
from readings.vocabulary import Quantity

CLASSES: Mapping[str, str] = MappingProxyType(
    {
        "W": "power",
        "kW": "power",
        "Wh": "energy",
        "kWh": "energy",
        "V": "voltage",
        "A": "current",
        "Hz": "frequency",
        "var": "reactive_power",
        "VA": "apparent_power",
        "°C": "temperature",
        "Pa": "pressure",
        "hPa": "pressure",
        "bar": "pressure",
        "L/min": "volume_flow_rate",
        "m³/h": "volume_flow_rate",
        "dBm": "signal_strength",
        "h": "duration",
        "min": "duration",
        "s": "duration",
    }
)
"""Home Assistant's class of what is measured in a unit. `kvar`, `kVA`, `kvarh` and `K` (a difference) have none yet."""

INTERVALS = 3
SHORTEST_S = 30
"""A device that has been silent for so many intervals, and for so many seconds, is unavailable: its poller
may hang, or the broker be cut off from it, and then nobody says `offline`."""


def describe_to_home_assistant(device: Device, poller: str, topics: DiscoveryTopics) -> Discovery:
    """A device with an entity for each of its fields.

    Args:
        device: What is announced.
        poller: The name of the poller that reads it.
        topics: Where Home Assistant listens.
    """
    scheme = topics.topics
    kind, name = device.key.kind.value, device.key.name
    identifier = topics.identify(kind, name)
    # A state comes as often as the field that is read most often.
    interval_s = min((device.interval_of(field) for field in device.fields), default=device.interval_s)
    expire_s = max(SHORTEST_S, ceil(INTERVALS * interval_s))
    return Discovery(
        device=ShownDevice(
            identifiers=(identifier,),
            name=device.title,
            manufacturer=device.profile.manufacturer,
            model=device.profile.model,
            via_device=topics.identify(Program.POLLER, poller),
        ),
        origin=ORIGIN,
        state_topic=scheme.device(device.key, Leaf.STATE),
        availability=(
            Availability(scheme.program(Program.POLLER, poller, ProgramLeaf.AVAILABILITY)),
            Availability(scheme.device(device.key, Leaf.AVAILABILITY)),
        ),
        availability_mode="all",
        components={
            field: describe_field(field, one, unique_id=f"{identifier}/{field}", expire_after=expire_s)
            for field, one in device.fields.items()
        },
    )


def describe_poller(name: str, topics: DiscoveryTopics) -> Discovery:
    """The poller itself: whether it is there, and how it fares."""
    return describe_program(
        Program.POLLER,
        name,
        topics,
        {
            "last_poll": Component(
                platform="sensor",
                name="Last poll",
                device_class="timestamp",
                value_template=latest("poller_last_reading_timestamp_seconds"),
            ),
            "failed_requests": Component(
                platform="sensor",
                name="Failed requests",
                state_class="total_increasing",
                suggested_display_precision=0,
                value_template=total("poller_request_failures_total"),
            ),
            "refused_readings": Component(
                platform="sensor",
                name="Refused readings",
                state_class="total_increasing",
                suggested_display_precision=0,
                value_template=total("poller_readings_rejected_total"),
            ),
        },
    )


def describe_field(name: str, field: Field, *, unique_id: str, expire_after: int) -> Component:
    """The entity of one field.

    Args:
        name: The field's name, its key in a state.
        field: What the profile and the vocabulary say of it.
        unique_id: By what Home Assistant knows it for ever.
        expire_after: Seconds of silence after which it is unavailable.
    """
    quantity = field.quantity
    # A field that has left is missing for a moment before its entity leaves; that is no value, and no line of log.
    # A dictionary's own methods come first behind a dot, and a field may be called `items`.
    place = f"value_json['{name}']" if hasattr(dict, name) else f"value_json.{name}"
    value = f"{place} | default(none)"
    common = Component(
        platform="sensor",
        unique_id=unique_id,
        name=quantity.short,
        value_template=f"{{{{ {value} }}}}",
        device_class=quantity.device_class or CLASSES.get(quantity.unit, ""),
        entity_category="diagnostic" if quantity.diagnostic else "",
        enabled_by_default=quantity.shown,
        expire_after=expire_after,
    )
    if quantity.kind == "bit":
        return replace(common, platform="binary_sensor", payload_on="1", payload_off="0")
    if field.words:
        return replace(
            common,
            device_class="enum",
            options=tuple(dict.fromkeys(field.words.values())),
            value_template=f"{{{{ {_words_by_number(field.words)}.get({value}) }}}}",
        )
    if common.device_class == "timestamp":
        return replace(common, value_template=f"{{{{ {value} | {EPOCH_TO_ISO} }}}}")
    return replace(
        common,
        unit_of_measurement=quantity.unit,
        state_class=_state_class(quantity, common.device_class),
        suggested_display_precision=quantity.decimals,
        enabled_by_default=quantity.shown and not (quantity.unit and not common.device_class),
    )


def _state_class(quantity: Quantity, device_class: str) -> Literal["", "measurement", "total_increasing"]:
    """What statistics are made of a number: none of codes, and none of counts that are not to be added up."""
    if quantity.kind == "energy":
        return "total_increasing"
    is_code = not quantity.unit and not device_class and not quantity.decimals
    return "" if is_code or device_class == "energy" else "measurement"


def _words_by_number(words: Mapping[str, str]) -> str:
    """The words as a dictionary in the language of templates; a number without a word gives none.

    >>> _words_by_number({"0": "standby", "2": "heating"})
    '{0: "standby", 2: "heating"}'
    """
    return (
        "{" + ", ".join(f"{key}: {json.dumps(word, ensure_ascii=False)}" for key, word in words.items()) + "}"
    )
