"""Columns of text for a terminal."""

from collections.abc import Sequence


def lay_out(
    head: Sequence[str], rows: Sequence[Sequence[str]], *, right: frozenset[int] = frozenset()
) -> str:
    """A table whose columns are as wide as their widest cell; nothing stands behind the last one.

    Args:
        head: The columns' names.
        rows: As many cells each.
        right: The columns whose cells end at the same place: numbers.

    >>> print(lay_out(("field", "value"), [("power", "1.5"), ("frequency", "50.02")], right=frozenset({1})))
    field      value
    power        1.5
    frequency  50.02
    """
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
