"""Bluetooth sensors through a gateway: which component is what, when a value was measured, what is new."""

import pytest

from tests.poller.shelly.house import NOON_S, PRO2, RECORDED, SIGNATURE, House, Reading, blu

OUTDOOR, INDOOR = "00:00:5e:00:53:10", "00:00:5e:00:53:11"
NAMED = f"""
[[shelly]]
prefix = "{PRO2}"
[[shelly.sensor]]
name = "temp_outdoor"
title = "Outdoors"
address = "00005E005310"
[[shelly.sensor]]
name = "temp_indoor"
address = "{INDOOR}"
temperature_offset = 2.5
"""
ALL = {"temperature_celsius": 20.4, "humidity_percent": 63, "battery_percent": 100, "rssi_dbm": -49}


def seen(seconds: int = NOON_S) -> dict[str, int]:
    return {"last_seen_timestamp": seconds}


def test_the_gateway_says_which_component_is_what():
    house = House(NAMED)
    assert house.lists(*blu(200, OUTDOOR, first=200), *blu(201, INDOOR, first=203)) == [
        Reading("temp_outdoor", NOON_S * 1000, ALL | seen()),
        Reading("temp_indoor", NOON_S * 1000, ALL | seen() | {"temperature_celsius": 22.9}),
    ]
    assert house.device("temp_outdoor").labels == {
        "device_id": "200",
        "gateway_id": PRO2,
        "sensor_id": OUTDOOR,
        "sensor_name": "temp_outdoor",
    }
    assert house.device("temp_outdoor").title == "Outdoors"


def test_the_ids_may_be_others_in_another_house():
    house = House(NAMED)
    house.lists(*blu(207, INDOOR, first=240), *blu(203, OUTDOOR, first=210))
    house.now = 60
    (reading,) = house.notified("bthomesensor:212", value=-3.5, last_updated_ts=NOON_S + 60)
    assert reading == Reading(
        "temp_outdoor", (NOON_S + 60) * 1000, {"temperature_celsius": -3.5} | seen(NOON_S + 60)
    )


def test_the_list_may_have_several_pages():
    house = House(NAMED)
    first, second = blu(200, OUTDOOR, first=200), blu(201, INDOOR, first=203)
    listing, _ = house.asks()
    assert listing["params"] == {"offset": 0, "dynamic_only": True, "include": ["config", "status"]}
    assert listing["src"] == "heating-poller-house-sources-0"
    assert house.answers(listing["id"], {"components": first, "offset": 0, "total": 8}) == []
    house.now = 1
    (listing,) = house.asks()
    assert listing["params"]["offset"] == 4
    assert len(house.answers(listing["id"], {"components": second, "offset": 4, "total": 8})) == 2


@pytest.mark.parametrize(
    "name", ["blu_temperature", "blu_humidity", "blu_battery", "blu_device", "blu_notified"]
)
def test_recorded_messages_become_readings(name):
    """They are from before our release, so their time cannot be and gives way; what they say is right."""
    house = House(NAMED)
    house.lists(*blu(200, OUTDOOR, first=200, seen_s=None))
    expected = {
        "blu_temperature": {"temperature_celsius": 20.4},
        "blu_humidity": {"humidity_percent": 63},
        "blu_battery": {"battery_percent": 100},
        "blu_device": {"rssi_dbm": -49},
        "blu_notified": {"temperature_celsius": 20.4},
    }
    (reading,) = house.hears_recorded(name)
    assert reading.device == "temp_outdoor"
    assert reading.fresh == expected[name] | seen(1753167523)


def test_the_recorded_list_of_components_is_read():
    house = House()
    listing, _ = house.asks()
    result = RECORDED["components"]["payload"]
    house.hears(
        f"{listing['src']}/rpc", b'{"id":%d,"src":"x","result":%s}' % (listing["id"], result.encode())
    )
    assert house.names() == set(), "a battery alone is no room's sensor"
    house.restart(NAMED)
    assert set(house.device("temp_outdoor").fields) == {"battery_percent", "rssi_dbm", "last_seen_timestamp"}


