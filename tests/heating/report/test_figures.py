"""The figures of a day, from half hours written by hand."""

from dataclasses import replace
from datetime import date
from xml.etree import ElementTree
from zoneinfo import ZoneInfo

import pytest

from heating.commands.report import choose_periods
from heating.errors import CommandError
from heating.report.answer import read_names, read_points, read_refusal, read_snapshot
from heating.report.chart import to_svg
from heating.report.columns import to_csv
from heating.report.days import Period, by_day
from heating.report.figures import Figures, Rules, Status, make_figures, make_total
from heating.report.measured import HALF_HOUR_S, Measured
from heating.report.table import to_table

BERLIN = ZoneInfo("Europe/Berlin")
DAY = date(2026, 1, 10)


def measured(counts: dict[float, float], **others: list[float | None]) -> Measured:
    """Two days before and after midnight: hours from the day's beginning, and the count then."""
    start_s = by_day(date(2026, 1, 9), DAY, BERLIN)[0].start_s
    places = range(3 * 48)
    at = {int(hours * 2) + 48: count for hours, count in counts.items()}
    values = [at.get(place) for place in places]
    nothing: list[float | None] = [None] * len(places)
    return Measured(start_s, values, values, others.get("outdoor", nothing), others.get("heat", nothing))


def row(counts: dict[float, float], **others: list[float | None]) -> Figures:
    (made,) = make_figures(measured(counts, **others), by_day(DAY, DAY, BERLIN), Rules())
    return made


@pytest.mark.parametrize(
    ("counts", "status", "energy"),
    [
        ({-0.5: 100.0, 0: 100.1, 23.5: 110.0, 24: 110.1}, Status.OK, 10.0),
        ({-9: 100.0, 9: 100.1, 15: 110.0, 33: 110.1}, Status.OK, 10.0),
        ({-0.5: 100.0, 0: 101.0, 23.5: 110.0, 24: 110.1}, Status.PARTIAL, 9.05),
        ({0: 100.1, 23.5: 110.0, 24: 110.1}, Status.PARTIAL, 9.95),
        ({-0.5: 100.0, 0: 100.1, 12: 105.0}, Status.PARTIAL, 4.95),
        ({-0.5: 100.0, 24: 110.0}, Status.NO_DATA, None),
        ({-0.5: 100.0, 24: 100.1}, Status.OK, 0.0),
        ({}, Status.NO_DATA, None),
        ({-0.5: 100.0, 0: 100.1, 12: 3.0, 23.5: 5.0, 24: 5.1}, Status.FELL, None),
        ({-0.5: 100.0, 0: 99.999, 23.5: 110.0, 24: 110.0}, Status.OK, 10.0),
    ],
)
def test_a_day_is_worth_what_is_known_of_its_midnights(counts, status, energy):
    made = row(counts)
    assert made.status is status
    assert made.energy_kwh == (None if energy is None else pytest.approx(energy, abs=0.001))


def test_the_energy_of_an_unknown_midnight_is_in_the_total():
    counts = {-0.5: 100.0, 0: 100.1, 20: 108.0, 30: 112.0, 47.5: 120.0, 48: 120.1}
    days = by_day(DAY, date(2026, 1, 11), BERLIN)
    start = measured(counts)
    wide = Measured(start.start_s, *([*values, *[None] * 48] for values in (
        start.lowest_kwh, start.highest_kwh, start.outdoor_celsius, start.thermal_kwh)))  # fmt: skip
    wide.lowest_kwh[3 * 48] = wide.highest_kwh[3 * 48] = 120.1
    rows = make_figures(wide, days, Rules())
    total = make_total(wide, Period("all", tuple(one.days[0] for one in days)), Rules())
    assert [one.energy_kwh for one in rows] == [pytest.approx(7.95), pytest.approx(8.05)]
    assert total.energy_kwh == pytest.approx(20.0)
    assert "4.0 kWh were used where it is not known in which day" in to_table(
        rows, total, is_daily=True, width=None
    )


@pytest.mark.parametrize(("mean", "degree_days"), [(-5.0, 25.0), (14.9, 5.1), (15.0, 0.0), (22.0, 0.0)])
def test_a_day_below_15_degrees_is_counted_up_to_20(mean, degree_days):
    made = row({0: 1.0}, outdoor=[mean] * 144)
    assert made.degree_days == pytest.approx(degree_days)


@pytest.mark.parametrize(("missing", "is_known"), [(4, True), (5, False)])
def test_a_mean_is_not_made_of_a_day_with_a_long_gap(missing, is_known):
    outdoor: list[float | None] = [5.0] * 144
    outdoor[60 : 60 + missing] = [None] * missing
    assert (row({0: 1.0}, outdoor=outdoor).outdoor_celsius is not None) == is_known


