"""Posts a request until its outcome is known, with more and more patience, and finds out when the receiver is back."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf

from bridge.account import Account
from bridge.receiver import Posts
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
from readings.broker import waits

Wait = Callable[[threading.Event, float], bool]
"""Waits for an event, for so many seconds at most; says whether it came."""

REQUEST_TIMEOUT_S = 30.0
FIRST_WAIT_S = 0.1
LONGEST_WAIT_S = 30.0
CONFIGURATION_WAIT_S = 30.0
PROBE_EVERY_S = 2.0
PROBE_TIMEOUT_S = 2.0

PATIENCE_S = 60.0
"""For so long a request may fail while empty ones pass, before it is to blame itself."""

EMPTY = Encoder({}).encode(())
"""A request without samples, which asks only whether the receiver takes requests."""


@dataclass(slots=True)
class _FailsAlone:
    """Since when a request fails while empty ones pass."""

    since_s: float = inf

    def lasts_s(self, now_s: float, *, takes_empty: bool) -> float:
        """For how long, after one more try; less than 0 while empty ones fail too."""
        self.since_s = min(self.since_s, now_s) if takes_empty else inf
        return now_s - self.since_s


class Poster:
    """Takes one request at a time to the receiver.

    Args:
        receiver: Where to.
        account: Counts what it answers, and says what is news.
        stopping: Set when nothing more is to be sent.
        monotonic: The clock that counts from the boot, in seconds.
        jitter: A random number from 0 to 1.
        wait: How to wait.

    Attributes:
        quiet_until_s: Before this time, of `monotonic`, it wants no request at all.
    """

    def __init__(
        self,
        receiver: Posts,
        account: Account,
        *,
        stopping: threading.Event,
        monotonic: Callable[[], float],
        jitter: Callable[[], float],
        wait: Wait,
    ) -> None:
        self._receiver = receiver
        self._account = account
        self._stopping = stopping
        self._monotonic = monotonic
        self._jitter = jitter
        self._wait = wait
        self._takes_empty = False
        self.quiet_until_s = float("-inf")

    def post_once(self, body: bytes) -> Outcome | None:
        """Post one request once; where it fails and empty ones do not, that is a refusal. None when stopped."""
        if self._leave_alone():
            return None
        outcome = self._heed(self._receiver.post(body, REQUEST_TIMEOUT_S))
        self._account.note(outcome)
        if isinstance(outcome, RetryAfter) and outcome.is_failure:
            self._is_back()
            if self._takes_empty:
                return Refused(outcome.reason)
        return outcome

    def post_until_known(
        self,
        body: bytes,
        *,
        may_be_there: bool,
        has_witness: bool = True,
        patience_s: float | None = None,
        is_due: Callable[[], bool] = lambda: True,
    ) -> Sent | Refused | TooLarge | Poison | None:
        """Post one request, again and again while nobody knows what became of it.

        Args:
            body: The request.
            may_be_there: An earlier try of the request, or of one that held all of it, may have been taken.
            has_witness: The receiver took samples a short time ago.
            patience_s: For so long it may fail while empty ones pass; where it is not said, `PATIENCE_S`.
            is_due: Whether to try again; asked as long as no try of it may have been taken.

        Returns:
            None when stopped, or no longer due.
        """
        patience_s = PATIENCE_S if patience_s is None else patience_s
        pauses = waits(FIRST_WAIT_S, LONGEST_WAIT_S, self._jitter)
        fails_alone = _FailsAlone()
        is_first = True
        while not self._leave_alone() and (is_first or may_be_there or is_due()):
            is_first = False
            outcome = self._heed(self._receiver.post(body, REQUEST_TIMEOUT_S))
            if isinstance(outcome, Refused):
                if outcome.is_repeat and may_be_there:
                    self._account.count_request("already_there")
                    return replace(outcome, is_open=True)
                # Another port, or a proxy in between: what it says is of no request in particular.
                if not has_witness and self._ask() == outcome:
                    reason = f"{outcome.reason} (it says so to an empty request too: is the address right?)"
                    outcome = self._heed(Misconfigured(reason))
            self._account.note(outcome)
            match outcome:
                case Sent() | Refused():
                    return outcome
                case TooLarge(reason):
                    return TooLarge(reason, is_open=may_be_there)
                case RetryAfter(reason, _, is_open, is_failure):
                    may_be_there = may_be_there or is_open
                    if is_failure:
                        is_back = self._is_back()
                        if (
                            fails_alone.lasts_s(self._monotonic(), takes_empty=self._takes_empty)
                            >= patience_s
                        ):
                            return Poison(reason, is_open=may_be_there)
                        if is_back:
                            pauses = waits(FIRST_WAIT_S, LONGEST_WAIT_S, self._jitter)
                    self.rest(next(pauses))
        return None

    def rest(self, pause_s: float | None = None) -> None:
        """Leave it alone for as long as it asked, then wait, but not longer than until it is back.

        Its return shows when an empty request passes after one that did not. A
        receiver that takes empty requests and fails at ours is left in peace.
        """
        if self._leave_alone():
            return
        end_s = self._monotonic() + (LONGEST_WAIT_S if pause_s is None else pause_s)
        while (left_s := end_s - self._monotonic()) > 0:
            if (
                self._wait(self._stopping, min(left_s, PROBE_EVERY_S))
                or left_s <= PROBE_EVERY_S
                or self._is_back()
            ):
                return

    def _heed(self, outcome: Outcome) -> Outcome:
        """Remember for how long it wants to be left alone."""
        match outcome:
            case RetryAfter(seconds=seconds) if seconds is not None:
                self.quiet_until_s = self._monotonic() + seconds
            case Misconfigured():
                self.quiet_until_s = self._monotonic() + CONFIGURATION_WAIT_S
        return outcome

    def _leave_alone(self) -> bool:
        """Wait until it may be asked again; whether we were stopped instead."""
        while (left_s := self.quiet_until_s - self._monotonic()) > 0:
            if self._wait(self._stopping, left_s):
                break
        return self._stopping.is_set()

    def _is_back(self) -> bool:
        """Whether it takes empty requests, and did not before."""
        did_take, self._takes_empty = self._takes_empty, not self._leave_alone() and self._ask() == Sent()
        return self._takes_empty and not did_take

    def _ask(self) -> Outcome:
        outcome = self._receiver.post(EMPTY, PROBE_TIMEOUT_S)
        self._account.count_request("probe")
        # Its configuration is judged by requests that matter.
        return self._heed(outcome) if isinstance(outcome, RetryAfter) else outcome
