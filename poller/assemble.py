"""Polls and reports become states: decoded, judged, put together.

`fold_poll` is for devices on a bus, `fold_report` and `fold_silence` for
sources that report by themselves. What they give back holds all that the
next call needs.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from poller.blocks import BlockRead, Poll
from poller.decimals import subtract
from poller.decode import Decoded, NoNumber, decode_block
from poller.device import Device
from poller.energy import Count, judge_count
from poller.errors import DecodeError
from poller.filters import Accepted, Memory, NoValue, Reason, Rejected, Verdict, find_impossible, judge
from poller.identity import note_serial
from poller.kept import keep, restore
from poller.states import (
    INTERVALS,
    Folded,
    Rejection,
    Snapshot,
    Tracker,
    make_state,
    new_tracker,
    note_silence,
)
from readings.reading import Value
from readings.release import RELEASED_MS

__all__ = [
    "Folded", "Rejection", "Report", "Snapshot", "Stamped", "Tracker",
    "fold_poll", "fold_report", "fold_silence", "keep", "new_tracker", "restore",
]  # fmt: skip

AHEAD_MS = 60_000
"""A source's time that is further ahead of the clock cannot be."""


@dataclass(frozen=True, slots=True)
class Stamped:
    """A value that carries the time at which it was measured, milliseconds since 1970 UTC."""

    value: Value
    time_ms: int


@dataclass(frozen=True, slots=True)
class Report:
    """What a source said by itself.

    Attributes:
        values: By field; `None` is the source's own 'no value'.
        time_ms: The time of the values that have none of their own, where the source gives it.
        is_live: It came when it was said. Otherwise nobody knows how old a value without a time is.
    """

    values: Mapping[str, Value | Stamped]
    time_ms: int | None = None
    is_live: bool = True

    def stamp(self, name: str) -> int | None:
        """When a value was measured, as the source says."""
        value = self.values[name]
        return value.time_ms if isinstance(value, Stamped) else self.time_ms

    def parts(self) -> tuple["Report", ...]:
        """One report per time, oldest first and the values without a time last: a state has one time.

        >>> report = Report({"a": Stamped(1, 20), "b": Stamped(2, 10), "c": 3})
        >>> [list(one.values) for one in report.parts()]
        [['b'], ['a'], ['c']]
        """
        times = {self.stamp(name) for name in self.values}
        if len(times) <= 1:
            return (self,)
        return tuple(
            replace(
                self, values={name: value for name, value in self.values.items() if self.stamp(name) == time}
            )
            for time in sorted(times, key=lambda one: (one is None, one or 0))
        )


@dataclass(frozen=True, slots=True)
class _Block:
    """An answer with its readings, and its fields that are impossible: with one, all are suspect."""

    read_at: float
    readings: Mapping[str, Decoded]
    impossible: Mapping[str, Reason]


def fold_poll(device: Device, tracker: Tracker, poll: Poll) -> Folded:
    """Make a state of a poll; its time is the end of the last block that is not suspect.

    A poll in which nothing was read makes none, until the device is lost: then
    one without values, once.
    """
    tracker = replace(
        tracker,
        # The first poll was due before the journal was open, and silence counts from the start.
        heard=min(tracker.heard, poll.due),
        identity=note_serial(tracker.identity, poll.identity, poll.ended),
    )
    answers, undecodable = _decode(device, poll.reads)
    blocks = _suspect(device, answers)
    if not blocks:
        folded = note_silence(device, tracker, on=poll.due, now=poll.ended)
        return replace(folded, rejections=undecodable)
    verdicts: dict[str, Verdict] = {}
    for block in blocks:
        tracker, judged = _judge(device, tracker, block)
        verdicts |= judged
    readings = {name: reading for block in blocks for name, reading in block.readings.items()}
    good = [block.read_at for block in blocks if not block.impossible]
    folded = make_state(
        device,
        tracker,
        verdicts | _derive(device, verdicts, readings),
        on=poll.due,
        taken=max(good or [block.read_at for block in blocks]),
        is_good=bool(good),
    )
    return replace(folded, rejections=undecodable + folded.rejections)


def fold_report(device: Device, tracker: Tracker, report: Report, now: float, now_ms: int | None) -> Folded:
    """Make a state of what a source said: fresh is what it brought, held all else.

    A value whose own time has not moved on was not measured again, and is held; a
    report of nothing else makes no state. The state has the newest time that
    the source gives for what is fresh; one that cannot be gives way to the
    time of arrival, and so does every one while the clock is not trusted. Of
    what did not come when it was said, that would make an old value a new one: it is passed over.

    What is older than the silence limit is stored with its time, and does not
    show that the source is there now.

    Args:
        device: The source.
        tracker: What was known before.
        report: What it said.
        now: When that arrived, seconds of the monotonic clock.
        now_ms: The wall time then, milliseconds since 1970 UTC; `None` while it is not trusted.
    """
    moved = {
        name: one.value if isinstance(one, Stamped) else one
        for name, one in report.values.items()
        if name in device.fields
        and _has_moved(report.stamp(name), tracker.stamps.get(name), now_ms, is_own=isinstance(one, Stamped))
    }
    stamps = {name: time for name in moved if (time := report.stamp(name)) is not None}
    time_ms, is_replaced = _judge_time(max(stamps.values(), default=None), now_ms)
    if moved and time_ms is None and not report.is_live:
        return replace(fold_silence(device, tracker, now), is_ageless=True)
    tracker = replace(tracker, stamps={**tracker.stamps, **stamps})
    if not moved:
        return fold_silence(device, tracker, now)
    age_s = 0.0 if time_ms is None or now_ms is None else max(now_ms - time_ms, 0) / 1000
    readings = {name: _classify(value) for name, value in moved.items()}
    heard = tracker.heard
    tracker, verdicts = _judge(device, tracker, _Block(now - age_s, readings, {}))
    folded = make_state(
        device,
        tracker,
        verdicts,
        on=now - age_s,
        taken=now,
        time_ms=time_ms,
        is_good=age_s <= INTERVALS * device.interval_s
        and any(not isinstance(one, Rejected) for one in verdicts.values()),
    )
    tracker = replace(folded.tracker, heard=max(heard, now - age_s))
    return replace(folded, tracker=tracker, time_replaced=is_replaced)


