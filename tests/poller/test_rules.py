"""Rules: what a message of another program says, as devices and reports."""

import math
import tomllib
from dataclasses import dataclass

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.device import Device
from poller.errors import MessageError, MessageTrouble
from poller.sources import Heard
from poller.sources.heard import LARGEST_BYTES
from poller.sources.rule_file import read_rule
from poller.sources.rule_tables import RuleTable
from poller.sources.rules import MOST_DEVICES, Rule, RuleSource
from poller.switchboard import Switchboard
from readings.errors import SettingsError
from readings.health import POLLER_HEALTH, Tally
from tests.poller.test_switchboard import FakeLine, Stage

NOW_MS = 1_795_406_706_000
"""2026-11-23T04:05:06Z."""

CLIMATE = """
name = "zigbee"
kind = "sensor"
topic = "zigbee2mqtt/{device}"
time = "last_seen"
[fields]
temperature_celsius = "temperature"
humidity_percent = "humidity"
battery_percent = "battery"
"""


def make(text: str) -> Rule:
    return read_rule(msgspec.convert(tomllib.loads(text), RuleTable), "rule[0]")


def heard(topic: str, payload: bytes | str) -> Heard:
    data = payload.encode() if isinstance(payload, str) else payload
    return Heard(topic, data, retained=False, is_live=True, at=5.0, wall_ms=NOW_MS)


@dataclass
class Heeder:
    """A rule's source, and what it says of messages."""

    source: RuleSource

    def hear(self, topic: str, payload: bytes | str) -> dict[str, object]:
        """Device name to the values of its report, with the message's time where it has one."""
        return {
            device.key.name: dict(report.values) | ({"at": report.time_ms} if report.time_ms else {})
            for device, report in self.source.hear(heard(topic, payload))
        }

    def refuse(self, topic: str, payload: bytes | str) -> str:
        with pytest.raises(MessageError) as caught:
            self.hear(topic, payload)
        return caught.value.reason

    def device(self, name: str) -> Device:
        return {one.key.name: one for one in self.source.devices}[name]


def rule(text: str) -> Heeder:
    return Heeder(RuleSource(make(text)))


def test_a_message_is_a_report_of_the_device_that_its_topic_names():
    zigbee = rule(CLIMATE)
    message = '{"battery":86,"humidity":55.43,"last_seen":"2026-11-23T05:05:01+01:00","linkquality":97,"temperature":22.75}'
    assert zigbee.source.filters == ("zigbee2mqtt/+",)
    assert zigbee.hear("zigbee2mqtt/bad", message) == {
        "bad": {
            "temperature_celsius": 22.75,
            "humidity_percent": 55.43,
            "battery_percent": 86,
            "at": NOW_MS - 5000,
        }
    }
    device = zigbee.device("bad")
    assert (str(device.key), device.title, device.interval_s, device.origin) == (
        "sensor/bad",
        "bad",
        450,
        "rule zigbee",
    )
    assert device.series_labels == {
        "device_id": "bad",
        "gateway_id": "zigbee",
        "sensor_id": "bad",
        "sensor_name": "bad",
    }


def test_names_that_cannot_be_ids_become_some_and_stay_readable():
    zigbee = rule(CLIMATE.replace('time = "last_seen"', ""))
    for called in ("Büro Süd", "buero_sued", "BÜRO SÜD", "Bad/1"):
        zigbee.hear(f"zigbee2mqtt/{called}", '{"temperature":1}')
    found = {one.title: one.key.name for one in zigbee.source.devices}
    assert len(set(found.values())) == 3, "a slash is another topic level"
    assert found["Büro Süd"].startswith("buero_sued-")
    assert found["buero_sued"] == "buero_sued"
    assert zigbee.device(found["Büro Süd"]).labels["sensor_id"] == "Büro Süd"


