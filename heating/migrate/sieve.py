"""What the original stored, judged as the poller would have judged it."""

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from heating.migrate.counts import Past, Run, Stretch, add_reading, put_together
from poller.decode import Decoded, NoNumber
from poller.filters import Accepted, Memory, NoValue, Reason, Rejected, check, judge
from poller.points import Rules

Points = Sequence[tuple[int, float]]
"""Milliseconds since 1970 UTC, and the value."""

UNREAD = "unread"
"""A 0 that the original showed before it had read its device for the first time."""


class Sieve:
    """The filters of a device's fields, fed with its past from the beginning, window by window.

    The first time its energy counts are only looked at; the second time it is told what became of them.
    """

    def __init__(self, rules: Mapping[str, Rules], pasts: Mapping[str, Past] | None = None) -> None:
        self._rules = rules
        self._pasts = pasts
        self._memories: dict[str, Memory] = {}
        self._published: dict[str, float] = {}
        self._runs: dict[str, list[Run]] = {}
        self.seen = 0
        self.made = 0
        self.refused: Counter[str] = Counter()

    def sift(self, window: Mapping[str, Points]) -> dict[str, list[tuple[int, float]]]:
        """What is believed of a window, by field."""
        unread = find_unread(self._rules, window)
        passed: dict[str, list[tuple[int, float]]] = {}
        for name, points in window.items():
            self.seen += len(points)
            rules = self._rules[name]
            read = list(self._read(points, unread)) if unread else points
            if rules.kind != "energy":
                passed[name] = list(self._judge(name, rules, read))
            elif self._pasts is None:
                self._look(name, rules, read)
            else:
                past = self._pasts.get(name)
                passed[name] = [] if past is None else list(self._count(name, rules, past.stretches, read))
        self.made += sum(map(len, passed.values()))
        return {name: points for name, points in passed.items() if points}

    def put_together(self, then: Mapping[str, tuple[int, float]]) -> dict[str, Past]:
        """What becomes of the energy counts, now that all of them were looked at.

        Args:
            then: This system's first count of each.
        """
        pasts = {
            name: put_together(self._rules[name], runs, then.get(name)) for name, runs in self._runs.items()
        }
        for past in pasts.values():
            self.made += past.made
            self.refused.update({reason.value: count for reason, count in past.refused.items()})
        return pasts

    def _read(self, points: Points, unread: frozenset[int]) -> Iterator[tuple[int, float]]:
        for point in points:
            if point[1] == 0 and point[0] in unread:
                self.refused[UNREAD] += 1
            else:
                yield point

    def _judge(self, name: str, rules: Rules, points: Points) -> Iterator[tuple[int, float]]:
        memory = self._memories.get(name, Memory())
        for time_ms, value in points:
            verdict, memory = judge(rules, memory, _classify(value))
            if isinstance(verdict, Accepted):
                yield time_ms, value
            elif not isinstance(verdict, NoValue):
                self.refused[verdict.reason.value] += 1
        self._memories[name] = memory

    def _look(self, name: str, rules: Rules, points: Points) -> None:
        runs = self._runs.setdefault(name, [])
        for time_ms, value in points:
            reason = _refuse(rules, value)
            if reason is None:
                add_reading(runs, rules, time_ms, value)
            else:
                self.refused[reason.value] += 1

    def _count(
        self, name: str, rules: Rules, stretches: Sequence[Stretch], points: Points
    ) -> Iterator[tuple[int, float]]:
        """A count never falls, whatever the rounding."""
        starts = [one.first_ms for one in stretches]
        published = self._published.get(name, -math.inf)
        for time_ms, value in points:
            place = bisect_right(starts, time_ms) - 1
            if place < 0 or time_ms > stretches[place].last_ms or _refuse(rules, value) is not None:
                continue
            shift = stretches[place].shift_kwh
            published = max(published, value if shift == 0 else round(value + shift, 6))
            yield time_ms, published
        self._published[name] = published


def find_unread(rules: Mapping[str, Rules], window: Mapping[str, Points]) -> frozenset[int]:
    """When the original had just started: a field showed 0 that cannot be 0.

    A frequency, for instance. At such a time every 0 says that nothing was read yet.

    >>> rules = {"frequency_hz": Rules("measurement", range=(45, 65)), "power_factor": Rules("measurement")}
    >>> find_unread(rules, {"frequency_hz": [(1, 0.0), (2, 50.0)], "power_factor": [(1, 0.0), (2, 0.0)]})
    frozenset({1})
    """
    return frozenset(
        time_ms
        for name, points in window.items()
        if (bounds := rules[name].range) is not None and not bounds[0] <= 0 <= bounds[1]
        for time_ms, value in points
        if value == 0
    )


def _refuse(rules: Rules, value: float) -> Reason | None:
    """Why a reading of an energy count says nothing."""
    checked = check(rules, _classify(value))
    if isinstance(checked, Rejected):
        return checked.reason
    return Reason.ZERO if checked == 0 else None


def _classify(value: float) -> Decoded:
    if math.isnan(value):
        return NoNumber.NOT_A_NUMBER
    return NoNumber.FULL_SCALE if math.isinf(value) else value
