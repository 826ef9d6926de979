"""Brings stored states to the receiver: one request under way, repeated until its outcome is known."""

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Protocol

from bridge.batch import Batch
from bridge.errors import StoreError
from bridge.outbox import Outbox
from bridge.remote_write.encode import encode
from bridge.remote_write.outcome import Misconfigured, Outcome, Refused, RetryAfter, Sent
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
SAY_EVERY_S = 60.0
"""How often a refusal is worth a line in the log."""

EMPTY = encode((), {})
"""A request without samples, which asks only whether the receiver takes requests."""


class Receiver(Protocol):
    """Where the samples go."""

    def post(self, body: bytes, timeout_s: float) -> Outcome:
        """Send one request."""

    def late_window(self, timeout_s: float) -> str | None:
        """How late a sample may be; empty for not at all, None when it cannot be asked."""

    def close(self) -> None:
        """End the connection."""


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
        self._labels = labels
        self._tally = tally
        self._wall_ms = wall_ms
        self._monotonic = monotonic
        self._jitter = jitter
        self._stopping = threading.Event()
        self._woken = threading.Event()
        self._knows_window = False
        self._takes_empty = False
        self._said_refusal_s = float("-inf")
        self._said_state = ""
        self.last_answer = ""
        self.last_sent_ms: int | None = None

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
            if self._monotonic() - unparked_s >= UNPARK_EVERY_S:
                self._outbox.unpark()
                unparked_s = self._monotonic()
            self._woken.clear()
            try:
                batch = self._outbox.begin(self._wall_ms(), self._monotonic())
                if batch is not None:
                    self._deliver(batch)
                store_trouble = ""
            except StoreError as error:
                if str(error) != store_trouble and not self._stopping.is_set():
                    store_trouble = str(error)
                    _log.error("sending waits for the store: %s", error)
                self._stopping.wait(STORE_WAIT_S)
                continue
            if batch is None:
                self._woken.wait(UNPARK_EVERY_S)
        self._receiver.close()

    def _deliver(self, batch: Batch) -> None:
        """Send a batch piece by piece, until it is settled or the sender is stopped."""
        if not batch.pieces:
            self._outbox.settle_first(batch, self._monotonic())
        may_be_there = batch.is_resumed
        while batch.pieces and not self._stopping.is_set():
            piece = batch.pieces[0]
            samples = batch.samples[piece.begin : piece.end]
            outcome = self._post_until_known(encode(samples, self._labels), may_be_there=may_be_there)
            match outcome:
                case None:
                    return
                case Sent():
                    batch = self._outbox.settle_first(batch, self._monotonic())
                    self._count_sent(len(samples))
                case Refused() if len(samples) > 1:
                    batch = self._outbox.replace_first(batch, piece.halves())
                case Refused(reason):
                    batch = self._outbox.settle_first(batch, self._monotonic(), guilt=reason)
                    self._tally.count("bridge_samples_refused_total", reason="refused")
                    self._say_refused(f"{samples[0].series.name} at {samples[0].timestamp_ms}", reason)
            may_be_there = False

    def _post_until_known(self, body: bytes, *, may_be_there: bool) -> Sent | Refused | None:
        """Send one request, again and again while nobody knows what became of it; None when stopped."""
        pauses = waits(FIRST_WAIT_S, LONGEST_WAIT_S, self._jitter)
        while not self._stopping.is_set():
            outcome = self._receiver.post(body, REQUEST_TIMEOUT_S)
            self._note(outcome)
            match outcome:
                case Sent():
                    return outcome
                case Refused(_, is_repeat):
                    # A receiver takes all of a request or nothing, so it has all of an earlier try of the same.
                    return Sent() if is_repeat and may_be_there else outcome
                case RetryAfter(_, seconds, is_open):
                    may_be_there = may_be_there or is_open
                    if seconds is None:
                        self._wait_out(next(pauses))
                    else:
                        self._stopping.wait(max(seconds, next(pauses)))
                case Misconfigured():
                    self._stopping.wait(CONFIGURATION_WAIT_S)
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
        self._tally.count("bridge_requests_total", outcome="probe")
        return isinstance(outcome, Sent)

    def _count_sent(self, samples: int) -> None:
        self.last_sent_ms = self._wall_ms()
        self._tally.count("bridge_samples_sent_total", by=samples)
        self._tally.set("bridge_last_sent_timestamp_seconds", self.last_sent_ms / 1000)
        if not self._knows_window:
            self._knows_window = True
            self._say_window()

    def _say_window(self) -> None:
        window = self._receiver.late_window(PROBE_TIMEOUT_S)
        if window is None:
            _log.info("the receiver does not say how late a sample may be; late ones may be refused")
        elif window:
            _log.info("the receiver takes samples that are up to %s late", window)
        else:
            _log.warning(
                "the receiver has no out-of-order window: readings that come late may be refused;"
                " set storage.tsdb.out_of_order_time_window to 14d in prometheus.yml"
            )

    def _note(self, outcome: Outcome) -> None:
        """Count an answer, and log a change of state; refusals have lines of their own."""
        match outcome:
            case Sent():
                kind, self.last_answer, level = "sent", "took the samples", logging.INFO
            case RetryAfter(reason):
                kind, self.last_answer, level = "retry", reason, logging.WARNING
            case Misconfigured(reason):
                kind, self.last_answer, level = "misconfigured", reason, logging.ERROR
            case Refused(reason):
                kind, self.last_answer, level = "refused", reason, logging.NOTSET
        self._tally.count("bridge_requests_total", outcome=kind)
        # The rest of the text may name times and series, and be another one each time.
        state = self.last_answer.partition(":")[0]
        if level and state != self._said_state:
            self._said_state = state
            _log.log(level, "receiver: %s", self.last_answer)

    def _say_refused(self, what: str, reason: str) -> None:
        now_s = self._monotonic()
        if now_s - self._said_refusal_s >= SAY_EVERY_S:
            self._said_refusal_s = now_s
            _log.warning("the receiver refuses %s, it goes to quarantine: %s", what, reason)
