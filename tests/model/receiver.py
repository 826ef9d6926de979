"""A receiver of samples, which looks at each request, and may answer anything."""

from collections import deque
from collections.abc import Sequence
from enum import Enum, auto
from math import isnan
from typing import TYPE_CHECKING

import snappy

from bridge.poster import PATIENCE_S
from bridge.remote_write.outcome import Outcome, Refused, RetryAfter, Sent, TooLarge
from bridge.remote_write.prometheus_pb2 import WriteRequest
from bridge.sample import Sample, Series
from bridge.sender import VERDICT_S
from tests.model.bridge_host import ModelDatabase
from tests.model.machine import BrokenPromiseError

if TYPE_CHECKING:
    from tests.model.world import World

UNFLUSHED_S = 30.0
"""What a receiver took so shortly before a power cut may be gone with it."""

SILENCE_S = VERDICT_S
"""A receiver that refuses everything takes some again only after such a silence, not amid an inquiry."""

ANSWER_S = 0.01


class Trouble(Enum):
    """What a receiver may do to one request; it has taken the samples where it says so."""

    FAILS = auto()
    HANGS_UP = auto()
    ANSWER_IS_LOST = auto()  # taken
    TURNS_AWAY = auto()
    IS_BUSY = auto()
    DIES = auto()
    DIES_AFTER = auto()  # taken


class Request:
    """One that the receiver has looked at, and what the bridge may know of its outcome."""

    def __init__(self, body: bytes, samples: Sequence[Sample], database: ModelDatabase) -> None:
        self.body = body
        self.samples = {(one.series, one.timestamp_ms) for one in samples}
        self.has_answer = self.is_too_large = False
        self._database, self._commits = database, database.commits

    @property
    def is_settled(self) -> bool:
        """Whether the bridge has written something down since."""
        return self._database.commits > self._commits


