"""A poller's Shelly source and filters, fed with messages by hand."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from poller.assemble import Report
from poller.device import Device
from poller.sources.heard import Heard
from poller.sources.shelly.loading import load_shelly
from poller.sources.shelly.source import ShellySource
from poller.sources.shelly.tables import ShellyTable, read_shelly
from poller.trackers import Arrival, Trackers
from poller.walltime import WallTime
from readings.health import POLLER_HEALTH, Tally
from readings.release import RELEASED_MS

RECORDED = tomllib.loads((Path(__file__).parents[2] / "data" / "shelly" / "messages.toml").read_text())
PRO2 = "shellypro2-00005e005301"
SIGNATURE = "heating-poller-house-sources-0"
NOON_S = RELEASED_MS // 1000 + 86400
CLOCK = WallTime(NOON_S * 1000.0, 0.0, is_trusted=True)


@dataclass(frozen=True)
class Reading:
    """What is fresh in a state, and when it was."""

    device: str
    time_ms: int | None
    fresh: Mapping[str, Any]


class Config(msgspec.Struct, forbid_unknown_fields=True):
    shelly: tuple[ShellyTable, ...]


def load(config: str) -> ShellySource:
    settings = read_shelly(msgspec.convert(tomllib.loads(config), Config).shelly)
    (source,) = load_shelly(settings, poller="house")
    return source


class House:
    """Monotonic time 0 is noon of a day after the release."""

    def __init__(self, config: str = f'[[shelly]]\nprefix = "{PRO2}"') -> None:
        self.config = config
        self.source = load(config)
        self.trackers = Trackers([], Tally(POLLER_HEALTH))
        self.trackers.restore({}, 0.0)
        for device in self.source.devices:
            self.trackers.admit(device, 0.0)
        self.now = 0.0

    def restart(self, config: str | None = None) -> None:
        """What the source kept is all that is left of it; the filters' state is the journal's business."""
        kept = self.source.keep()
        self.source = load(config or self.config)
        assert kept is not None
        self.source.restore(kept)

    def hears(self, topic: str, payload: object, *, is_live: bool = True) -> list[Reading]:
        data = payload if isinstance(payload, bytes) else msgspec.json.encode(payload)
        heard = Heard(topic, data, False, is_live, self.now, CLOCK.at(self.now))
        return [
            reading
            for device, report in self.source.hear(heard)
            for part in replace(report, is_live=is_live).parts()
            for reading in self._fold(device, part)
        ]

    def hears_recorded(self, name: str) -> list[Reading]:
        """A recorded message, at the time of its recording."""
        return self.hears(RECORDED[name]["topic"], RECORDED[name]["payload"].encode())

    def notified(
        self, component: str, prefix: str = PRO2, ts: float | None = None, **status: object
    ) -> list[Reading]:
        params = {"ts": NOON_S + self.now if ts is None else ts, component: status}
        return self.hears(f"{prefix}/events/rpc", {"method": "NotifyStatus", "params": params})

    def asks(self, connection: int = 1) -> list[dict[str, Any]]:
        """What is asked now."""
        return [msgspec.json.decode(one.payload) for one in self.source.ask(self.now, connection)]

    def answers(self, number: int, result: object, signature: str = SIGNATURE) -> list[Reading]:
        return self.hears(f"{signature}/rpc", {"id": number, "src": PRO2, "dst": signature, "result": result})

    def lists(self, *components: dict[str, Any], connection: int = 1) -> list[Reading]:
        """The gateway is asked for its components and gives these."""
        (number,) = [one["id"] for one in self.asks(connection) if one["method"] == "Shelly.GetComponents"]
        return self.answers(number, {"components": components, "offset": 0, "total": len(components)})

    def device(self, name: str) -> Device:
        (device,) = [one for one in self.source.devices if one.key.name == name]
        return device

    def names(self) -> set[str]:
        return {one.key.name for one in self.source.devices}

    def _fold(self, device: Device, report: Report) -> list[Reading]:
        self.trackers.admit(device, self.now)
        snapshot = self.trackers.fold(device, Arrival(report, self.now), CLOCK).snapshot
        if snapshot is None:
            return []
        fresh = {
            name: value
            for name, value in snapshot.values.items()
            if value is not None and name not in snapshot.held
        }
        return [Reading(device.key.name, snapshot.time_ms, fresh)]


def blu(
    number: int,
    address: str,
    *,
    first: int,
    name: str | None = None,
    seen_s: int | None = NOON_S,
    celsius: float | None = 20.4,
) -> list[dict[str, Any]]:
    """A Bluetooth H&T as a gateway lists it: battery, humidity and temperature are three ids from `first` on."""
    stamp = {} if seen_s is None else {"last_updated_ts": seen_s}
    sensors = ((1, 100, "Battery"), (46, 63, "Humidity"), (69, celsius, "Temperature"))
    return [
        {
            "key": f"bthomedevice:{number}",
            "status": {"id": number, **({"rssi": -49, "battery": 100} if seen_s else {}), **stamp},
            "config": {"id": number, "addr": address, "name": name},
        },
        *(
            {
                "key": f"bthomesensor:{first + nth}",
                "status": {"id": first + nth, "value": value if seen_s else None, **stamp},
                "config": {"id": first + nth, "addr": address, "name": word, "obj_id": kind, "idx": 0},
            }
            for nth, (kind, value, word) in enumerate(sensors)
        ),
    ]
