"""From messages to the store: what is acknowledged when, what is shown, what is counted."""

import itertools
import threading
import time
from unittest.mock import Mock

import pytest

from bridge.errors import StoreError
from bridge.inbox import Inbox
from bridge.outbox import Outbox
from bridge.pruning import Pruned, Pruning
from bridge.store import Store
from bridge.subscribe import (
    LONGEST_S,
    MANY,
    MOST_IN_GROUP,
    PRUNE_EVERY_STATES,
    PRUNE_STEPS,
    Audience,
    Subscriber,
    is_due,
    subscriptions,
)
from readings.broker import Delivery
from readings.health import BRIDGE_HEALTH, Health, Tally, encode_health
from readings.payload import encode_info, encode_journal, encode_state
from readings.topics import Program, Topics
from tests.bridge.states import METER, NOON_MS, PUMP, journal, make_info, state
from tests.conftest import wait_until

TOPICS = Topics("heating")
_packets = itertools.count(1)


def delivery(topic: str, payload: bytes, *, retained: bool = False) -> Delivery:
    return Delivery(f"heating/{topic}", payload, retained, connection=1, packet=next(_packets), qos=1)


class Run:
    """A subscriber at work, with everything around it to look at."""

    def __init__(self, store: Store | None, pruning: Pruning | None = None) -> None:
        self.inbox = Inbox()
        self.audience = Mock(spec=Audience)
        self.acknowledged: list[Delivery] = []
        self.wakes = 0
        self.tally = Tally(BRIDGE_HEALTH)
        self.subscriber = Subscriber(
            self.inbox,
            store,
            pruning,
            topics=TOPICS,
            audience=self.audience,
            acknowledge=self.acknowledged.append,
            on_stored=self._woken,
            tally=self.tally,
            wall_ms=lambda: NOON_MS,
            monotonic=lambda: 0.0 if not self.inbox._waiting else 1e9,
        )

    def _woken(self) -> None:
        self.wakes += 1

    def take(self, *deliveries: Delivery) -> None:
        """Let it take these messages as one group."""
        group = [(one, self.subscriber._receive(one)) for one in deliveries]
        self.subscriber._commit(group)


class FullStore(Store):
    """A store whose disk is full for a while."""

    is_full = True

    def commit(self, *arguments):
        if self.is_full:
            raise StoreError("disk full")
        return super().commit(*arguments)


@pytest.fixture
def run(store):
    return Run(store)


def test_it_listens_to_every_device_and_to_pollers_with_qos_1():
    listed = subscriptions(TOPICS)
    assert ("heating/meter/+/state", 1) in listed
    assert ("heating/thermostat/+/history", 1) in listed
    assert ("heating/poller/+/health", 1) in listed
    assert len(listed) == 4 * 5 + 2
    assert not any("replay" in topic or "bridge" in topic for topic, _ in listed)


STATE = encode_state(state(1).state)
HEALTH = Health(name="poller", version="1", metrics={})


@pytest.mark.parametrize(
    ("message", "kind", "shown"),
    [
        (delivery("meter/wp/state", STATE), "state", "offer"),
        (delivery("meter/wp/history", STATE), "history", None),
        (delivery("meter/wp/info", encode_info(make_info())), "info", "announce"),
        (delivery("meter/wp/info", encode_info(make_info(contract=2))), "info", "announce"),
        (delivery("meter/wp/info", b""), "info", "withdraw"),
        (delivery("meter/wp/journal", encode_journal(journal(("a", 1, 1)).ranges)), "journal", None),
        (delivery("meter/wp/availability", b"online"), "availability", "availability"),
        (delivery("poller/poller/availability", b"offline"), "availability", "poller_gone"),
        (delivery("poller/poller/availability", b"online"), "availability", "poller_back"),
        (delivery("poller/poller/health", encode_health(HEALTH)), "health", "health"),
        (delivery("meter/wp/state", b""), "other", None),
        (delivery("meter/wp/state", b"\xff"), "refused", None),
        (delivery("meter/wp/unknown", b"1"), "refused", None),
        (delivery("meter/UPPER/state", STATE), "refused", None),
        (delivery("poller/poller/availability", b"perhaps"), "refused", None),
    ],
)  # fmt: skip
def test_every_message_is_acknowledged_counted_and_shown_where_it_is_news(run, message, kind, shown):
    run.take(message)
    assert run.acknowledged == [message]
    assert run.tally.value("bridge_messages_received_total", message=kind) == 1
    assert [name for name, _, _ in run.audience.method_calls] == ([shown] if shown else [])


def test_the_audience_hears_what_came(run):
    run.take(
        delivery("meter/wp/state", STATE, retained=True),
        delivery("poller/poller/health", encode_health(HEALTH)),
    )
    run.audience.offer.assert_called_once_with(METER, state(1).state, retained=True, now_ms=NOON_MS, now=0.0)
    run.audience.health.assert_called_once_with(Program.POLLER, "poller", HEALTH)


