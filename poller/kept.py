"""What the filters know, across restarts, as bytes for the journal.

The last good values are not kept: after a restart nothing was measured yet,
so nothing is held.
"""

from dataclasses import replace

import msgspec

from poller.device import Device
from poller.energy import HOUR_S, Count
from poller.errors import FilterStateError
from poller.filters import Memory
from poller.identity import Identity
from poller.states import Tracker, new_tracker


class FilterState(msgspec.Struct, frozen=True):
    """The part of a tracker that outlives its run.

    Attributes:
        at: When it was kept, seconds of the monotonic clock.
    """

    at: float
    serial: str | None
    memories: dict[str, Memory]
    counts: dict[str, Count]
    stamps: dict[str, int]


def keep(tracker: Tracker, now: float) -> bytes:
    """The filters' state as bytes."""
    return msgspec.json.encode(
        FilterState(
            now, tracker.identity.serial, dict(tracker.memories), dict(tracker.counts), dict(tracker.stamps)
        )
    )


def restore(device: Device, kept: bytes, *, same_boot: bool, now: float) -> Tracker:
    """A tracker that knows what an earlier run knew.

    Args:
        device: The device, of which nothing was heard in this run yet.
        kept: What `keep` gave.
        same_boot: Whether the monotonic clock is still the same. Otherwise an
            hour is assumed between then and now, and rows of candidates begin anew.
        now: Seconds of the monotonic clock.

    Raises:
        FilterStateError: The bytes are not what `keep` gives.
    """
    try:
        known = msgspec.json.decode(kept, type=FilterState)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FilterStateError(f"{device.key}: {error}") from error
    counts = known.counts
    if not same_boot:
        counts = {name: _after_reboot(count, known.at, now) for name, count in counts.items()}
    return replace(
        new_tracker(device, now),
        memories=known.memories,
        counts=counts,
        identity=Identity(known.serial),
        stamps=known.stamps,
    )


def _after_reboot(count: Count, kept_at: float, now: float) -> Count:
    age = max(kept_at - count.at, 0.0) + HOUR_S
    return msgspec.structs.replace(count, at=now - age, candidate=None, is_time_unknown=True)
