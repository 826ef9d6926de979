"""Who takes part: the devices of the configuration, and those that sources find."""

from dataclasses import replace

import pytest

from poller.device import Device
from poller.errors import RefusedDeviceError
from poller.profile import load_profile
from poller.roster import Roster
from readings.reading import DeviceKey, Kind

PROFILE = load_profile("shelly-blu-ht")


def sensor(name: str, *fields: str, origin: str = "shelly", **labels: str) -> Device:
    chosen = {one: PROFILE.fields[one] for one in fields or ("temperature_celsius",)}
    return Device(DeviceKey(Kind.SENSOR, name), name, PROFILE, chosen, 450, labels=labels, origin=origin)


def test_a_device_that_a_source_finds_takes_part_once():
    roster = Roster([sensor("hall")])
    assert roster.admit(sensor("attic"))
    assert not roster.admit(sensor("attic"))
    assert [key.name for key in roster.devices] == ["hall", "attic"]


def test_a_device_may_gain_fields_and_loses_none():
    """Its states of this run all have what was announced of it."""
    roster = Roster([sensor("hall")])
    assert roster.admit(sensor("hall", "humidity_percent"))
    assert not roster.admit(sensor("hall"))
    assert set(roster.devices[DeviceKey(Kind.SENSOR, "hall")].fields) == {
        "temperature_celsius",
        "humidity_percent",
    }


@pytest.mark.parametrize(
    ("what", "second", "reason"),
    [
        ("another source's device of the name", sensor("hall", origin="import"), "name"),
        ("the same one with other labels", sensor("hall", sensor_name="hall"), "name"),
        ("a device of another kind", replace(sensor("hall"), key=DeviceKey(Kind.METER, "hall")), "name"),
        ("another device with its series", sensor("attic", device="hall"), "series"),
    ],
)
def test_two_sources_of_one_name_or_series_are_refused(what, second, reason):
    roster = Roster([sensor("hall")])
    with pytest.raises(RefusedDeviceError, match="sensor/hall") as refused:
        roster.admit(second)
    assert refused.value.reason == reason, what
    assert len(roster.devices) == 1


def test_what_others_publish_cannot_make_series_without_end():
    roster = Roster([sensor("a", "temperature_celsius", "humidity_percent")], most_series=4)
    roster.admit(sensor("b", "temperature_celsius", "humidity_percent"))
    with pytest.raises(RefusedDeviceError, match=r"more than 4 series \(poller.max_series\)") as refused:
        roster.admit(sensor("c"))
    assert refused.value.reason == "limit"
    assert not roster.admit(sensor("b")), "who is there stays"
