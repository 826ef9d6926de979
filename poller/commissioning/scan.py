"""Which units answer on a bus, and which profile fits each."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from poller.blocks import BlockRead, FailureReason, RegisterBlock
from poller.commissioning.ask import Asker
from poller.commissioning.fit import Fit, ranked, telling_fields, weigh
from poller.decode import Decoded, decode_block
from poller.errors import DecodeError
from poller.plan import plan_blocks, split_block
from poller.points import Table
from poller.profile import Profile
from poller.transport import ReadError

PROBES = (RegisterBlock(Table.HOLDING, 0, 1, ()), RegisterBlock(Table.INPUT, 0, 2, ()))
"""What each unit is asked: a device that has no such address says so, which is an answer."""

LIKELY = (*range(1, 11), 33, 100, 247)
"""The unit ids that devices leave their factories with."""

UNLIKELY = (213, 246)
"""When these answer as well, it is one device that answers to every unit id."""

KEEP_ALIVE_S = 8.0
"""So often a device is asked meanwhile that stops working when nobody asks it."""

LONGEST_PROBE_S = 2.0
IDENTIFY_S = 1.0


@dataclass(slots=True)
class Answering:
    """A unit that answers.

    Attributes:
        fits: The profiles that it may have, the best first; `None` until they were tried.
    """

    unit: int
    fits: tuple[Fit, ...] | None = None


@dataclass(slots=True)
class _KeptAlive:
    """A device that stops working when it is not asked."""

    unit: int
    block: RegisterBlock
    asked_at: float


@dataclass(slots=True)
class Scan:
    """A scan under way: what was found so far is here whenever it ends.

    Args:
        asker: The bus.
        profiles: The profiles to try.
        probe_s: How long a unit may take to answer; more where answers turn out to come late.
        on_step: Called with what is done, of how much, and in words what is going on.

    Attributes:
        found: The units that answer, in the order in which they were found.
        asked: The units that were asked.
        is_any_unit: The device does not look at the unit id.
        garbled: Units whose answers were garbled.
    """

    asker: Asker
    profiles: Sequence[Profile]
    is_rtu: bool
    baud: int = 9600
    probe_s: float = 0.3
    on_step: Callable[[int, int, str], None] = lambda *_: None
    found: list[Answering] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)
    is_any_unit: bool = False
    garbled: list[int] = field(default_factory=list)
    _kept_alive: list[_KeptAlive] = field(default_factory=list)

    def run(self, units: Sequence[int]) -> None:
        """Ask every one of these units, the likely ones first, and find out what those are that answer.

        Raises:
            LostBusError: There is no connection.
        """
        likely = [one for one in LIKELY if one in units]
        ordered = [*likely, *(one for one in units if one not in LIKELY)]
        for place, unit in enumerate(ordered):
            self.on_step(place, len(ordered), f"unit {unit}")
            if self._answers(unit):
                self._meet(unit)
            if not self.is_any_unit:
                self.asked.append(unit)
            # What a unit is takes a while to find out. A heat pump that waits to be asked comes first.
            if self.is_any_unit or place >= len(likely) - 1:
                self._identify_all()
            if self.is_any_unit:
                return
        # A slow gateway may have answered for a unit when the next ones were asked already.
        for unit in sorted(self.asker.late - {one.unit for one in self.found}):
            self.on_step(len(ordered), len(ordered), f"unit {unit} once more")
            if self._answers(unit):
                self._meet(unit)
        self._identify_all()
        self.on_step(len(ordered), len(ordered), "")

    def _meet(self, unit: int) -> None:
        """A unit has answered. If it stops working when nobody asks it, it is asked from now on."""
        is_first = not self.found
        self.found.append(Answering(unit))
        if is_first and not self.is_rtu:
            self.is_any_unit = all(self._answers(other) for other in UNLIKELY if other != unit)
        for profile in (one for one in self.profiles if one.keep_alive):
            fit = self.fit(profile, unit)
            if fit is not None and fit.is_possible:
                block = self._blocks(profile)[0]
                self._kept_alive.append(_KeptAlive(unit, block, self.asker.monotonic()))

    def _identify_all(self) -> None:
        for one in self.found:
            if one.fits is None:
                one.fits = self._identify(one.unit)

    def _answers(self, unit: int) -> bool:
        for probe in PROBES:
            answer = self._ask_probe(probe, unit)
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
        pending = self._blocks(profile)
        while pending:
            block = pending.pop(0)
            self.asker.rest(profile.pause_ms / 1000)
            answer = self._ask(block, unit, IDENTIFY_S)
            if isinstance(answer, BlockRead):
                readings |= _decode(answer)
            elif answer.reason.shows_life:
                pieces = split_block(block, profile.multiple_of)
                if [one.request for one in pieces] == [block.request]:
                    refused += [point.name for point in block.points]
                else:
                    pending = [*pieces, *pending]
            else:
                return None
            if len(refused) > len(readings) + 2:
                return None
        return weigh(profile, readings, refused)

    def _blocks(self, profile: Profile) -> list[RegisterBlock]:
        points = (one.point for one in telling_fields(profile).values() if one.point is not None)
        return list(
            plan_blocks(
                points,
                max_registers=profile.max_registers,
                multiple_of=profile.multiple_of,
                baud=self.baud,
                turnaround_s=0.03,
            )
        )

    def _ask(self, block: RegisterBlock, unit: int, timeout_s: float) -> BlockRead | ReadError:
        """A request, after those that a heat pump must not wait for."""
        for one in self._kept_alive:
            if self.asker.monotonic() - one.asked_at >= KEEP_ALIVE_S:
                one.asked_at = self.asker.monotonic()
                self.asker.ask(one.block, one.unit, IDENTIFY_S)
        return self.asker.ask(block, unit, timeout_s)

    def _ask_probe(self, probe: RegisterBlock, unit: int) -> BlockRead | ReadError:
        before = set(self.asker.late)
        answer = self._ask(probe, unit, self.probe_s)
        if (self.asker.late - before) & set(self.asked):
            self.probe_s = min(2 * self.probe_s, LONGEST_PROBE_S)
        return answer


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
