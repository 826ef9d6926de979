"""An energy count's whole past, put together afterwards.

The poller judges a reading by those before it; here those after it are known
as well. So a wrong value that the original showed until its next restart is
told from another meter, and what is published ends at the count with which
this system began.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from poller.energy import ENOUGH, HOUR_S, follows
from poller.filters import Reason
from poller.points import Rules

LATEST = 8
"""Of so many runs, the last that is believed is looked for: more refused ones in a row are no exception."""


@dataclass(slots=True)
class Run:
    """Readings that follow one from the other.

    Attributes:
        first: The first of them, kWh.
        first_ms: When it was taken, milliseconds since 1970 UTC.
        last: The highest, which is the last but for rounding.
        last_ms: When the last was taken.
        moved_ms: When the count was seen to rise last: the original shows the last value of a meter that is away.
        readings: How many there are.
        is_sure: It goes on from readings that were believed, so it needs no more to confirm it.
        is_fall: It began below all that was believed lately, which takes an hour to confirm.
    """

    first: float
    first_ms: int
    last: float
    last_ms: int
    moved_ms: int
    readings: int = 1
    is_sure: bool = False
    is_fall: bool = False

    @property
    def is_believed(self) -> bool:
        """Whether enough readings confirm it, as the poller asks for."""
        takes_s = HOUR_S if self.is_fall else 0
        return self.is_sure or (self.readings >= ENOUGH and self.last_ms - self.first_ms >= takes_s * 1000)

    @property
    def is_flat(self) -> bool:
        """Whether it never rose: what a wrong value does that stands until a restart."""
        return self.first == self.last


def add_reading(runs: list[Run], rules: Rules, time_ms: int, value: float) -> None:
    """One reading more, of those that can be: it goes on with the last run or begins another."""
    last = runs[-1] if runs else None
    if last is not None and value == last.last:
        last.last_ms = time_ms
        last.readings += 1
        return
    lately = [one for one in runs[-LATEST:] if one.is_believed]
    believed = lately[-1] if lately else None
    is_sure = believed is not None and _follows(rules, believed, time_ms, value)
    # What was refused may lie so near that a true reading follows from it, too.
    if last is not None and (last is believed or not is_sure) and _follows(rules, last, time_ms, value):
        if value > last.last:
            last.last, last.moved_ms = value, time_ms
        last.last_ms = time_ms
        last.readings += 1
        return
    run = Run(value, time_ms, value, time_ms, time_ms, is_sure=is_sure)
    if believed is not None and value < believed.last and not is_sure:
        # What goes on from an earlier one is no fall: that in between was wrong.
        run.is_fall = not any(_explains(rules, one, run) for one in lately)
    runs.append(run)


def _follows(rules: Rules, run: Run, time_ms: int, value: float) -> bool:
    return follows(rules, run.last, value, min((time_ms - run.last_ms) / 1000, HOUR_S))


def _explains(rules: Rules, run: Run, after: Run) -> bool:
    """Whether the whole time since the count rose last explains where the next run begins."""
    return follows(rules, run.last, after.first, (after.first_ms - run.moved_ms) / 1000)


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time whose readings are made, each raised by `shift_kwh`."""

    first_ms: int
    last_ms: int
    shift_kwh: float


@dataclass(frozen=True, slots=True)
class Past:
    """What becomes of a count's readings.

    Attributes:
        stretches: What is made, in the order of time.
        made: So many readings.
        refused: So many are not, by reason.
        meters: When another meter began to count, and what was shown of the one before it: its last count, kWh.
        last_kwh: The last reading that is made, shifted; `None` where none is.
    """

    stretches: tuple[Stretch, ...]
    made: int
    refused: Mapping[Reason, int]
    meters: tuple[tuple[int, float], ...]
    last_kwh: float | None


def put_together(rules: Rules, runs: Sequence[Run], then: tuple[int, float] | None) -> Past:
    """Decide which runs are the meter's, and by how much each is shifted.

    A run that is not confirmed is left out. So is one that stood still, where
    the run after it goes on from one before it. Any other run that does not go
    on from the one before it is another meter's: it begins where that one
    ended, as the poller has it. All is shifted so that it ends where this system
    begins, because its count is the meter's own.

    Args:
        rules: With `max_power_kw`.
        runs: As `add_reading` made them.
        then: When this system's first count was taken and what it was; `None` where it has none.
    """
    kept: list[Run] = []
    refused: Counter[Reason] = Counter()
    end = None if then is None else Run(then[1], then[0], then[1], then[0], then[0], is_sure=True)
    for run in runs if end is None else (*runs, end):
        if not run.is_believed:
            refused[_reason(run, kept)] += run.readings
            continue
        for _ in range(_wrong(rules, kept, run)):
            wrong = kept.pop()
            refused[_reason(wrong, kept)] += wrong.readings
        kept.append(run)
    stretches: list[Stretch] = []
    meters: list[tuple[int, float]] = []
    shift, last_kwh = 0.0, None
    for place in range(len(kept) - 1, -1, -1):
        run = kept[place]
        if place + 1 < len(kept) and not _explains(rules, run, after := kept[place + 1]):
            shift = round(after.first + shift - run.last, 6)
            meters.append((after.first_ms, run.last))
        if run is not end:
            stretches.append(Stretch(run.first_ms, run.last_ms, shift))
            last_kwh = run.last + shift if last_kwh is None else last_kwh
    made = sum(run.readings for run in kept if run is not end)
    return Past(tuple(reversed(stretches)), made, refused, tuple(reversed(meters)), last_kwh)


def _reason(run: Run, kept: Sequence[Run]) -> Reason:
    if not kept:
        return Reason.FIRST
    return Reason.FALL if run.first < kept[-1].last else Reason.RISE


def _wrong(rules: Rules, kept: Sequence[Run], run: Run) -> int:
    """How many of the last runs stood still while the one before them went on to this one."""
    if not kept or _explains(rules, kept[-1], run):
        return 0
    for count in range(1, len(kept)):
        if not kept[-count].is_flat:
            return 0
        if _explains(rules, kept[-count - 1], run):
            return count
    return 0