def test_components_of_several_times_are_as_many_readings():
    """Its battery is told once an hour; the sensor was seen when its newest message came."""
    house = House(NAMED)
    components = blu(200, OUTDOOR, first=200)
    components[1]["status"]["last_updated_ts"] = NOON_S - 1800
    components[0]["status"]["last_updated_ts"] = NOON_S - 60
    old, device, new = house.lists(*components)
    assert (old.time_ms, old.fresh) == ((NOON_S - 1800) * 1000, {"battery_percent": 100})
    assert (device.time_ms, device.fresh) == ((NOON_S - 60) * 1000, {"rssi_dbm": -49})
    assert new == Reading(
        "temp_outdoor", NOON_S * 1000, {"temperature_celsius": 20.4, "humidity_percent": 63} | seen()
    )


def test_a_value_that_the_gateway_repeats_is_no_new_one():
    house = House(NAMED)
    house.lists(*blu(200, OUTDOOR, first=200))
    house.now = 600
    assert house.notified("bthomesensor:202", value=20.4, last_updated_ts=NOON_S) == []
    assert house.lists(*blu(200, OUTDOOR, first=200), connection=2) == []


def test_a_value_that_has_not_changed_is_a_reading_all_the_same():
    """Only what changes is told: here it is the time."""
    house = House(NAMED)
    house.lists(*blu(200, OUTDOOR, first=200))
    house.now = 60
    (reading,) = house.notified("bthomesensor:202", last_updated_ts=NOON_S + 60)
    assert reading.fresh == {"temperature_celsius": 20.4} | seen(NOON_S + 60)


def test_a_change_is_laid_over_what_was_known_before_a_restart():
    house = House(NAMED)
    house.lists(*blu(200, OUTDOOR, first=200))
    house.restart()
    house.now = 60
    (reading,) = house.notified("bthomesensor:202", last_updated_ts=NOON_S + 60)
    assert reading.fresh == {"temperature_celsius": 20.4} | seen(NOON_S + 60)


def test_a_value_without_its_own_time_has_that_of_the_message():
    house = House(NAMED)
    house.lists(*blu(200, OUTDOOR, first=200))
    house.now = 61
    (reading,) = house.notified("bthomesensor:202", value=20.6, ts=NOON_S + 60.25)
    assert reading.time_ms == NOON_S * 1000 + 60_250


def test_a_gateway_that_has_just_started_says_nothing_of_its_sensors():
    house = House(NAMED)
    house.lists(*blu(200, OUTDOOR, first=200))
    house.now = 60
    house.hears(f"{PRO2}/online", b"false")
    house.hears(f"{PRO2}/online", b"true")
    assert house.lists(*blu(200, OUTDOOR, first=200, seen_s=None)) == [], (
        "no value is not 0, nor the last one"
    )
    assert house.notified("bthomesensor:202", value=None) == []
    (reading,) = house.notified("bthomesensor:202", value=19.8, last_updated_ts=NOON_S + 62)
    assert reading.fresh["temperature_celsius"] == 19.8


def test_after_a_restart_of_the_gateway_its_components_may_be_others():
    house = House(NAMED)
    house.lists(*blu(200, OUTDOOR, first=200))
    house.hears(f"{PRO2}/online", b"true")
    house.lists(*blu(200, INDOOR, first=200), *blu(201, OUTDOOR, first=203))
    house.now = 60
    (reading,) = house.notified("bthomesensor:202", value=20.0, last_updated_ts=NOON_S + 60)
    assert (reading.device, reading.fresh["temperature_celsius"]) == ("temp_indoor", 22.5)


def test_what_it_speaks_of_and_has_not_listed_is_asked_for():
    house = House(NAMED)
    house.lists(*blu(200, OUTDOOR, first=200))
    house.now = 10
    assert house.notified("bthomesensor:205", value=21.0, last_updated_ts=NOON_S + 10) == []
    assert house.asks() == []
    house.now = 31
    assert [one["method"] for one in house.asks()] == ["Shelly.GetComponents"]


def test_a_sensor_that_nobody_named_appears_by_itself():
    house = House()
    house.lists(
        *blu(200, OUTDOOR, first=200, name="Büro"),
        *blu(201, INDOOR, first=203),
        *blu(202, "00:00:5e:00:53:12", first=206, name="keller"),
        *blu(203, "00:00:5e:00:53:13", first=209, name="keller"),
    )
    names = [
        "buero-96eece",
        "blu-00005e005311",
        "keller-00005e005312",
        "keller-00005e005313",
    ]
    assert [one.key.name for one in house.source.devices] == names
    assert house.device("buero-96eece").title == "Büro"
    assert house.device("blu-00005e005311").title == f"Sensor {INDOOR}"
    before = house.names()
    house.restart()
    assert house.names() == before, "at once, before anybody has said anything"


