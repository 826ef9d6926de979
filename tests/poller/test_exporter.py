"""What the pages of the two services make: devices under their own names, labels and times."""

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.assemble import Stamped
from poller.device import Device
from poller.errors import MessageError, PageError, PageTrouble
from poller.sources.exporter import MOST_DEVICES, Exporter
from poller.sources.exposition import PageSample, parse_page
from readings.reading import Kind
from simulator.exporters import HouseExporters
from simulator.house_bus import LiveHouse
from tests.poller.pages import HEAT_PUMP, INDOOR, OUTDOOR, SEEN_S, SENSORS, import_settings, read

INDOOR_MS = SEEN_S * 1000


def devices(text: str, **keys: object) -> list[Device]:
    return [device for device, _ in Exporter(import_settings(**keys)).read(parse_page(text.encode()))]


def sensor(field: str, value: object, labels: str = INDOOR) -> str:
    return f"sensor_{field}{{{labels}}} {value}\n"


def test_the_heat_pumps_page_is_one_heat_pump():
    (device,) = devices(HEAT_PUMP)
    assert (str(device.key), device.title, device.bus) == ("heatpump/heatpump", "Heat pump", None)
    assert device.series_labels == {"device": "heatpump"}
    assert device.interval_s == 30
    values = read(HEAT_PUMP)["heatpump"]
    assert values == {
        "flow_temperature_celsius": 35.3,
        "return_temperature_celsius": 30.1,
        "outdoor_temperature_celsius": 4.2,
        "target_temperature_celsius": 35.0,
        "power_state": 1,
        "compressor_running": 1,
        "water_pump_running": 1,
        "operating_mode": 2,
        "error_code": 0,
        "flow_rate_lpm": 25.0,
        "water_pressure_bar": 1.6,
        "temperature_delta_celsius": 5.2,
    }
    assert {type(values[name]) for name in ("power_state", "operating_mode", "error_code")} == {int}
    assert device.fields.keys() == values.keys()


def test_each_sensor_is_a_device_with_its_own_labels():
    found = {one.key.name: one for one in devices(SENSORS)}
    assert found.keys() == {"temp_indoor", "temp_outdoor", "thermostat"}
    indoor = found["temp_indoor"]
    assert indoor.series_labels == {
        "device_id": "201",
        "gateway_id": "shellypro2-00005e005301",
        "sensor_id": "00:00:5e:00:53:11",
        "sensor_name": "temp_indoor",
    }
    assert indoor.interval_s == 450
    assert found["thermostat"].series_labels == {"device": "thermostat"}


def test_a_sensors_values_have_the_time_at_which_it_was_seen():
    assert read(SENSORS)["temp_indoor"] == {
        "temperature_celsius": Stamped(21.5, INDOOR_MS),
        "humidity_percent": Stamped(43, INDOOR_MS),
        "battery_percent": Stamped(97, INDOOR_MS),
        "last_seen_timestamp": Stamped(SEEN_S, INDOOR_MS),
    }


def test_a_lines_own_time_is_better_still():
    page = sensor("temperature_celsius", f"21.5 {INDOOR_MS + 5}") + sensor("last_seen_timestamp", SEEN_S)
    assert read(page)["temp_indoor"]["temperature_celsius"] == Stamped(21.5, INDOOR_MS + 5)
    assert read("thermostat_switch_state 1 1795406700123\n") == {
        "thermostat": {"switch_state": Stamped(1, INDOOR_MS + 123)}
    }


def test_a_page_without_times_leaves_the_time_to_the_arrival():
    assert read(sensor("temperature_celsius", 21.5)) == {"temp_indoor": {"temperature_celsius": 21.5}}


@pytest.mark.parametrize("seen", ["NaN", "+Inf", "-1", "0", "1e300", "1500000000"])
def test_a_sensor_whose_time_is_unknown_or_long_past_makes_no_report(seen):
    """With the time of arrival an old value would look new."""
    page = (
        sensor("temperature_celsius", 21.5)
        + sensor("last_seen_timestamp", seen)
        + "thermostat_switch_state 1\n"
    )
    assert read(page).keys() == {"thermostat"}


def test_an_exporter_that_has_read_nothing_yet_says_nothing():
    with pytest.raises(PageError) as caught:
        read("".join(f"{line.rsplit(' ', 1)[0]} 0.0\n" for line in HEAT_PUMP.splitlines() if line[0] == "h"))
    assert caught.value.trouble is PageTrouble.NOTHING_KNOWN


