"""The simulated Shelly, as the poller's source hears it: no socket between them."""

import msgspec
import pytest

from readings.message import Message
from simulator.house_bus import LiveHouse
from simulator.shelly import ADDRESSES, Shelly
from tests.poller.shelly.house import NOON_S, PRO2, House, Reading

CONFIG = f"""
[[shelly]]
prefix = "{PRO2}"
{"".join(f'[[shelly.sensor]]{chr(10)}name = "{name}"{chr(10)}address = "{at}"{chr(10)}' for name, at in ADDRESSES.items())}
[[shelly.thermostat]]
name = "room"
target = 21
current = "temp_indoor"
"""


class Air:
    """A house, its Shelly, and a poller that hears it."""

    def __init__(self, **keys: int) -> None:
        self.house = House(CONFIG)
        self.live = LiveHouse(start_s=NOON_S, monotonic=lambda: self.house.now)
        self.shelly = Shelly(**keys)
        self.say(self.shelly.hello())

    @property
    def now_s(self) -> float:
        return NOON_S + self.house.now

    @property
    def is_on(self) -> bool:
        return bool(self.live.thermostat_readings()["switch_state"])

    def say(self, message: Message) -> list[Reading]:
        return self.house.hears(message.topic, message.payload)

    def go_on(self, seconds: float) -> list[Reading]:
        """The poller asks, the Shelly answers and tells what has changed."""
        self.house.now += seconds
        said = self.live.sensor_readings(self.now_s)
        heard: list[Reading] = []
        for question in self.house.source.ask(self.house.now, 1):
            answer = self.shelly.answer(question.payload, said, is_on=self.is_on, now_s=self.now_s)
            heard += self.say(answer)
        for change in self.shelly.changes(said, is_on=self.is_on, now_s=self.now_s):
            heard += self.say(change)
        return heard


@pytest.mark.parametrize("first_id", [200, 230])
def test_what_its_sensors_report_is_what_the_poller_reads(first_id):
    air = Air(first_id=first_id)
    heard = [reading for _ in range(4) for reading in air.go_on(1)]
    latest: dict[str, dict[str, float]] = {}
    for reading in heard:
        latest.setdefault(reading.device, {}).update(reading.fresh)
    assert {name: latest[name] for name in ADDRESSES} == air.live.sensor_readings(air.now_s)
    assert latest["room"] == air.live.thermostat_readings()
    assert air.house.device("temp_outdoor").labels["device_id"] == str(first_id)


def test_every_broadcast_is_a_reading_at_its_own_time():
    air = Air()
    heard = [reading for _ in range(600) for reading in air.go_on(1)]
    seen = [
        one.fresh["last_seen_timestamp"]
        for one in heard
        if one.device == "temp_indoor" and "last_seen_timestamp" in one.fresh
    ]
    assert sorted(set(seen)) == [seen[0] + 60 * n for n in range(len(set(seen)))]
    assert len(set(seen)) in {10, 11}
    assert all(
        one.time_ms // 1000 == one.fresh["last_seen_timestamp"]
        for one in heard
        if "last_seen_timestamp" in one.fresh
    )


def test_it_tells_only_what_has_changed():
    air = Air()
    air.go_on(1)
    air.house.now += 61
    changes = list(air.shelly.changes(air.live.sensor_readings(air.now_s), is_on=air.is_on, now_s=air.now_s))
    params = [msgspec.json.decode(one.payload)["params"] for one in changes]
    assert {"last_updated_ts"} <= set(params[0]["bthomesensor:200"])
    assert "value" not in params[0]["bthomesensor:200"], "its battery is as it was"


def test_what_it_does_not_know_it_refuses():
    air = Air()
    refused = air.shelly.answer(
        b'{"id":1,"src":"me","method":"Explode"}', air.live.sensor_readings(air.now_s), is_on=True, now_s=1.0
    )
    assert msgspec.json.decode(refused.payload)["error"]["code"] == 404
    assert air.shelly.answer(b"{", {}, is_on=True, now_s=1.0) is None