def test_names_and_titles_are_given_by_the_configuration():
    zigbee = rule(
        CLIMATE.replace('time = "last_seen"', 'names = { "Büro Süd" = "office" }\ntitles = { Bad = "Bath" }')
    )
    zigbee.hear("zigbee2mqtt/Büro Süd", '{"temperature":1}')
    zigbee.hear("zigbee2mqtt/Bad", '{"temperature":1}')
    assert (zigbee.source.devices[0].key.name, zigbee.source.devices[0].title) == ("office", "Büro Süd")
    assert zigbee.source.devices[1].title == "Bath"


def test_a_name_of_the_configuration_is_its_device_s_whoever_comes_first():
    zigbee = rule(CLIMATE.replace('time = "last_seen"', 'names = { "Büro Süd" = "office" }'))
    assert zigbee.refuse("zigbee2mqtt/office", '{"temperature":1}') == "name"
    assert zigbee.hear("zigbee2mqtt/Büro Süd", '{"temperature":2}') == {"office": {"temperature_celsius": 2}}


def test_a_device_has_the_fields_that_it_has_shown():
    zigbee = rule(CLIMATE.replace('time = "last_seen"', ""))
    zigbee.hear("zigbee2mqtt/a", '{"temperature":1}')
    assert list(zigbee.device("a").fields) == ["temperature_celsius"]
    zigbee.hear("zigbee2mqtt/a", '{"battery":null}')
    assert list(zigbee.device("a").fields) == ["temperature_celsius", "battery_percent"]


def test_a_message_without_a_field_of_the_rule_is_nothing():
    zigbee = rule(CLIMATE)
    assert zigbee.hear("zigbee2mqtt/lamp", '{"state":"ON","brightness":215}') == {}
    assert zigbee.hear("zigbee2mqtt/button", '{"action":"single"}') == {}
    assert zigbee.source.devices == []


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "not_json"),
        (b"{", "not_json"),
        (b"NaN", "not_json"),
        (b'{"temperature":NaN}', "not_json"),
        (b'{"temperature":1e999}', "not_json"),
        (b"\xff\xfe", "not_json"),
        (b'"\xc3"', "not_text"),
        (b"[" * 100_000, "not_json"),
        (b'{"a":' * 30_000, "not_json"),
        (b"1" * 200_000, "not_json"),
        (b'"' + b"x" * LARGEST_BYTES + b'"', "too_large"),
        (b"x" * 1_000_000, "too_large"),
        (b'{"temperature":21}', "time"),
        (b'{"temperature":21,"last_seen":"2026-11-23T05:05:01"}', "time"),
        (b'{"temperature":21,"last_seen":1795406701}', "time"),
        (b'{"temperature":"warm","last_seen":"2026-11-23T05:05:01Z"}', "value"),
    ],
)
def test_a_message_that_cannot_be_meant_has_its_reason(payload, reason):
    assert rule(CLIMATE).refuse("zigbee2mqtt/bad", payload) == reason


def test_what_is_wrong_with_one_field_takes_nothing_from_the_others():
    zigbee = rule(CLIMATE.replace('time = "last_seen"', ""))
    line, tally = FakeLine(), Tally(POLLER_HEALTH)
    stage = Stage(line, tally, Switchboard([zigbee.source], line, tally), zigbee.source)
    ((_, report),) = stage.hear("zigbee2mqtt/bad", b'{"temperature":21,"humidity":"high"}')
    assert report.values == {"temperature_celsius": 21}
    assert tally.value("poller_messages_refused_total", source="rule zigbee", reason="value") == 1
    assert stage.results() == {"refused": 1}


PROBES = """
name = "tasmota"
kind = "sensor"
topic = "tele/{device}/SENSOR"
device = "{device} {id}"
title = "{device}, probe {n}"
each = "DS18B20-{n}"
parts = { id = "Id" }
where = { TempUnit = "C" }
time = { path = "Time", zone = "Europe/Berlin" }
names = { "kitchen 0301A279EA92" = "fridge" }
labels = { sensor_name = "probe_{n}", floor = "{device}" }
[fields]
temperature_celsius = "Temperature"
"""