def test_not_a_number_goes_to_the_filters():
    assert (
        str(read("heatpump_flow_temperature_celsius NaN\n")["heatpump"])
        == "{'flow_temperature_celsius': nan}"
    )


def test_lines_that_contradict_each_other_are_none():
    page = "thermostat_switch_state 1\nthermostat_switch_state 0\nthermostat_target_temperature_celsius 21\n"
    assert read(page) == {"thermostat": {"target_temperature_celsius": 21.0}}


def test_of_two_label_sets_of_one_sensor_the_one_seen_last_counts():
    """The service's gauges stay for ever, also those under `device_id="unknown"` of a day long gone."""
    stale = INDOOR.replace('"201"', '"unknown"')
    page = (
        sensor("temperature_celsius", 17.0, stale)
        + sensor("temperature_celsius", 21.5)
        + sensor("last_seen_timestamp", SEEN_S - 5000, stale)
        + sensor("last_seen_timestamp", SEEN_S)
    )
    assert read(page)["temp_indoor"]["temperature_celsius"] == Stamped(21.5, INDOOR_MS)
    (device,) = devices(page)
    assert device.labels["device_id"] == "201"


def test_two_sensors_of_one_name_never_mix():
    other = INDOOR.replace("53:11", "53:99")
    exporter = Exporter(import_settings())
    page = sensor("temperature_celsius", 21.5) + sensor("temperature_celsius", 17.0, other)
    first, second = read(page, exporter).items()
    assert first == ("temp_indoor", {"temperature_celsius": 21.5})
    assert second[0].startswith("temp_indoor_00_00_5e_00_53_99-")
    assert second[1] == {"temperature_celsius": 17.0}
    assert read(page, exporter).keys() == {first[0], second[0]}


def test_the_next_run_knows_the_devices_from_the_start():
    """Until the page is read nobody takes them for gone."""
    exporter = Exporter(import_settings())
    assert exporter.keep() is None
    other = INDOOR.replace("53:11", "53:09")
    read(SENSORS + sensor("temperature_celsius", 17.0, other), exporter)
    following = Exporter(import_settings())
    following.restore(exporter.keep())
    assert following.devices == exporter.devices
    assert following.keep() == exporter.keep()
    read(SENSORS, following)
    assert following.devices == exporter.devices, "each has the name that it had"


def test_a_sensor_that_was_unknown_to_its_service_at_first_has_its_labels_in_the_next_run():
    exporter = Exporter(import_settings())
    for device_id in ("unknown", "201"):
        read(sensor("temperature_celsius", 21.5, INDOOR.replace("201", device_id)), exporter)
    following = Exporter(import_settings())
    following.restore(exporter.keep())
    assert [one.labels["device_id"] for one in (*exporter.devices, *following.devices)] == ["unknown", "201"]


def test_a_sensor_of_long_ago_and_a_kind_that_is_not_wanted_any_more_are_forgotten():
    day = INDOOR_MS // 86_400_000
    memory = [
        ["sensor", ["a", "old"], {"sensor_name": "old"}, day - 31],
        ["sensor", ["b", "new"], {"sensor_name": "new"}, day],
        ["thermostat", ["thermostat", ""], {}, 0],
    ]
    exporter = Exporter(import_settings(profiles=["iot-api"]))
    exporter.restore(msgspec.json.encode(memory))
    assert [one.key.name for one in exporter.devices] == ["new"]


@pytest.mark.parametrize("memory", [b"", b"{}", b'[["sensor"]]', b'[["\xff"]]', b"[" * 100_000])
def test_a_memory_that_cannot_be_read_says_so(memory):
    with pytest.raises(MessageError):
        Exporter(import_settings()).restore(memory)


def test_a_page_whose_labels_never_end_is_refused():
    exporter = Exporter(import_settings())
    page = "".join(
        sensor("temperature_celsius", 20, f'sensor_id="{number}"') for number in range(MOST_DEVICES + 1)
    )
    with pytest.raises(PageError) as caught:
        read(page, exporter)
    assert caught.value.trouble is PageTrouble.TOO_MANY
    assert len(exporter.devices) == MOST_DEVICES


