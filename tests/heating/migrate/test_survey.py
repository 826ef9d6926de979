"""What a survey and a look find, in a Prometheus that is a list."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pytest

from heating.errors import CommandError
from heating.migrate.look import Looked, look
from heating.migrate.sieve import Sieve
from heating.migrate.survey import Choice, find_first, survey
from heating.migrate.windows import BLOCK_MS, by_field
from heating.migrate.words import describe
from heating.report.answer import Stored
from poller.profile import load_profile
from readings.reading import Kind

NOW_MS = 1_780_000_000_000
START_MS = NOW_MS - 30 * 86_400_000
CHANGED_MS = START_MS + 20 * 86_400_000
HOUR_MS = 3_600_000
WAGO = {"job": "wago", "instance": "modbus_exporter:9100"}
INDOOR = {"device_id": "b1", "gateway_id": "gw", "sensor_id": "200", "sensor_name": "temp_indoor"}


@dataclass
class Held:
    """Series with their points; a selector is taken apart as Prometheus does."""

    series: Sequence[Stored]

    def stored(self, selector: str, from_ms: int, until_ms: int) -> Sequence[Stored]:
        matchers = re.findall(r'(\w+)(=~|!=|=)"((?:[^"\\]|\\.)*)"', selector)
        found = []
        for one in self.series:
            points = [point for point in one.points if from_ms <= point[0] < until_ms]
            if points and all(fits(one.labels.get(name, ""), how, value) for name, how, value in matchers):
                found.append(Stored(one.labels, points))
        return found

    def label_sets(self, selector: str, from_ms: int, until_ms: int) -> Sequence[Mapping[str, str]]:
        return [one.labels for one in self.stored(selector, from_ms, until_ms + 1)]


def fits(value: str, how: str, wanted: str) -> bool:
    match how:
        case "=":
            return value == wanted
        case "!=":
            return value != wanted
        case _:
            return re.fullmatch(wanted, value) is not None


def series(name: str, labels: Mapping[str, str], from_ms: int, until_ms: int, value: float = 1.0) -> Stored:
    """A sample an hour."""
    return Stored(
        {"__name__": name, **labels}, [(at_ms, value) for at_ms in range(from_ms, until_ms, HOUR_MS)]
    )


def old(name: str, labels: Mapping[str, str] = WAGO) -> Stored:
    return series(name, labels, START_MS, CHANGED_MS)


def new(name: str, labels: Mapping[str, str]) -> Stored:
    return series(name, labels, CHANGED_MS, NOW_MS)


HOUSE = (
    old("wago_power_total_kw"),
    old("wago_power_factor"),
    new("meter_power_total_kw", {"device": "wp", "site": "home"}),
)


def test_a_meter_goes_on_under_the_labels_that_it_has_here():
    (family,) = survey(Held(HOUSE), Choice({}), NOW_MS).families
    assert family.title == 'meter_* of "wp" from wago_*'
    assert family.labels == {"device": "wp", "site": "home"}
    assert family.until_ms == CHANGED_MS


def test_of_several_meters_the_person_says_which():
    held = Held([*HOUSE, new("meter_power_total_kw", {"device": "barn"})])
    with pytest.raises(
        CommandError, match="which of barn, wp was the original's meter\\? Choose with --meter"
    ):
        survey(held, Choice({}), NOW_MS)
    (family,) = survey(held, Choice({Kind.METER: "wp"}), NOW_MS).families
    assert family.labels["device"] == "wp"
    with pytest.raises(CommandError, match="no meter_\\* has the device 'attic': those found are barn, wp"):
        survey(held, Choice({Kind.METER: "attic"}), NOW_MS)


def test_where_nothing_goes_on_that_is_said():
    found = survey(Held([old("wago_power_total_kw")]), Choice({}), NOW_MS)
    assert found.families == []
    assert found.notes == [
        "wago_*: nothing goes on with it here, the bridge has written no meter_*",
    ]
    assert survey(Held([]), Choice({}), NOW_MS).notes == []


def test_sensors_go_on_by_their_own_labels_and_only_where_it_is_wanted():
    cellar = INDOOR | {"sensor_id": "201", "sensor_name": "temp_cellar"}
    scraped = {"job": "temperature-sensors", "instance": "iot-api:8000"}
    held = Held(
        [
            *HOUSE,
            old("sensor_temperature_celsius", INDOOR | scraped),
            old("sensor_temperature_celsius", cellar | scraped),
            new("sensor_temperature_celsius", INDOOR),
        ]
    )
    assert len(survey(held, Choice({}), NOW_MS).families) == 1
    found = survey(held, Choice({}, joins=True), NOW_MS)
    assert [one.title for one in found.families] == [
        'meter_* of "wp" from wago_*',
        'sensor_* of "temp_indoor"',
    ]
    assert found.families[1].labels == INDOOR
    (theirs,) = held.stored(found.families[1].old, START_MS, NOW_MS)
    assert theirs.labels["job"] == "temperature-sensors"
    (ours,) = held.stored(found.families[1].made, START_MS, NOW_MS)
    assert "job" not in ours.labels
    assert found.notes == [
        "wago_*: nothing goes on with it here, the bridge has written no wago_*",
        "sensor_* of temp_cellar: nothing goes on with it here, the bridge has written no sensor_* with its labels",
    ]


@pytest.mark.parametrize("at_ms", [START_MS, START_MS + 7, NOW_MS - BLOCK_MS, NOW_MS])
def test_the_first_sample_is_found_to_the_millisecond(at_ms):
    held = Held(
        [
            series("up", {"a": "b"}, at_ms + 1, NOW_MS + 1),
            Stored({"__name__": "up"}, [(at_ms, 1.0), (NOW_MS, 1.0)]),
        ]
    )
    first = find_first(held, '{__name__=~"up"}', NOW_MS)
    assert first is not None
    assert first.points[0] == (at_ms, 1.0)


def looked_at(*parts: Stored, instance: str | None = None) -> Looked | None:
    held = Held(parts)
    (family,) = survey(held, Choice({}, instance), NOW_MS).families
    return look(held, family, lambda _done, _of: None)


def test_a_program_that_got_another_name_is_one_and_two_at_a_time_are_not():
    moved_ms = START_MS + 5 * 86_400_000 + HOUR_MS
    there = WAGO | {"instance": "elsewhere:9100"}
    rest = (new("meter_power_total_kw", {"device": "wp"}),)
    looked = looked_at(
        series("wago_power_total_kw", there, moved_ms, CHANGED_MS),
        series("wago_power_total_kw", WAGO, START_MS, moved_ms),
        *rest,
    )
    assert looked is not None
    assert looked.made == looked.seen == 20 * 24
    both = (old("wago_power_total_kw"), old("wago_power_total_kw", there), *rest)
    with pytest.raises(CommandError, match="choose with --instance: elsewhere:9100, modbus_exporter:9100"):
        looked_at(*both)
    assert looked_at(*both, instance="elsewhere:9100") is not None


def test_what_lies_after_the_first_reading_here_is_left_alone():
    """Both systems ran side by side for a while."""
    looked = looked_at(
        series("wago_power_total_kw", WAGO, START_MS, NOW_MS), new("meter_power_total_kw", {"device": "wp"})
    )
    assert looked is not None
    assert (looked.made, looked.last_ms) == (20 * 24, CHANGED_MS - HOUR_MS)


def test_what_is_found_is_said():
    looked = looked_at(*HOUSE)
    assert looked is not None
    assert list(describe(looked)) == [
        'meter_* of "wp" from wago_*',
        "  there      2026-04-28 20:26 UTC to 2026-05-18 19:26 UTC, 960 samples",
        '  goes on    2026-05-18 20:26 UTC, as meter_*{device="wp", site="home"}',
        "  makes      960 samples, about 0.0 MB of disk",
    ]


@pytest.mark.parametrize(
    ("field", "values", "passes", "refused"),
    [
        ("power_total_kw", [0.5, 3.67e-27, 3.67e-27, 0.5], [0.5, 0.5], {"resolution": 2}),
        ("power_total_kw", [0.5, 1e30, float("nan"), float("inf"), -3.2], [0.5, -3.2], {"range": 1, "not_a_number": 1, "full_scale": 1}),
        ("power_total_kw", [0.5, 20.0, 0.5, 20.0, 20.1], [0.5, 0.5, 20.1], {"jump": 2}),
        ("power_total_kw", [0.5, 0.0, 0.0], [0.5, 0.0, 0.0], {}),
        ("frequency_hz", [50.0, 0.0, 50.01], [50.0, 50.01], {"unread": 1}),
    ],
)  # fmt: skip
def test_the_filters_are_the_pollers(field, values, passes, refused):
    rules = {name: one.rules for name, one in load_profile("wago-exporter").fields.items()}
    sieve = Sieve(rules)
    sifted = sieve.sift({field: list(enumerate(values))})
    assert [value for _, value in sifted[field]] == passes
    assert dict(sieve.refused) == refused


def test_what_was_shown_before_anything_was_read_is_left_out():
    """Its zeros only: what it had read by then is there."""
    rules = {name: one.rules for name, one in load_profile("wago-exporter").fields.items()}
    sieve = Sieve(rules)
    window = by_field(
        [
            Stored({"__name__": "wago_frequency_hz"}, [(1, 0.0), (2, 0.0), (3, 50.0)]),
            Stored({"__name__": "wago_power_total_kw"}, [(1, 0.0), (2, 0.7), (3, 0.0)]),
        ],
        "wago",
    )
    assert sieve.sift(window) == {"frequency_hz": [(3, 50.0)], "power_total_kw": [(2, 0.7), (3, 0.0)]}
    assert sieve.refused == {"unread": 3}
