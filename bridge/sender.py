"""Brings stored states to the receiver: one request under way, repeated until its outcome is known."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import isfinite

from bridge.account import Account
from bridge.batch import MAX_SAMPLES, Batch, shorten
from bridge.errors import StoreError
from bridge.horizon import Horizon
from bridge.outbox import MOST_ASIDE, Outbox
from bridge.poster import Poster, Wait
from bridge.receiver import Receiver
from bridge.remote_write.encode import Encoder
from bridge.remote_write.outcome import Poison, Refused, Sent, TooLarge
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

ASIDE_EVERY_S = 120.0
"""So seldom one more steps aside where many are already and nothing passes: they are held in the store."""

LAST = 30
"""States of a device that go before those that wait: some minutes of it, for it may take two until it is its turn."""

VERDICT_S = 5.0
"""So soon after a sample was refused another one must pass for it to be to blame: later, it may have been the receiver."""

MOST_DOUBTS = 8
"""Samples that fail or are refused without such a witness, before others are sent first to find one."""


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
        # When the first and the last of those that are aside now stepped aside.
        self._first_aside_s = self._aside_s = float("-inf")
        self._is_skipping = False
        self._suspects: set[int] = set()

    @property
    def last_answer(self) -> str:
        """What the receiver last said, in words; empty before it said anything."""
        return self._account.last_answer

    @property
    def last_sent_ms(self) -> int | None:
        """When it last took samples."""
        return self._account.last_sent_ms

    def is_quiet(self) -> bool:
        """Whether the receiver wants to be left alone now, or will be because of its configuration."""
        return self._monotonic() < self._poster.quiet_until_s

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
                if self._monotonic() - self._limited_s >= LIMITED_S:
                    self._limit = MAX_SAMPLES
                batch = self._begin()
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
        doubts = 0
        # What was refused alone while nothing was taken, and when: it is to blame when others pass, and not sent again.
        refused: dict[int, tuple[Refused | TooLarge, float]] = {}
        while batch.pieces and not self._stopping.is_set():
            piece = batch.pieces[0]
            samples = batch.samples[piece.begin : piece.end]
            asked_s = self._monotonic()
            outcome = self._judge(*refused.pop(piece.begin, (None, 0.0))) or self._post(
                batch, samples, may_be_there=piece.may_be_there
            )
            # What becomes of it now inherits that nobody knows, unless the receiver refused it.
            is_open = isinstance(outcome, Poison | TooLarge | Refused) and outcome.is_open
            piece = replace(piece, may_be_there=is_open)
            match outcome:
                case Sent():
                    batch = self._outbox.settle_first(batch, self._monotonic())
                    self._count_sent(len(samples))
                case TooLarge() if len(samples) > 1:
                    self._limit, self._limited_s = len(samples) // 2, self._monotonic()
                    batch = self._outbox.arrange(batch, shorten((piece, *batch.pieces[1:]), self._limit))
                case Refused() | Poison() if len(samples) > 1:
                    batch = self._outbox.arrange(batch, (*piece.halves(), *batch.pieces[1:]))
                case Refused() | TooLarge() | Poison() if not self._has_witness():
                    doubts += 1
                    rest = batch.pieces[1:]
                    if isinstance(outcome, Poison):
                        # The largest piece is the most likely to hold a sample that passes.
                        rest = tuple(sorted(rest, key=lambda one: -one.size))
                    else:
                        refused[piece.begin] = outcome, asked_s
                    batch = self._outbox.arrange(batch, (*rest, piece))
                    if doubts >= min(MOST_DOUBTS, len(batch.pieces)):
                        if self._set_aside(batch):
                            return
                        refused.clear()
                        self._poster.rest()
                case Refused(reason) | TooLarge(reason) | Poison(reason):
                    batch = self._outbox.settle_first(batch, self._monotonic(), guilt=reason)
                    what = f"{samples[0].series.name} at {samples[0].timestamp_ms}"
                    self._account.not_taken(1, "refused", what, f"{reason}; it is in quarantine")
            batch = self._without_old(batch)

    def _has_witness(self) -> bool:
        """Whether the receiver took others a short time ago."""
        return self._monotonic() - self._took_s <= WITNESS_S

    def _judge(self, outcome: Refused | TooLarge | None, at_s: float) -> Refused | TooLarge | None:
        """What was said of a sample that was sent at that time, if it is to blame by now."""
        return outcome if self._has_witness() and self._monotonic() - at_s <= VERDICT_S else None

    def _post(
        self, batch: Batch, samples: Sequence[Sample], *, may_be_there: bool
    ) -> Sent | Refused | TooLarge | Poison | None:
        """Post samples of a batch until it is known what becomes of them; None where that is open."""
        outcome = self._poster.post_until_known(
            self._encoder.encode(samples),
            may_be_there=may_be_there,
            has_witness=self._has_witness(),
            patience_s=self._patience_s(batch, len(samples)),
            is_due=lambda: self._horizon.left_of(batch) == batch.pieces,
        )
        match outcome:
            case Poison():
                self._suspects.add(batch.id)
            case Refused(is_open=True) if len(samples) == 1 and not self._horizon.takes_repeats():
                # It is there. Of several, one may be there for another reason, and the others not at all.
                return Sent()
        return outcome

    def _patience_s(self, batch: Batch, samples: int) -> float | None:
        # What follows one that failed for long, while nothing passed, need not fail for long as well.
        is_next = self._took_s < self._aside_s < float("inf") and self._horizon.takes_late()
        if batch.id not in self._suspects and not is_next:
            return None
        return LONE_PATIENCE_S if samples == 1 else 0.0

    def _without_old(self, batch: Batch) -> Batch:
        """Leave out what is older than the receiver takes; it would fail at that for ever."""
        left = self._horizon.left_of(batch) if batch.pieces else ()
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
        now_s = self._monotonic()
        may_be_late = self._horizon.takes_late()
        is_time = self._aside_s < max(self._took_s, now_s - ASIDE_EVERY_S)
        aside = self._outbox.set_aside(batch, None if is_time and may_be_late else MOST_ASIDE)
        if not aside:
            return False
        if not isfinite(self._aside_s):
            self._first_aside_s = now_s
        self._aside_s = now_s
        self._is_skipping = may_be_late and aside >= MOST_ASIDE
        if not may_be_late:
            # In any other order it would refuse them for that when it is well again.
            self._outbox.arrange(batch, sorted(batch.pieces, key=lambda one: one.begin))
        self._account.say(
            "the receiver does not take the oldest readings (%s); others go first", self.last_answer
        )
        return True

    def _begin(self) -> Batch | None:
        """The next batch; where many are aside, of what came last, until that has passed."""
        last = None
        if self._is_skipping:
            last = 1 if self._took_s < self._first_aside_s else LAST
        else:
            self._recall()
        batch = self._outbox.begin(self._wall_ms(), self._monotonic(), self._limit, last)
        if batch is None and self._is_skipping:
            self._is_skipping = False
            return self._begin()
        return batch

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
            self._count_sent(
                resend(
                    due,
                    self._outbox.quarantine,
                    lambda samples: self._poster.post_once(self._encoder.encode(samples)),
                    self._wall_ms(),
                )
            )

    def _count_sent(self, samples: int) -> None:
        if samples:
            self._took_s = self._monotonic()
            self._account.sent(samples)
            self._horizon.say()