def test_names_and_titles_come_from_the_configuration():
    keys = {
        "names": {"temp_indoor": "living", "thermostat": "room"},
        "titles": {"temp_indoor": "Living room"},
    }
    found = {one.key.name: one.title for one in devices(SENSORS, **keys)}
    assert found == {"living": "Living room", "room": "Thermostat", "temp_outdoor": "temp_outdoor"}


def test_what_is_not_looked_for_is_passed_over():
    assert read('heatpump_colour 3\nheatpump_power_state{a="b"} 1\nthermostat_switch_state 1\n') == {
        "thermostat": {"switch_state": 1}
    }


@pytest.mark.parametrize("page", ["up 1\n", "\n", "# nothing\n", "heatpump_colour 3\n"])
def test_a_page_without_a_known_name_says_so(page):
    with pytest.raises(PageError, match="no value under a name"):
        read(page)


def test_what_somebody_else_reads_is_refused():
    settings = replace(import_settings(), refused={Kind.HEATPUMP: "the bus reads it"})
    with pytest.raises(PageError, match="the bus reads it") as caught:
        read(HEAT_PUMP, Exporter(settings))
    assert caught.value.trouble is PageTrouble.TWO_READERS
    assert "temp_indoor" in read(SENSORS, Exporter(settings))


def test_the_original_exporters_page_is_a_meter_that_keeps_its_names():
    page = "# TYPE wago_power_total_kw gauge\nwago_power_total_kw 1.662\nwago_energy_L1_kwh 4115.23\nmeter_frequency_hz 5\n"
    assert read(page) == {"meter": {"power_total_kw": 1.662, "energy_L1_kwh": 4115.23}}
    (device,) = devices(page)
    assert device.prefixes == ("meter", "wago")
    assert device.series_labels == {"device": "meter"}


def test_the_simulators_pages_are_what_is_expected_here():
    """Same names, labels and help as the pages above, which are the services' own."""
    house = HouseExporters(LiveHouse(start_s=SEEN_S, monotonic=lambda: 0.0), lambda: SEEN_S + 7.0)

    def shape(text: str) -> set[str]:
        kept = [line for line in text.splitlines() if not line.startswith(("#", "python_", "process_"))]
        named = {line.rsplit(" ", 1)[0] for line in kept if not line.startswith(("sensor_", "api_"))}
        helps = {line for line in text.splitlines() if line.startswith("# HELP") and "p_" not in line[:12]}
        return named | {line for line in helps if not line.startswith(("# HELP p", "# HELP api_"))}

    assert shape(house.heat_pump().decode()) == shape(HEAT_PUMP)
    assert shape(house.sensors().decode()) == shape(SENSORS)
    made = read(house.sensors().decode())
    assert made.keys() == {"temp_indoor", "temp_outdoor", "temp_buffer", "thermostat"}
    assert made["temp_indoor"]["last_seen_timestamp"] == Stamped(SEEN_S, INDOOR_MS)
    for line in (f"sensor_temperature_celsius{{{INDOOR}}}", f"sensor_temperature_celsius{{{OUTDOOR}}}"):
        assert line in house.sensors().decode()
    for noise in ("python_info{", "process_cpu_seconds_total", "api_request_duration_seconds_bucket{"):
        assert noise in house.sensors().decode()


NAMES = st.sampled_from(
    [
        "sensor_temperature_celsius",
        "sensor_last_seen_timestamp",
        "sensor_",
        "heatpump_power_state",
        "thermostat_switch_state",
    ]
)
LABELS = st.dictionaries(
    st.sampled_from(["sensor_id", "sensor_name", "device_id", "__x", "a b"]), st.text(max_size=3), max_size=3
)
NUMBERS = st.floats()
SAMPLES = st.builds(PageSample, NAMES, LABELS, NUMBERS, st.none() | st.integers())


@given(st.lists(SAMPLES, max_size=8))
def test_hostile_samples_make_valid_devices_of_distinct_names_or_one_error(samples):
    exporter = Exporter(import_settings())
    try:
        found = exporter.read(samples)
    except PageError:
        return
    assert len({device.key for device, _ in found}) == len(found)
    for device, report in found:
        assert report.values.keys() <= device.fields.keys()
        assert all(name.isidentifier() and not name.startswith("__") for name in device.series_labels)
        assert device.key.kind in {Kind.SENSOR, Kind.HEATPUMP, Kind.THERMOSTAT}
