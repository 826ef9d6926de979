"""Whether one reading is believed: accept, hold back, or reject with a reason.

The filter of a field is a function from its rules, what it remembers and one
reading to a verdict and what it remembers then. Energy counts have a judge of
their own (`poller.energy`); what a reading says alone is judged here for both.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from poller.decode import Decoded, NoNumber
from poller.points import Rules

DEAD_BELOW_V = 30.0
"""A phase with less has no voltage; an open one picks up a few volts from its neighbours."""


class Reason(StrEnum):
    """Why a reading was not accepted."""

    NOT_A_NUMBER = "not_a_number"
    FULL_SCALE = "full_scale"
    IMPOSSIBLE = "impossible"
    """Outside what can be at all, which makes its block suspect."""
    SUSPECT_BLOCK = "suspect_block"
    """Another field of its block is impossible."""
    UNDECODABLE = "undecodable"
    RANGE = "range"
    RESOLUTION = "resolution"
    """Not 0, but smaller than the device can tell."""
    LOW = "low"
    JUMP = "jump"
    ZERO = "zero"
    """An energy count of 0: what a broken answer shows, and a new meter for its first minutes."""
    FIRST = "first"
    FALL = "fall"
    RISE = "rise"
    NEW_METER = "new_meter"
    """An energy count under another serial number than the last accepted one."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The reading is believed, and this is the value to publish."""

    value: int | float


@dataclass(frozen=True, slots=True)
class HeldBack:
    """The reading may be true; the next ones say."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class Rejected:
    """The reading is not believed, whatever comes next."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class NoValue:
    """The device says that it has no value for this field."""


Verdict = Accepted | HeldBack | Rejected | NoValue


class Memory(msgspec.Struct, frozen=True):
    """What the filter of a field remembers.

    Attributes:
        accepted: The last accepted value.
        held_back: The value of the reading before, where that was held back.
    """

    accepted: int | float | None = None
    held_back: int | float | None = None

    def interrupted(self) -> "Memory":
        """Without what waits: only the very next reading can confirm it."""
        return self if self.held_back is None else Memory(self.accepted)


def judge(rules: Rules, memory: Memory, reading: Decoded) -> tuple[Verdict, Memory]:
    """Judge one reading of anything but an energy count.

    A low reading is confirmed by a low one before it. A jump is confirmed when
    the next reading is no jump from it: the two then agree as well as any two
    readings in a row must. Only the very next reading confirms; one that is
    rejected breaks the chain.

    >>> power = Rules("power", range=(-45, 45), resolution=0.0001, low=0.001)
    >>> judge(power, Memory(accepted=0.5), 0.0)
    (HeldBack(reason=<Reason.LOW: 'low'>), Memory(accepted=0.5, held_back=0.0))
    >>> judge(power, Memory(accepted=0.5, held_back=0.0), 0.0)
    (Accepted(value=0.0), Memory(accepted=0.0, held_back=None))
    """
    number = check(rules, reading)
    if isinstance(number, Rejected | NoValue):
        return number, memory.interrupted()
    reason = _doubt(rules, memory, number)
    if reason is None:
        return Accepted(number), Memory(number)
    return HeldBack(reason), Memory(memory.accepted, number)


def check(rules: Rules, reading: Decoded) -> int | float | Rejected | NoValue:
    """What a reading says alone, without those before it.

    A bit becomes a whole number here, for every source: a text, a page or a float register says 1.0, and who
    reads the state (Home Assistant, for one) compares it with `1`.

    >>> check(Rules("power", range=(-45, 45), resolution=0.0001), 3.67e-27)
    Rejected(reason=<Reason.RESOLUTION: 'resolution'>)
    """
    if isinstance(reading, NoNumber):
        return NoValue() if reading is NoNumber.SENTINEL else Rejected(Reason(reading.value))
    if rules.range is not None and not rules.range[0] <= reading <= rules.range[1]:
        return Rejected(Reason.RANGE)
    if reading != 0 and abs(reading) < rules.resolution:
        return Rejected(Reason.RESOLUTION)
    if rules.kind == "bit":
        return int(reading) if reading in {0, 1} else Rejected(Reason.RANGE)
    return reading


def find_impossible(
    rules: Mapping[str, Rules], block: Mapping[str, Decoded], poll: Mapping[str, Decoded]
) -> dict[str, Reason]:
    """The fields of a block that no device can send; one is enough to suspect all of the block.

    A dead phase excuses nothing in a block of zeros: the same answer would show the voltage as 0 too.

    Args:
        rules: By field.
        block: What the block holds.
        poll: What all blocks of the poll hold: a voltage may be in another one, and need be none of the device's fields.
    """
    found = {}
    is_zeros = all(reading == 0 for reading in block.values())
    for name, reading in block.items():
        bounds = rules[name].possible
        if isinstance(reading, NoNumber):
            if reading is not NoNumber.SENTINEL:
                found[name] = Reason(reading.value)
        elif (
            bounds is not None
            and not bounds[0] <= reading <= bounds[1]
            and (is_zeros or not _is_dead(rules, poll, rules[name].live_when))
        ):
            found[name] = Reason.IMPOSSIBLE
    return found


def _is_dead(rules: Mapping[str, Rules], poll: Mapping[str, Decoded], phase: str | None) -> bool:
    """Whether a phase has no voltage; one that no meter can show proves nothing."""
    if phase is None or phase not in poll:
        return False
    voltage = check(rules[phase], poll[phase])
    return isinstance(voltage, int | float) and abs(voltage) < DEAD_BELOW_V


def _doubt(rules: Rules, memory: Memory, number: int | float) -> Reason | None:
    """Why the reading waits for the next one; `None` when it need not."""
    accepted, before = memory.accepted, memory.held_back
    if rules.low is not None and abs(number) < rules.low:
        was_low = any(one is not None and abs(one) < rules.low for one in (accepted, before))
        return None if was_low else Reason.LOW
    if rules.jump is None or accepted is None or abs(number - accepted) <= rules.jump:
        return None
    return None if before is not None and abs(number - before) <= rules.jump else Reason.JUMP
