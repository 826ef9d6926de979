"""What the receiver answered: counted, and said where it is news."""

import logging
from collections.abc import Callable

from bridge.remote_write.outcome import Misconfigured, Outcome, Refused, RetryAfter, Sent, TooLarge
from readings.health import Tally

_log = logging.getLogger(__name__)

SAY_EVERY_S = 60.0
"""How often a refusal is worth a line in the log."""


class Account:
    """The sender's counts and its lines in the log.

    Args:
        tally: The bridge's counts.
        wall_ms: The wall clock.
        monotonic: The clock that counts from the boot, in seconds.

    Attributes:
        last_answer: What the receiver last said, in words.
        last_sent_ms: When it last took samples.
    """

    def __init__(self, tally: Tally, *, wall_ms: Callable[[], int], monotonic: Callable[[], float]) -> None:
        self._tally = tally
        self._wall_ms = wall_ms
        self._monotonic = monotonic
        self._said_s = float("-inf")
        self._said_state = ""
        self.last_answer = ""
        self.last_sent_ms: int | None = None

    def note(self, outcome: Outcome) -> None:
        """Count an answer, and log a change of state; refusals have lines of their own."""
        match outcome:
            case Sent():
                kind, self.last_answer, level = "sent", "took the samples", logging.INFO
            case RetryAfter(reason):
                kind, self.last_answer, level = "retry", reason, logging.WARNING
            case Misconfigured(reason):
                kind, self.last_answer, level = "misconfigured", reason, logging.ERROR
            case Refused(reason) | TooLarge(reason):
                kind, self.last_answer, level = "refused", reason, logging.NOTSET
        self.count_request(kind)
        # The rest of the text may name times and series, and be another one each time.
        state = self.last_answer.partition(":")[0]
        if level and state != self._said_state:
            self._said_state = state
            _log.log(level, "receiver: %s", self.last_answer)

    def count_request(self, outcome: str) -> None:
        """One more request that ended so."""
        self._tally.count("bridge_requests_total", outcome=outcome)

    def sent(self, samples: int) -> None:
        """The receiver has that many samples more."""
        self.last_sent_ms = self._wall_ms()
        self._tally.count("bridge_samples_sent_total", by=samples)
        self._tally.set("bridge_last_sent_timestamp_seconds", self.last_sent_ms / 1000)

    def not_taken(self, samples: int, kind: str, what: str, reason: str) -> None:
        """That many samples will never be taken as they are.

        Args:
            samples: How many; none is no news.
            kind: For the count: `refused`, `too_old` or `ahead`.
            what: For people.
            reason: For people.
        """
        if not samples:
            return
        self._tally.count("bridge_samples_refused_total", by=samples, reason=kind)
        self.say("the receiver does not take %s: %s", what, reason)

    def say(self, text: str, *arguments: object) -> None:
        """A line in the log, unless there was one shortly before: the counts say the rest."""
        now_s = self._monotonic()
        if now_s - self._said_s >= SAY_EVERY_S:
            self._said_s = now_s
            _log.warning(text, *arguments)