def test_the_audience_hears_of_a_later_contract_and_of_an_announcement_that_is_taken_back(run):
    run.take(delivery("meter/wp/info", encode_info(make_info(contract=2))), delivery("meter/wp/info", b""))
    (_, later), _ = run.audience.announce.call_args
    assert (later.contract, later.fields) == (2, {})
    run.audience.withdraw.assert_called_once_with(METER)


def test_a_group_is_acknowledged_after_it_was_stored(run, store):
    seen = []
    run.subscriber._acknowledge = lambda _: seen.append(store.backlog()[METER].waiting)
    run.take(*(delivery("meter/wp/state", encode_state(state(seq).state)) for seq in (1, 2, 2, 3)))
    assert seen == [3, 3, 3, 3]
    assert run.wakes == 1
    assert run.tally.value("bridge_states_stored_total", device="wp") == 3
    assert run.tally.value("bridge_states_repeated_total", device="wp") == 1


def test_when_the_disk_refuses_it_goes_on_receiving_and_acknowledging(database, caplog):
    store = FullStore(database)
    run = Run(store)
    message = delivery("meter/wp/state", STATE)
    run.take(message)
    run.take(message)
    assert run.acknowledged == [message, message]
    assert run.subscriber.store_trouble == "disk full"
    assert run.tally.value("bridge_store_failures_total") == 2
    assert len(caplog.records) == 1
    store.is_full = False
    run.take(message)
    assert run.subscriber.store_trouble == ""
    assert run.tally.value("bridge_states_stored_total", device="wp") == 1, "it was not had"


def test_when_the_store_breaks_under_a_group_the_next_ones_are_sent_all_the_same(database, store):
    run = Run(store)
    run.take(
        delivery("meter/wp/info", encode_info(make_info())),
        delivery("meter/wp/journal", encode_journal(journal(("a", 1, 9)).ranges), retained=True),
        *(delivery("meter/wp/state", encode_state(state(seq).state)) for seq in (1, 2)),
    )
    with database.transaction() as sql:
        sql.execute("UPDATE stream SET name = CAST(x'ff77' AS TEXT)")
    pump = make_info(device=PUMP)
    run.take(
        delivery("meter/wp/journal", encode_journal(journal(("a", 3, 9)).ranges)),
        delivery("heatpump/lg/info", encode_info(pump)),
    )
    assert "UTF-8" in run.subscriber.store_trouble
    came = state(1, device=PUMP).state
    run.take(
        delivery("heatpump/lg/state", encode_state(came)),
        delivery("heatpump/lg/journal", encode_journal(journal(("a", 1, 1)).ranges)),
        delivery("meter/wp/state", encode_state(state(3).state)),
    )
    assert run.subscriber.store_trouble == ""
    batch = Outbox(database, boot="1").begin(NOON_MS + 60_000, 0.0)
    assert [(row.device, row.id.seq) for row in batch.rows] == [(PUMP, 1), (METER, 3)]


def test_a_state_that_is_none_is_counted_logged_once_and_not_wanted(run, store, caplog):
    broken = [
        delivery("meter/wp/state", b'{"stream":"a","seq":%d,"time":"yesterday"}' % seq) for seq in (1, 2, 3)
    ]
    run.take(*broken)
    assert run.acknowledged == broken
    assert run.tally.value("bridge_messages_refused_total", reason="state") == 3
    assert len(caplog.records) == 1
    assert store.backlog()[METER].missing == 0


def test_without_a_store_everything_is_shown_and_acknowledged():
    run = Run(None)
    message = delivery("meter/wp/state", STATE)
    run.take(message)
    assert run.acknowledged == [message]
    run.audience.offer.assert_called_once()
    assert run.wakes == 0


def test_it_collects_a_burst_into_one_group(store):
    run = Run(store)
    for seq in range(1, 101):
        run.inbox.put(delivery("meter/wp/state", encode_state(state(seq).state)))
    run.subscriber._monotonic = itertools.count(step=0.001).__next__
    thread = threading.Thread(target=run.subscriber.run)
    thread.start()
    wait_until(lambda: len(run.acknowledged) == 100)
    run.inbox.close()
    thread.join(5)
    assert not thread.is_alive()
    assert run.wakes <= 2


class SlowStore(Store):
    """A store that waits before each commit."""

    def wait(self) -> None: ...

    def commit(self, *arguments):
        self.wait()
        return super().commit(*arguments)


@pytest.mark.parametrize(("size", "most"), [(1, 5000), (100_000, 80), (5_000_000, 1)])
def test_what_came_and_is_not_committed_is_bounded_wherever_it_is_and_the_reading_goes_on(
    database, size, most
):
    """Inbox and group together: a message that leaves one for the other needs its room all the same."""
    store = SlowStore(database)
    run = Run(store)
    run.subscriber._monotonic = time.monotonic
    came, uncommitted = [], []
    message = delivery("meter/wp/unknown", b"x" * size)

    def receive() -> None:
        for _ in range(most + 2):
            run.inbox.put(message)
            came.append(message)

    def wait() -> None:
        if not uncommitted:
            wait_until(lambda: len(came) >= most)
            reader.join(0.05)
            uncommitted.append(len(came))

    store.wait = wait
    reader, worker = (threading.Thread(target=one, daemon=True) for one in (receive, run.subscriber.run))
    reader.start()
    worker.start()
    wait_until(lambda: len(run.acknowledged) == most + 2)
    run.inbox.close()
    worker.join(5)
    assert not worker.is_alive()
    assert uncommitted == [most]


