"""One device's place in the timetable: its slots, the poll under way, and whether it answers at all.

No clock: every time is an argument, in seconds of the monotonic clock.
"""

import math
from dataclasses import dataclass, field
from enum import Enum

from poller.blocks import BlockFailure, BlockOutcome, BlockRead, FailureReason, RegisterBlock
from poller.plan import DevicePlan, spacer, split_block, tell_apart
from poller.points import Table
from poller.rota import Rota

PROBE_S = 0.4
"""How long a device that is down may take to answer..."""

FULL_PROBE_EVERY = 10
"""...but every so many times it has its full timeout."""

REPEAT_S = 1.0
"""After what time an unanswered poll is repeated within its slot, where that is worth it..."""

UNKNOWN_REPEAT_S = 2.5
"""...and one of a keep-alive device that was never heard. It may be off for the summer: another device's request,
which as a rule waits a second or on RTU two for its answer, has room before it."""

REFUSALS = 2
"""So often a device refuses an address before that is believed: once may be a gateway's mistake."""

KEEP_ALIVE_PATIENCE_S = 20.0
"""A keep-alive device is not thought to be down while its gap can still be kept below this."""


class Purpose(Enum):
    """What a request is for."""

    VALUES = "values"
    IDENTITY = "identity"
    SPACER = "spacer"
    """Its answer only stands between two of equal length."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A poll whose every block is answered or failed, its retry included.

    Attributes:
        due: When the timetable wanted it.
        ended: When its last request was over.
        texts: The blocks of the device's identity, where they were read too.
    """

    plan: DevicePlan
    due: float
    ended: float
    outcomes: tuple[BlockOutcome, ...]
    texts: tuple[BlockRead, ...]


@dataclass(slots=True)
class _Run:
    """A poll under way: what is still to be asked, and what came."""

    slot: int
    due: float
    pending: list[RegisterBlock]
    identity: list[RegisterBlock]
    again: list[RegisterBlock] = field(default_factory=list)
    tried: set[RegisterBlock] = field(default_factory=set)
    refused: set[RegisterBlock] = field(default_factory=set)
    outcomes: dict[tuple[Table, int, int], BlockOutcome] = field(default_factory=dict)
    texts: list[BlockRead] = field(default_factory=list)
    is_answered: bool = False
    is_unreachable: bool = False
    unanswered: int = 0


