"""What Home Assistant is told: every profile keeps every rule, and every rule catches what breaks it."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import pytest

from poller.assemble import fold_report, new_tracker
from poller.config import read_config
from poller.device import Device
from poller.discovery import describe_poller, describe_to_home_assistant
from poller.profile import load_profile, profile_names
from poller.sources import Heard
from poller.sources.rule_file import read_rule
from poller.sources.rule_tables import RuleTable
from poller.sources.rules import RuleSource
from readings.discovery import DiscoveryTopics, encode_discovery
from readings.health import POLLER_HEALTH, Health, Tally, encode_health
from readings.payload import encode_state
from readings.reading import DeviceKey, DeviceState, Kind
from readings.topics import Topics
from readings.vocabulary import VOCABULARY
from tests.poller.homeassistant_rules import Published, check_all, check_state

TOPICS = DiscoveryTopics("homeassistant", Topics("heating"))
NAMES = "Wärmepumpe", "a/b + c # d", '“Müller\'s” "Haus"', "🔥", "x" * 200


def make_device(profile: str, name: str = "wp", title: str = "House") -> Device:
    """A device with every field of its profile."""
    loaded = load_profile(profile)
    return Device(
        key=DeviceKey(loaded.kind, name), title=title, profile=loaded, fields=loaded.fields, interval_s=30
    )


def published(*devices: Device, topics: DiscoveryTopics = TOPICS) -> list[Published]:
    """What a poller with these devices announces."""
    return [
        Published(topics.config("poller", "house"), encode_discovery(describe_poller("house", topics))),
        *(
            Published(
                topics.config(one.key.kind, one.key.name),
                encode_discovery(describe_to_home_assistant(one, "house", topics)),
            )
            for one in devices
        ),
    ]


def components(device: Device) -> dict[str, dict[str, Any]]:
    return json.loads(published(device)[-1].payload)["components"]


@pytest.mark.parametrize("profile", profile_names())
@pytest.mark.parametrize("title", NAMES)
def test_every_profile_keeps_every_rule_whatever_the_device_is_called(profile, title):
    assert check_all(published(make_device(profile, title=title))) == []


def test_all_devices_together_keep_the_rules():
    devices = [
        make_device(profile, name)
        for number, profile in enumerate(profile_names())
        for name in (f"a{number}", f"b_{number}")
    ]
    assert check_all(published(*devices)) == []


def test_the_rules_find_two_devices_that_collide():
    assert check_all(published(make_device("wago-879"), make_device("wago-879"))) != []


def test_every_row_of_the_vocabulary_is_shown_somewhere_or_can_be():
    """A quantity that no profile has yet keeps the rules too: a new profile needs no code."""
    profile = load_profile("wago-879")
    template = profile.fields["voltage_L1_v"]
    for kind, rows in VOCABULARY.items():
        fields = {
            name: replace(template, quantity=row, words={"0": "off", "1": "on"} if row.kind == "enum" else {})
            for name, row in rows.items()
        }
        device = Device(DeviceKey(kind, "any"), "Any", profile, fields, 30)
        assert check_all(published(device)) == []


# What the templates make of a state


@cache
def compiled(template: str) -> jinja2.Template:
    """As Home Assistant renders it; a key that is not there is an error here."""

    def timestamp_custom(value: Any, form: str, _local: bool, default: Any) -> Any:
        return default if value is None else datetime.fromtimestamp(value, UTC).strftime(form)

    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)  # noqa: S701  # no page is made of it
    environment.filters["timestamp_custom"] = timestamp_custom
    return environment.from_string(template)


def render(template: str, message: bytes) -> str:
    return compiled(template).render(value_json=json.loads(message))


def values_of(device: Device) -> Iterator[dict[str, int | float | None]]:
    """No value at all, and each end of what the profile believes."""
    yield dict.fromkeys(device.fields)
    for end in (0, 1):
        yield {
            name: end if one.rules.range is None else one.rules.range[end]
            for name, one in device.fields.items()
        }


@pytest.mark.parametrize("profile", profile_names())
def test_every_state_of_every_profile_is_one_that_home_assistant_takes(profile):
    device = make_device(profile)
    for values in values_of(device):
        message = encode_state(DeviceState(1_795_406_706_123, "k3f9", 1, values))
        for name, component in components(device).items():
            rendered = render(component["value_template"], message)
            assert check_state(component, rendered) == [], name
            assert (rendered == "None") is (values[name] is None), name


def test_a_field_that_is_not_in_the_state_has_no_value():
    """For a moment after it left the configuration; Home Assistant would write a line with each message."""
    for profile in profile_names():
        for component in components(make_device(profile)).values():
            assert render(component["value_template"], b"{}") == "None"


@pytest.mark.parametrize("name", ["items", "values", "update"])
def test_a_field_that_is_called_as_a_dictionary_s_own_method_has_its_value(name):
    meter = make_device("any-meter")
    device = replace(meter, fields={name: meter.fields["frequency_hz"]})
    assert render(components(device)[name]["value_template"], b'{"%s": 50.1}' % name.encode()) == "50.1"


def test_a_number_becomes_its_word_and_a_number_without_one_becomes_unknown():
    device = make_device("lg-r290")
    mode = components(device)["operating_mode"]
    words = device.fields["operating_mode"].words
    for number, word in words.items():
        assert render(mode["value_template"], b'{"operating_mode": %s}' % number.encode()) == word
    assert render(mode["value_template"], b'{"operating_mode": 99}') == "None"
    assert mode["options"] == list(dict.fromkeys(words.values()))


@pytest.mark.parametrize(
    ("payload", "value", "shown"),
    [(b"1", 1, "1"), (b"1.0", 1, "1"), (b"0", 0, "0"), (b"OFF", 0, "0"), (b"0.5", None, "None")],
)
def test_a_bit_that_a_message_says_as_text_is_one_that_home_assistant_knows(payload, value, shown):
    """It takes `1` and `0` and no other word: with `1.0` its sensor would stay unknown for ever."""
    table = RuleTable(
        name="ebusd",
        kind=Kind.HEATPUMP,
        topic="ebusd/{device}/pump",
        payload="text",
        fields={"compressor_running": ""},
    )
    message = Heard("ebusd/wp/pump", payload, retained=False, is_live=True, at=5.0, wall_ms=1_795_406_706_123)
    ((device, report),) = RuleSource(read_rule(table, "rule[0]")).hear(message)
    snapshot = fold_report(device, new_tracker(device, 0.0), report, message.at, message.wall_ms).snapshot
    assert snapshot is not None
    state = encode_state(DeviceState(1_795_406_706_123, "k3f9", 1, snapshot.values, snapshot.held))
    component = components(device)["compressor_running"]
    rendered = render(component["value_template"], state)
    assert json.loads(state)["compressor_running"] == value
    assert rendered == shown
    assert rendered in {component["payload_on"], component["payload_off"], "None"}


@pytest.mark.parametrize("word", ["Wärme", 'the "other"', "it's", "a\\b", "🔥", "{{ 1 }}", "%}"])
def test_a_word_of_any_letters_comes_through(word):
    device = make_device("lg-r290")
    mode = replace(device.fields["operating_mode"], words={"2": word})
    template = components(replace(device, fields={"operating_mode": mode}))["operating_mode"][
        "value_template"
    ]
    assert render(template, b'{"operating_mode": 2}') == word


def test_the_poller_itself_is_shown_from_the_health_that_it_publishes():
    tally = Tally(POLLER_HEALTH)
    entities = json.loads(published()[0].payload)["components"]

    def shown() -> dict[str, str]:
        health = encode_health(Health(name="house", version="1.2.3", metrics=tally.samples()))
        return {
            key: render(one["value_template"], health)
            for key, one in entities.items()
            if "value_template" in one
        }

    assert shown() == {
        "version": "1.2.3",
        "last_poll": "None",
        "failed_requests": "0",
        "refused_readings": "0",
    }
    tally.set("poller_last_reading_timestamp_seconds", 1_795_406_706.123, device="wp")
    tally.set("poller_last_reading_timestamp_seconds", 1_795_406_700, device="lg")
    tally.count("poller_request_failures_total", 2, bus="a", device="wp", reason="timeout")
    tally.count("poller_request_failures_total", 3, bus="a", device="lg", reason="timeout")
    found = shown()
    assert found["last_poll"] == "2026-11-23T04:05:06+00:00"
    assert found["failed_requests"] == "5"
    for key, rendered in found.items():
        assert check_state(entities[key], rendered) == []


# What is shown how


@pytest.mark.parametrize(
    ("profile", "field", "expected"),
    [
        ("wago-879", "power_total_kw", ("Power", "power", "kW", "measurement", 3)),
        ("wago-879", "energy_L1_kwh", ("Energy L1", "energy", "kWh", "total_increasing", 2)),
        ("wago-879", "energy_export_total_kwh", ("Energy export", "energy", "kWh", "total_increasing", 2)),
        ("wago-879", "energy_total_raw_kwh", ("Energy register", "energy", "kWh", None, 2)),
        ("wago-879", "tariff", ("Tariff", None, None, None, 0)),
        ("wago-879", "power_factor", ("Power factor", "power_factor", None, "measurement", 3)),
        ("lg-r290", "flow_rate_lpm", ("Flow rate", "volume_flow_rate", "L/min", "measurement", 1)),
        ("lg-r290", "operating_mode", ("Operating mode", "enum", None, None, None)),
        ("lg-r290", "compressor_running", ("Compressor", "running", None, None, None)),
        ("lg-r290", "error_active", ("Error", "problem", None, None, None)),
        ("shelly-blu-ht", "last_seen_timestamp", ("Last seen", "timestamp", None, None, None)),
        ("shelly-blu-ht", "humidity_percent", ("Humidity", "humidity", "%", "measurement", 0)),
    ],
)
def test_a_field_is_shown_as(profile, field, expected):
    one = components(make_device(profile))[field]
    keys = ("name", "device_class", "unit_of_measurement", "state_class", "suggested_display_precision")
    assert tuple(one.get(key) for key in keys) == expected


@pytest.mark.parametrize(
    ("profile", "field"),
    [
        ("lg-r290", "temperature_delta_celsius"),
        ("wago-879", "reactive_power_total_kvar"),
        ("wago-879", "reactive_energy_total_kvarh"),
        ("wago-879", "apparent_power_total_kva"),
        ("lg-r290", "auto_offset_kelvin"),
    ],
)
def test_a_quantity_without_a_class_that_all_know_has_its_unit_and_is_off_at_first(profile, field):
    one = components(make_device(profile))[field]
    assert "device_class" not in one
    assert one["unit_of_measurement"] == load_profile(profile).fields[field].quantity.unit
    assert one["enabled_by_default"] is False


@pytest.mark.parametrize(("interval_s", "expected"), [(1, 30), (10, 30), (12.5, 38), (450, 1350)])
def test_a_device_that_says_nothing_for_three_intervals_is_unavailable(interval_s, expected):
    device = replace(make_device("wago-879"), interval_s=interval_s)
    assert {one["expire_after"] for one in components(device).values()} == {expected}


def test_a_device_whose_fields_are_all_read_seldom_has_as_much_more_time():
    device = make_device("wago-879")
    seldom = {name: replace(one, interval_s=300) for name, one in device.fields.items()}
    assert {one["expire_after"] for one in components(replace(device, fields=seldom)).values()} == {900}
    often = seldom | {"frequency_hz": device.fields["frequency_hz"]}
    assert {one["expire_after"] for one in components(replace(device, fields=often)).values()} == {90}


def test_ids_depend_on_root_kind_and_name_alone():
    device = make_device("wago-879")
    other = replace(device, title="Renamed", bus="elsewhere", unit=9, interval_s=5, aliases=("wago",))
    first, second = (json.loads(published(one)[-1].payload) for one in (device, other))
    assert published(device)[-1].topic == published(other)[-1].topic
    assert first["device"]["identifiers"] == second["device"]["identifiers"] == ["heating/meter/wp"]
    assert {key: one["unique_id"] for key, one in first["components"].items()} == {
        key: one["unique_id"] for key, one in second["components"].items()
    }


def test_two_installations_on_one_broker_do_not_meet():
    other = DiscoveryTopics("homeassistant", Topics("haus/wärme"))
    device = make_device("wago-879")
    assert check_all([*published(device), *published(device, topics=other)]) == []


def test_the_example_configuration_is_announced(tmp_path):
    settings = read_config(Path(__file__).parents[2] / "config.example.toml", {})
    assert settings.homeassistant.discovery
    assert check_all(published(*settings.devices)) == []