def test_one_message_may_have_several_devices_each_known_by_an_id_in_it():
    tasmota = rule(PROBES)
    message = (
        '{"Time":"2026-11-23T05:05:01","DS18B20-1":{"Id":"0301A279D4D4","Temperature":4.3},'
        '"DS18B20-2":{"Id":"0301A279EA92","Temperature":2.4},"TempUnit":"C"}'
    )
    at = NOW_MS - 5000
    first, second = tasmota.hear("tele/kitchen/SENSOR", message).items()
    assert first[0].startswith("kitchen_0301a279d4d4-")
    assert first[1] == {"temperature_celsius": 4.3, "at": at}
    assert second == ("fridge", {"temperature_celsius": 2.4, "at": at})
    fridge = tasmota.device("fridge")
    assert fridge.title == "kitchen, probe 2"
    assert fridge.series_labels == {
        "device_id": "kitchen 0301A279EA92",
        "gateway_id": "tasmota",
        "sensor_id": "kitchen 0301A279EA92",
        "sensor_name": "probe_2",
        "floor": "kitchen",
    }
    assert tasmota.refuse("tele/kitchen/SENSOR", message.replace('"C"', '"F"')) == "where"
    assert tasmota.refuse("tele/kitchen/SENSOR", message.replace(',"TempUnit":"C"', "")) == "where"
    assert tasmota.refuse("tele/kitchen/SENSOR", message.replace('"Id":"0301A279D4D4",', "")) == "part"


def test_a_device_that_says_something_wrong_takes_nothing_from_those_beside_it():
    tasmota = rule(PROBES)
    message = (
        '{"Time":"2026-11-23T05:05:01","DS18B20-1":{"Temperature":4.3},'
        '"DS18B20-2":{"Id":"0301A279EA92","Temperature":2.4},"TempUnit":"C"}'
    )
    made = []
    with pytest.raises(MessageError) as caught:
        made.extend(tasmota.source.hear(heard("tele/kitchen/SENSOR", message)))
    assert caught.value.reason is MessageTrouble.PART
    assert [device.key.name for device in tasmota.source.devices] == ["fridge"]


def test_what_a_rule_asks_for_is_asked_of_messages_that_have_a_field_of_it():
    """Other devices on the same topics are no mistakes."""
    plug = '{"Time":"2026-11-23T05:05:01","ENERGY":{"Power":412}}'
    assert rule(PROBES).hear("tele/washer/SENSOR", plug) == {}


def test_an_array_may_have_several_devices_and_times_of_their_own():
    rooms = rule(
        """
        name = "rooms"
        kind = "thermostat"
        topic = "heating-control/status"
        each = "rooms[*]"
        parts = { room = "id" }
        device = "{room}"
        time = { path = "ts", format = "ms" }
        [fields]
        current_temperature_celsius = "is"
        switch_state = { path = "mode", map = { heat = 1, idle = 0 } }
        """
    )
    message = f'{{"ts":{NOW_MS},"rooms":[{{"id":1,"is":"20.5","mode":"heat"}},{{"id":2,"is":19,"ts":{NOW_MS - 7}}}]}}'
    assert rooms.hear("heating-control/status", message) == {
        "1": {"current_temperature_celsius": 20.5, "switch_state": 1, "at": NOW_MS},
        "2": {"current_temperature_celsius": 19, "at": NOW_MS - 7},
    }
    assert rooms.device("1").series_labels == {"device": "1"}


ESPHOME = """
name = "esphome"
kind = "sensor"
payload = "text"
[fields]
temperature_celsius = { topic = "{device}/sensor/temperature/state" }
humidity_percent = { topic = "{device}/sensor/humidity/state" }
"""


def test_plain_text_on_a_topic_of_its_own_per_field():
    esphome = rule(ESPHOME)
    assert esphome.source.filters == ("+/sensor/temperature/state", "+/sensor/humidity/state")
    assert esphome.hear("weather/sensor/temperature/state", "20.5") == {
        "weather": {"temperature_celsius": 20.5}
    }
    assert esphome.hear("weather/sensor/humidity/state", "nan") == {"weather": {"humidity_percent": None}}
    assert list(esphome.device("weather").fields) == ["temperature_celsius", "humidity_percent"]
    assert esphome.refuse("weather/sensor/humidity/state", "wet") == "value"
    assert esphome.refuse("weather/sensor/humidity/state", b"\xff") == "not_text"
    assert esphome.hear("weather/sensor/pressure/state", "1013") == {}


