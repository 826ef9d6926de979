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


def room(name: str, origin: str = "rooms") -> Device:
    return Device(
        DeviceKey(Kind.SENSOR, name),
        name,
        PROFILE,
        {"temperature_celsius": PROFILE.fields["temperature_celsius"]},
        interval_s=450,
        origin=origin,
    )


@dataclass
class Rooms:
    """Listens to `<where>/<room>`: {"celsius": 20.5, "time_ms": 1795406706123}."""

    where: str = "rooms"
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
            celsius, time_ms = said["celsius"], said.get("time_ms")
        except (ValueError, KeyError, TypeError) as error:
            raise MessageError("expected celsius") from error
        name = heard.topic.rpartition("/")[2]
        device = self.known.setdefault(name, room(name, self.where))
        yield device, Report({"temperature_celsius": Stamped(celsius, time_ms) if time_ms else celsius})

    def ask(self, now: float, connection: int) -> Iterable[Message]:
        self.asked.append(connection)
        return [Message(f"{self.where}/hall/get", b"", qos=0)]