def test_the_cop_is_of_the_half_hours_in_which_both_were_measured():
    counts = {place / 2: 100 + place * 0.5 for place in range(-1, 49)}
    heat: list[float | None] = [1.5] * 144
    heat[60] = None
    made = row(counts, heat=heat)
    assert made.thermal_kwh == pytest.approx(47 * 1.5)
    assert made.cop == pytest.approx(3.0)
    heat[60:75] = [None] * 15
    assert row(counts, heat=heat).cop is None


@pytest.mark.parametrize(
    ("zone", "first", "hours"),
    [
        ("Europe/Berlin", date(2026, 3, 29), 23),
        ("Europe/Berlin", date(2026, 10, 25), 25),
        ("Asia/Kathmandu", date(2026, 3, 29), 24),
        ("Australia/Lord_Howe", date(2026, 4, 5), 24.5),
        ("America/Santiago", date(2026, 9, 6), 23),
    ],
)
def test_a_day_has_the_hours_of_its_zone_and_midnights_lie_on_one_grid(zone, first, hours):
    """Santiago puts the clock forward at midnight: that day begins at one o'clock."""
    (day,) = by_day(first, first, ZoneInfo(zone))
    assert (day.end_s - day.start_s) / 3600 == hours
    year = by_day(date(2026, 1, 1), date(2026, 12, 31), ZoneInfo(zone))
    assert {one.start_s % HALF_HOUR_S for one in year} == {year[0].start_s % HALF_HOUR_S}


@pytest.mark.parametrize(
    "said", [b"<html>", b'{"data": ["\xff"]}', b'{"data": [\xff]}', b'{"x": ' + b"[" * 100_000, b"\xff"]
)
def test_what_is_no_answer_of_prometheus_is_one_line(said):
    for read in (read_points, read_names, read_snapshot):
        with pytest.raises(CommandError, match="this is no answer of Prometheus"):
            read(said)
    assert read_refusal(said) == ""


def test_a_month_is_whole():
    months = choose_periods(date(2028, 2, 10), date(2028, 2, 11), date(2028, 4, 9), BERLIN, is_daily=False)
    assert [(one.name, len(one.days)) for one in months] == [("2028-02", 29)]


def test_the_days_to_come_are_in_no_report_and_no_gap():
    today = date(2028, 4, 9)
    months = choose_periods(None, None, today, BERLIN, is_daily=False)
    assert [one.name for one in months][::11] == ["2027-05", "2028-04"]
    assert months[-1].days[-1].date == today
    days = choose_periods(date(2028, 4, 8), date(2028, 5, 1), today, BERLIN, is_daily=True)
    assert [one.name for one in days] == ["2028-04-08", "2028-04-09"]
    day = by_day(DAY, DAY, BERLIN)
    now = replace(measured({-0.5: 100.0, 0: 100.1, 1: 101.0}), until_s=day[0].start_s + 3 * 3600 + 60)
    assert make_figures(now, day, Rules())[0].gap_h == 2.0


def test_an_average_is_made_of_whole_days():
    rows = [
        Figures("2026-01-10", Status.OK, energy_kwh=10.0),
        Figures("2026-01-11", Status.PARTIAL, energy_kwh=2.0),
    ]
    table = to_table(rows, Figures("all", Status.OK, energy_kwh=12.0), is_daily=True, width=None)
    assert [line.split()[:2] for line in table.splitlines()[3:5]] == [["Total", "12.0"], ["Average", "10.0"]]


def test_the_originals_columns_come_first_with_one_decimal():
    rows = [Figures("2026-01-10", Status.OK, 100.04, 110.06, 10.02, -0.04)]
    assert to_csv(rows, is_daily=True).splitlines()[1].startswith("2026-01-10,100.0,110.1,10.0,0.0,OK,")


def test_a_table_gives_way_to_a_narrow_terminal():
    rows = [Figures("2026-01-10", Status.OK, 100.0, 110.0, 10.0, 3.0, 3.3, 17.0, 0, 30.0, 3.0, 0.5)]
    wide = to_table(rows, rows[0], is_daily=True, width=None)
    assert "Start kWh" in wide
    assert "Not shown" not in wide
    narrow = to_table(rows, rows[0], is_daily=True, width=50)
    assert max(map(len, narrow.split("\n\n")[0].splitlines())) <= 50
    assert "Start_kWh, End_kWh" in narrow
    assert "Total" in narrow
    assert "Average" in narrow


def test_a_picture_is_well_formed_and_shows_a_day_between_two_unknown_ones():
    rows = [
        Figures(f"2026-01-1{day}", Status.OK, energy_kwh=day, outdoor_celsius=celsius)
        for day, celsius in enumerate([None, 1.0, None, 2.0, 3.0])
    ]
    root = ElementTree.fromstring(to_svg(rows, "<title> & more"))  # noqa: S314  # our own picture
    assert root.find("{*}title").text == "<title> & more"
    (line,) = [one.get("d") for one in root.findall("{*}path") if one.get("fill") == "none"]
    assert (line.count("M"), line.count("h0"), line.count("L")) == (2, 2, 1)