def test_a_place_that_is_there_twice_is_nobodys_value():
    meter = rule(
        'name="m"\nkind="meter"\ntopic="m"\ndevice="m"\n[fields]\npower_total_kw={path="*.P", unit="W"}'
    )
    assert meter.hear("m", '{"a":{"P":1500}}') == {"m": {"power_total_kw": 1.5}}
    assert meter.refuse("m", '{"a":{"P":1500},"b":{"P":2}}') == "ambiguous"


def test_topics_that_only_look_so_are_passed_over():
    nested = rule(
        CLIMATE.replace("{device}", "{room}/{device}").replace(
            'time = "last_seen"', 'ignore = ["zigbee2mqtt/bridge/*"]\ndevice = "{room}/{device}"'
        )
    )
    assert nested.hear("zigbee2mqtt/bridge/devices", "[" * 10) == {}
    assert len(nested.hear("zigbee2mqtt/kitchen/floor", '{"temperature":21}')) == 1


def test_the_next_run_knows_the_devices_from_the_start():
    zigbee = rule(CLIMATE.replace('time = "last_seen"', ""))
    assert zigbee.source.keep() is None
    zigbee.hear("zigbee2mqtt/Bad", '{"temperature":1}')
    zigbee.hear("zigbee2mqtt/Flur", '{"temperature":1,"humidity":40}')
    memory = zigbee.source.keep()
    zigbee.hear("zigbee2mqtt/Flur", '{"temperature":2,"humidity":41}')
    assert zigbee.source.keep() == memory, "it is written when something new is known, not with every message"

    following = rule(CLIMATE)
    following.source.restore(memory)
    assert following.source.devices == zigbee.source.devices
    without = rule(
        CLIMATE.replace('humidity_percent = "humidity"\n', "").replace(
            'temperature_celsius = "temperature"\n', ""
        )
    )
    without.source.restore(memory)
    assert without.source.devices == []


def test_what_was_silent_for_a_month_is_forgotten():
    zigbee = rule(CLIMATE)
    days = NOW_MS // 86_400_000
    memory = [
        [{"device": "old"}, ["battery_percent"], days - 31],
        [{"device": "new"}, ["battery_percent"], days],
    ]
    zigbee.source.restore(msgspec.json.encode(memory))
    assert [one.title for one in zigbee.source.devices] == ["new"]


def test_what_was_heard_while_nobody_knew_the_time_is_not_forgotten_and_what_has_no_name_any_more_is():
    zigbee = rule(CLIMATE)
    days = NOW_MS // 86_400_000
    memory = [
        [{"device": "early"}, ["battery_percent"], 0],
        [{"room": "Bad"}, ["battery_percent"], days],
        [{"device": "late"}, ["battery_percent"], days],
    ]
    zigbee.source.restore(msgspec.json.encode(memory))
    assert [one.title for one in zigbee.source.devices] == ["early", "late"]


@pytest.mark.parametrize(
    ("asked", "said", "is_same"),
    [
        ("1", "1.0", True),
        ("1.5", "1.5", True),
        ("true", "1", False),
        ("1", "true", False),
        ('"C"', '"C"', True),
        ('"1"', "1", False),
    ],
)
def test_what_must_stand_in_a_message_is_compared_as_json_means_it(asked, said, is_same):
    unit = rule(CLIMATE.replace('time = "last_seen"', f"where = {{ unit = {asked} }}"))
    message = f'{{"temperature":20,"unit":{said}}}'
    if is_same:
        assert unit.hear("zigbee2mqtt/bad", message)
    else:
        assert unit.refuse("zigbee2mqtt/bad", message) == "where"


