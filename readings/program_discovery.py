"""What Home Assistant is told of a program of this project, read from the health that it publishes."""

from collections.abc import Mapping

from msgspec.structs import replace

from readings.discovery import (
    EPOCH_TO_ISO,
    Availability,
    Component,
    Discovery,
    DiscoveryTopics,
    Origin,
    ShownDevice,
)
from readings.release import VERSION
from readings.topics import Program, ProgramLeaf

ORIGIN = Origin(name="heating", sw_version=VERSION)

EXPIRE_AFTER_S = 100
"""Health comes every half minute; three times in a row it does not fail by chance."""


def describe_program(
    program: Program, name: str, topics: DiscoveryTopics, components: Mapping[str, Component]
) -> Discovery:
    """A program as a device: whether it is there, its version, and what it counts.

    Args:
        program: Which of them.
        name: Its name in its topics.
        topics: Where Home Assistant listens.
        components: What its health is shown as, by a key that never changes; ids and topics are added here.
    """
    identifier = topics.identify(program, name)
    availability = topics.topics.program(program, name, ProgramLeaf.AVAILABILITY)
    # Home Assistant shows a connection as broken only when the entity that says so is itself available.
    connection = Component(
        platform="binary_sensor",
        unique_id=f"{identifier}/connection",
        name="Connection",
        state_topic=availability,
        device_class="connectivity",
        payload_on="online",
        payload_off="offline",
        entity_category="diagnostic",
    )
    version = Component(platform="sensor", name="Version", value_template="{{ value_json.version }}")
    return Discovery(
        device=ShownDevice(
            identifiers=(identifier,),
            name=f"Heating {program}" + ("" if name == program else f" {name}"),
            sw_version=VERSION,
        ),
        origin=ORIGIN,
        state_topic=topics.topics.program(program, name, ProgramLeaf.HEALTH),
        components={"connection": connection}
        | {
            key: replace(
                one,
                unique_id=f"{identifier}/{key}",
                entity_category="diagnostic",
                expire_after=EXPIRE_AFTER_S,
                availability=(Availability(availability),),
            )
            for key, one in {"version": version, **components}.items()
        },
    )


def total(metric: str) -> str:
    """A template: the sum of all samples of a metric; 0 for what was never counted."""
    return f"{{{{ {_values(metric)} | sum | int }}}}"


def only(metric: str) -> str:
    """A template: the one sample of a metric, as a whole number."""
    return f"{{{{ {_values(metric)} | map('int') | first | default(none) }}}}"


def latest(metric: str) -> str:
    """A template: the newest of a metric's times."""
    return f"{{{{ {_values(metric)} | max | default(none) | {EPOCH_TO_ISO} }}}}"


def _values(metric: str) -> str:
    return f"value_json.metrics.{metric} | default([]) | map(attribute='value')"
