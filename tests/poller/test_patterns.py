"""Topic patterns and paths in JSON, as a rule writes them."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.errors import PatternError
from poller.sources.patterns import MOST_PLACES, Path, TopicPattern, fill
from poller.switchboard import is_for


@pytest.mark.parametrize(
    ("pattern", "topic_filter", "topic", "parts"),
    [
        ("zigbee2mqtt/{device}", "zigbee2mqtt/+", "zigbee2mqtt/Büro Süd", {"device": "Büro Süd"}),
        ("zigbee2mqtt/{device}", "zigbee2mqtt/+", "zigbee2mqtt/bridge/state", None),
        ("zigbee2mqtt/{room}/{lamp}", "zigbee2mqtt/+/+", "zigbee2mqtt/a/b", {"room": "a", "lamp": "b"}),
        ("tele/{device}/SENSOR", "tele/+/SENSOR", "tele/th16/SENSOR", {"device": "th16"}),
        ("tele/{device}/SENSOR", "tele/+/SENSOR", "tele/th16/STATE", None),
        ("tele/{device}/SENSOR", "tele/+/SENSOR", "tele//SENSOR", None),
        ("tele/tasmota_{id}/*", "tele/+/+", "tele/tasmota_1A/x", {"id": "1A"}),
        ("tele/tasmota_{id}/*", "tele/+/+", "tele/sonoff_1A/x", None),
        ("home/boiler", "home/boiler", "home/boiler", {}),
        ("a.b/{x}", "a.b/+", "aXb/y", None),
        ("/{x}", "/+", "/y", {"x": "y"}),
        ("{x}", "+", "y" * 2000, None),
    ],
)
def test_a_pattern_hears_a_filter_and_names_parts_of_a_topic(pattern, topic_filter, topic, parts):
    compiled = TopicPattern.parse(pattern)
    assert compiled.topic_filter == topic_filter
    assert compiled.match(topic) == parts


@pytest.mark.parametrize(
    "text", ["", "a/#", "+", "a/+/b", "$SYS/x", "a/{Device}", "a/{x", "a/x}", "{x}/{x}", "a\0b", "{}"]
)
def test_what_is_no_pattern_is_refused(text):
    with pytest.raises(PatternError):
        TopicPattern.parse(text)


LEVELS = st.lists(
    st.sampled_from(["a", "b", "", "ab", "{x}", "*", "a{y}", "+", "a+b"]), min_size=1, max_size=4
)
TOPICS = st.lists(st.sampled_from(["a", "b", "", "ab", "aab", "+"]), min_size=1, max_size=4).map("/".join)


@given(LEVELS.map("/".join), TOPICS)
def test_a_topic_that_matches_is_heard(text, topic):
    try:
        pattern = TopicPattern.parse(text)
    except PatternError:
        return
    if pattern.match(topic) is not None:
        assert is_for(pattern.topic_filter, topic)


SENSOR = {
    "Time": "2023-08-20T11:09:47",
    "DS18B20-1": {"Id": "0301A279D4D4", "Temperature": 44.3},
    "DS18B20-2": {"Id": "0301A279EA92", "Temperature": 2.4},
    "ENERGY": {"Power": [12, 13], "a.b": 1, "x[0]": 2, 'q"': 3, "*": 4},
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", [({}, SENSOR)]),
        ("Time", [({}, "2023-08-20T11:09:47")]),
        ("DS18B20-1.Temperature", [({}, 44.3)]),
        ("*.Temperature", [({}, 44.3), ({}, 2.4)]),
        ("{probe}.Temperature", [({"probe": "DS18B20-1"}, 44.3), ({"probe": "DS18B20-2"}, 2.4)]),
        ("DS18B20-{n}.Id", [({"n": "1"}, "0301A279D4D4"), ({"n": "2"}, "0301A279EA92")]),
        ("ENERGY.Power[0]", [({}, 12)]),
        ("ENERGY.Power[*]", [({}, 12), ({}, 13)]),
        ("ENERGY.Power[{phase}]", [({"phase": "0"}, 12), ({"phase": "1"}, 13)]),
        ("ENERGY.Power.1", [({}, 13)]),
        ('ENERGY."a.b"', [({}, 1)]),
        ('ENERGY."x[0]"', [({}, 2)]),
        (r'ENERGY."q\""', [({}, 3)]),
        ('ENERGY."*"', [({}, 4)]),
        ("ENERGY.Power[2]", []),
        ("ENERGY.Power[-1]", []),
        ("Time.x", []),
        ("nothing", []),
    ],
)
def test_a_path_finds_places_and_names_their_parts(text, expected):
    assert list(Path.parse(text).find(SENSOR)) == expected


@pytest.mark.parametrize(
    "text", [".", "a.", "a..b", ".a", "a[", "a]", "a[]", 'a"b"', "a[0]b", "{x}.{x}", "{X}"]
)
def test_what_is_no_path_is_refused(text):
    with pytest.raises(PatternError):
        Path.parse(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "b", "a.b", ""]), inner, max_size=3)
    ),
    max_leaves=12,
)
PATHS = st.lists(st.sampled_from(["a", "b", "*", "{x}", '"a.b"', "0"]), max_size=4).map(".".join)


@given(PATHS, JSON)
def test_what_a_path_finds_is_there(text, document):
    try:
        path = Path.parse(text)
    except PatternError:
        return
    encoded = msgspec.json.encode(document)
    for parts, value in path.find(document):
        assert parts.keys() == set(path.parts)
        assert msgspec.json.encode(value) in encoded


def test_places_beyond_number_are_cut():
    wide = {str(one): {str(other): 1 for other in range(100)} for one in range(100)}
    assert len(list(Path.parse("*.*").find(wide))) == MOST_PLACES


def test_what_fills_a_template_is_not_filled_itself():
    assert fill("{a} {b} {c}", {"a": "{b}", "b": "2"}) == "{b} 2 "
