"""Shelly devices as a source: what they publish becomes reports, what is not known of them is asked."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from poller.assemble import Report, Stamped
from poller.device import Device
from poller.errors import MessageError
from poller.sources.heard import Heard
from poller.sources.shelly.asking import Asking
from poller.sources.shelly.components import Component, Memory, read_page
from poller.sources.shelly.frames import Answer, Changed, Presence, Told, filters, is_from, read, time_of
from poller.sources.shelly.making import (
    LAST_SEEN,
    ORIGIN,
    TEMPERATURE,
    Made,
    Place,
    Profiles,
    bluetooth_sensors,
    meters,
    name_bluetooth,
    switches,
    wired_sensors,
)
from poller.sources.shelly.overlay import has, lay_over, number_at
from poller.sources.shelly.tables import ShellySettings
from readings.message import Message
from readings.reading import Value

COPY_WITHIN_S = 5.0
"""A device that is set to publish each component too says everything twice; the second time is no reading."""

_SEEN = re.compile("(temperature|humidity|devicepower|em|em1):[0-9]{1,3}|wifi")
_KEPT_KEYS = ("value", "rssi", "battery", "last_updated_ts")

Values = dict[str, Value | Stamped]


@dataclass(slots=True)
class _Gateway:
    """What is known of one Shelly."""

    settings: ShellySettings
    asking: Asking
    components: tuple[Component, ...] = ()
    listed: tuple[Component, ...] = ()
    statuses: dict[str, dict[str, Any]] = field(default_factory=dict)
    seen: frozenset[str] = frozenset()
    told: dict[str, tuple[float, Mapping[str, Any]]] = field(default_factory=dict)

    def publishes(self, topic: str) -> bool:
        """Whether a topic is this Shelly's."""
        return is_from(self.settings.prefix, self.asking.signature, topic)

    def is_copy(self, told: Told, heard: Heard) -> bool:
        """Whether a component's own topic repeats what was in a notification just now."""
        if not heard.topic.startswith(f"{self.settings.prefix}/status/"):
            self.told[told.component] = (heard.at, told.status)
            return False
        at, before = self.told.get(told.component, (float("-inf"), {}))
        is_same = all(told.status.get(key) == value for key, value in before.items() if value is not None)
        return heard.at - at <= COPY_WITHIN_S and is_same


