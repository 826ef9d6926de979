"""Brings stored states to the receiver: one request under way, repeated until its outcome is known."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from bridge.account import Account
from bridge.batch import MAX_SAMPLES, Batch, shorten
from bridge.errors import StoreError
from bridge.horizon import Horizon
from bridge.outbox import Outbox
from bridge.poster import Poster, Wait
from bridge.receiver import Receiver
from bridge.remote_write.encode import Encoder
from bridge.remote_write.outcome import Outcome, Poison, Refused, Sent, TooLarge
from bridge.resend import resend
from bridge.sample import Sample
from readings.health import Tally

_log = logging.getLogger(__name__)

RECALL_EVERY_S = 30.0
UNPARK_EVERY_S = 60.0
STORE_WAIT_S = 5.0
RESENT_AT_ONCE = 200
IDLE_S = 5.0
"""How often to look for what was not announced by `wake`."""

LONE_PATIENCE_S = 0.05
"""For so long one sample of a request that is to blame may fail before it is: it fails twice."""

WITNESS_S = 30.0
"""A sample is to blame only if the receiver took others this short a time ago: its disk may be full."""

LIMITED_S = 3600.0
"""So long requests stay as small as a receiver wanted them; then it may have another configuration."""

MOST_DOUBTS = 8
"""Samples that fail without such a witness, before others are sent first to find one."""


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
        wait: Waits for an event, for so many seconds at most.
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
        wait: Wait = threading.Event.wait,
    ) -> None:
        self._outbox = outbox
        self._receiver = receiver
        self._encoder = Encoder(labels)
        self._account = Account(tally, wall_ms=wall_ms, monotonic=monotonic)
        self._wall_ms = wall_ms
        self._monotonic = monotonic
        self._wait = wait
        self._stopping = threading.Event()
        self._woken = threading.Event()
        self._poster = Poster(
            receiver,
            self._account,
            stopping=self._stopping,
            monotonic=monotonic,
            jitter=jitter,
            wait=wait,
        )
        self._horizon = Horizon(receiver, wall_ms=wall_ms, monotonic=monotonic)
        self._limit, self._limited_s = MAX_SAMPLES, float("-inf")
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
                self._wait(self._stopping, STORE_WAIT_S)
                continue
            if batch is None:
                self._wait(self._woken, IDLE_S)
        self._receiver.close()

    def _deliver(self, batch: Batch) -> None:
        """Send a batch piece by piece, until it is settled, set aside, or the sender is stopped."""
        batch = self._without_old(batch)
        if not batch.pieces:
            self._outbox.settle_first(batch, self._monotonic())
        is_resumed = batch.is_resumed
        doubts = 0
        while batch.pieces and not self._stopping.is_set():
            piece = batch.pieces[0]
            samples = batch.samples[piece.begin : piece.end]
            outcome = self._poster.post_until_known(
                self._encoder.encode(samples),
                may_be_there=piece.may_be_there or is_resumed,
                patience_s=self._patience_s(batch, len(samples)),
            )
            is_resumed = False
            if isinstance(outcome, Poison):
                self._suspects.add(batch.id)
            # What becomes of it now inherits that nobody knows, unless the receiver refused it.
            piece = replace(piece, may_be_there=isinstance(outcome, Poison | TooLarge) and outcome.is_open)
            match outcome:
                case None:
                    return
                case Sent():
                    batch = self._outbox.settle_first(batch, self._monotonic())
                    self._count_sent(len(samples))
                case TooLarge() if len(samples) > 1:
                    self._limit, self._limited_s = len(samples) // 2, self._monotonic()
                    batch = self._outbox.arrange(batch, shorten((piece, *batch.pieces[1:]), self._limit))
                case Refused() | Poison() if len(samples) > 1:
                    batch = self._outbox.arrange(batch, (*piece.halves(), *batch.pieces[1:]))
                    batch = self._without_old(batch)
                case Poison() if self._monotonic() - self._took_s > WITNESS_S:
                    doubts += 1
                    batch = self._outbox.arrange(batch, (*batch.pieces[1:], piece))
                    if doubts >= min(MOST_DOUBTS, len(batch.pieces)):
                        if self._set_aside(batch):
                            return
                        self._poster.wait_out()
                case Refused(reason) | TooLarge(reason) | Poison(reason):
                    batch = self._outbox.settle_first(batch, self._monotonic(), guilt=reason)
                    what = f"{samples[0].series.name} at {samples[0].timestamp_ms}"
                    self._account.not_taken(1, "refused", what, f"{reason}; it is in quarantine")

    def _patience_s(self, batch: Batch, samples: int) -> float | None:
        if batch.id not in self._suspects:
            return None
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
            self._aside_s < max(self._took_s, self._monotonic() - RECALL_EVERY_S)
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
        return self._poster.post_once(self._encoder.encode(samples))

    def _count_sent(self, samples: int) -> None:
        if samples:
            self._took_s = self._monotonic()
            self._account.sent(samples)
            self._horizon.say()
