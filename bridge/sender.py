"""Brings stored states to the receiver: one request under way, repeated until its outcome is known."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence

from bridge.account import Account
from bridge.batch import MAX_SAMPLES, Batch, shorten
from bridge.errors import StoreError
from bridge.horizon import Horizon
from bridge.outbox import Outbox
from bridge.receiver import Receiver
from bridge.remote_write.encode import Encoder
from bridge.remote_write.outcome import (
    Misconfigured,
    Outcome,
    Poison,
    Refused,
    RetryAfter,
    Sent,
    TooLarge,
)
from bridge.resend import resend
from bridge.sample import Sample
from readings.broker import waits
from readings.health import Tally

_log = logging.getLogger(__name__)

REQUEST_TIMEOUT_S = 30.0
FIRST_WAIT_S = 0.1
LONGEST_WAIT_S = 30.0
CONFIGURATION_WAIT_S = 30.0
PROBE_EVERY_S = 2.0
PROBE_TIMEOUT_S = 2.0
UNPARK_EVERY_S = 60.0
STORE_WAIT_S = 5.0
RESENT_AT_ONCE = 200
IDLE_S = 5.0
"""How often to look for what was not announced by `wake`."""

PATIENCE_S = 60.0
"""For so long a request may fail while empty ones pass, before it is to blame itself."""

LONE_PATIENCE_S = 0.05
"""The same for one sample of a request that is to blame: it fails twice."""

WITNESS_S = 30.0
"""A sample is to blame only if the receiver took others this short a time ago: its disk may be full."""

LIMITED_S = 3600.0
"""So long requests stay as small as a receiver wanted them; then it may have another configuration."""

MOST_DOUBTS = 8
"""Samples that fail without such a witness, before others are sent first to find one."""

EMPTY = Encoder({}).encode(())
"""A request without samples, which asks only whether the receiver takes requests."""


class Sender:
    """Takes batches from the outbox to the receiver until it is stopped.

    Args:
        outbox: What is to be sent.
        receiver: Where to.
        labels: Constant labels for every series.
        tally: The bridge's counts.
        wall_ms: The wall clock.
        monotonic: The clock that counts from the boot, in seconds.
        jitter: A random number from 0 to 1.
    """

    def __init__(
        self,
        outbox: Outbox,
        receiver: Receiver,
        *,
        labels: Mapping[str, str],
        tally: Tally,
        wall_ms: Callable[[], int],
        monotonic: Callable[[], float],
        jitter: Callable[[], float],
    ) -> None:
        self._outbox = outbox
        self._receiver = receiver
        self._encoder = Encoder(labels)
        self._account = Account(tally, wall_ms=wall_ms, monotonic=monotonic)
        self._wall_ms = wall_ms
        self._monotonic = monotonic
        self._jitter = jitter
        self._stopping = threading.Event()
        self._woken = threading.Event()
        self._horizon = Horizon(receiver, wall_ms=wall_ms, monotonic=monotonic)
        self._limit, self._limited_s = MAX_SAMPLES, float("-inf")
        self._takes_empty = False
        self._took_s = float("-inf")
        self._aside_s = float("-inf")
        self._suspects: set[int] = set()

    @property
    def last_answer(self) -> str:
        """What the receiver last said, in words; empty before it said anything."""
        return self._account.last_answer

    @property
    def last_sent_ms(self) -> int | None:
        """When it last took samples."""
        return self._account.last_sent_ms

    def wake(self) -> None:
        """There is something new in the store."""
        self._woken.set()

    def stop(self) -> None:
        """End `run` at the next opportunity; what is under way is sent again after the next start."""
        self._stopping.set()
        self._woken.set()

    def run(self) -> None:
        """Send until stopped."""
        unparked_s = self._monotonic()
        store_trouble = ""
        while not self._stopping.is_set():
            self._woken.clear()
            try:
                if self._monotonic() - unparked_s >= UNPARK_EVERY_S:
                    unparked_s = self._monotonic()
                    self._account.not_taken(
                        self._outbox.unpark(self._wall_ms(), unparked_s),
                        "ahead",
                        "readings from the future",
                        "ahead of the bridge's clock for a day; in quarantine",
                    )
                self._recall()
                if self._monotonic() - self._limited_s >= LIMITED_S:
                    self._limit = MAX_SAMPLES
                batch = self._outbox.begin(self._wall_ms(), self._monotonic(), self._limit)
                if batch is not None:
                    self._deliver(batch)
                self._resend()
                store_trouble = ""
            except StoreError as error:
                if str(error) != store_trouble and not self._stopping.is_set():
                    store_trouble = str(error)
                    _log.error("sending waits for the store: %s", error)
                self._stopping.wait(STORE_WAIT_S)
                continue
            if batch is None:
                self._woken.wait(IDLE_S)
        self._receiver.close()

    def _deliver(self, batch: Batch) -> None:
        """Send a batch piece by piece, until it is settled, set aside, or the sender is stopped."""
        batch = self._without_old(batch)
        if not batch.pieces:
            self._outbox.settle_first(batch, self._monotonic())
        may_be_there = batch.is_resumed
        doubts = 0
        while batch.pieces and not self._stopping.is_set():
            piece = batch.pieces[0]
            samples = batch.samples[piece.begin : piece.end]
            outcome = self._post_until_known(
                self._encoder.encode(samples),
                may_be_there=may_be_there,
                patience_s=self._patience_s(batch, len(samples)),
            )
            may_be_there = False
            if isinstance(outcome, Poison):
                self._suspects.add(batch.id)
            match outcome:
                case None:
                    return
                case Sent():
                    batch = self._outbox.settle_first(batch, self._monotonic())
                    self._count_sent(len(samples))
                case TooLarge() if len(samples) > 1:
                    self._limit, self._limited_s = len(samples) // 2, self._monotonic()
                    batch = self._outbox.arrange(batch, shorten(batch.pieces, self._limit))
                case Refused() | Poison() if len(samples) > 1:
                    batch = self._outbox.arrange(batch, (*piece.halves(), *batch.pieces[1:]))
                    batch = self._without_old(batch)
                case Poison() if self._monotonic() - self._took_s > WITNESS_S:
                    doubts += 1
                    batch = self._outbox.arrange(batch, (*batch.pieces[1:], piece))
                    if doubts >= min(MOST_DOUBTS, len(batch.pieces)):
                        if self._set_aside(batch):
                            return
                        self._wait_out(LONGEST_WAIT_S)
                case Refused(reason) | TooLarge(reason) | Poison(reason):
                    batch = self._outbox.settle_first(batch, self._monotonic(), guilt=reason)
                    what = f"{samples[0].series.name} at {samples[0].timestamp_ms}"
                    self._account.not_taken(1, "refused", what, f"{reason}; it is in quarantine")

    def _patience_s(self, batch: Batch, samples: int) -> float:
        if batch.id not in self._suspects:
            return PATIENCE_S
        return LONE_PATIENCE_S if samples == 1 else 0.0

    def _without_old(self, batch: Batch) -> Batch:
        """Leave out what is older than the receiver takes; it would fail at that for ever."""
        left = self._horizon.left_of(batch)
        if left == batch.pieces:
            return batch
        too_old = sum(piece.size for piece in batch.pieces) - sum(piece.size for piece in left)
        rest = self._outbox.arrange(batch, left)
        self._account.not_taken(
            too_old, "too_old", f"{too_old} samples", "older than its out_of_order_time_window, left out"
        )
        return rest

    def _set_aside(self, batch: Batch) -> bool:
        """Send others first: if those pass, it is the batch, and if not, the receiver."""
        is_aside = self._outbox.set_aside(batch)
        if is_aside:
            self._aside_s = self._monotonic()
            self._account.say(
                "the receiver fails at the oldest readings (%s); others go first", self.last_answer
            )
        return is_aside

    def _recall(self) -> None:
        """Come back to what was set aside: when the receiver took something since, or now and then."""
        if (
            self._aside_s < max(self._took_s, self._monotonic() - LONGEST_WAIT_S)
            and not self._outbox.recall()
        ):
            self._aside_s = float("inf")

    def _resend(self) -> None:
        """Send again what somebody wants out of quarantine."""
        # Few at a time: new readings go between.
        due = self._outbox.quarantine.due(RESENT_AT_ONCE)
        if due:
            self._count_sent(resend(due, self._outbox.quarantine, self._try_once, self._wall_ms()))

    def _try_once(self, samples: Sequence[Sample]) -> Outcome:
        """Send samples of the quarantine once; where only they fail, that is a refusal."""
        outcome = self._receiver.post(self._encoder.encode(samples), REQUEST_TIMEOUT_S)
        self._account.note(outcome)
        if isinstance(outcome, RetryAfter) and outcome.is_failure and self._probe():
            return Refused(outcome.reason)
        return outcome

    def _post_until_known(
        self, body: bytes, *, may_be_there: bool, patience_s: float = PATIENCE_S
    ) -> Sent | Refused | TooLarge | Poison | None:
        """Send one request, again and again while nobody knows what became of it; None when stopped."""
        pauses = waits(FIRST_WAIT_S, LONGEST_WAIT_S, self._jitter)
        fails_alone_s = float("inf")
        while not self._stopping.is_set():
            outcome = self._receiver.post(body, REQUEST_TIMEOUT_S)
            match outcome:
                case Refused(_, is_repeat=True) if may_be_there:
                    # A receiver takes all of a request or nothing, so it has all of an earlier try of the same.
                    self._account.count_request("already_there")
                    return Sent()
            self._account.note(outcome)
            match outcome:
                case Sent() | Refused() | TooLarge():
                    return outcome
                case Misconfigured():
                    self._stopping.wait(CONFIGURATION_WAIT_S)
                case RetryAfter(reason, seconds, is_open, is_failure):
                    may_be_there = may_be_there or is_open
                    if is_failure:
                        did_take, self._takes_empty = self._takes_empty, self._probe()
                        now_s = self._monotonic()
                        if not self._takes_empty:
                            fails_alone_s = float("inf")
                        elif now_s - (fails_alone_s := min(fails_alone_s, now_s)) >= patience_s:
                            return Poison(reason)
                        elif not did_take:
                            pauses = waits(FIRST_WAIT_S, LONGEST_WAIT_S, self._jitter)
                    if seconds is None:
                        self._wait_out(next(pauses))
                    else:
                        self._stopping.wait(max(seconds, next(pauses)))
        return None

    def _wait_out(self, pause_s: float) -> None:
        """Wait, but not longer than until the receiver is back.

        Its return shows when an empty request passes after one that did not. A
        receiver that takes empty requests and fails at ours is left in peace.
        """
        end_s = self._monotonic() + pause_s
        while (left_s := end_s - self._monotonic()) > 0:
            if self._stopping.wait(min(left_s, PROBE_EVERY_S)) or left_s <= PROBE_EVERY_S:
                return
            did_take, self._takes_empty = self._takes_empty, self._probe()
            if self._takes_empty and not did_take:
                return

    def _probe(self) -> bool:
        outcome = self._receiver.post(EMPTY, PROBE_TIMEOUT_S)
        self._account.count_request("probe")
        return isinstance(outcome, Sent)

    def _count_sent(self, samples: int) -> None:
        if samples:
            self._took_s = self._monotonic()
            self._account.sent(samples)
            self._horizon.say()
