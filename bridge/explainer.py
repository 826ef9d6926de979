"""Tells the receiver once a minute what the metrics are, beside the samples and never in their way."""

import logging
import threading
from collections.abc import Callable, Iterable

from bridge.errors import StoreError
from bridge.receiver import Posts
from bridge.remote_write.metadata import encode_metadata, to_families
from bridge.remote_write.outcome import RetryAfter, Sent
from readings.health import Tally
from readings.payload import Info

_log = logging.getLogger(__name__)

EVERY_S = 60.0
TIMEOUT_S = 10.0


class Explainer:
    """Sends metadata until it is stopped.

    Nothing of it is kept or repeated: the next minute brings all of it again.

    Args:
        infos: What the devices announce.
        receiver: Where to, on a connection of its own.
        tally: The bridge's counts.
        is_quiet: Whether the receiver wants to be left alone by whoever sends samples.
        monotonic: The clock that counts from the boot, in seconds.
    """

    def __init__(
        self,
        infos: Callable[[], Iterable[Info]],
        receiver: Posts,
        *,
        tally: Tally,
        is_quiet: Callable[[], bool],
        monotonic: Callable[[], float],
    ) -> None:
        self._infos = infos
        self._receiver = receiver
        self._tally = tally
        self._is_quiet = is_quiet
        self._monotonic = monotonic
        # What it is told holds for it alone: it must not be in the way of the samples.
        self._quiet_until_s = float("-inf")
        self._stopping = threading.Event()

    def stop(self) -> None:
        """End `run`, as soon as the request under way is answered."""
        self._stopping.set()

    def run(self) -> None:
        """Send until stopped."""
        while not self._stopping.wait(EVERY_S):
            try:
                self.send()
            except StoreError as error:
                _log.debug("no metadata: %s", error)  # whoever stores or sends says so aloud
        self._receiver.close()

    def send(self) -> None:
        """Tell all of it once, unless the receiver wants to be left alone.

        Raises:
            StoreError: The announcements cannot be read.
        """
        for body in encode_metadata(to_families(self._infos())):
            if self._is_quiet() or self._monotonic() < self._quiet_until_s:
                return
            outcome = self._receiver.post(body, TIMEOUT_S)
            self._tally.count(
                "bridge_requests_total",
                outcome="metadata" if isinstance(outcome, Sent) else "metadata_failed",
            )
            if isinstance(outcome, RetryAfter):
                self._quiet_until_s = self._monotonic() + (outcome.seconds or 0.0)
            if not isinstance(outcome, Sent):
                return
