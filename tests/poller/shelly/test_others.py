"""Meters, sensors that are wired, switches: what each says, and of what it is asked."""

import pytest

from tests.poller.shelly.house import NOON_S, PRO2, House, Reading, blu

EM, PLUG, MINI, HT = (
    "shellypro3em-00005e005302",
    "shellyplusplugs-00005e005303",
    "shelly1minig3-00005e005304",
    "shellyplusht-00005e005305",
)


def only(prefix: str, more: str = "") -> str:
    return f'[[shelly]]\nprefix = "{prefix}"\n{more}'


def test_a_three_phase_meter_is_a_meter_in_kilowatts():
    """Of three phases two are dead, and say 198 and 160.7 Hz; the neutral's current is null."""
    house = House(only(EM))
    (reading,) = house.hears_recorded("pro3em_power")
    assert reading.device == EM
    assert reading.fresh == {
        "power_total_kw": -0.018017,
        "power_L3_kw": -0.018,
        "frequency_hz": 50,
        "power_factor_L1": 1,
        "power_factor_L2": 1,
        "power_factor_L3": 0.55,
        "voltage_L1_v": 0,
        "voltage_L2_v": 0,
        "voltage_L3_v": 228.3,
        "current_total_a": 0.531,
        "current_L1_a": 0.027,
        "current_L2_a": 0.027,
        "current_L3_a": 0.476,
        "apparent_power_total_kva": 0.108708,
        "apparent_power_L1_kva": 0,
        "apparent_power_L2_kva": 0,
        "apparent_power_L3_kva": 0.1087,
    }, "a power of 0 waits for the next one, like any meter's"


def test_its_energy_is_in_kilowatt_hours_and_never_falls():
    house = House(
        only(
            EM,
            '[[shelly.meter]]\nname = "house"\ntitle = "House"\naliases = ["em"]\nfields = ["energy_export_total_kwh"]',
        )
    )
    assert house.device("house").aliases == ("em",)
    readings = []
    for minute, wh in enumerate((119878.25, 119879.25, 119880.25, 100.0, 119881.25)):
        house.now = 60.0 * minute
        readings += house.notified("emdata:0", EM, id=0, total_act=wh, total_act_ret=1607.05)
    fresh = [one.fresh.get("energy_total_kwh") for one in readings]
    assert fresh == [None, None, 119.88025, None, 119.88125], (
        "three agree, then it counts; one that falls does not"
    )
    assert readings[-1].fresh["energy_export_total_kwh"] == 1.60705


@pytest.mark.parametrize("name", ["pro3em_energy", "pro3em_energy_status"])
def test_recorded_energy_is_read(name):
    house = House(only(EM, '[[shelly.meter]]\nname = "house"'))
    seen = [house.hears_recorded(name) for _ in range(2)]
    assert len(seen) == 2
    house.now = 60
    counts = house.trackers._trackers[house.device("house").key].counts
    expected = {"pro3em_energy": 26.28957, "pro3em_energy_status": 119.87825}[name]
    assert counts["energy_total_kwh"].candidate.last == expected


def test_a_clamp_is_a_meter_of_its_own():
    house = House(only(EM, '[[shelly.meter]]\nname = "pump"\ncomponent = "em1:2"'))
    (reading,) = house.hears_recorded("em1_power")
    assert reading.device == "pump"
    assert reading.fresh["power_total_kw"] == 0.4125
    assert reading.fresh["voltage_avg_v"] == 231.4
    house.notified("em1:0", EM, act_power=1.0)
    assert house.names() == {"pump", f"{EM}-0"}


def test_its_interval_records_say_nothing_new():
    assert House(only(EM)).hears_recorded("pro3em_interval") == []


def test_a_switch_is_nothing_unless_the_configuration_says_what_it_is():
    house = House(only(PLUG))
    assert house.hears_recorded("switch_whole") == []
    assert house.names() == set()


THERMOSTAT = f"""
[[shelly]]
prefix = "{PRO2}"
[[shelly.sensor]]
name = "temp_indoor"
address = "00:00:5e:00:53:11"
temperature_offset = -1
[[shelly]]
prefix = "{MINI}"
[[shelly.thermostat]]
name = "room"
target = 21.5
current = "temp_indoor"
"""


