"""A source for the tests: a room's topic says its temperature, with or without the time."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

from poller.assemble import Report, Stamped
from poller.device import Device
from poller.errors import MessageError
from poller.profile import load_profile
from poller.sources import Heard
from readings.broker import Message
from readings.reading import DeviceKey, Kind

PROFILE = load_profile("shelly-blu-ht")


def room(name: str, origin: str = "rooms", fields: tuple[str, ...] = ("temperature_celsius",)) -> Device:
    return Device(
        DeviceKey(Kind.SENSOR, name),
        name,
        PROFILE,
        {one: PROFILE.fields[one] for one in fields},
        interval_s=450,
        origin=origin,
    )


@dataclass
class Rooms:
    """Listens to `<where>/<room>`: {"celsius": 20.5, "time_ms": 1795406706123}; or with names of its fields."""

    where: str = "rooms"
    fields: tuple[str, ...] = ("temperature_celsius",)
    known: dict[str, Device] = field(default_factory=dict)
    heard: list[Heard] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.where

    @property
    def filters(self) -> tuple[str, ...]:
        return (f"{self.where}/+",)

    @property
    def devices(self) -> tuple[Device, ...]:
        return tuple(self.known.values())

    def restore(self, memory: bytes) -> None:
        if memory == b"torn":
            raise MessageError("it cannot be read")
        self.known = {name: room(name, self.where) for name in json.loads(memory)}

    def keep(self) -> bytes | None:
        return json.dumps(sorted(self.known)).encode() if self.known else None

    def hear(self, heard: Heard) -> Iterable[tuple[Device, Report]]:
        self.heard.append(heard)
        if heard.payload == b"bug":
            raise ZeroDivisionError
        try:
            said = json.loads(heard.payload)
            time_ms = said.pop("time_ms", None)
            values = {"temperature_celsius": said.pop("celsius")} if "celsius" in said else said
            values = {name: values[name] for name in self.fields if name in values}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise MessageError("expected celsius") from error
        if not values:
            raise MessageError("expected celsius")
        name = heard.topic.rpartition("/")[2]
        device = self.known.setdefault(name, room(name, self.where, self.fields))
        stamped = {name: Stamped(value, time_ms) if time_ms else value for name, value in values.items()}
        yield device, Report(stamped)

    def ask(self, now: float, connection: int) -> Iterable[Message]:
        self.asked.append(connection)
        return [Message(f"{self.where}/hall/get", b"", qos=0)]