class Receiver:
    """Prometheus with an out-of-order window, and with more to say about what it gets."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.is_up = True
        self.troubles: deque[Trouble] = deque()
        self.most = 2000
        self.takes_no_repeats = False
        self.refused: set[float] = set()
        self.poison: set[float] = set()
        self.clashing: set[float] = set()
        self.refuses_until_s = self.asked_s = 0.0
        self.has_refused_all = False
        self.series: dict[Series, dict[int, float]] = {}
        self.recent: list[tuple[float, Sequence[Sample]]] = []
        self.last: Request | None = None
        self.is_known = True
        self.doubtful: set[tuple[Series, int]] = set()
        self.busy_until: tuple[object, float] = (None, 0.0)
        self.has_failed_at_samples = False
        self.failing_since_s: float | None = None

    # What the sender calls

    def post(self, body: bytes, timeout_s: float) -> Outcome:
        bridge = self.world.bridge
        bridge.stepper.breathe()
        bridge.fuse.burn()
        stepper, until_s = self.busy_until
        if stepper is bridge.stepper and self.world.now_s < until_s:
            raise BrokenPromiseError("a request came before the time that the receiver had asked for")
        self.world.now_s += ANSWER_S
        samples = decode_request(body)
        outcome = self._answer(body, samples) if samples else self._answer_probe()
        bridge.fuse.burn()
        return outcome

    def late_window(self, timeout_s: float) -> str | None:
        return None

    def newest_ms(self, timeout_s: float) -> int | None:
        return None

    def close(self) -> None:
        pass

    def _answer_probe(self) -> Outcome:
        return Sent() if self.is_up else RetryAfter("cannot reach it")

    def _answer(self, body: bytes, samples: Sequence[Sample]) -> Outcome:
        if not self.is_up:
            return RetryAfter("cannot reach it")
        trouble = self.troubles.popleft() if self.troubles else None
        if trouble in {Trouble.TURNS_AWAY, Trouble.IS_BUSY}:
            self.busy_until = (self.world.bridge.stepper, self.world.now_s + 7.0)
            is_busy = trouble is Trouble.IS_BUSY
            return RetryAfter("503" if is_busy else "429", seconds=7.0, is_failure=is_busy)
        if len(samples) > self.most:
            if self.last is not None and not self.last.is_settled:
                self.last.has_answer = False  # nobody heard it
                self.last.is_too_large |= self.last.body == body
            return TooLarge("413")
        self._look(body, samples)
        self.is_up = trouble not in {Trouble.DIES, Trouble.DIES_AFTER}
        if trouble in {Trouble.FAILS, Trouble.HANGS_UP, Trouble.DIES}:
            return self._fail()
        outcome = self._judge(samples)
        if trouble in {Trouble.ANSWER_IS_LOST, Trouble.DIES_AFTER}:
            return self._fail()
        if isinstance(outcome, Refused) and outcome.is_repeat:
            self.failing_since_s = None  # some of them are there: that says nothing of the others
        elif not isinstance(outcome, RetryAfter):
            # While it refuses everything, an answer says nothing of an earlier try.
            self.last.has_answer, self.failing_since_s = self.refuses_until_s == 0, None
        return outcome

    def _fail(self) -> Outcome:
        """Nobody knows what became of it; when that lasts, the request has to blame itself, and is split."""
        since_s = self.failing_since_s = self.failing_since_s or self.world.now_s
        if self.world.now_s - since_s >= PATIENCE_S:
            self.has_failed_at_samples = self.world.may_be_late = True
        return RetryAfter("no answer", is_open=True, is_failure=True)

    def _judge(self, samples: Sequence[Sample]) -> Outcome:
        """Take them all, or none."""
        values = {one.value for one in samples}
        if values & self.refused or self._refuses_all():
            # Others go first where nothing bears witness against it.
            self.is_known = self.world.may_be_late = True
            return Refused("400: out of bounds")
        if values & self.poison:
            self.has_failed_at_samples = self.is_known = True
            self.world.may_be_late = True
            return RetryAfter("500", is_open=True, is_failure=True)
        if values & self.clashing:
            self.is_known = True
            return Refused("400: duplicate sample for timestamp", is_repeat=True)
        is_strict = self.takes_no_repeats and not self.world.was_cut
        if is_strict and any(one.timestamp_ms in self.series.get(one.series, {}) for one in samples):
            return Refused("400: duplicate sample for timestamp", is_repeat=True)
        self._take(samples)
        return Sent()

    def refuse_all_for(self, seconds: float) -> None:
        """As Prometheus does when somebody has brought it a sample of the future."""
        self.refuses_until_s, self.has_refused_all = self.world.now_s + seconds, True

    def _refuses_all(self) -> bool:
        asked_s, self.asked_s = self.asked_s, self.world.now_s
        if self.world.now_s >= self.refuses_until_s and self.world.now_s - asked_s > SILENCE_S:
            self.refuses_until_s = 0.0
        return self.refuses_until_s > 0

    def _look(self, body: bytes, samples: Sequence[Sample]) -> None:
        """Whether this request may come after the last one, and at all."""
        database = self.world.bridge.database
        is_same = self.last is not None and self.last.body == body
        was_settled = self.last is None or self.last.is_settled
        if self.last is not None and was_settled and self.last.has_answer:
            self.doubtful -= self.last.samples
        elif self.last is not None:
            self.doubtful |= self.last.samples
        request = Request(body, samples, database)
        is_piece = self.last is not None and self.last.is_too_large and request.samples <= self.last.samples
        if not (self.is_known or was_settled or is_same or is_piece or self.has_failed_at_samples):
            raise BrokenPromiseError("a request whose outcome was unknown was followed by another one")
        self.last, self.is_known = request, False
        newest = {series: max(values) for series, values in self.series.items()}
        lanes = set()
        within: set[tuple[Series, int]] = set()
        for one in samples:
            there = self.series.get(one.series, {})
            is_repeat = one.timestamp_ms in there
            if is_repeat and not _same(there[one.timestamp_ms], one.value):
                raise BrokenPromiseError(f"{one} has another value already")
            if (one.series, one.timestamp_ms) in within:
                raise BrokenPromiseError(f"{one} stands in one request twice")
            within.add((one.series, one.timestamp_ms))
            is_doubtful = (one.series, one.timestamp_ms) in self.doubtful
            if is_repeat and not (is_same or is_doubtful or self.world.was_cut):
                raise BrokenPromiseError(f"{one} comes again for no reason")
            if one.timestamp_ms > self.world.now_ms + 60_000:
                raise BrokenPromiseError(f"{one} lies ahead of the receiver's clock")
            is_late = one.series in newest and one.timestamp_ms <= newest[one.series]
            lanes.add(is_late and not is_repeat)
            if is_late and not is_repeat and not self.world.may_be_late:
                raise BrokenPromiseError(f"{one} comes late for no reason")
            newest[one.series] = max(newest.get(one.series, 0), one.timestamp_ms)
        is_disturbed = (
            self.world.was_cut or self.has_failed_at_samples or self.refused or self.has_refused_all
        )
        if lanes == {True, False} and not is_disturbed:
            raise BrokenPromiseError("late samples share a request with others")

    def _take(self, samples: Sequence[Sample]) -> None:
        for one in samples:
            self.series.setdefault(one.series, {})[one.timestamp_ms] = one.value
        now_s = self.world.now_s
        self.recent = [(at, some) for at, some in self.recent if now_s - at < UNFLUSHED_S]
        self.recent.append((now_s, samples))

    def lose(self) -> None:
        """A power cut takes what was not on the disk yet."""
        self.world.was_cut = True
        self.last, self.is_known = None, True
        self.doubtful.clear()
        for at, samples in self.recent:
            if self.world.now_s - at < UNFLUSHED_S:
                for one in samples:
                    self.series.get(one.series, {}).pop(one.timestamp_ms, None)
        self.series = {series: values for series, values in self.series.items() if values}
        self.recent.clear()


def decode_request(body: bytes) -> list[Sample]:
    """The samples of a request, in the order of their times, as a receiver looks at them one by one."""
    request = WriteRequest.FromString(snappy.uncompress(body))
    return [
        Sample(series, sample.value, sample.timestamp)
        for one in request.timeseries
        for series in [Series("", tuple((label.name, label.value) for label in one.labels))]
        for sample in one.samples
    ]


def _same(one: float, other: float) -> bool:
    return one == other or (isnan(one) and isnan(other))