def test_a_switch_is_a_thermostat_where_the_configuration_says_so():
    house = House(THERMOSTAT)
    (reading,) = house.hears_recorded("switch_change")
    assert reading.fresh == {"switch_state": 0, "target_temperature_celsius": 21.5}
    readings = house.answers(
        next(one for one in house.asks() if one["method"] == "Shelly.GetComponents")["id"],
        {"components": blu(201, "00:00:5e:00:53:11", first=203), "offset": 0, "total": 4},
    )
    assert Reading("room", NOON_S * 1000, {"current_temperature_celsius": 19.4}) in readings
    assert house.device("room").labels == {}, "the original's thermostat has none of the sensors' labels"


def test_its_target_may_be_a_component_that_a_person_sets():
    house = House(THERMOSTAT.replace("21.5", '"number:200"'))
    (reading,) = house.notified("number:200", MINI, value=20.5)
    assert reading.fresh == {"target_temperature_celsius": 20.5}


def test_a_thermostat_has_only_what_is_known_of_it():
    house = House(only(MINI, '[[shelly.thermostat]]\nname = "room"'))
    assert set(house.device("room").fields) == {"switch_state"}


def test_a_switch_may_be_a_pump():
    house = House(only(MINI, '[[shelly.pump]]\nname = "circulation"\nfield = "water_pump_running"'))
    (reading,) = house.hears_recorded("switch_change")
    assert (str(house.device("circulation").key), reading.fresh) == (
        "heatpump/circulation",
        {"water_pump_running": 0},
    )


def asked_for_status(house: House, prefix: str, seconds: int, **status: object) -> list[int]:
    """When it is asked how it stands; it answers with these components each time."""
    found = []
    for second in range(seconds):
        house.now = float(second)
        for question in house.asks():
            if question["method"] == "Shelly.GetStatus":
                found.append(second)
                house.hears(f"{question['src']}/rpc", {"id": question["id"], "src": prefix, "result": status})
    return found


ADD_ON = {"temperature:100": {"id": 100, "tC": 31.5}}


@pytest.mark.parametrize(
    ("what", "config", "status"),
    [
        ("a meter", only(EM), {"em:0": {"id": 0, "total_act_power": 46.0}}),
        ("a clamp", only(EM), {"em1:1": {"id": 1, "act_power": 46.0}}),
        ("a sensor at an add-on", only(MINI), ADD_ON),
        (
            "one that has a name",
            only(MINI, '[[shelly.sensor]]\nname = "tank"\ncomponent = "temperature:100"'),
            ADD_ON,
        ),
    ],
)
def test_what_is_found_and_may_rest_is_asked_once_a_minute(what, config, status):
    """Under a steady load a meter tells its energy alone, and a tank keeps its temperature for hours."""
    house = House(config)
    assert asked_for_status(house, "any", 200, **status) == [0, 60, 120, 180], what
    (found,) = house.names()
    assert not any(one.online is False for _, one in house.trackers.listen(house.now))
    house.restart()
    house.now = 0.0
    assert asked_for_status(house, "any", 100) == [0, 60], "the next run knows it from the start"
    assert house.names() == {found}


def test_a_meter_that_is_found_between_two_questions_need_not_wait_for_the_next():
    house = House(only(EM))
    assert asked_for_status(house, EM, 100) == [0]
    house.notified("em:0", EM, id=0, total_act_power=46.0)
    assert [one["method"] for one in house.asks()] == ["Shelly.GetStatus"]


def test_a_steady_load_keeps_its_power():
    """Nothing but the energy is told by itself, and that keeps the meter online."""
    house = House(only(EM))
    house.notified("em:0", EM, id=0, total_act_power=46.0, a_freq=50.0)
    powers = []
    for minute in range(1, 8):
        house.now = 60.0 * minute
        for question in house.asks():
            if question["method"] == "Shelly.GetStatus":
                result = {"em:0": {"id": 0, "total_act_power": 46.0, "a_freq": 50.0}}
                told = house.hears(f"{question['src']}/rpc", {"id": question["id"], "result": result})
                powers += [one.fresh.get("power_total_kw") for one in told]
        house.notified("emdata:0", EM, id=0, total_act=1000 + 0.77 * minute)
    assert powers == [0.046] * 7


@pytest.mark.parametrize(
    ("what", "config", "status"),
    [
        (
            "what sleeps on a battery",
            only(HT),
            {
                "temperature:0": {"id": 0, "tC": 20.1},
                "humidity:0": {"id": 0, "rh": 57.0},
                "devicepower:0": {"id": 0, "battery": {"percent": 73}},
            },
        ),
        ("a meter that nobody wants", only(EM, "unnamed = false"), {"em:0": {"id": 0}}),
        ("the inside of a device", only(PRO2), {"temperature:0": {"id": 0, "tC": 48.2}}),
    ],
)
def test_what_need_not_be_asked_often_is_not(what, config, status):
    assert asked_for_status(House(config), "any", 1000, **status) == [0], what


