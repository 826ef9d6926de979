"""Charts: what is drawn where, and that nothing is drawn that is not known."""

import math
import re
import sys
from xml.etree import ElementTree

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.charts import HEIGHT, WIDTH, Line, Scale, choose_scale, choose_span, draw_lines, draw_strip
from bridge.trace import Point

SCALE = Scale(0.0, 10.0)


def parse(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)  # noqa: S314 - our own text


def draw(*points: tuple[float, float], scale: Scale = SCALE, gap_s: float = 180) -> list[str]:
    """The line's path, cut at its moves."""
    svg = draw_lines(
        [Line([Point(*one) for one in points], "first")], scale, span_s=3600, gap_s=gap_s, label="Power"
    )
    paths = [one.get("d") for one in parse(svg).iter("path") if one.get("class") == "line first"]
    return ["M" + part for part in (paths[0] or "").split("M")[1:]]


def test_a_line_runs_from_left_to_right():
    assert draw((120, 0.0), (60, 10.0), (0, 5.0)) == ["M348.0 61.0L354.0 3.0L360.0 32.0"]


def test_no_points_draw_no_line():
    assert draw() == []


def test_one_point_is_a_dot():
    assert draw((1800, 5.0)) == ["M180.0 32.0h0"]


def test_a_gap_is_not_bridged():
    """Nothing is known between two readings that lie far apart."""
    assert draw((600, 5.0), (420, 5.0), (60, 5.0), (0, 5.0)) == [
        "M300.0 32.0L318.0 32.0",
        "M354.0 32.0L360.0 32.0",
    ]


def test_points_older_than_the_chart_are_left_out():
    assert draw((3601, 1.0), (0, 5.0)) == ["M360.0 32.0h0"]


@pytest.mark.parametrize(
    ("values", "least", "with_zero", "low", "high"),
    [
        ([20.0, 30.0], 1, False, 20.0, 30.0),
        ([21.5, 21.5], 1, False, 21.0, 22.0),  # a constant line lies in the middle
        ([21.4, 21.6], 1, False, 21.0, 22.0),
        ([0.046, 2.3], 0.01, True, 0.0, 2.3),
        ([-0.5, -0.1], 0.01, True, -0.5, 0.0),
        ([0.0, 0.0], 0.01, True, 0.0, 0.01),  # power that is nothing lies at the bottom
    ],
)
def test_the_scale_fits_what_is_drawn(values, least, with_zero, low, high):
    line = Line([Point(60.0 * place, value) for place, value in enumerate(values)], "first")
    scale = choose_scale([line], least=least, with_zero=with_zero)
    assert (scale.low, scale.high) == (pytest.approx(low), pytest.approx(high))


@pytest.mark.parametrize(
    ("oldest", "span"), [(0, 1800), (1800, 1800), (1801, 3600), (7200, 10800), (21600, 21600), (99999, 21600)]
)
def test_the_span_is_the_shortest_that_shows_everything(oldest, span):
    assert choose_span([[], [Point(oldest, 1.0), Point(0, 1.0)]]) == span


def test_a_strip_shows_when_it_was_on_and_when_nobody_knows():
    points = [Point(age, value) for age, value in ((1800, 0), (1740, 1), (1680, 0), (600, 1))]
    svg = draw_strip(points, span_s=3600, gap_s=180, label="Compressor")
    known, on = (one.get("d") for one in parse(svg).iter("path"))
    assert known == "M180.0 0H198.0V8H180.0Z" + "M300.0 0H306.0V8H300.0Z"
    assert on == "M186.0 0H192.0V8H186.0Z" + "M300.0 0H306.0V8H300.0Z"


def test_the_label_is_escaped():
    svg = draw_strip([], span_s=3600, gap_s=180, label='<"&>')
    assert parse(svg).get("aria-label") == '<"&>'


@example(points=[(0.0, -sys.float_info.max)], with_zero=False)
@example(points=[(0.0, sys.float_info.max)], with_zero=False)
@given(
    st.lists(
        st.tuples(st.floats(0, 30_000), st.floats(allow_nan=False, allow_infinity=False)),
        min_size=1,
        max_size=30,
    ),
    st.booleans(),
)
def test_every_coordinate_is_a_number_within_the_picture(points, with_zero):
    points = [Point(*one) for one in sorted(points, reverse=True)]
    line = Line(points, "first")
    scale = choose_scale([line], least=1.0, with_zero=with_zero)
    span = choose_span([points])
    svg = draw_lines([line], scale, span_s=span, gap_s=180, label="") + draw_strip(
        points, span_s=span, gap_s=180, label=""
    )
    numbers = [
        float(one) for path in re.findall(r' d="([^"]*)"', svg) for one in re.findall(r"[^MLHVZh ]+", path)
    ]
    assert all(math.isfinite(one) and 0 <= one <= max(WIDTH, HEIGHT) for one in numbers)
