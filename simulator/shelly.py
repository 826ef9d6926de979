"""A Shelly Pro 2 that hears the house's Bluetooth sensors and switches its heating: what it publishes and answers.

As the real one, with the settings that it has from the factory: what has changed goes
out as NotifyStatus, everything else is asked by RPC, the list of components page by page.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from readings.message import Message

PREFIX = "shellypro2-00005e005301"
FIRST_ID = 200
PAGE = 5
"""So many components stand on one page of the answer."""

ADDRESSES: Mapping[str, str] = {
    "temp_outdoor": "00:00:5e:00:53:10",
    "temp_indoor": "00:00:5e:00:53:11",
    "temp_buffer": "00:00:5e:00:53:12",
}
"""The house's sensors, in the order in which they were paired."""

_OBJECTS = (
    ("battery_percent", 1, "Battery"),
    ("humidity_percent", 46, "Humidity"),
    ("temperature_celsius", 69, "Temperature"),
)
"""What a sensor broadcasts: BTHome's object ids, in the order in which the gateway numbers them."""

Readings = Mapping[str, Mapping[str, int | float]]
"""What each sensor reported last, by its name; `last_seen_timestamp` says when."""


class Shelly:
    """What the device says, given what its sensors and its switch are.

    Args:
        first_id: The first id of its Bluetooth components; it differs from house to house.
    """

    def __init__(self, prefix: str = PREFIX, *, first_id: int = FIRST_ID) -> None:
        self.prefix = prefix
        self._first_id = first_id
        self._told: dict[str, Mapping[str, Any]] = {}

    @property
    def will(self) -> Message:
        """What the broker says when the device is gone."""
        return Message(f"{self.prefix}/online", b"false", retain=True)

    def hello(self) -> Message:
        """What it says when it has come."""
        self._told.clear()
        return Message(f"{self.prefix}/online", b"true", retain=True)

    def changes(self, readings: Readings, *, is_on: bool, now_s: float) -> Iterator[Message]:
        """What is new since it spoke last: one notification per component, as the radio messages come in."""
        for component, status in self._statuses(readings, is_on=is_on):
            before = self._told.get(component)
            if before == status:
                continue
            self._told[component] = status
            if before is not None:
                change = {
                    key: value for key, value in status.items() if key == "id" or before.get(key) != value
                }
                yield self._notify(now_s, component, change)

    def answer(self, request: bytes, readings: Readings, *, is_on: bool, now_s: float) -> Message | None:
        """The answer to a request on its `rpc` topic; `None` to what is none."""
        try:
            asked = msgspec.json.decode(request, type=_Request)
        except msgspec.DecodeError:
            return None
        head = {"id": asked.id, "src": self.prefix, "dst": asked.src}
        statuses = dict(self._statuses(readings, is_on=is_on))
        body: dict[str, Any]
        if asked.method == "Shelly.GetComponents":
            body = {"result": self._page(int(asked.params.get("offset", 0)), statuses)}
        elif asked.method == "Shelly.GetStatus":
            own = {key: status for key, status in statuses.items() if not key.startswith("bthome")}
            body = {"result": {"sys": {"mac": self.prefix[-12:].upper(), "unixtime": int(now_s)}, **own}}
        else:
            body = {"error": {"code": 404, "message": f"No handler for {asked.method}"}}
        return Message(f"{asked.src}/rpc", msgspec.json.encode({**head, **body}))

    def _notify(self, now_s: float, component: str, change: Mapping[str, Any]) -> Message:
        frame = {
            "src": self.prefix,
            "dst": f"{self.prefix}/events",
            "method": "NotifyStatus",
            "params": {"ts": round(now_s, 2), component: change},
        }
        return Message(f"{self.prefix}/events/rpc", msgspec.json.encode(frame))

    def _statuses(self, readings: Readings, *, is_on: bool) -> Iterator[tuple[str, Mapping[str, Any]]]:
        for number, name in enumerate(ADDRESSES):
            values = readings[name]
            seen = values["last_seen_timestamp"]
            for nth, (what, _, _) in enumerate(_OBJECTS):
                key = self._first_id + number * len(_OBJECTS) + nth
                yield f"bthomesensor:{key}", {"id": key, "value": values[what], "last_updated_ts": seen}
            key = self._first_id + number
            yield (
                f"bthomedevice:{key}",
                {
                    "id": key,
                    "rssi": values["rssi_dbm"],
                    "battery": values["battery_percent"],
                    "packet_id": int(seen / 60) % 256,
                    "last_updated_ts": seen,
                    "paired": True,
                    "rpc": True,
                    "rsv": 1,
                },
            )
        yield (
            "switch:0",
            {"id": 0, "source": "init", "output": is_on, "temperature": {"tC": 34.8, "tF": 94.6}},
        )

    def _page(self, offset: int, statuses: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
        components = [
            {"key": key, "status": statuses[key], "config": {"id": statuses[key]["id"], **config}}
            for key, config in self._configs()
        ]
        return {
            "components": components[offset : offset + PAGE],
            "cfg_rev": 12,
            "offset": offset,
            "total": len(components),
        }

    def _configs(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        for number, address in enumerate(ADDRESSES.values()):
            yield f"bthomedevice:{self._first_id + number}", {"addr": address, "name": None}
        for number, address in enumerate(ADDRESSES.values()):
            for nth, (_, object_id, name) in enumerate(_OBJECTS):
                key = self._first_id + number * len(_OBJECTS) + nth
                yield f"bthomesensor:{key}", {"addr": address, "name": name, "obj_id": object_id, "idx": 0}


class _Request(msgspec.Struct):
    """A request, as far as it is understood."""

    id: int
    src: str
    method: str
    params: dict[str, Any] = {}
