"""The energy of each row as bars: in the terminal, or as an SVG with the outdoor temperature."""

from collections.abc import Callable, Sequence
from html import escape

from heating.report.columns import write
from heating.report.figures import Figures, Status

EIGHTHS = " ▏▎▍▌▋▊▉█"
WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 960, 360, 48, 40, 40
LEAST_BAR = 10


def to_bars(rows: Sequence[Figures], width: int) -> str:
    """Bars of text; a row that is not whole says so.

    >>> print(to_bars([Figures("2026-01-01", Status.OK, energy_kwh=2.0), Figures("2026-01-02", Status.NO_DATA)], 30))
    2026-01-01  ██████████  2.0
    2026-01-02              NO_DATA
    """
    greatest = max((one.energy_kwh or 0.0 for one in rows), default=0.0)
    ends = [_end(one) for one in rows]
    names = max((len(one.name) for one in rows), default=0)
    room = max(width - names - 4 - max(map(len, [*ends, "1000.0"])), LEAST_BAR)
    lines = []
    for one, end in zip(rows, ends, strict=True):
        eighths = round((one.energy_kwh or 0.0) / greatest * room * 8) if greatest else 0
        bar = "█" * (eighths // 8) + (EIGHTHS[eighths % 8] if eighths % 8 else "")
        lines.append(f"{one.name:<{names}}  {bar:<{room}}  {end}")
    return "\n".join(lines)


def _end(one: Figures) -> str:
    if one.energy_kwh is None:
        return str(one.status)
    return write(one.energy_kwh, 1) + ("" if one.status is Status.OK else f" {one.status}")


def to_svg(rows: Sequence[Figures], title: str) -> str:
    """A picture that stands alone: bars for kWh, a line for °C; what is not whole is pale."""
    greatest = max((one.energy_kwh or 0.0 for one in rows), default=0.0) or 1.0
    known = [one.outdoor_celsius for one in rows if one.outdoor_celsius is not None]
    coldest, warmest = (min(known), max(known)) if known else (0.0, 0.0)
    floor, room = HEIGHT - BOTTOM, HEIGHT - BOTTOM - TOP
    step = (WIDTH - 2 * LEFT) / max(len(rows), 1)

    def at(value: float) -> float:
        return floor - room * (value - coldest) / ((warmest - coldest) or 1.0)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'font-family="sans-serif" font-size="12"><title>{escape(title)}</title>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="20" font-size="15">{escape(title)}</text>',
        f'<text x="4" y="{TOP + 4}">{write(greatest, 1)}</text><text x="4" y="{floor}">0 kWh</text>',
        f'<path d="M{LEFT} {floor}H{WIDTH - LEFT}" stroke="#888"/>',
    ]
    for place, one in enumerate(rows):
        x, tall = LEFT + place * step, room * (one.energy_kwh or 0.0) / greatest
        fill = "#1f77b4" if one.status is Status.OK else "#b9d3e8"
        parts.append(
            f'<rect x="{x + step * 0.1:.1f}" y="{floor - tall:.1f}" width="{step * 0.8:.1f}" height="{tall:.1f}" '
            f'fill="{fill}"><title>{escape(one.name)}: {escape(_end(one))}</title></rect>'
        )
    every = max(len(rows) // 10, 1)
    parts += [
        f'<text x="{LEFT + place * step:.1f}" y="{HEIGHT - 16}">{escape(one.name)}</text>'
        for place, one in enumerate(rows)
        if place % every == 0
    ]
    if known:
        parts.append(
            f'<text x="{WIDTH - LEFT + 4}" y="{TOP + 4}">{write(warmest, 0)} °C</text>'
            f'<text x="{WIDTH - LEFT + 4}" y="{floor}">{write(coldest, 0)} °C</text>'
        )
        parts.append(
            f'<path d="{_line(rows, step, at)}" fill="none" stroke="#d62728" stroke-width="2" stroke-linecap="round"/>'
        )
    return "\n".join([*parts, "</svg>", ""])


def _line(rows: Sequence[Figures], step: float, at: Callable[[float], float]) -> str:
    """The path of the temperature, interrupted where it is not known."""
    words, is_new = [], True
    for place, one in enumerate(rows):
        if one.outdoor_celsius is not None:
            at_x, at_y = LEFT + (place + 0.5) * step, at(one.outdoor_celsius)
            # A line of no length is a dot: a day between two unknown ones is seen, too.
            words.append(f"M{at_x:.1f} {at_y:.1f}h0" if is_new else f"L{at_x:.1f} {at_y:.1f}")
        is_new = one.outdoor_celsius is None
    return "".join(words)
