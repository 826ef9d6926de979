"""Words of a device as the text of a file that a profile's test reads (`tests/data/captures`)."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from poller.points import Table
from poller.profile import Profile

IN_A_ROW = 8

_PLACE = re.compile(
    r"(coil|discrete|input|holding):(0x[0-9a-f]+|\d+)(?:-(0x[0-9a-f]+|\d+))?", re.ASCII | re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Span:
    """Addresses of one table, from the first to the last."""

    table: Table
    first: int
    last: int

    @property
    def count(self) -> int:
        """How many they are."""
        return self.last - self.first + 1

    def __str__(self) -> str:
        return f"{self.table} {self.first}" + (f"-{self.last}" if self.last != self.first else "")


@dataclass(frozen=True, slots=True)
class Captured:
    """What some addresses held; `words` has one number for each: 0 or 1 for bits."""

    table: Table
    first: int
    words: tuple[int, ...]


def parse_span(text: str) -> Span:
    """Which addresses a person means; they count from 0.

    Raises:
        ValueError: None that there could be.

    >>> parse_span("input:0-50"), str(parse_span("holding:0x5012"))
    (Span(table=<Table.INPUT: 'input'>, first=0, last=50), 'holding 20498')
    """
    found = _PLACE.fullmatch(text)
    if found is None:
        raise ValueError(text)
    first = int(found[2], 0)
    last = int(found[3], 0) if found[3] else first
    if not 0 <= first <= last <= 65535:
        raise ValueError(text)
    return Span(Table(found[1].lower()), first, last)


def to_capture(
    captured: Sequence[Captured], refused: Sequence[Span], *, note: str, profile: Profile | None
) -> str:
    """The text of a capture file, its values left to be worked out by hand.

    Args:
        captured: What was read.
        refused: What the device does not have.
        note: Where the words are from.
        profile: Whose test it is to be, where that is known.
    """
    name = profile.name if profile else "NAME-OF-THE-PROFILE"
    lines = [f"# {note}", f'profile = "{name}"', ""]
    for one in captured:
        lines += ["[[block]]", f'table = "{one.table}"', f"address = {one.first}", "words = ["]
        lines += _rows(one)
        lines += ["]", ""]
    if refused:
        lines += [f"# The device refuses {', '.join(map(str, refused))}.", ""]
    lines += [
        "# What these words mean, worked out by hand from the manual and compared with the device's display.",
        "[values]",
    ]
    if profile is not None:
        lines += [f"# {name} =" for name in _inside(profile, captured)]
    return "\n".join(lines) + "\n"


def merged(captured: Sequence[Captured]) -> tuple[Captured, ...]:
    """The same words, neighbours of one table put together.

    >>> merged([Captured(Table.INPUT, 0, (1, 2)), Captured(Table.INPUT, 2, (3,))])
    (Captured(table=<Table.INPUT: 'input'>, first=0, words=(1, 2, 3)),)
    """
    result: list[Captured] = []
    for one in sorted(captured, key=lambda one: (one.table, one.first)):
        last = result[-1] if result else None
        if last is not None and last.table is one.table and last.first + len(last.words) == one.first:
            result[-1] = Captured(one.table, last.first, (*last.words, *one.words))
        else:
            result.append(one)
    return tuple(result)


def _rows(one: Captured) -> Iterator[str]:
    for start in range(0, len(one.words), IN_A_ROW):
        words = one.words[start : start + IN_A_ROW]
        text = ", ".join(str(word) if one.table.holds_bits else f"0x{word:04X}" for word in words)
        yield f"    {text},  # {one.first + start}"


def _inside(profile: Profile, captured: Sequence[Captured]) -> Iterator[str]:
    """The profile's fields that lie wholly in what was read."""
    for name, one in profile.fields.items():
        point = one.point
        if point is not None and any(
            part.table is point.table
            and part.first <= point.address
            and point.address + point.registers <= part.first + len(part.words)
            for part in captured
        ):
            yield name
