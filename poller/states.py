"""What is known of a device between its readings, and the states that are made of it.

Every field of a device stands in each of its states. One that failed or was
not accepted carries its last good value and is held, for at most two of its
intervals; then it has none. So is one that is read more seldom than its device, between its reads. What the device itself calls 'no value' has none
at once: that is an answer, not a failure.

Intervals are counted on the timetable (`Poll.due`), so that a poll which ends
some milliseconds sooner or later decides nothing. A source that reports by
itself has no timetable; for it the time of arrival counts.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from poller.device import Device
from poller.energy import Count
from poller.filters import Accepted, HeldBack, Memory, NoValue, Rejected, Verdict
from poller.identity import Identity
from readings.reading import DeviceKey, Value

INTERVALS = 2
"""So many intervals a value is held, and after so many without a reading a device is lost."""


@dataclass(frozen=True, slots=True)
class Good:
    """The last good value of a field, and when it was good (timetable or arrival)."""

    value: int | float
    at: float


@dataclass(frozen=True, slots=True)
class Tracker:
    """What is known of a device between its polls.

    Attributes:
        memories: What the filters remember, by field; energy counts apart.
        good: The last good values, of this run of the poller only.
        heard: When something was last read, or the start.
        online: Whether the device can be read; `None` while that is not known.
        identity: What is known of its serial number.
        stamps: The own time of each value of a source that gives one, milliseconds since 1970 UTC.
    """

    heard: float
    online: bool | None = None
    memories: Mapping[str, Memory] = field(default_factory=dict)
    counts: Mapping[str, Count] = field(default_factory=dict)
    good: Mapping[str, Good] = field(default_factory=dict)
    identity: Identity = field(default_factory=Identity)
    stamps: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A device's fields at one moment: a state that has no stream, seq and wall time yet.

    Attributes:
        taken: When it was read, seconds of the monotonic clock.
        time_ms: The source's own time, where it gives one that can be.
    """

    taken: float
    time_ms: int | None
    values: Mapping[str, Value]
    held: frozenset[str]


@dataclass(frozen=True, slots=True)
class Rejection:
    """A reading that was not accepted: rejected, or held back until the next."""

    field: str
    reason: str


@dataclass(frozen=True, slots=True)
class Folded:
    """What a poll or a report made.

    Attributes:
        snapshot: The state that it made, if it made one.
        online: Whether the device can be read; `None` while that is not known.
        wants_identity: Whether the serial number should be read with the next poll.
        time_replaced: Whether a source's time could not be and gave way to the time of arrival.
        is_ageless: Whether it was passed over, because nobody knows how old it is.
    """

    tracker: Tracker
    snapshot: Snapshot | None
    online: bool | None
    rejections: tuple[Rejection, ...] = ()
    wants_identity: bool = False
    time_replaced: bool = False
    is_ageless: bool = False


def new_tracker(device: Device, now: float) -> Tracker:  # noqa: ARG001  # beside `restore`, which needs it
    """A device of which nothing is known yet."""
    return Tracker(heard=now)


def make_state(
    device: Device,
    tracker: Tracker,
    verdicts: Mapping[str, Verdict],
    *,
    on: float,
    taken: float,
    time_ms: int | None = None,
    is_good: bool = True,
) -> Folded:
    """A state of what was read: fresh where accepted, else held, else without value.

    Args:
        device: Whose fields it has.
        tracker: What was known before.
        verdicts: On what was read; the other fields were not.
        on: When, on the timetable.
        taken: When, seconds of the monotonic clock.
        time_ms: When, as the source itself says.
        is_good: Whether anything of it is beyond suspicion: only that shows that the device can be read.
    """
    fresh = {name: one.value for name, one in verdicts.items() if isinstance(one, Accepted)}
    refused = {name: one.reason for name, one in verdicts.items() if isinstance(one, Rejected | HeldBack)}
    without = {name for name, one in verdicts.items() if isinstance(one, NoValue)}
    good = {
        name: last
        for name, last in tracker.good.items()
        if name not in without and _intervals(device.interval_of(name), last.at, on) <= INTERVALS
    }
    good |= {name: Good(value, on) for name, value in fresh.items()}
    values = {name: good[name].value if name in good else None for name in device.fields}
    online = True if is_good else tracker.online
    return Folded(
        tracker=replace(tracker, good=good, heard=on, online=online),
        snapshot=Snapshot(taken, time_ms, values, frozenset(good.keys() - fresh.keys())),
        online=online,
        rejections=tuple(Rejection(name, reason) for name, reason in refused.items()),
        wants_identity=wants_identity(device, tracker),
    )


def note_silence(device: Device, tracker: Tracker, *, on: float, now: float) -> Folded:
    """Nothing was read: after two intervals of that the device is lost, which makes one state.

    Args:
        device: Whose fields the state has.
        tracker: What was known before.
        on: When, on the timetable.
        now: When, seconds of the monotonic clock.
    """
    if tracker.online is False or _intervals(device.interval_s, tracker.heard, on) < INTERVALS:
        return Folded(tracker, None, tracker.online, wants_identity=wants_identity(device, tracker))
    lost = replace(tracker, online=False, good={}, identity=replace(tracker.identity, read_at=None))
    return Folded(
        tracker=lost,
        snapshot=Snapshot(now, None, dict.fromkeys(device.fields), frozenset()),
        online=False,
        wants_identity=wants_identity(device, lost),
    )


def join_same_time(batch: Iterable[tuple[Device, Folded]]) -> list[tuple[Device, Folded]]:
    """One state where several would have one device and one time of its own.

    A radio message reaches us as a message for each of the values that it brought.
    """
    joined: list[tuple[Device, Folded]] = []
    newest: dict[DeviceKey, int] = {}
    for device, folded in batch:
        snapshot, place = folded.snapshot, newest.get(device.key)
        before = None if place is None else joined[place][1].snapshot
        if snapshot is None or place is None or before is None or not _is_same_time(before, snapshot):
            joined.append((device, folded))
            if snapshot is not None:
                newest[device.key] = len(joined) - 1
            continue
        fresh_before = before.values.keys() - before.held
        joined[place] = (
            device,
            replace(folded, snapshot=replace(snapshot, held=snapshot.held - fresh_before)),
        )
    return joined


def _is_same_time(one: Snapshot, other: Snapshot) -> bool:
    return one.time_ms is not None and one.time_ms == other.time_ms


def without_counts(device: Device, folded: Folded) -> Folded:
    """Hold back the energy counts while it is not known which offset the last run added to them.

    A replaced meter's count would be seen to fall, and everybody who takes its differences books it twice.
    """
    if folded.snapshot is None:
        return folded
    counts = {name for name, one in device.fields.items() if one.rules.kind == "energy"}
    values = {name: None if name in counts else value for name, value in folded.snapshot.values.items()}
    return replace(
        folded, snapshot=replace(folded.snapshot, values=values, held=folded.snapshot.held - counts)
    )


def wants_identity(device: Device, tracker: Tracker) -> bool:
    """Whether the serial number should be read: at start, after 'down', and when counts contradict themselves."""
    if "serial_number" not in device.profile.identity:
        return False
    disputes = [
        one.candidate.first_at for one in tracker.counts.values() if one.candidate and one.is_disputed
    ]
    return tracker.identity.is_wanted(disputes)


def _intervals(interval_s: float, since: float, on: float) -> float:
    """How many intervals lie between two times; less than a thousandth is the clock's noise."""
    return round((on - since) / interval_s, 3)