def test_a_switch_that_rests_is_asked_once_a_minute_and_stays():
    house = House(only(MINI, '[[shelly.thermostat]]\nname = "room"'))
    asked = 0
    for second in range(3600):
        house.now = float(second)
        for question in house.asks():
            if question["method"] == "Shelly.GetStatus":
                asked += 1
                (reading,) = house.answers(question["id"], {"switch:0": {"id": 0, "output": True}})
                assert reading.fresh == {"switch_state": 1}
        assert not any(folded.online is False for _, folded in house.trackers.listen(house.now))
    assert asked == 60


def test_what_sleeps_on_a_battery_is_heard_when_it_wakes():
    house = House(only(HT))
    (reading,) = house.hears_recorded("ht_awake")
    assert (reading.device, reading.fresh) == (
        HT,
        {
            "temperature_celsius": 20.1,
            "humidity_percent": 57.0,
            "battery_percent": 73,
            "rssi_dbm": -47,
            "last_seen_timestamp": 1750345503,
        },
    )
    assert house.device(HT).interval_s == 4500, "it sleeps for two hours"
    assert house.device(HT).labels == {
        "device_id": "0",
        "gateway_id": HT,
        "sensor_id": "00:00:5e:00:53:05",
        "sensor_name": HT,
    }


def test_its_recorded_components_one_by_one():
    house = House(
        only(HT, '[[shelly.sensor]]\nname = "hall"\ncomponent = "temperature:0"\nhumidity_offset = 2')
    )
    fresh: dict[str, float] = {}
    for name in ("ht_temperature", "ht_humidity", "ht_battery", "ht_wifi"):
        for reading in house.hears_recorded(name):
            assert (reading.device, reading.time_ms) == ("hall", None)
            fresh |= reading.fresh
    assert fresh == {
        "temperature_celsius": 20.1,
        "humidity_percent": 59.0,
        "battery_percent": 73,
        "rssi_dbm": -47,
        "last_seen_timestamp": NOON_S,
    }


def test_a_sensor_inside_leaves_the_device_s_name_to_what_the_configuration_calls_so():
    """A wall display has a sensor and a switch."""
    house = House('[[shelly]]\nprefix = "hall"\n[[shelly.thermostat]]\nname = "hall"')
    params = {"ts": NOON_S, "temperature:0": {"id": 0, "tC": 20.5}, "humidity:0": {"id": 0, "rh": 51.0}}
    (reading,) = house.hears("hall/events/rpc", {"method": "NotifyStatus", "params": params})
    assert (reading.device, reading.fresh["temperature_celsius"]) == ("hall-0", 20.5)
    (reading,) = house.notified("switch:0", "hall", id=0, output=True)
    assert reading.device == "hall"


def test_a_temperature_inside_of_a_device_is_no_room():
    house = House(only(EM))
    house.notified("temperature:0", EM, tC=48.2)
    assert house.names() == set()
    house.notified("temperature:100", EM, tC=31.5)
    assert house.names() == {f"{EM}-100"}, "but what is wired to it is worth seeing"


def test_a_broken_sensor_has_no_value():
    house = House(only(HT, '[[shelly.sensor]]\nname = "hall"\ncomponent = "temperature:0"'))
    house.notified("temperature:0", HT, tC=20.0)
    (reading,) = house.notified("temperature:0", HT, tC=None, errors=["read"])
    assert "temperature_celsius" not in reading.fresh


def test_what_is_said_twice_is_one_reading():
    """With status_ntf each component's own topic repeats the notification."""
    house = House(only(MINI, '[[shelly.thermostat]]\nname = "room"'))
    assert len(house.notified("switch:0", MINI, id=0, output=True)) == 1
    house.now = 0.1
    assert house.hears(f"{MINI}/status/switch:0", {"id": 0, "output": True, "source": "button"}) == []
    assert len(house.hears(f"{MINI}/status/switch:0", {"id": 0, "output": False})) == 1, "but this is news"
    house.now = 10
    assert len(house.hears(f"{MINI}/status/switch:0", {"id": 0, "output": False})) == 1