class Seat:
    """One device on a bus.

    Attributes:
        timeout_s: How long an answer may take; the timetable may shorten the plan's.
        is_silent: It did not answer its last poll: it is only probed until it does.
        rested_at: From when on it may be asked again, by whomever.
    """

    def __init__(self, plan: DevicePlan, start: float, *, distinct: bool) -> None:
        self.plan = plan
        self.timeout_s = plan.timeout_s
        self.is_silent = False
        self._start = start
        self._interval = plan.device.interval_s
        self._distinct = distinct
        self._next_slot = 0
        self._repeat_at = math.inf
        self.rested_at = -math.inf
        self._last: RegisterBlock | None = None
        self._others: RegisterBlock | None = None
        self._rota = Rota(plan.blocks)
        self._identity = Rota(plan.identity)
        self._wants_identity = True
        self._identity_refusals = 0
        self._heard_at = start
        self._probes = 0
        self._run: _Run | None = None

    @property
    def is_keep_alive(self) -> bool:
        """The device stops working when it is not polled."""
        return self.plan.device.profile.keep_alive

    @property
    def is_retrying(self) -> bool:
        """Whether its next request was sent once before."""
        return self._run is not None and not self._run.pending and bool(self._run.again)

    @property
    def next_timeout_s(self) -> float:
        """How long its next request waits for an answer."""
        is_full = not self.is_silent or (self._probes + 1) % FULL_PROBE_EVERY == 0
        return self.timeout_s if is_full else min(PROBE_S, self.timeout_s)

    @property
    def ready_at(self) -> float:
        """When it wants the bus next."""
        wanted = min(self._slot_time(self._next_slot), self._repeat_at) if self._run is None else -math.inf
        return max(wanted, self.rested_at)

    def due(self, now: float) -> float:
        """When the poll that is under way, or would begin now, is due: the newest slot that has come."""
        if self._run is not None:
            return self._run.due
        return self._slot_time(self._slot(now))

    def begin(self, now: float) -> float | None:
        """Begin a poll unless one is under way.

        Returns:
            How late it begins; `None` when it was under way or repeats one.
        """
        if self._run is not None:
            return None
        slot = self._slot(now)
        is_repeat = slot < self._next_slot
        self._next_slot = slot + 1
        self._repeat_at = math.inf
        identity = list(self._identity.blocks) if self._wants_identity else []
        self._run = _Run(slot, self._slot_time(slot), self._rota.due(slot), identity)
        return None if is_repeat else now - self._run.due

    def choose(self) -> tuple[RegisterBlock, Purpose]:
        """The next request of the poll under way: the blocks, then what failed once more, then the identity."""
        run = self._running()
        for waiting, purpose in (
            (run.pending, Purpose.VALUES),
            (run.again, Purpose.VALUES),
            (run.identity, Purpose.IDENTITY),
        ):
            for block in waiting:
                if self._tells_apart(block):
                    waiting.remove(block)
                    return block, purpose
            if waiting:
                return spacer(waiting[0], self.plan.device.profile.multiple_of), Purpose.SPACER
        raise RuntimeError("a poll with nothing left to ask is over")

    def report(
        self, block: RegisterBlock, purpose: Purpose, outcome: BlockOutcome, now: float
    ) -> Finished | None:
        """Take in what a request brought; gives the poll when that was its last."""
        run = self._running()
        self.rested_at = now + self.plan.pause_s
        if isinstance(outcome, BlockRead) or outcome.reason.shows_life:
            self.hear(now)
        else:
            run.unanswered += 1
        run.is_unreachable = isinstance(outcome, BlockFailure) and outcome.reason is FailureReason.UNREACHABLE
        if not run.is_unreachable:
            self._last, self._others = block, None
        if purpose is Purpose.VALUES and not self._doubt(run, block, outcome):
            self._take_values(run, block, outcome)
        elif purpose is Purpose.IDENTITY and not self._split(run, block, purpose, outcome):
            self._take_identity(run, outcome)
        # Without a connection nothing is answered, a spacer neither, whatever was before.
        if (run.is_unreachable or not run.is_answered) and run.unanswered >= (1 if self.is_silent else 2):
            reason = outcome.reason if isinstance(outcome, BlockFailure) else FailureReason.TIMEOUT
            self._give_up(run, reason, now)
        if run.pending or run.again or run.identity:
            return None
        return self._finish(run, now)

    def end_unreachable(self, now: float) -> Finished:
        """End the poll that is due as others on the bus found it: there is no connection."""
        self.begin(now)
        run = self._running()
        run.is_unreachable = True
        self._give_up(run, FailureReason.UNREACHABLE, now)
        return self._finish(run, now)

    def hear(self, now: float) -> None:
        """The device has answered, be it too late or not what was asked: it is not down."""
        self._heard_at = now
        if self._run is not None:
            self._run.is_answered = True
        if self.is_silent:
            self.is_silent = False
            self._probes = 0
            self._identity_refusals = 0
            self.want_identity()

    def note_errand(self, read: RegisterBlock | None, now: float) -> None:
        """Another program has asked the device, for this block if it was a read as ours are."""
        self.rested_at = now + self.plan.pause_s
        self._others = read

    def want_identity(self) -> None:
        """Read the device's texts with the poll under way, or else with its next one.

        One that has no such addresses is not asked again before it was down: it may be another one then.
        """
        if self._identity_refusals >= REFUSALS:
            return
        self._wants_identity = True
        if self._run is not None:
            self._run.identity = list(self._identity.blocks)

    def _take_values(self, run: _Run, block: RegisterBlock, outcome: BlockOutcome) -> None:
        run.outcomes[block.request] = outcome
        # A single point that is illegal now is so in a second as well.
        if isinstance(outcome, BlockRead) or (_is_illegal(outcome) and self._pieces(block) is None):
            self._rota.note_answer(block, run.slot)
        elif block not in run.tried:
            run.again.append(block)
        run.tried.add(block)

    def _take_identity(self, run: _Run, outcome: BlockOutcome) -> None:
        if isinstance(outcome, BlockRead):
            run.texts.append(outcome)
            self._identity_refusals = 0
            self._wants_identity = bool(run.identity)
        else:
            # A device that refuses has no such text; one that was silent is asked with its next poll.
            self._wants_identity = not outcome.reason.shows_life
            self._identity_refusals += _is_illegal(outcome)
            run.identity.clear()

    def _doubt(self, run: _Run, block: RegisterBlock, outcome: BlockOutcome) -> bool:
        """Split what was refused twice in a row; once may be a gateway's mistake, and a split is for good."""
        if not _is_illegal(outcome):
            run.refused.discard(block)
        elif block in run.refused:
            return self._split(run, block, Purpose.VALUES, outcome)
        else:
            run.refused.add(block)
        return False

    def _split(self, run: _Run, block: RegisterBlock, purpose: Purpose, outcome: BlockOutcome) -> bool:
        """Cut a block that the device refuses, for good: the pieces are asked in its place."""
        pieces = self._pieces(block) if _is_illegal(outcome) else None
        if pieces is None:
            return False
        # One piece: only what made the block longer was refused, so it stays short.
        if self._distinct and len(pieces) > 1:
            others = tuple(one for one in (*self._rota.blocks, *self._identity.blocks) if one != block)
            known = self.plan.device.profile
            pieces = tell_apart(
                (*others, *pieces), max_registers=known.max_registers, multiple_of=known.multiple_of
            )[len(others) :]
        if purpose is Purpose.VALUES:
            self._rota.replace(block, pieces)
            run.outcomes.pop(block.request, None)
            run.pending = [*pieces, *run.pending]
        else:
            self._identity.replace(block, pieces)
            run.identity = [*pieces, *run.identity]
        return True

    def _pieces(self, block: RegisterBlock) -> tuple[RegisterBlock, ...] | None:
        """What a refused block is cut into; `None` where it cannot be."""
        pieces = split_block(block, self.plan.device.profile.multiple_of)
        return None if [one.request for one in pieces] == [block.request] else pieces

    def _give_up(self, run: _Run, reason: FailureReason, now: float) -> None:
        """Nobody is there: the rest of the poll is not worth the others' time."""
        why = "there is no connection" if run.is_unreachable else "the device does not answer"
        for block in run.pending:
            run.outcomes[block.request] = BlockFailure(block, reason, f"not asked: {why}", now)
        run.pending.clear()
        run.again.clear()
        run.identity.clear()

    def _finish(self, run: _Run, now: float) -> Finished:
        self._run = None
        is_read = any(isinstance(one, BlockRead) for one in run.outcomes.values())
        self._rota.end_poll(is_read=is_read)
        # That the gateway is gone says nothing of the device.
        if not run.is_answered and not run.is_unreachable:
            self._probes += self.is_silent
            patience_s = KEEP_ALIVE_PATIENCE_S if self.is_keep_alive else 0.0
            self.is_silent = self.is_silent or now - self._heard_at >= patience_s
        # An unreachable gateway costs nobody time on the bus, whatever came late before it went, and a
        # keep-alive device has no time to lose.
        if (run.is_unreachable and not is_read) or (
            self.is_keep_alive and not self.is_silent and not run.is_answered
        ):
            is_unknown = not run.is_unreachable and self._heard_at == self._start
            self._repeat_at = now + (UNKNOWN_REPEAT_S if is_unknown else REPEAT_S)
        return Finished(self.plan, run.due, now, tuple(run.outcomes.values()), tuple(run.texts))

    def _tells_apart(self, block: RegisterBlock) -> bool:
        """Whether an answer to the last requests, come late, could not be taken for this block's."""
        return not self._distinct or all(
            last is None or last.request == block.request or last.answer_bytes != block.answer_bytes
            for last in (self._last, self._others)
        )

    def _slot(self, now: float) -> int:
        """The newest slot that has come; the last one used while there is no newer one."""
        if now < self._slot_time(self._next_slot):
            return self._next_slot - 1
        return max(self._next_slot, math.floor((now - self._start) / self._interval))

    def _slot_time(self, slot: int) -> float:
        return self._start + slot * self._interval

    def _running(self) -> _Run:
        if self._run is None:
            raise RuntimeError("no poll is under way")
        return self._run


def _is_illegal(outcome: BlockOutcome) -> bool:
    return isinstance(outcome, BlockFailure) and outcome.reason is FailureReason.ILLEGAL_ADDRESS