@pytest.mark.parametrize(
    "memory", [b"", b"{}", b"[[1,2,3]]", b"[" * 100_000, b'[[{"device":5},[],0]]', b'[[{"a":"\xff"}]]']
)
def test_a_memory_that_cannot_be_read_says_so(memory):
    with pytest.raises(MessageError):
        rule(CLIMATE).source.restore(memory)


def test_a_rule_makes_no_more_devices_than_so_many():
    zigbee = rule(CLIMATE.replace('time = "last_seen"', ""))
    for number in range(MOST_DEVICES):
        zigbee.hear(f"zigbee2mqtt/{number}", '{"temperature":1}')
    assert zigbee.refuse("zigbee2mqtt/one more", '{"temperature":1}') == "limit"
    assert zigbee.hear("zigbee2mqtt/7", '{"temperature":2}') == {"7": {"temperature_celsius": 2}}


@pytest.mark.parametrize("called", [" ", "x" * 300])
def test_what_nobody_can_be_called_is_refused(called):
    assert (
        rule(CLIMATE.replace('time = "last_seen"', "")).refuse(f"zigbee2mqtt/{called}", '{"temperature":1}')
        == "name"
    )


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "temperature",
                    "humidity",
                    "last_seen",
                    "DS18B20-1",
                    "DS18B20-2",
                    "Id",
                    "Temperature",
                    "TempUnit",
                    "rooms",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@given(st.sampled_from([CLIMATE, PROBES, ESPHOME]), st.binary(max_size=60) | JSON.map(msgspec.json.encode))
def test_hostile_messages_are_valid_reports_or_one_error(text, payload):
    heeder = rule(text)
    for topic in ("zigbee2mqtt/x", "tele/x/SENSOR", "x/sensor/temperature/state"):
        try:
            for device, report in heeder.source.hear(heard(topic, payload)):
                assert report.values
                assert report.values.keys() <= device.fields.keys()
                assert not any(value is not None and math.isnan(value) for value in report.values.values())
        except MessageError as error:
            assert error.reason not in {MessageTrouble.UNEXPECTED, MessageTrouble.MISTAKE}  # noqa: PT017


MISTAKES = [
    (
        'topic = "zigbee2mqtt/{device}"',
        'topic = "zigbee2mqtt/#"',
        "rule[0].topic: expected topic levels with {parts} or *, got 'zigbee2mqtt/#'",
    ),
    ('topic = "zigbee2mqtt/{device}"', "", "rule[0].topic: expected a topic, or one for each field"),
    (
        'topic = "zigbee2mqtt/{device}"',
        'topic = "zigbee2mqtt/{room}"',
        "rule[0].device: expected parts of 'zigbee2mqtt/{room}' and the message, got {device}",
    ),
    (
        'topic = "zigbee2mqtt/{device}"',
        'topic = "z/{device}"\ntitle = "{x}"',
        "rule[0].title: expected parts of 'z/{device}' and the message, got {x}",
    ),
    (
        'topic = "zigbee2mqtt/{device}"',
        'topic = "z/{device}"\nlabels = { a = "{x}" }',
        "rule[0].labels: expected parts that the rule has, got {x}",
    ),
    (
        'topic = "zigbee2mqtt/{device}"',
        'topic = "z/{device}"\neach = "{device}"',
        "rule[0].topic: expected each part once, 'device' is in the message too",
    ),
    (
        'time = "last_seen"',
        'time = { path = "t", zone = "Berlin" }',
        "rule[0].time.zone: expected a time zone that this machine knows (\"Europe/Berlin\"), got 'Berlin'",
    ),
    ('time = "last_seen"', 'time = "a."', "rule[0].time.path: expected a name after the last dot of 'a.'"),
    (
        'time = "last_seen"',
        'profile = "wago-879"',
        "rule[0].profile: expected a sensor that reports by itself, got 'wago-879'",
    ),
    (
        'time = "last_seen"',
        'names = { a = "x", b = "x" }',
        "rule[0].names: expected a name of its own for each",
    ),
    (
        'time = "last_seen"',
        'payload = "text"',
        "rule[0].fields: expected no path, each, parts, where and time for a payload of plain text",
    ),
    (
        '= "temperature"',
        '= { path = "t", unit = "W" }',
        "rule[0].fields.temperature_celsius.unit: expected °C, or a factor that makes it of 'W'",
    ),
    (
        '= "temperature"',
        '= { path = "t", factor = 0 }',
        "rule[0].fields.temperature_celsius.factor: expected a number other than 0",
    ),
    (
        '= "temperature"',
        '= "t["',
        "rule[0].fields.temperature_celsius.path: expected names with dots, [0] or \"quotes\" between them, got 't['",
    ),
    ('= "temperature"', '= "{x}.t"', "rule[0].fields: expected no {part} in the path '{x}.t', but in `each`"),
    (
        '= "temperature"',
        '= { path = "t", range = [5, 1] }',
        "rule[0].fields.temperature_celsius.range: expected [lowest, highest], got [5.0, 1.0]",
    ),
    (
        "temperature_celsius",
        "pressure_hpa",
        "rule[0].fields.pressure_hpa: not in the vocabulary of a sensor; expected a unit and a description here",
    ),
    (
        'temperature_celsius = "temperature"',
        'pressure_hpa = { path = "p", unit = "hPa", description = "Air pressure" }',
        "rule[0].fields.pressure_hpa.range: expected the lowest and the highest believable value",
    ),
    (
        '= "humidity"',
        '= { path = "h", payload = "text" }',
        "rule[0].fields: expected one payload for zigbee2mqtt/{device}, json or text",
    ),
]


