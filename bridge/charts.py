"""Small charts as SVG.

They stretch to the width of their place, so nothing in them is text: what the
axes say stands beside the chart, in the page's own type.
"""

import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

from bridge.trace import RESOLUTION_S, Point

WIDTH = 360
HEIGHT = 64
_MARGIN = 3
STRIP_HEIGHT = 8

_SPANS_S = (1800, 3600, 3 * 3600, 6 * 3600)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart: its points, oldest first, and the CSS class that gives its colour."""

    points: Sequence[Point]
    css: str


@dataclass(frozen=True, slots=True)
class Scale:
    """The values at a chart's lower and upper edge."""

    low: float
    high: float

    def height(self, value: float) -> float:
        """How far down a value is drawn. Halves, so that no difference overflows."""
        share = (value / 2 - self.low / 2) / (self.high / 2 - self.low / 2)
        return _MARGIN + (HEIGHT - 2 * _MARGIN) * (1 - share)


def choose_span(lines: Iterable[Sequence[Point]]) -> int:
    """The shortest of a few spans, in seconds, that shows every point.

    >>> choose_span([[Point(2000.0, 1.5), Point(60.0, 1.7)]])
    3600
    """
    oldest = max((points[0].age_s for points in lines if points), default=0.0)
    return next((span for span in _SPANS_S if oldest <= span), _SPANS_S[-1])


def choose_scale(lines: Iterable[Line], *, least: float, with_zero: bool) -> Scale:
    """The scale on which every point fits.

    Args:
        lines: At least one with a point.
        least: The least difference between the edges, so that the last digit's flicker stays small.
        with_zero: Whether 0 must be on it, as for power.
    """
    values = [point.value for line in lines for point in line.points]
    low, high = min(values), max(values)
    if with_zero:
        low, high = min(low, 0.0), max(high, 0.0)
    lacking = least - (high - low)
    if lacking > 0:
        # At zero the room goes above, elsewhere the line stays in the middle.
        share = 0.0 if with_zero and low == 0 else 0.5
        low, high = low - lacking * share, high + lacking * (1 - share)
    if low == high:  # so large that `least` vanishes in rounding
        low, high = (
            max(math.nextafter(low, -math.inf), -sys.float_info.max),
            min(math.nextafter(high, math.inf), sys.float_info.max),
        )
    return Scale(low, high)


def draw_lines(lines: Sequence[Line], scale: Scale, *, span_s: float, gap_s: float, label: str) -> str:
    """A chart of one or more lines.

    Args:
        lines: The first one is drawn on top, with the area below it tinted.
        scale: What the edges stand for.
        span_s: The age of the left edge; the right edge is now.
        gap_s: Points farther apart than this are not joined: nothing is known between them.
        label: What the chart shows, for who cannot see it.
    """
    parts = []
    for line in reversed(lines):
        area, path = [], []
        for run in _runs(line.points, span_s, gap_s):
            steps = [f"{_across(age, span_s):.1f} {scale.height(value):.1f}" for age, value in run]
            # A lone point: a line of no length, which round ends make a dot.
            path.append("M" + "L".join(steps) + ("h0" if len(steps) == 1 else ""))
            left, right = _across(run[0].age_s, span_s), _across(run[-1].age_s, span_s)
            area.append(f"M{left:.1f} {HEIGHT}L{'L'.join(steps)}L{right:.1f} {HEIGHT}Z")
        if line is lines[0]:
            parts.append(f'<path class="area {line.css}" d="{"".join(area)}"/>')
        parts.append(f'<path class="line {line.css}" d="{"".join(path)}"/>')
    return _svg("chart", HEIGHT, label, parts)


def draw_strip(points: Sequence[Point], *, span_s: float, gap_s: float, label: str) -> str:
    """When something was on: a band, with a paler track where it is known to have been off."""
    known, on = [], []
    for run in _runs(points, span_s, gap_s):
        ends = [*(point.age_s for point in run[1:]), max(run[-1].age_s - RESOLUTION_S, 0.0)]
        known.append(_box(run[0].age_s, ends[-1], span_s))
        on += [
            _box(point.age_s, end, span_s) for point, end in zip(run, ends, strict=True) if point.value != 0
        ]
    parts = [f'<path class="known" d="{"".join(known)}"/>', f'<path class="on" d="{"".join(on)}"/>']
    return _svg("strip", STRIP_HEIGHT, label, parts)


def _svg(css: str, height: int, label: str, parts: Iterable[str]) -> str:
    return (
        f'<svg class="{css}" viewBox="0 0 {WIDTH} {height}" preserveAspectRatio="none" role="img"'
        f' aria-label="{escape(label)}">{"".join(parts)}</svg>'
    )


def _runs(points: Sequence[Point], span_s: float, gap_s: float) -> Iterator[list[Point]]:
    """The points within the span, cut where too much time lies between two."""
    run: list[Point] = []
    for point in points:
        if point.age_s > span_s:
            continue
        if run and run[-1].age_s - point.age_s > gap_s:
            yield run
            run = []
        run.append(point)
    if run:
        yield run


def _across(age_s: float, span_s: float) -> float:
    return WIDTH * (1 - age_s / span_s)


def _box(from_age_s: float, to_age_s: float, span_s: float) -> str:
    return f"M{_across(from_age_s, span_s):.1f} 0H{_across(to_age_s, span_s):.1f}V{STRIP_HEIGHT}H{_across(from_age_s, span_s):.1f}Z"
