"""Whether a reading of an energy count is believed, and what is published for it.

A published count never goes down and never jumps: whoever takes differences
of it gets the energy, whatever happens to the meter. What the meter's register
says and what is published differ by an offset, which changes when the meter is
replaced.
"""

import msgspec

from poller.decimals import add, float32_steps, subtract
from poller.decode import Decoded, NoNumber
from poller.filters import Accepted, HeldBack, NoValue, Reason, Rejected, Verdict, check
from poller.points import Rules

ENOUGH = 3
"""So many readings in a row must agree before a candidate is accepted."""

HOUR_S = 3600.0

ROUNDING_STEPS = 2
"""A 32-bit float may come back by so many steps: the meter adds in another precision than it shows."""


class Candidate(msgspec.Struct, frozen=True):
    """Readings that agree among themselves and do not follow from the last accepted one.

    Attributes:
        first: The first of them, a register; 0 where they follow from that.
        first_at: When the first of them was read, seconds of the monotonic clock.
        last: The highest of them, which is the last but for rounding.
        last_at: When the last one was read.
        readings: How many there are, a 0 not counted.
    """

    first: int | float
    first_at: float
    last: int | float
    last_at: float
    readings: int = 1


class Count(msgspec.Struct, frozen=True):
    """What the filter of an energy count remembers.

    Attributes:
        register: The last accepted reading of the meter's register; `None` before the first.
        at: When it was read, seconds of the monotonic clock.
        published: What was published for it; it never falls.
        offset: What is added to the register to be published.
        serial: The meter's serial number at that time, where it is known.
        is_serial_old: The register was found to be another meter's before a new number was
            heard of: the next number is that of the meter which is there already.
        candidate: What waits for more readings.
        is_time_unknown: `at` is a guess, because the machine was off in between.
    """

    register: int | float | None = None
    at: float = 0.0
    published: int | float = 0
    offset: int | float = 0
    serial: str | None = None
    candidate: Candidate | None = None
    is_time_unknown: bool = False
    is_serial_old: bool = False

    @property
    def is_disputed(self) -> bool:
        """Whether readings contradict the accepted ones, so that the serial number is wanted."""
        return self.register is not None and self.candidate is not None


def judge_count(
    rules: Rules, count: Count, reading: Decoded, at: float, serial: str | None
) -> tuple[Verdict, Count]:
    """Judge one reading of an energy count's register.

    A reading follows from the last accepted one when it rose by no more than
    the plausible power could bring in the time since, counting at most an hour,
    or fell by a rounding. Everything else is a candidate: the first reading
    ever, a fall, a larger rise, and any reading under a new serial number. It
    is accepted when three readings in a row follow one from the other. A
    reading that is rejected is none: it neither supports nor ends a row.

    0 is never accepted, so a new meter has no count before its first step
    (0.01 kWh, three times); where it was seen at 0 before, the row begins there. A fall under the same, or no, serial number takes
    an hour besides. Then, and after a rise that even the whole time since the
    last accepted reading does not explain, and under a new serial number, the
    count goes on from its last value: the offset is taken at the first reading
    of the row, so that what was counted while it waited is not lost. While the
    machine was off nobody knows how long, so a meter that shows the serial
    number it had before may have risen by anything.

    Args:
        rules: With `max_power_kw`, and `resolution` as the register's smallest step.
        count: What is remembered.
        reading: The register, scaled.
        at: When it was read, seconds of the monotonic clock.
        serial: The meter's serial number, where it is known.
    """
    register = check(rules, reading)
    if register == 0 or register == Rejected(Reason.RESOLUTION):
        refused = register if isinstance(register, Rejected) else Rejected(Reason.ZERO)
        return refused, _note_start(count, reading, at)
    if isinstance(register, Rejected | NoValue):
        return register, count
    doubt = _doubt(rules, count, register, at, serial)
    if doubt is None:
        return _accept(count, max(register, count.register or 0), at, serial, count.offset)
    candidate = _extend(rules, count.candidate, register, at)
    if not _is_confirmed(candidate, doubt):
        return HeldBack(doubt), msgspec.structs.replace(count, candidate=candidate)
    is_same_meter = doubt is Reason.FIRST or (
        doubt is Reason.RISE and _explains(rules, count, candidate.first, candidate.first_at, serial)
    )
    offset = count.offset if is_same_meter else subtract(count.published, candidate.first)
    return _accept(count, candidate.last, at, serial, offset)


