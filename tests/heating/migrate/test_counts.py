"""A count's past: which readings are the meter's, and where it ends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heating.migrate.counts import Past, Run, add_reading, put_together
from heating.migrate.sieve import Sieve
from poller.points import Rules

METER = Rules("energy", range=(0, 9999999), resolution=0.01, max_power_kw=45)
STEP_MS = 30_000
HOUR = 120
"""Readings."""


def past(readings: list[float | None], then: float | None = None) -> Past:
    """What becomes of a reading every half minute; `None` where there is none."""
    runs: list[Run] = []
    for place, value in enumerate(readings):
        if value is not None:
            add_reading(runs, METER, place * STEP_MS, value)
    return put_together(METER, runs, None if then is None else (len(readings) * STEP_MS, then))


def made(readings: list[float | None], then: float | None = None) -> list[float | None]:
    """The same, as the values that are made of the readings."""
    became = past(readings, then)
    window = {
        "energy_total_kwh": [
            (place * STEP_MS, value) for place, value in enumerate(readings) if value is not None
        ]
    }
    sifted = Sieve({"energy_total_kwh": METER}, {"energy_total_kwh": became}).sift(window)
    values = dict(sifted.get("energy_total_kwh", []))
    assert len(values) == became.made
    return [values.get(place * STEP_MS) for place in range(len(readings))]


def rising(start: float, count: int) -> list[float]:
    return [round(start + 0.01 * place, 2) for place in range(count)]


NEW_AFTER = HOUR + 1
"""So many readings take the hour that a fall is doubted."""


@pytest.mark.parametrize(
    ("readings", "then", "expected"),
    [
        (rising(100, 5), 100.05, rising(100, 5)),
        # One wrong value, high or low, near or far.
        ([100, 100.01, 100.02, 65535, 100.03], 100.04, [100, 100.01, 100.02, None, 100.03]),
        ([100, 100.01, 100.02, 7, 100.03], 100.04, [100, 100.01, 100.02, None, 100.03]),
        ([100, 100.01, 100.02, 99.9, 100.03], 100.04, [100, 100.01, 100.02, None, 100.03]),
        # It stands until a restart; what was used meanwhile is in the count.
        ([*rising(100, 3), *[65535] * 50, *rising(100.2, 3)], 100.23, [*rising(100, 3), *[None] * 50, *rising(100.2, 3)]),
        # Wrong for less than an hour, and rising: a fall is doubted as long.
        ([*rising(100, 3), *rising(3, 9), *rising(100.1, 3)], 100.13, [*rising(100, 3), *[None] * 9, *rising(100.1, 3)]),
        # What rises is a meter, also where the first one comes back.
        ([*rising(100, 3), *rising(500, 5), *rising(100.1, 3)], 100.13, [100.04, 100.05, 100.06, 100.06, 100.07, 100.08, 100.09, 100.1, *rising(100.1, 3)]),
        # Two of them, one after the other.
        ([*rising(100, 3), *[700] * 9, *[800] * 9, *rising(100.2, 3)], 100.23, [*rising(100, 3), *[None] * 18, *rising(100.2, 3)]),
        # It stands still to the end: this system knows better.
        ([*rising(100, 3), *[65535] * 9], 100.1, [*rising(100, 3), *[None] * 9]),
        # Another meter, lower: all is shifted so that it ends where this system begins.
        ([*rising(100, 3), *rising(5, NEW_AFTER)], 6.21, [*[round(4.98 + 0.01 * one, 2) for one in range(3)], *rising(5, NEW_AFTER)]),
        # Another meter, higher than what the power could bring.
        ([*rising(100, 3), *rising(500, 5)], 500.05, [*[round(499.98 + 0.01 * one, 2) for one in range(3)], *rising(500, 5)]),
        # Replaced on the day of the change itself.
        (rising(100, 3), 0.5, [0.48, 0.49, 0.5]),
        # Nothing here goes on with it.
        (rising(100, 3), None, rising(100, 3)),
        # A meter that is away shows its last value for two days; then all of it comes at once.
        ([*rising(100, 3), *[100.02] * 5760, *rising(160, 3)], 160.03, [*rising(100, 3), *[100.02] * 5760, *rising(160, 3)]),
        # A 32-bit float may come back by a rounding; what is made never falls.
        ([12345.671, 12345.67, 12345.671, 12345.68], 12345.69, [12345.671, 12345.671, 12345.671, 12345.68]),
        # Two readings are not enough to begin with.
        ([65535, 65535, *rising(100, NEW_AFTER)], 101.21, [None, None, *rising(100, NEW_AFTER)]),
    ],
)  # fmt: skip
def test_what_is_made_of_a_count(readings, then, expected):
    assert made(readings, then) == expected


def test_an_outage_is_no_other_meter():
    """Ten days at 1.5 kW."""
    assert past([*rising(100, 3), *[None] * (240 * HOUR), *rising(460, 3)], 460.03).meters == ()


def test_another_meter_is_said_with_its_time_and_what_the_old_one_showed():
    became = past([*rising(100, 3), *rising(5, NEW_AFTER)], 6.21)
    assert became.meters == ((3 * STEP_MS, 100.02),)
    assert became.last_kwh == pytest.approx(6.20)


def test_what_is_refused_is_counted_by_reason():
    became = past([*rising(100, 3), 65535, 100.03, 7, 100.04], 100.05)
    assert became.refused == {"rise": 1, "fall": 1}
    assert became.made == 5


@given(
    st.lists(
        st.tuples(st.floats(0, 0.3), st.sampled_from(["true"] * 12 + ["garbage", "away", "stuck"])),
        min_size=5,
        max_size=60,
    ),
    st.data(),
)
def test_whatever_is_shown_in_between_the_energy_from_end_to_end_is_right(steps, data):
    """Wrong values, gaps and counts that stand too high change nothing of the difference."""
    count, readings = 1000.02, [1000.0, 1000.01, 1000.02]
    for step, what in steps:
        count = round(count + step, 2)
        match what:
            case "garbage":
                readings.append(data.draw(st.sampled_from([0.5, 65535.0, 999.0, 9999998.0])))
            case "stuck":
                readings += [data.draw(st.sampled_from([70000.0, 80000.0]))] * data.draw(st.integers(1, 9))
            case "away":
                readings += [None] * 3
            case _:
                readings.append(count)
    count = round(count + 0.01, 2)
    values = [value for value in made(readings, count) if value is not None]
    assert values == sorted(values)
    assert values[0] == 1000.0
    assert 0 <= count - values[-1] <= 0.3 * len(steps) + 0.03
    assert not set(values) & {0.5, 65535.0, 999.0, 9999998.0, 70000.0, 80000.0}
