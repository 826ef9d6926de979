"""Which units answer on a bus, and which profile fits each."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from poller.blocks import BlockRead, FailureReason, RegisterBlock
from poller.commissioning.fit import Fit, ranked, telling_fields, weigh
from poller.decode import Decoded, decode_block
from poller.errors import DecodeError
from poller.plan import plan_blocks, split_block
from poller.points import Table
from poller.profile import Profile
from poller.request import reading
from poller.transport import ReadError, Transport

PROBES = (RegisterBlock(Table.HOLDING, 0, 1, ()), RegisterBlock(Table.INPUT, 0, 2, ()))
"""What each unit is asked: a device that has no such address says so, which is an answer."""

LIKELY = (*range(1, 11), 33, 100, 247)
"""The unit ids that devices leave their factories with."""

UNLIKELY = (213, 246)
"""When these answer as well, it is one device that answers to every unit id."""

LONGEST_PROBE_S = 2.0
IDENTIFY_S = 1.0
RECONNECTS = 6
RECONNECT_AFTER_S = 0.5


class LostBusError(ReadError):
    """There is no connection, after several attempts."""


@dataclass(frozen=True, slots=True)
class Answering:
    """A unit that answers.

    Attributes:
        fits: The profiles that it may have, the best first.
    """

    unit: int
    fits: tuple[Fit, ...]


@dataclass(slots=True)
class Scan:
    """A scan under way: what was found so far is here whenever it ends.

    Args:
        transport: The bus.
        profiles: The profiles to try.
        probe_s: How long a unit may take to answer; more where answers turn out to come late.
        on_step: Called with what is done, of how much, and in words what is going on.

    Attributes:
        found: The units that answer, in the order in which they were found.
        asked: The units that were asked.
        is_any_unit: The device does not look at the unit id.
        garbled: Units whose answers were garbled.
    """

    transport: Transport
    profiles: Sequence[Profile]
    is_rtu: bool
    baud: int = 9600
    probe_s: float = 0.3
    on_step: Callable[[int, int, str], None] = lambda *_: None
    monotonic: Callable[[], float] = time.monotonic
    rest: Callable[[float], object] = time.sleep
    found: list[Answering] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)
    is_any_unit: bool = False
    garbled: list[int] = field(default_factory=list)
    _late: set[int] = field(default_factory=set)

    def run(self, units: Sequence[int]) -> None:
        """Ask every one of these units, the likely ones first, and find out what those are that answer.

        Raises:
            LostBusError: There is no connection.
        """
        ordered = [*(one for one in LIKELY if one in units), *(one for one in units if one not in LIKELY)]
        for place, unit in enumerate(ordered):
            self.on_step(place, len(ordered), f"unit {unit}")
            if self._answers(unit) and not self._take(unit):
                return
            self.asked.append(unit)
        # A slow gateway may have answered for a unit when the next ones were asked already.
        for unit in sorted(self._late - {one.unit for one in self.found}):
            self.on_step(len(ordered), len(ordered), f"unit {unit} once more")
            if self._answers(unit):
                self._take(unit)
        self.on_step(len(ordered), len(ordered), "")

    def _take(self, unit: int) -> bool:
        """A unit has answered; False when it is a device that answers as every unit, so that there is no more to find."""
        if (
            not self.found
            and not self.is_rtu
            and all(self._answers(other) for other in UNLIKELY if other != unit)
        ):
            self.is_any_unit = True
        self.found.append(Answering(unit, self._identify(unit)))
        return not self.is_any_unit

    def _answers(self, unit: int) -> bool:
        for probe in PROBES:
            answer = self.ask(probe, unit, self.probe_s)
            if isinstance(answer, BlockRead) or answer.reason.shows_life:
                return True
            if answer.reason in {FailureReason.GARBLED, FailureReason.WRONG_UNIT}:
                self.garbled.append(unit)
        return False

    def _identify(self, unit: int) -> tuple[Fit, ...]:
        fits = []
        for number, profile in enumerate(self.profiles, start=1):
            self.on_step(-1, -1, f"unit {unit}: profile {number} of {len(self.profiles)}, {profile.name}")
            if (fit := self.fit(profile, unit)) is not None:
                fits.append(fit)
        return ranked(fits)

    def fit(self, profile: Profile, unit: int) -> Fit | None:
        """How well a profile fits a unit; `None` when the unit has nothing where its first block is."""
        readings: dict[str, Decoded] = {}
        refused: list[str] = []
        pending = list(
            plan_blocks(
                (one.point for one in telling_fields(profile).values() if one.point is not None),
                max_registers=profile.max_registers,
                baud=self.baud,
                turnaround_s=0.03,
            )
        )
        while pending:
            block = pending.pop(0)
            self.rest(profile.pause_ms / 1000)
            answer = self.ask(block, unit, IDENTIFY_S)
            if isinstance(answer, BlockRead):
                readings |= _decode(answer)
            elif answer.reason.shows_life:
                pieces = split_block(block)
                if [one.request for one in pieces] == [block.request]:
                    refused += [point.name for point in block.points]
                else:
                    pending = [*pieces, *pending]
            else:
                return None
            if len(refused) > len(readings) + 2:
                return None
        return weigh(profile, readings, refused)

    def ask(self, block: RegisterBlock, unit: int, timeout_s: float) -> BlockRead | ReadError:
        """One request; what hinders it only for the moment is waited for.

        Raises:
            LostBusError: There is no connection.
        """
        self.rest(min(max(self.transport.clear_at(reading(unit, block)) - self.monotonic(), 0.0), 10.0))
        why = f"{block}: not connected"
        for _ in range(RECONNECTS):
            try:
                return self.transport.read(block, unit, timeout_s)
            except ReadError as error:
                if error.reason is not FailureReason.UNREACHABLE:
                    return error
                # One without a cause says that no attempt was made.
                why = str(error) if error.__cause__ else why
            finally:
                self._note_late(unit)
            self.rest(RECONNECT_AFTER_S)
        raise LostBusError(FailureReason.UNREACHABLE, why)

    def _note_late(self, unit: int) -> None:
        late = self.transport.late_units() - {unit}
        if late & set(self.asked):
            self.probe_s = min(2 * self.probe_s, LONGEST_PROBE_S)
        self._late |= late


def _decode(read: BlockRead) -> dict[str, Decoded]:
    try:
        return dict(decode_block(read))
    except DecodeError:
        return {}


def units_in(text: str) -> Iterator[int]:
    """The unit ids that a text names.

    Raises:
        ValueError: It names none, or one that is none.

    >>> list(units_in("1-3,33"))
    [1, 2, 3, 33]
    """
    for part in text.split(","):
        first, dash, last = part.partition("-")
        begin, end = int(first), int(last if dash else first)
        if not 1 <= begin <= end <= 247:
            raise ValueError(part)
        yield from range(begin, end + 1)