def fold_silence(device: Device, tracker: Tracker, now: float) -> Folded:
    """A source that reports by itself has said nothing: after two intervals it is lost."""
    return note_silence(device, tracker, on=now, now=now)


def _decode(
    device: Device, reads: Iterable[BlockRead]
) -> tuple[list[tuple[float, Mapping[str, Decoded]]], tuple[Rejection, ...]]:
    """What was read and when; an answer that is none counts as a rejection of its fields."""
    answers: list[tuple[float, Mapping[str, Decoded]]] = []
    undecodable: list[Rejection] = []
    for read in reads:
        try:
            decoded = decode_block(read)
        except DecodeError:
            undecodable += [
                Rejection(point.name, Reason.UNDECODABLE)
                for point in read.block.points
                if point.name in device.fields
            ]
        else:
            answers.append((read.read_at, decoded))
    return answers, tuple(undecodable)


def _suspect(device: Device, answers: Iterable[tuple[float, Mapping[str, Decoded]]]) -> list[_Block]:
    """The answers with what is the device's own of them; a witness only says whether its phase is dead."""
    rules = {name: one.rules for name, one in (*device.fields.items(), *device.witnesses.items())}
    poll = {name: reading for _, readings in answers for name, reading in readings.items()}
    blocks = []
    for at, readings in answers:
        own = {name: reading for name, reading in readings.items() if name in device.fields}
        if own:
            blocks.append(_Block(at, own, find_impossible(rules, own, poll)))
    return blocks


def _judge(device: Device, tracker: Tracker, block: _Block) -> tuple[Tracker, dict[str, Verdict]]:
    """Judge every field of a block by its own rules; nothing of a suspect block is accepted."""
    verdicts: dict[str, Verdict] = {}
    memories, counts = dict(tracker.memories), dict(tracker.counts)
    for name, reading in block.readings.items():
        rules = device.fields[name].rules
        if block.impossible:
            verdicts[name] = Rejected(block.impossible.get(name, Reason.SUSPECT_BLOCK))
            if name in memories:
                memories[name] = memories[name].interrupted()
        elif rules.kind == "energy":
            verdicts[name], counts[name] = judge_count(
                rules, counts.get(name, Count()), reading, at=block.read_at, serial=tracker.identity.serial
            )
        else:
            verdicts[name], memories[name] = judge(rules, memories.get(name, Memory()), reading)
    return replace(tracker, memories=memories, counts=counts), verdicts


def _derive(
    device: Device, verdicts: Mapping[str, Verdict], readings: Mapping[str, Decoded]
) -> dict[str, Verdict]:
    """The fields that are made of others, from what was accepted just now.

    Without a verdict a field counts as not read, and is held.
    """
    derived: dict[str, Verdict] = {}
    for name, one in device.fields.items():
        judged = [verdicts[source] for source in one.sources if source in verdicts]
        accepted = [verdict.value for verdict in judged if isinstance(verdict, Accepted)]
        if any(isinstance(verdict, NoValue) for verdict in judged):
            derived[name] = NoValue()
        elif one.difference is not None and len(accepted) == 2:
            derived[name] = Accepted(subtract(*accepted))
        elif one.raw_of is not None and accepted:
            register = readings[one.raw_of]
            if not isinstance(register, NoNumber):
                derived[name] = Accepted(register)
    return derived


def _classify(value: Value) -> Decoded:
    """A source's value in the filters' terms."""
    if value is None:
        return NoNumber.SENTINEL
    if math.isnan(value):
        return NoNumber.NOT_A_NUMBER
    return NoNumber.FULL_SCALE if math.isinf(value) else value


def _has_moved(stamp: int | None, known: int | None, now_ms: int | None, *, is_own: bool) -> bool:
    """Whether a value was measured after the one before it.

    The message's time may stand still over two of them; a value's own time is
    its identity. A broker may repeat what it delivered last: an older time is such a repetition. Of two
    times of which one cannot be, neither is older: a device that does not know the time counts from its start.
    """
    if stamp is None or known is None or (stamp == known and not is_own):
        return True
    could_be = min(stamp, known) >= RELEASED_MS and (now_ms is None or known <= now_ms + AHEAD_MS)
    return stamp > known if could_be else stamp != known


def _judge_time(time_ms: int | None, now_ms: int | None) -> tuple[int | None, bool]:
    """A source's time, or `None` for the time of arrival; and whether it could not be."""
    if time_ms is None:
        return None, False
    if time_ms < RELEASED_MS or (now_ms is not None and time_ms > now_ms + AHEAD_MS):
        return None, True
    return (None if now_ms is None else time_ms), False