class ShellySource:
    """Everything that the configured Shelly devices publish.

    Args:
        settings: The configured ones.
        profiles: What their sensors, meters and switches are.
        signature: What questions are signed with; answers to the first device come on `<signature>-0/rpc`,
            one level, as access rules for Shelly devices have it.
    """

    name = ORIGIN

    def __init__(self, settings: Sequence[ShellySettings], profiles: Profiles, *, signature: str) -> None:
        self._profiles = profiles
        self._gateways = {
            one.prefix: _Gateway(one, Asking(one.prefix, f"{signature}-{place}"))
            for place, one in enumerate(settings)
        }
        self.filters = tuple(
            topic for prefix, one in self._gateways.items() for topic in filters(prefix, one.asking.signature)
        )
        self._made: dict[str, Made] = {}
        self._where: dict[tuple[str, str], list[tuple[Made, str, Place]]] = {}
        self._make()

    @property
    def devices(self) -> Sequence[Device]:
        """Those of the configuration, and those that were found."""
        return [one.device for one in self._made.values()]

    def restore(self, memory: bytes) -> None:
        """Begin with what the devices had told in an earlier run."""
        try:
            known = msgspec.json.decode(memory, type=dict[str, Memory])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise MessageError(str(error)) from error
        for prefix, one in known.items():
            if prefix in self._gateways:
                gateway = self._gateways[prefix]
                gateway.components = gateway.listed = tuple(one.components)
                gateway.statuses = one.statuses
                gateway.seen = frozenset(one.seen)
        self._made = {}
        self._make()

    def keep(self) -> bytes | None:
        """What the devices have told; readings that are told in pieces go on from it."""
        return msgspec.json.encode(
            {
                prefix: Memory(list(one.components), one.statuses, sorted(one.seen))
                for prefix, one in self._gateways.items()
            }
        )

    def hear(self, heard: Heard) -> Iterator[tuple[Device, Report]]:
        """What a message says, by device."""
        gateway = next(one for one in self._gateways.values() if one.publishes(heard.topic))
        told: list[Told] = []
        for event in read(gateway.settings.prefix, heard.topic, heard.payload):
            if isinstance(event, Told):
                told.append(event)
            elif isinstance(event, Answer):
                told += self._take_answer(gateway, event, heard.at)
            elif isinstance(event, Presence):
                gateway.asking.note_presence(heard.at, is_online=event.is_online)
            elif isinstance(event, Changed):
                gateway.asking.want_components(heard.at)
        for device in self._find(gateway, told):
            yield device, Report({})
        values: dict[str, Values] = {}
        for one in told:
            if one.component.startswith("bthome"):
                found = self._of_bluetooth(gateway, one)
            elif (gateway.settings.prefix, one.component) not in self._where or gateway.is_copy(one, heard):
                continue
            else:
                found = self._of_component(gateway, one, heard)
            for name, brought in found.items():
                before = values.get(name, {})
                values[name] = before | brought | _latest_seen(before, brought)
        time_ms = next((one.time_ms for one in told), None)
        for name, brought in values.items():
            yield self._made[name].device, Report(brought, time_ms)

    def ask(self, now: float, connection: int) -> Iterable[Message]:
        """What the devices are asked now."""
        for gateway in self._gateways.values():
            yield from gateway.asking.due(now, connection)

    def _take_answer(self, gateway: _Gateway, answer: Answer, now: float) -> Iterator[Told]:
        """What an answer says of the components' status; a list of components is kept when it is whole."""
        if not gateway.asking.expects(answer.number):
            return  # another run's, or too late
        if answer.error:
            if not gateway.asking.is_listing(answer.number):
                raise MessageError(f"{gateway.settings.prefix} refuses a request: {answer.error}")
            gateway.asking.note_refusal(answer.number, now)
        elif gateway.asking.is_listing(answer.number):
            listing = gateway.asking.note_page(answer.number, read_page(answer.result), now)
            if listing is not None:
                gateway.listed = listing.components
                yield from (Told(key, status, is_whole=True) for key, status in listing.statuses.items())
        else:
            gateway.asking.note_answer(answer.number)
            for component, status in answer.result.items():
                if isinstance(status, dict):
                    yield Told(component, status, is_whole=True)

    def _find(self, gateway: _Gateway, told: Sequence[Told]) -> list[Device]:
        """Make what is new of the components that a message names; our devices that it brought."""
        seen = gateway.seen | {one.component for one in told if _SEEN.fullmatch(one.component)}
        if seen == gateway.seen and gateway.listed == gateway.components:
            return []
        gateway.seen = seen
        if gateway.listed != gateway.components:
            gateway.components = gateway.listed
            gone = gateway.statuses.keys() - {one.key for one in gateway.components}
            for key in gone:
                del gateway.statuses[key]
        before = self._made
        self._make()
        return [
            one.device
            for name, one in self._made.items()
            if name not in before or before[name].device.fields.keys() != one.device.fields.keys()
        ]

    def _of_bluetooth(self, gateway: _Gateway, told: Told) -> dict[str, Values]:
        """A value carries the time of the radio message that brought it, however often the gateway repeats it."""
        change = {key: value for key, value in told.status.items() if key in _KEPT_KEYS}
        if "value" in change and "last_updated_ts" not in change and told.time_ms is not None:
            change["last_updated_ts"] = told.time_ms / 1000
        where = self._where.get((gateway.settings.prefix, told.component), ())
        if not where:
            if not any(one.key == told.component for one in gateway.components):
                gateway.asking.want_components_soon()
            return {}
        known = {} if told.is_whole else gateway.statuses.get(told.component, {})
        status = gateway.statuses[told.component] = lay_over(known, change)
        seen_ms = time_of(status.get("last_updated_ts"))
        found: dict[str, Values] = {}
        for made, name, place in where:
            value = place.correct(number_at(status, place.path))
            if value is None:
                continue  # the gateway has started, and does not know yet
            values = found.setdefault(made.device.key.name, {})
            values[name] = value if seen_ms is None else Stamped(value, seen_ms)
            if seen_ms is not None and LAST_SEEN in made.device.fields:
                values[LAST_SEEN] = Stamped(seen_ms // 1000, seen_ms)
        return found

    def _of_component(self, gateway: _Gateway, told: Told, heard: Heard) -> dict[str, Values]:
        found: dict[str, Values] = {}
        for made, name, place in self._where.get((gateway.settings.prefix, told.component), ()):
            values = found.setdefault(made.device.key.name, {})
            if not has(told.status, place.path) or _is_believable(made, name, values.get(name)):
                continue
            value = place.correct(number_at(told.status, place.path))
            if name not in values or _is_believable(made, name, value):
                values[name] = value
        seen_ms = told.time_ms or (heard.wall_ms if heard.is_live else None)
        for key, values in found.items():
            made = self._made[key]
            if values and LAST_SEEN in made.device.fields and seen_ms is not None:
                values[LAST_SEEN] = seen_ms // 1000
            if "switch_state" in values:
                values.update(made.constants)
        return {key: values for key, values in found.items() if values}

    def _make(self) -> None:
        """Make our devices of what is known. The labels with which one was announced hold until the poller ends."""
        before = self._made
        self._made = {}
        for made in self._all():
            name = made.device.key.name
            labels = before[name].device.labels if name in before else made.device.labels
            self._made.setdefault(name, replace(made, device=replace(made.device, labels=labels)))
        self._where = {}
        for one in self._made.values():
            if one.may_rest:
                self._gateways[one.gateway].asking.ask_often()
            for name, places in one.places.items():
                for place in places:
                    self._where.setdefault((one.gateway, place.component), []).append((one, name, place))
        self._join_sensors()

    def _join_sensors(self) -> None:
        """A thermostat shows the temperature of the sensor that it switches by."""
        for gateway in self._gateways.values():
            for table in gateway.settings.thermostats:
                sensor = self._made.get(table.current or "")
                if sensor is None:
                    continue  # the gateway has not said yet which component it is
                for place in sensor.places.get(TEMPERATURE, ()):
                    entry = (self._made[table.name], "current_temperature_celsius", place)
                    self._where.setdefault((sensor.gateway, place.component), []).append(entry)

    def _all(self) -> Iterator[Made]:
        named = {
            one.address: gateway.settings.prefix
            for gateway in self._gateways.values()
            for one in gateway.settings.sensors
            if one.address is not None
        }
        configured = {name for gateway in self._gateways.values() for name in gateway.settings.names}
        names = name_bluetooth(
            (one for gateway in self._gateways.values() for one in gateway.components), configured
        )
        for prefix, gateway in self._gateways.items():
            elsewhere = frozenset(address for address, owner in named.items() if owner != prefix)
            yield from bluetooth_sensors(
                gateway.settings, gateway.components, elsewhere, names, self._profiles.bluetooth
            )
            yield from wired_sensors(gateway.settings, gateway.seen, configured, self._profiles.wired)
            yield from meters(gateway.settings, gateway.seen, configured, self._profiles)
            yield from switches(gateway.settings, self._profiles)


def _latest_seen(*values: Values) -> Values:
    """When a sensor was last heard of: each of its components has a time of its own."""
    seen = [one for each in values if isinstance(one := each.get(LAST_SEEN), Stamped)]
    return {LAST_SEEN: max(seen, key=lambda one: one.time_ms)} if seen else {}


def _is_believable(made: Made, name: str, value: Value | Stamped) -> bool:
    bounds = made.device.fields[name].rules.range
    return isinstance(value, int | float) and (bounds is None or bounds[0] <= value <= bounds[1])