@pytest.mark.parametrize(
    ("messages", "age_s", "quiet_s", "since_commit_s", "due"),
    [
        (1, 0.03, 0.03, 60, True),  # a lone state, after a pause: at once
        (1, 0.03, 0.03, 0.1, False),  # a trickle is collected
        (5, 0.5, 0.03, 0.5, True),
        (MANY, 0.03, 0.03, 0.1, True),  # a burst that ended: the broker may be waiting for us
        (MANY, 0.03, 0.001, 0.1, False),
        (2, LONGEST_S, 0.001, 0.1, True),
        (MOST_IN_GROUP, 0.1, 0.0, 0.1, True),
    ],
)
def test_a_group_is_committed(messages, age_s, quiet_s, since_commit_s, due):
    assert is_due(messages, age_s=age_s, quiet_s=quiet_s, since_commit_s=since_commit_s) is due


class TestInbox:
    def test_messages_leave_in_the_order_in_which_they_came(self):
        inbox = Inbox()
        came = [delivery("meter/wp/state", b"%d" % number) for number in range(5)]
        for one in came:
            inbox.put(one)
        assert [inbox.take(0) for _ in range(6)] == [*came, None]

    @pytest.mark.parametrize(("messages", "size"), [(2, 1000), (1000, 20)])
    def test_reading_stops_while_it_is_full(self, messages, size):
        inbox = Inbox(messages, size)
        came = [delivery("meter/wp/state", b"0123456789") for _ in range(3)]
        reader = threading.Thread(target=lambda: [inbox.put(one) for one in came])
        reader.start()
        wait_until(lambda: len(inbox._waiting) == 2)
        assert [inbox.take(5) for _ in range(2)] == came[:2]
        reader.join(0.05)
        assert reader.is_alive(), "they need their room until they are committed"
        inbox.free()
        assert inbox.take(5) == came[2]
        reader.join(5)
        assert not reader.is_alive()

    @pytest.mark.parametrize(("payload", "most"), [(b"1", 5000), (b"1" * 10_000, 800)])
    def test_it_holds_5000_messages_or_8_mb(self, payload, most):
        inbox = Inbox()
        reader = threading.Thread(
            target=lambda: [inbox.put(delivery("meter/wp/state", payload)) for _ in range(most + 1)]
        )
        reader.start()
        wait_until(lambda: len(inbox._waiting) == most)
        reader.join(0.05)
        assert reader.is_alive()
        assert len(inbox._waiting) == most
        inbox.close()
        reader.join(5)

    def test_a_message_larger_than_the_bound_is_let_in_alone(self):
        inbox = Inbox(size=5)
        inbox.put(delivery("meter/wp/state", b"0123456789"))
        assert inbox.take(0) is not None

    def test_closing_lets_everybody_go(self):
        inbox = Inbox(messages=1)
        inbox.put(delivery("meter/wp/state", b""))
        reader = threading.Thread(target=inbox.put, args=(delivery("meter/wp/state", b""),))
        reader.start()
        inbox.close()
        reader.join(5)
        assert not reader.is_alive()
        assert inbox.take(None) is None


def test_the_store_is_pruned_now_and_then_and_sooner_when_much_comes(store):
    pruning = Mock(spec=Pruning)
    pruning.run.return_value = Pruned()
    run = Run(store, pruning)
    run.subscriber._prune()
    run.subscriber._prune()
    assert pruning.run.call_count == 1
    run.take(
        *(
            delivery("meter/wp/history", encode_state(state(seq).state))
            for seq in range(PRUNE_EVERY_STATES)[1:]
        )
    )
    run.subscriber._prune()
    assert pruning.run.call_count == 1
    run.take(delivery("meter/wp/history", encode_state(state(PRUNE_EVERY_STATES).state)))
    run.subscriber._prune()
    assert pruning.run.call_count == 2


def test_much_is_pruned_in_steps_with_messages_between_them_and_every_drop_is_counted(store):
    pruning = Mock(spec=Pruning)
    some = Pruned({(METER, "age"): 200}, is_done=False)
    pruning.run.side_effect = [*[some] * (PRUNE_STEPS + 1), StoreError("disk full"), Pruned()]
    run = Run(store, pruning)
    run.subscriber._prune()
    assert pruning.run.call_count == PRUNE_STEPS
    run.subscriber._prune()
    assert pruning.run.call_count == PRUNE_STEPS + 2
    dropped = run.tally.value("bridge_states_dropped_total", device=METER.name, reason="age")
    assert dropped == 200 * (PRUNE_STEPS + 1)
    assert run.subscriber.store_trouble == "disk full"
    run.subscriber._prune()
    assert pruning.run.call_count == PRUNE_STEPS + 2, "the disk gets some minutes"
