"""A request that fails for ever at a receiver that takes others; time passes only while somebody waits or posts."""

from collections.abc import Callable, Iterator

import pytest

from bridge.database import Database
from bridge.outbox import MOST_ASIDE, Outbox
from bridge.remote_write.outcome import Misconfigured, Outcome, Refused, RetryAfter, Sent, TooLarge
from bridge.sender import ASIDE_EVERY_S, MOST_DOUBTS, Sender
from bridge.store import Store
from readings.health import BRIDGE_HEALTH, Tally
from tests.bridge.receiver import samples_of
from tests.bridge.states import NOON_MS, ready, state

ANSWER_S = 0.02
FAILED = RetryAfter("500: too old sample", is_open=True, is_failure=True)
REFUSED = Refused("400: out of bounds")
FAILED_OR_REFUSED = pytest.mark.parametrize("answer", [FAILED, REFUSED], ids=["fails", "refuses"])


class World:
    """A sender, its store, a receiver, and what happens at which second."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.store = Store(database)
        self.now_s = 0.0
        self.events: dict[float, Callable[[], None]] = {}
        self.guilty: Callable[[int], bool] = lambda _seconds: False
        self.answer: Outcome = FAILED
        self.is_full = False
        self.kept: dict[int, float] = {}
        self.bodies: list[bytes] = []
        self.window: str | None = None
        self.newest: Callable[[], int | None] = lambda: None
        self.started_ms = NOON_MS + 3_000_000
        self.tally = Tally(BRIDGE_HEALTH)
        self.sender = self.new_sender()

    def new_sender(self) -> Sender:
        return Sender(
            Outbox(self.database, boot="1"),
            self,
            labels={},
            tally=self.tally,
            wall_ms=lambda: self.started_ms + int(self.now_s * 1000),
            monotonic=lambda: self.now_s,
            jitter=lambda: 0.0,
            wait=lambda event, seconds: self.pass_time(seconds) or event.is_set(),
        )

    def pass_time(self, seconds: float) -> bool:
        self.now_s += seconds
        for at in sorted(one for one in self.events if one <= self.now_s):
            self.events.pop(at)()
        return self.sender._stopping.is_set()

    def run(self, seconds: float) -> None:
        self.events[self.now_s + seconds] = self.sender.stop
        self.sender.run()
        self.sender = self.new_sender()

    def take(self, seq: int) -> None:
        self.store.commit([state(seq)], NOON_MS)

    def post(self, body: bytes, timeout_s: float) -> Outcome:
        self.pass_time(ANSWER_S)
        times = [(time - NOON_MS) // 1000 for _, time in samples_of(body)]
        if times:
            self.bodies.append(body)
        if times and (self.is_full or any(self.guilty(one) for one in times)):
            return self.answer
        for one in times:
            self.kept.setdefault(one, self.now_s)
        return Sent()

    def late_window(self, timeout_s: float) -> str | None:
        return self.window

    def newest_ms(self, timeout_s: float) -> int | None:
        return self.newest()

    def close(self) -> None:
        pass

    def quarantined(self) -> list[int]:
        with self.database.transaction() as sql:
            return [seq for (seq,) in sql.execute("SELECT seq FROM quarantine ORDER BY seq")]


@pytest.fixture
def world(tmp_path) -> Iterator[World]:
    database = Database(tmp_path / "store.sqlite")
    yield World(database)
    database.close()


@FAILED_OR_REFUSED
@pytest.mark.parametrize("guilty", [[777], [1], [2000], [1, 2, 3, 4, 5], [3, 900, 901, 1999]])
def test_the_guilty_are_found_and_newer_data_flows_within_5_minutes(world, guilty, answer):
    world.answer = answer
    world.guilty = lambda seconds: seconds in guilty
    world.store.commit(ready(2000), NOON_MS)
    world.events[10] = lambda: world.take(2001)
    world.run(400)
    assert sorted(world.quarantined()) == guilty
    assert sorted(world.kept) == [seq for seq in range(1, 2002) if seq not in guilty]
    assert world.kept[2001] < 300
    assert world.tally.value("bridge_samples_refused_total", reason="refused") == len(guilty)


@pytest.mark.parametrize("guilty", [[1], [1, 2], [3, 4, 1000], list(range(1, 21))])
def test_who_is_refused_before_anything_passed_is_neither_sent_again_nor_in_the_way_of_others(world, guilty):
    """And the others keep their order: a receiver without an out-of-order window takes no other one."""
    world.answer, world.window = REFUSED, ""
    world.started_ms = NOON_MS + 1_100_000
    world.guilty = lambda seconds: seconds in guilty
    world.store.commit(ready(1000), NOON_MS)
    world.events[50] = lambda: world.take(1001)
    world.run(40)
    if len(guilty) < MOST_DOUBTS:
        assert len(world.bodies) == len(set(world.bodies))
        assert sorted(world.quarantined()) == guilty
        assert list(world.kept) == [seq for seq in range(1, 1001) if seq not in guilty]
    world.run(100)
    assert sorted(world.quarantined()) == guilty
    assert len(world.kept) == 1001 - len(guilty)


def test_an_address_that_refuses_whatever_it_is_sent_is_a_fault_of_the_configuration(world, caplog):
    """As a port that wants TLS: nothing is condemned, it is said once, and tried as seldom as a wrong password."""
    taken, bodies = world.post, []

    def wrong(body: bytes, timeout_s: float) -> Outcome:
        world.pass_time(ANSWER_S)
        bodies.append(body)
        return Refused("400: Client sent an HTTP request to an HTTPS server.")

    world.post = wrong
    world.store.commit(ready(2000), NOON_MS)
    for seq in range(2001, 2101):
        world.events[9.5 * (seq - 2000)] = lambda seq=seq: world.take(seq)
    world.run(1000)
    assert len(set(bodies)) == 2, "the request as it was, and the empty one"
    assert len(bodies) < 2 * 1000 / 30 + 4
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == [
        "receiver: 400: Client sent an HTTP request to an HTTPS server."
        " (it says so to an empty request too: is the address right?)"
    ]
    assert world.quarantined() == []
    world.post = taken
    world.run(100)
    assert sorted(world.kept) == list(range(1, 2101))
    assert world.quarantined() == []


@pytest.mark.parametrize("window", ["", "14d", None])
def test_a_prometheus_that_was_brought_a_sample_of_the_future_gets_everything_when_that_has_come(
    world, window
):
    """It refuses all others until then, and takes empty requests."""
    world.window = window
    world.answer, world.is_full = REFUSED, True
    world.newest = lambda: world.started_ms + 7_200_000
    world.started_ms = NOON_MS + 2_100_000
    world.store.commit(ready(2000), NOON_MS)
    for number in range(1, 50):
        seq = 2000 + number
        later = state(seq, time_ms=NOON_MS + 2_000_000 + 10_000 * number)
        world.events[10.0 * number] = lambda later=later: world.store.commit([later], NOON_MS)

    def come() -> None:
        world.is_full = False

    world.events[900] = come
    world.run(1300)
    assert world.quarantined() == []
    assert len(world.kept) == 2049
    assert len(world.bodies) < 3000


@FAILED_OR_REFUSED
@pytest.mark.parametrize("count", [1, 5, 2000])
def test_where_all_of_a_batch_is_guilty_others_go_first_and_bear_witness(world, count, answer):
    """Nothing of it passes, so only what comes after can tell whether the receiver works at all."""
    world.answer = answer
    world.guilty = lambda seconds: seconds <= count
    world.store.commit(ready(count), NOON_MS)
    for seq in range(count + 1, count + 21):
        world.events[10 + 40 * (seq - count)] = lambda seq=seq: world.take(seq)
    world.run(1200)
    assert world.kept[count + 1] < 300
    assert sorted(world.kept) == list(range(count + 1, count + 21))
    assert sorted(world.quarantined()) == list(range(1, count + 1))


@FAILED_OR_REFUSED
def test_a_receiver_whose_disk_is_full_takes_empty_requests_and_nothing_is_condemned(world, answer):
    """For hours every request with samples fails; all of them arrive when there is room again."""
    world.answer, world.is_full = answer, True
    world.store.commit(ready(300), NOON_MS)
    for seq in range(301, 601):
        world.events[30.0 * (seq - 300)] = lambda seq=seq: world.take(seq)
    room_s = 9_500

    def make_room() -> None:
        world.is_full = False

    world.events[room_s] = make_room
    world.run(room_s + 200)
    assert world.quarantined() == []
    assert sorted(world.kept) == list(range(1, 601))
    assert max(world.kept.values()) < room_s + 100
    assert len(world.bodies) < room_s / 5, "it is not hammered meanwhile"


@pytest.mark.parametrize(("window", "most"), [("", MOST_ASIDE), (None, MOST_ASIDE + 10_000 / ASIDE_EVERY_S)])
def test_batches_that_step_aside_are_few(world, window, most):
    """Their states may not be dropped; and without a window they come too late."""
    world.is_full, world.window = True, window
    world.store.commit(ready(50), NOON_MS)
    for seq in range(51, 151):
        world.events[100.0 * (seq - 50)] = lambda seq=seq: world.take(seq)
    world.run(10_000)
    with world.database.transaction() as sql:
        (aside,) = sql.execute("SELECT count(*) FROM batch WHERE aside").fetchone()
    assert MOST_ASIDE <= aside <= most
    assert len(world.bodies) < 2_000, "it is not hammered"


@pytest.mark.parametrize("guilty", [100, 3000])
def test_however_many_are_guilty_newer_data_flows_within_5_minutes(world, guilty):
    """A Prometheus whose window nobody may see fails at all that is too old for it; its requests are small here."""
    taken = world.post
    world.post = lambda body, timeout_s: (
        TooLarge("413") if len(samples_of(body)) > 50 else taken(body, timeout_s)
    )
    world.store.commit(ready(20), NOON_MS)
    world.run(100)
    world.guilty = lambda seconds: 20 < seconds <= guilty
    world.store.commit([state(seq) for seq in range(21, guilty + 1)], NOON_MS)
    for number in range(1, 100):
        world.events[100 + 10.0 * number] = lambda seq=guilty + number: world.take(seq)
    world.run(1500)
    late_s = [world.kept[guilty + number] - 100 - 10.0 * number for number in range(1, 100)]
    assert max(late_s) < 300
    found = set(world.quarantined())
    assert found <= set(range(21, guilty + 1))
    assert len(found) > min(guilty, 2000) - 21, "and the guilty are found meanwhile"


def test_nobody_asks_before_the_time_that_the_receiver_wants(world):
    """Neither with a request that is suspected, nor with its halves, nor whether empty ones pass."""
    early: list[float] = []
    busy_until_s, answers = 0.0, 0

    def busy(body: bytes, timeout_s: float) -> Outcome:
        nonlocal busy_until_s, answers
        if world.now_s < busy_until_s:
            early.append(world.now_s)
        world.pass_time(ANSWER_S)
        if not samples_of(body):
            return Sent()
        busy_until_s, answers = world.now_s + 120, answers + 1
        return RetryAfter("503", seconds=120.0, is_failure=True)

    world.post = busy
    world.store.commit(ready(2000), NOON_MS)
    world.run(3000)
    assert answers > 20
    assert early == []


def test_a_wrong_password_is_tried_every_30_s_also_for_what_is_in_quarantine(world):
    taken = world.post
    world.post = lambda body, timeout_s: (
        Refused("400: no") if NOON_MS + 2000 in {at for _, at in samples_of(body)} else taken(body, timeout_s)
    )
    world.store.commit(ready(3), NOON_MS)
    world.run(10)
    assert world.quarantined() == [2]
    tries: list[float] = []

    def closed(body: bytes, timeout_s: float) -> Outcome:
        tries.append(world.now_s)
        return Misconfigured("401")

    world.post = closed
    Outbox(world.database, boot="1").quarantine.resend(None)
    world.run(300)
    assert 9 <= len(tries) <= 11
    world.post = taken
    world.run(40)
    assert world.quarantined() == []


def test_what_became_too_old_while_the_receiver_was_away_does_not_go_out(world):
    """Its batch was under way when the receiver went."""
    out: list[int] = []

    def away(body: bytes, timeout_s: float) -> Outcome:
        world.pass_time(ANSWER_S)
        if world.now_s < 10_000:
            return RetryAfter("cannot reach it")
        out.extend((time - NOON_MS) // 1000 for _, time in samples_of(body))
        return Sent()

    world.post = away
    world.newest = lambda: world.started_ms + int(world.now_s * 1000)
    world.started_ms = NOON_MS + 101_000
    world.store.commit(ready(100), NOON_MS)
    later = state(101, time_ms=NOON_MS + 9_000_000)
    world.events[9_000] = lambda: world.store.commit([later], NOON_MS)
    world.events[9_990] = lambda: setattr(world, "window", "30m")
    world.run(10_500)
    assert out == [9_000]
    assert world.tally.value("bridge_samples_refused_total", reason="too_old") == 100


def test_what_may_be_there_is_no_guilt_where_a_part_of_it_became_too_old(world):
    """The bridge died before the answer; its receiver takes nothing late, and nothing that it has."""

    def strict(body: bytes, timeout_s: float) -> Outcome:
        world.pass_time(ANSWER_S)
        times = [(time - NOON_MS) // 1000 for _, time in samples_of(body)]
        if times and world.kept and times[0] <= max(world.kept):
            return Refused("400: out of order sample", is_repeat=True)
        if not world.kept:
            world.sender.stop()
        for one in times:
            world.kept[one] = world.now_s
        return RetryAfter("no answer", is_open=True) if world.sender._stopping.is_set() else Sent()

    world.post, world.window = strict, ""
    world.started_ms = NOON_MS + 101_000
    world.newest = lambda: world.started_ms
    world.store.commit(ready(100), NOON_MS)
    world.run(10)
    world.started_ms = NOON_MS + 3_600_000 + 51_000
    world.run(10)
    assert world.quarantined() == []
    assert all(one.waiting == 0 for one in world.store.backlog().values())
    assert world.tally.value("bridge_samples_sent_total") == 50
    too_old = world.tally.value("bridge_samples_refused_total", reason="too_old")
    assert too_old == 50, "what may have come and can be asked for no more counts as what may be missing"


def test_what_stepped_aside_is_not_forgotten_by_a_restart(world):
    world.is_full = True
    world.store.commit(ready(20), NOON_MS)
    world.events[100] = lambda: world.take(21)
    world.run(110)
    world.is_full = False
    world.run(100)
    assert sorted(world.kept) == list(range(1, 22))
    assert world.quarantined() == []


def test_a_receiver_that_is_away_is_not_a_request_that_fails(world):
    """Empty requests fail as well: nothing is split, the request stays as it is."""
    taken = world.post

    def away(body: bytes, timeout_s: float) -> Outcome:
        answer = taken(body, timeout_s)
        return FAILED if world.now_s < 3600 else answer

    world.post = away
    world.store.commit(ready(100), NOON_MS)
    world.run(3700)
    assert len(set(world.bodies)) == 1
    assert sorted(world.kept) == list(range(1, 101))


def test_too_large_requests_are_halved_and_the_size_is_remembered(world):
    taken = world.post
    sizes = []

    def small(body: bytes, timeout_s: float) -> Outcome:
        if samples := samples_of(body):
            sizes.append(len(samples))
        return TooLarge("413") if len(samples) > 300 else taken(body, timeout_s)

    world.post = small
    world.store.commit(ready(3000), NOON_MS)
    world.run(10)
    assert sizes[:4] == [2000, 1000, 500, 250]
    assert max(sizes[4:]) == 250
    assert sorted(world.kept) == list(range(1, 3001))
    assert world.quarantined() == []


@pytest.mark.parametrize("answer", [FAILED, TooLarge("413")], ids=["fails", "too large"])
@pytest.mark.parametrize("is_stopped", [False, True])
def test_what_was_taken_and_then_split_is_no_guilt_where_it_is_there_already(world, answer, is_stopped):
    """Its first answer was lost, and for two minutes it fails at all that is large; it has no out-of-order window."""
    taken = world.post

    def strict(body: bytes, timeout_s: float) -> Outcome:
        times = [(time - NOON_MS) // 1000 for _, time in samples_of(body)]
        if not world.kept:
            taken(body, timeout_s)
            return FAILED if times else Sent()
        if len(times) > 7 and world.now_s < 120:
            world.pass_time(ANSWER_S)
            return answer
        if times and times[0] <= max(world.kept):
            world.pass_time(ANSWER_S)
            if is_stopped and times == [1]:
                world.sender.stop()
            return Refused("400: out of order sample", is_repeat=True)
        return taken(body, timeout_s)

    world.post = strict
    world.store.commit(ready(50), NOON_MS)
    world.events[10] = lambda: world.take(51)
    for _ in range(1 + is_stopped):
        world.run(300)
    assert world.quarantined() == []
    assert sorted(world.kept) == list(range(1, 52))
    assert all(one.waiting == 0 for one in world.store.backlog().values())


def test_what_was_refused_and_split_is_guilty_where_it_is_late(world):
    """What is known to be refused is not there, whatever its halves are told."""
    answers = iter([FAILED, REFUSED])

    def strict(body: bytes, timeout_s: float) -> Outcome:
        world.pass_time(ANSWER_S)
        if all(time > NOON_MS + 4000 for _, time in samples_of(body)):
            return Sent()
        return next(answers, Refused("400: out of order sample", is_repeat=True))

    world.post = strict
    world.store.commit(ready(4), NOON_MS)
    world.events[10] = lambda: world.take(5)
    world.run(30)
    assert world.quarantined() == [1, 2, 3, 4]


def test_after_an_hour_a_receiver_is_asked_again_how_large_a_request_may_be(world):
    taken, sizes = world.post, []

    def small(body: bytes, timeout_s: float) -> Outcome:
        if samples := samples_of(body):
            sizes.append((round(world.now_s, -2), len(samples)))
        allowed = 300 if world.now_s < 50 else 2000
        return TooLarge("413") if len(samples) > allowed else taken(body, timeout_s)

    world.post = small
    world.store.commit(ready(1000), NOON_MS)
    for at, first, last in ((3000, 1001, 1501), (4000, 1501, 2501)):
        states = [state(seq) for seq in range(first, last)]
        world.events[at] = lambda states=states: world.store.commit(states, NOON_MS)
    world.run(4100)
    assert [size for at, size in sizes if at == 0] == [1000, 500, *[250] * 4]
    assert [size for at, size in sizes if at == 3000] == [250, 250]
    assert [size for at, size in sizes if at == 4000] == [1000]
    assert sorted(world.kept) == list(range(1, 2501))


def test_one_sample_that_is_too_large_alone_goes_to_quarantine(world):
    taken = world.post
    world.post = lambda body, timeout_s: (
        TooLarge("413")
        if samples_of(body) and NOON_MS + 2000 in {time for _, time in samples_of(body)}
        else taken(body, timeout_s)
    )
    world.store.commit(ready(3), NOON_MS)
    world.run(10)
    assert world.quarantined() == [2]
    assert sorted(world.kept) == [1, 3]