@pytest.mark.parametrize(("good", "bad", "says"), MISTAKES)
def test_a_mistake_in_a_rule_names_key_and_expectation(good, bad, says):
    assert good in CLIMATE
    with pytest.raises(SettingsError) as error:
        make(CLIMATE.replace(good, bad, 1))
    assert str(error.value) == says


def test_a_quantity_that_the_vocabulary_has_not_is_described_in_the_rule():
    made = make(
        CLIMATE.replace(
            'temperature_celsius = "temperature"',
            'pressure_hpa = { path = "p", unit = "hPa", description = "Air pressure", range = [800, 1200], decimals = 1 }',
        )
    )
    quantity = made.fields["pressure_hpa"].field.quantity
    assert (quantity.unit, quantity.description, quantity.decimals) == ("hPa", "Air pressure", 1)
    assert made.fields["pressure_hpa"].field.rules.range == (800, 1200)


def test_a_quantity_of_the_profile_s_own_needs_no_second_description(tmp_path):
    (tmp_path / "weather.toml").write_text(
        'title = "Weather"\nkind = "sensor"\nmanufacturer = "own"\nmodel = "own"\nsources = ["own"]\n'
        'transport = "messages"\n[fields]\n'
        'pressure_hpa = { unit = "hPa", description = "Air pressure", decimals = 1, range = [800, 1200] }\n'
    )
    text = 'name = "w"\nkind = "sensor"\nprofile = "weather"\ntopic = "w/{device}"\n[fields]\n'
    table = tomllib.loads(text + 'pressure_hpa = { path = "p", unit = "Pa", factor = 0.01 }')
    made = read_rule(msgspec.convert(table, RuleTable), "rule[0]", tmp_path).fields["pressure_hpa"]
    assert (made.field.quantity.unit, made.field.quantity.description) == ("hPa", "Air pressure")
    assert made.field.quantity.decimals == 1
    assert made.conversion.convert(101320) == 1013.2


def test_what_is_believable_is_the_profiles_unless_the_rule_says_otherwise():
    made = make(CLIMATE.replace('= "temperature"', '= { path = "t", range = [15, 30], jump = 2 }'))
    temperature, humidity = (
        made.fields[name].field.rules for name in ("temperature_celsius", "humidity_percent")
    )
    assert (temperature.range, temperature.jump) == ((15, 30), 2)
    assert (humidity.range, humidity.jump) == ((0, 100), None)
