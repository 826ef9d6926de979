"""Figures as a Markdown table."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Table:
    """What one program found.

    Attributes:
        command: What makes this table again.
        note: How it was measured.
    """

    title: str
    command: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""

    def __str__(self) -> str:
        lines = [self.columns, *self.rows]
        widths = [max(len(line[place]) for line in lines) for place in range(len(self.columns))]
        rule = "| --- |" + " ---: |" * (len(self.columns) - 1)
        head, *body = ("| " + " | ".join(_pad(line, widths)) + " |" for line in lines)
        return "\n".join([f"## {self.title}", "", f"`{self.command}`: {self.note}", "", head, rule, *body])


def _pad(cells: Sequence[str], widths: Sequence[int]) -> Iterable[str]:
    yield cells[0].ljust(widths[0])
    yield from (cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True))


def spread(values: Sequence[float], digits: int = 2) -> str:
    """The median, with the least and the greatest where there are several.

    >>> spread([3.0, 1.0, 2.5], 1), spread([4.0])
    ('2.5 (1.0 to 3.0)', '4.00')
    """
    middle = f"{median(values):,.{digits}f}"
    return (
        middle if len(values) == 1 else f"{middle} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"
    )


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Round by round, one by the other.

    >>> ratios([3.0, 4.0], [1.0, 2.0])
    [3.0, 2.0]
    """
    return [one / other for one, other in zip(ours, theirs, strict=True)]
