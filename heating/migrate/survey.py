"""Looks at what Prometheus holds: whose readings the original stored, and when this system's begin."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from heating.errors import CommandError
from heating.migrate.origins import METER, UNCHANGED, WHO, Family, Origin, find_old, selector
from heating.migrate.windows import BLOCK_MS, windows
from heating.report.answer import Stored
from poller.profile import load_profile
from readings.reading import Kind

HOUR_MS = 3_600_000


class Holds(Protocol):
    """A Prometheus; `heating.report.prometheus`. Times are milliseconds since 1970 UTC."""

    def stored(self, selector: str, from_ms: int, until_ms: int) -> Sequence[Stored]:
        """Every sample from one time on and before another."""

    def label_sets(self, selector: str, from_ms: int, until_ms: int) -> Sequence[Mapping[str, str]]:
        """The labels of the series that may have a sample in a span."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What the person chose.

    Attributes:
        devices: Which of several devices of a kind, by kind.
        instance: Which of several programs of the original.
        joins: Whether names that have not changed are made as well.
    """

    devices: Mapping[Kind, str]
    instance: str | None = None
    joins: bool = False


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found.

    Attributes:
        families: Whose past can be made; of each something is there.
        notes: What cannot, and why; in sentences.
    """

    families: Sequence[Family]
    notes: Sequence[str]


def survey(holds: Holds, choice: Choice, now_ms: int) -> Survey:
    """Find what of the original's can be made.

    Raises:
        CommandError: There are several devices to choose from, or not the one that was chosen.
    """
    families: list[Family] = []
    notes: list[str] = []
    for origin in (METER, *UNCHANGED) if choice.joins else (METER,):
        search = _Search(holds, choice, now_ms, origin)
        for who in search.whose():
            family = search.find(who)
            if family is None:
                notes.append(search.explain(who))
            else:
                families.append(family)
    return Survey(families, notes)


def find_first(holds: Holds, selector: str, now_ms: int) -> Stored | None:
    """The series whose sample is the first of all; its first point is that.

    Which series there are is known from the index, so halving the time costs little.
    """
    if not holds.label_sets(selector, 0, now_ms):
        return None
    low_ms, high_ms = 0, now_ms
    while high_ms - low_ms > HOUR_MS:
        middle_ms = (low_ms + high_ms) // 2
        if holds.label_sets(selector, 0, middle_ms):
            high_ms = middle_ms
        else:
            low_ms = middle_ms
    for start_ms, end_ms in windows(low_ms, now_ms + 1):
        if stored := holds.stored(selector, start_ms, end_ms):
            return min(stored, key=lambda one: one.points[0])
    return None


class _Search:
    """For the devices that the original showed under one prefix."""

    def __init__(self, holds: Holds, choice: Choice, now_ms: int, origin: Origin) -> None:
        self._holds = holds
        self._choice = choice
        self._now_ms = now_ms
        self._origin = origin
        self._rules = {name: one.rules for name, one in load_profile(origin.profile).fields.items()}

    def whose(self) -> Iterator[Mapping[str, str]]:
        """The labels that tell the original's devices apart: a sensor's; one without, of every other kind."""
        known = self._holds.label_sets(self._old({}), 0, self._now_ms)
        if self._origin.kind is not Kind.SENSOR:
            yield from [{}] if known else []
            return
        sensors = {tuple(labels.get(name, "") for name in WHO) for labels in known}
        yield from (dict(zip(WHO, one, strict=True)) for one in sorted(sensors))

    def find(self, who: Mapping[str, str]) -> Family | None:
        """A device of the original with its series here; `None` where there are none."""
        device = {} if self._origin.kind is Kind.SENSOR else self._choose()
        if device is None:
            return None
        first = find_first(self._holds, self._new(self._rules, {**who, **device}), self._now_ms)
        if first is None:
            return None
        labels = {name: value for name, value in first.labels.items() if name != "__name__"}
        until_ms = first.points[0][0]
        counts = self._first_counts(labels, until_ms)
        return Family(
            origin=self._origin,
            rules=self._rules,
            old=self._old(who),
            labels=labels,
            until_ms=until_ms,
            counts_ms={name: point[0] for name, point in counts.items()},
            counts={name: point[1] for name, point in counts.items()},
        )

    def explain(self, who: Mapping[str, str]) -> str:
        """Why there is none."""
        of = f" of {who['sensor_name']}" if who else ""
        with_labels = " with its labels" if who else ""
        return (
            f"{self._origin.old}_*{of}: nothing goes on with it here, "
            f"the bridge has written no {self._origin.new}_*{with_labels}"
        )

    def _old(self, who: Mapping[str, str]) -> str:
        return find_old(self._origin, self._rules, who, self._choice.instance)

    def _new(self, fields: Iterable[str], labels: Mapping[str, str], *also: str) -> str:
        return selector(self._origin.new, fields, labels, 'job=""', *also)

    def _choose(self) -> Mapping[str, str] | None:
        """Which device here is the original's only one."""
        new, kind = self._origin.new, self._origin.kind
        wanted = self._choice.devices.get(kind)
        here = self._holds.label_sets(self._new(self._rules, {}, 'device!=""'), 0, self._now_ms)
        names = sorted({labels["device"] for labels in here})
        if wanted is not None and wanted not in names:
            those = ", ".join(names) or "none"
            raise CommandError(f"no {new}_* has the device {wanted!r}: those found are {those}")
        if wanted is None and len(names) > 1:
            raise CommandError(f"which of {', '.join(names)} was the original's {kind}? Choose with --{kind}")
        return {"device": wanted or names[0]} if names else None

    def _first_counts(self, labels: Mapping[str, str], from_ms: int) -> dict[str, tuple[int, float]]:
        """Where each energy count begins here; it takes three readings, or a while where the meter stands still."""
        energies = [name for name, one in self._rules.items() if one.kind == "energy"]
        if not energies:
            return {}
        stored = self._holds.stored(self._new(energies, labels), from_ms, from_ms + BLOCK_MS)
        return {one.labels["__name__"].removeprefix(f"{self._origin.new}_"): one.points[0] for one in stored}
