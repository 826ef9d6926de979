"""The past in pieces: as long as one of Prometheus' blocks, so that each is read, judged and written by itself."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from heating.errors import CommandError
from heating.migrate.sieve import Points
from heating.report.answer import Stored

BLOCK_H = 54
"""One of the lengths that Prometheus merges its blocks to: 2, 6, 18, 54, … hours."""

BLOCK_MS = BLOCK_H * 3_600_000


def windows(from_ms: int, until_ms: int) -> Iterator[tuple[int, int]]:
    """The pieces of a span, each from one time to before another; they meet where Prometheus' blocks do.

    >>> [end - start for start, end in windows(BLOCK_MS - 7, 2 * BLOCK_MS + 9)]
    [7, 194400000, 9]
    """
    while from_ms < until_ms:
        end_ms = min((from_ms // BLOCK_MS + 1) * BLOCK_MS, until_ms)
        yield from_ms, end_ms
        from_ms = end_ms


def by_field(stored: Sequence[Stored], prefix: str) -> dict[str, Points]:
    """The samples of a device's fields.

    Raises:
        CommandError: Two programs of the original showed the same field at the same time.

    >>> by_field([Stored({"__name__": "wago_power_factor"}, [(1, 0.9)])], "wago")
    {'power_factor': [(1, 0.9)]}
    """
    found: dict[str, list[Stored]] = {}
    for one in stored:
        found.setdefault(one.labels["__name__"].removeprefix(f"{prefix}_"), []).append(one)
    return {name: _one_after_the_other(name, parts) for name, parts in found.items()}


def _one_after_the_other(name: str, parts: Sequence[Stored]) -> Points:
    """The series of a program that got another name or address; two at a time are two devices."""
    if len(parts) == 1:
        return parts[0].points
    ordered = sorted(parts, key=lambda one: one.points[0])
    for one, other in pairwise(ordered):
        if other.points[0][0] <= one.points[-1][0]:
            those = ", ".join(sorted({part.labels.get("instance", "-") for part in parts}))
            raise CommandError(
                f"{name} was shown by several programs at a time: choose with --instance: {those}"
            )
    return [point for one in ordered for point in one.points]
