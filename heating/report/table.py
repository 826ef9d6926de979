"""The report as a table that fits a terminal."""

from collections.abc import Sequence
from statistics import fmean

from heating.report.columns import Column, columns, write
from heating.report.figures import Figures, Status
from heating.table import lay_out

LEFT = frozenset({"Date", "Month", "Status"})
ALWAYS = frozenset({"Date", "Month", "Daily_kWh", "Monthly_kWh", "Status"})
"""What even the narrowest terminal shows."""

DROPPED_FIRST = (
    "Start_kWh",
    "End_kWh",
    "Gap_h",
    "Thermal_kWh",
    "Degree_Days_K",
    "Cost",
    "COP",
    "Avg_Outdoor_Temp_C",
)
"""Which columns give way, in this order, where the terminal is too narrow."""


def to_table(rows: Sequence[Figures], total: Figures, *, is_daily: bool, width: int | None) -> str:
    """The rows, their total and average, and below them what a person must know of them.

    Args:
        rows: The days or months.
        total: All of them as one.
        is_daily: Whether they are days.
        width: Columns of text that fit; `None` for any.
    """
    chosen = [one for one in columns(is_daily) if one.name in ALWAYS or _has_any(one, rows)]
    dropped = []
    while True:
        text = _lay_out(chosen, rows, total)
        drop = next((name for name in DROPPED_FIRST if name in {one.name for one in chosen}), None)
        if width is None or drop is None or max(map(len, text.splitlines())) <= width:
            break
        dropped.append(drop)
        chosen = [one for one in chosen if one.name != drop]
    notes = list(_notes(rows, total, is_daily=is_daily))
    if dropped:
        notes.append(f"Not shown for want of room: {', '.join(dropped)}. --format csv has them.")
    return "\n".join([text, *([""] if notes else []), *notes])


def _has_any(column: Column, rows: Sequence[Figures]) -> bool:
    return any(column.value(one) is not None for one in rows)


def _lay_out(chosen: Sequence[Column], rows: Sequence[Figures], total: Figures) -> str:
    return lay_out(
        [one.short for one in chosen],
        [
            *([column.cell(one) for column in chosen] for one in rows),
            [_total(column, rows, total) for column in chosen],
            [_average(column, rows) for column in chosen],
        ],
        right=frozenset(place for place, one in enumerate(chosen) if one.name not in LEFT),
    )


def _whole(rows: Sequence[Figures]) -> Sequence[Figures]:
    """What an average is made of: a day that was half measured is no small day."""
    return [one for one in rows if one.status is Status.OK] or rows


def _numbers(column: Column, rows: Sequence[Figures]) -> list[float]:
    return [value for one in rows if isinstance(value := column.value(one), int | float)]


def _total(column: Column, rows: Sequence[Figures], total: Figures) -> str:
    """Energy is the sum of the rows, so that a person can check it; a note says what is in no row."""
    match column.name:
        case "Date" | "Month":
            return "Total"
        case "Daily_kWh" | "Monthly_kWh" | "Cost" | "Degree_Days_K" | "Thermal_kWh" | "Gap_h":
            numbers = _numbers(column, rows)
            return write(sum(numbers), column.decimals) if numbers else ""
        case "COP":
            return column.cell(total) if total.cop is not None else ""
        case _:
            return ""


def _average(column: Column, rows: Sequence[Figures]) -> str:
    match column.name:
        case "Date" | "Month":
            return "Average"
        case "Daily_kWh" | "Monthly_kWh" | "Avg_Outdoor_Temp_C" | "Cost" | "Degree_Days_K" | "Thermal_kWh":
            numbers = _numbers(column, _whole(rows))
            return write(fmean(numbers), column.decimals) if numbers else ""
        case _:
            return ""


def _notes(rows: Sequence[Figures], total: Figures, *, is_daily: bool) -> list[str]:
    what = "day" if is_daily else "month"
    notes = []
    if partial := [one.name for one in rows if one.status is Status.PARTIAL]:
        notes.append(
            f"PARTIAL ({_some(partial)}): the meter was not read around the {what}'s beginning or end, "
            "and only what was measured within is counted."
        )
    if fell := [one.name for one in rows if one.status is Status.FELL]:
        notes.append(f"FELL ({_some(fell)}): the count fell, so the {what}'s energy is not known.")
    between = (total.energy_kwh or 0.0) - sum(one.energy_kwh or 0.0 for one in rows)
    if total.energy_kwh is not None and between >= 0.05:
        notes.append(f"{write(between, 1)} kWh were used where it is not known in which {what}: in no row.")
    if (lack := sum(one.degree_days_lack for one in rows)) > 0 and total.degree_days is not None:
        notes.append(f"Degree days lack {lack} days whose mean temperature is not known.")
    return notes


def _some(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 4 else f"{', '.join(names[:3])} and {len(names) - 3} more"
