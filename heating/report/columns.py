"""The columns of a report: what each is called, and how its numbers are written."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from heating.report.figures import Figures

UNKNOWN = "N/A"
"""As the original's report had it."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column.

    Attributes:
        name: In CSV.
        short: In a terminal.
        value: What stands in it; `None` is not known.
    """

    name: str
    short: str
    value: Callable[[Figures], float | str | None]
    decimals: int = 1

    def cell(self, figures: Figures) -> str:
        """What stands in a row."""
        value = self.value(figures)
        if value is None:
            return UNKNOWN
        return value if isinstance(value, str) else write(value, self.decimals)


def write(value: float, decimals: int) -> str:
    """A number without a sign before zero.

    >>> write(-0.04, 1), write(12.25, 2)
    ('0.0', '12.25')
    """
    text = f"{value:.{decimals}f}"
    return text.lstrip("-") if not float(text) else text


def columns(is_daily: bool) -> tuple[Column, ...]:  # noqa: FBT001  # there are these two
    """The columns of a report; those of the original's daily one come first, as they were."""
    unit, energy = ("Date", "Daily_kWh") if is_daily else ("Month", "Monthly_kWh")
    return (
        Column(unit, unit, lambda one: one.name),
        Column("Start_kWh", "Start kWh", lambda one: one.start_kwh),
        Column("End_kWh", "End kWh", lambda one: one.end_kwh),
        Column(energy, "kWh", lambda one: one.energy_kwh),
        Column("Avg_Outdoor_Temp_C", "Outdoor °C", lambda one: one.outdoor_celsius),
        Column("Status", "Status", lambda one: str(one.status)),
        Column("Cost", "Cost", lambda one: one.cost, 2),
        Column("Degree_Days_K", "Degree days", lambda one: one.degree_days),
        Column("Thermal_kWh", "Heat kWh", lambda one: one.thermal_kwh),
        Column("COP", "COP", lambda one: one.cop, 2),
        Column("Gap_h", "Gap h", lambda one: one.gap_h),
    )


def to_csv(rows: Sequence[Figures], *, is_daily: bool) -> str:
    """The rows for a spreadsheet, with a head."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    chosen = columns(is_daily)
    writer.writerow(column.name for column in chosen)
    writer.writerows([column.cell(one) for column in chosen] for one in rows)
    return text.getvalue()


def to_json(rows: Sequence[Figures], total: Figures, about: dict[str, str | None]) -> str:
    """The rows and their total for programs, with what they are of; what is not known is null."""
    return json.dumps(
        {"about": about, "rows": [asdict(one) for one in rows], "total": asdict(total)}, indent=2
    )