def test_a_sensor_that_is_found_takes_no_name_of_the_configuration_nor_of_another_gateway_s():
    """One of two would be heard no more: a thermostat, or a sensor that its owner calls as another one."""
    other = "shellypro2-00005e005302"
    house = House(
        f"""
        [[shelly]]
        prefix = "{PRO2}"
        [[shelly.thermostat]]
        name = "bath"
        [[shelly]]
        prefix = "{other}"
        """
    )
    ids = [one["id"] for one in house.asks() if one["method"] == "Shelly.GetComponents"]
    for number, address, called in ((0, OUTDOOR, "bath"), (1, INDOOR, "bath")):
        components = blu(200, address, first=200, name=called)
        house.answers(
            ids[number], {"components": components, "offset": 0, "total": 4}, f"{SIGNATURE[:-1]}{number}"
        )
    assert house.names() == {"bath", "bath-00005e005310", "bath-00005e005311"}
    (reading,) = house.notified("switch:0", id=0, output=True)
    assert (reading.device, reading.fresh) == ("bath", {"switch_state": 1})


def test_naming_a_sensor_renames_it_and_leaves_the_others():
    house = House()
    house.lists(
        *blu(200, OUTDOOR, first=200), *blu(201, INDOOR, first=203), *blu(202, "00:00:5e:00:53:12", first=206)
    )
    house.restart(NAMED)
    assert house.names() == {"temp_outdoor", "temp_indoor", "blu-00005e005312"}
    house.restart(NAMED.replace("[[shelly.sensor]]", "unnamed = false\n[[shelly.sensor]]", 1))
    assert house.names() == {"temp_outdoor", "temp_indoor"}


def test_a_sensor_that_is_named_at_one_gateway_does_not_appear_at_another():
    house = House(f'{NAMED}[[shelly]]\nprefix = "second"')
    listing = next(one for one in house.asks() if one["src"].endswith("-1"))
    components = blu(200, OUTDOOR, first=200)
    house.answers(
        listing["id"], {"components": components, "offset": 0, "total": 4}, signature=listing["src"]
    )
    assert house.names() == set()


def test_the_configuration_may_say_all_ids_where_the_gateway_cannot_be_asked():
    house = House(
        f"""
        [[shelly]]
        prefix = "{PRO2}"
        [[shelly.sensor]]
        name = "hall"
        address = "{OUTDOOR}"
        device_id = 200
        temperature = 202
        humidity = 201
        battery = 200
        silent_after = 30
        """
    )
    assert house.device("hall").interval_s == 900
    assert house.device("hall").labels["device_id"] == "200"
    (reading,) = house.notified("bthomesensor:202", value=20.4, last_updated_ts=NOON_S)
    assert reading.fresh == {"temperature_celsius": 20.4} | seen()


def test_an_id_of_the_configuration_goes_before_what_the_gateway_says():
    house = House(NAMED.replace('title = "Outdoors"', "temperature = 299"))
    house.lists(*blu(200, OUTDOOR, first=200))
    assert house.notified("bthomesensor:202", value=1.0, last_updated_ts=NOON_S + 1) == []
    (reading,) = house.notified("bthomesensor:299", value=2.0, last_updated_ts=NOON_S + 1)
    assert reading.fresh["temperature_celsius"] == 2.0


def test_a_sensor_may_be_named_by_the_id_of_its_device():
    house = House(NAMED.replace('address = "00005E005310"', "device_id = 205"))
    assert "temp_outdoor" not in house.names()
    house.lists(*blu(205, "00:00:5e:00:53:77", first=220))
    assert house.device("temp_outdoor").labels["sensor_id"] == "00:00:5e:00:53:77"


def test_a_silent_sensor_is_offline_after_a_quarter_of_an_hour():
    house = House(NAMED)
    house.lists(*blu(200, OUTDOOR, first=200))
    house.now = 899.0
    house.notified("bthomesensor:202", value=20.4, last_updated_ts=NOON_S)
    assert not [one for one in house.trackers.listen(899.0) if one[1].online is False]
    ((device, folded),) = [one for one in house.trackers.listen(900.0) if one[1].snapshot is not None]
    assert (device.key.name, folded.online) == ("temp_outdoor", False)