def _doubt(rules: Rules, count: Count, register: int | float, at: float, serial: str | None) -> Reason | None:
    """Why the reading is a candidate; `None` when it follows from the last accepted one."""
    if count.register is None:
        return Reason.FIRST
    does_follow = follows(rules, count.register, register, min(at - count.at, HOUR_S))
    if _is_new(count, serial) and not (does_follow and count.is_serial_old):
        return Reason.NEW_METER
    if does_follow:
        return None
    return Reason.FALL if register < count.register else Reason.RISE


def _is_new(count: Count, serial: str | None) -> bool:
    return serial is not None and count.serial is not None and serial != count.serial


def follows(rules: Rules, before: int | float, register: int | float, elapsed_s: float) -> bool:
    """Whether a register can have come from one value to another in this time.

    >>> meter = Rules("energy", resolution=0.01, max_power_kw=45)
    >>> follows(meter, 100.0, 100.38, 30), follows(meter, 100.0, 100.4, 30), follows(meter, 100.0, 99.99, 30)
    (True, False, False)
    """
    if register < before:
        return float32_steps(before, register) <= ROUNDING_STEPS
    power_kw = rules.max_power_kw or 0.0
    possible = power_kw * max(elapsed_s, 0.0) / HOUR_S + rules.resolution
    return subtract(register, before) <= possible or float32_steps(before, register) <= ROUNDING_STEPS


def _note_start(count: Count, reading: Decoded, at: float) -> Count:
    """A count that was believed reads next to nothing: garbage, or a new meter before its first step.

    Nobody can tell yet, so it supports nothing. But if readings follow from it, the new meter's
    count began at 0, and its first step was consumed like any other.
    """
    if count.register is None or count.candidate is not None or isinstance(reading, NoNumber):
        return count
    start = round(reading, 6)
    return msgspec.structs.replace(count, candidate=Candidate(start, at, start, at, readings=0))


def _extend(rules: Rules, candidate: Candidate | None, register: int | float, at: float) -> Candidate:
    """One reading more that agrees with those before it, or the first of a new row."""
    if candidate is None or not follows(rules, candidate.last, register, min(at - candidate.last_at, HOUR_S)):
        return Candidate(register, at, register, at)
    began = candidate.first_at if candidate.readings else at
    return Candidate(candidate.first, began, max(candidate.last, register), at, candidate.readings + 1)


def _is_confirmed(candidate: Candidate, doubt: Reason) -> bool:
    if candidate.readings < ENOUGH:
        return False
    return doubt is not Reason.FALL or candidate.last_at - candidate.first_at >= HOUR_S


def _explains(rules: Rules, count: Count, register: int | float, at: float, serial: str | None) -> bool:
    """Whether the whole time since the last accepted reading explains this one."""
    if count.register is None:
        return False
    if count.is_time_unknown and serial is not None and serial == count.serial:
        return True
    return follows(rules, count.register, register, at - count.at)


def _accept(
    count: Count, register: int | float, at: float, serial: str | None, offset: int | float
) -> tuple[Verdict, Count]:
    """Publish the register plus its offset: never less than before, whatever the rounding.

    A sum of two 32-bit floats may need more digits than a float has; a
    millionth of a kWh is enough.
    """
    total = register if offset == 0 else round(add(register, offset), 6)
    published = max(count.published, total)
    is_old = (count.is_serial_old or offset != count.offset) and not _is_new(count, serial)
    return Accepted(published), Count(
        register, at, published, offset, serial or count.serial, is_serial_old=is_old
    )
