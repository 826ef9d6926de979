"""Reads a device's past once, and says what would be made of it."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from heating.migrate.counts import Past
from heating.migrate.origins import Family
from heating.migrate.sieve import Points, Sieve
from heating.migrate.survey import Holds, find_first
from heating.migrate.windows import by_field, windows


@dataclass(frozen=True, slots=True)
class Looked:
    """What a device's past holds.

    Attributes:
        first_ms: The first sample, milliseconds since 1970 UTC.
        last_ms: The last one before this system's.
        seen: So many samples.
        made: So many of them would be made.
        refused: So many not, by reason.
        pasts: What becomes of each energy count.
    """

    family: Family
    first_ms: int
    last_ms: int
    seen: int
    made: int
    refused: Mapping[str, int]
    pasts: Mapping[str, Past]

    def again(self, holds: Holds, start_ms: int, end_ms: int, sieve: Sieve) -> Mapping[str, Points]:
        """What is made of a window; the sieve must have seen those before it."""
        return sieve.sift(_read(holds, self.family, start_ms, min(end_ms, self.family.until_ms)))

    def sieve(self) -> Sieve:
        """The sieve for the second time."""
        return Sieve(self.family.rules, self.pasts)


def look(holds: Holds, family: Family, tell: Callable[[int, int], None]) -> Looked | None:
    """Judge all of a device's past; `None` where the original has nothing before this system.

    Args:
        holds: Where it is.
        family: Which.
        tell: Is told how many pieces were read, of how many.
    """
    first = find_first(holds, family.old, family.until_ms - 1)
    if first is None or first.points[0][0] >= family.until_ms:
        return None
    first_ms = last_ms = first.points[0][0]
    sieve = Sieve(family.rules)
    pieces = list(windows(first_ms, family.until_ms))
    for done, (start_ms, end_ms) in enumerate(pieces):
        tell(done, len(pieces))
        window = _read(holds, family, start_ms, end_ms)
        last_ms = max([last_ms, *(points[-1][0] for points in window.values())])
        sieve.sift(window)
    then = {name: (family.counts_ms[name], kwh) for name, kwh in family.counts.items()}
    pasts = sieve.put_together(then)
    return Looked(family, first_ms, last_ms, sieve.seen, sieve.made, Counter(sieve.refused), pasts)


def _read(holds: Holds, family: Family, start_ms: int, end_ms: int) -> Mapping[str, Points]:
    if end_ms <= start_ms:
        return {}
    return by_field(holds.stored(family.old, start_ms, end_ms), family.origin.old)
