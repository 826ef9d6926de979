"""Which source a message is for, and what the sources know."""

import logging
from dataclasses import dataclass, field

import pytest

from poller.listening import Incoming
from poller.switchboard import PATIENCE_S, Switchboard, is_for
from poller.walltime import WallTime
from readings.broker import Delivery, Message
from readings.health import POLLER_HEALTH, Tally
from tests.poller.message_source import Rooms

CLOCK = WallTime(1_795_406_000_000.0, 0.0, is_trusted=True)


@dataclass
class FakeLine:
    filters: tuple[str, ...] = ("rooms/+",)
    connection: int = 0
    started_with: tuple[str, ...] | None = None
    said: list[Message] = field(default_factory=list)
    done: list[Incoming] = field(default_factory=list)

    @property
    def is_started(self) -> bool:
        return self.started_with is not None

    def start(self, earlier: tuple[str, ...]) -> None:
        self.started_with = tuple(earlier)

    def say(self, message: Message) -> bool:
        self.said.append(message)
        return True

    def acknowledge(self, incoming: Incoming) -> None:
        self.done.append(incoming)


@dataclass
class Stage:
    line: FakeLine
    tally: Tally
    board: Switchboard
    rooms: Rooms

    def hear(self, topic: str, payload: bytes, *, is_live: bool = True, at: float = 5.0):
        return self.board.hear(Incoming(Delivery(topic, payload, False, 1, 1, 1), at, is_live), CLOCK)

    def results(self) -> dict[str, float]:
        samples = self.tally.samples().get("poller_messages_heard_total", [])
        return {one.labels["result"]: one.value for one in samples}


@pytest.fixture
def stage() -> Stage:
    rooms, line, tally = Rooms(), FakeLine(), Tally(POLLER_HEALTH)
    return Stage(line, tally, Switchboard([rooms], line, tally), rooms)


@pytest.mark.parametrize(
    ("topic_filter", "topic", "expected"),
    [
        ("a/b", "a/b", True),
        ("a/+", "a/b", True),
        ("a/+", "a", False),
        ("a/+", "a/b/c", False),
        ("a/+/c", "a/b/c", True),
        ("a/#", "a/b/c", True),
        ("a/#", "a", True),
        ("#", "a/b", True),
        ("#", "$SYS/broker/uptime", False),
        ("+/a", "/a", True),
        ("a/b", "a/B", False),
    ],
)
def test_a_topic_filter_takes_what_mqtt_says(topic_filter, topic, expected):
    assert is_for(topic_filter, topic) is expected


def test_a_message_becomes_the_reports_of_its_source(stage):
    ((device, report),) = stage.hear("rooms/hall", b'{"celsius": 20.5}')
    assert (device.key.name, report.values, report.is_live) == ("hall", {"temperature_celsius": 20.5}, True)
    assert stage.rooms.heard[0].wall_ms == CLOCK.at(5.0)
    assert stage.results() == {"taken": 1}


def test_what_waited_at_the_broker_is_marked_as_such(stage):
    ((_, report),) = stage.hear("rooms/hall", b'{"celsius": 20.5}', is_live=False)
    assert not report.is_live


def test_what_no_source_wants_or_understands_is_counted_and_said_once_a_minute(stage, caplog):
    with caplog.at_level(logging.WARNING):
        assert stage.hear("garden/gnome", b"") == []
        for at in (5.0, 6.0, 64.9, 65.0):
            assert stage.hear("rooms/hall", b"{", at=at) == []
    assert stage.results() == {"unclaimed": 1, "refused": 4}
    assert [one.getMessage() for one in caplog.records] == 2 * ["rooms: 'rooms/hall': expected celsius"]


def test_a_mistake_in_a_source_does_not_end_the_poller(stage, caplog):
    """It would be delivered again to every next run."""
    assert stage.hear("rooms/hall", b"bug") == []
    assert "ZeroDivisionError" in caplog.text
    assert stage.results() == {"refused": 1}


def test_what_a_source_knows_is_written_when_it_has_changed(stage):
    assert list(stage.board.restore({})) == []
    stage.board.note_written(stage.board.changes())
    assert stage.board.changes() == {}
    stage.hear("rooms/hall", b'{"celsius": 20.5}')
    changes = stage.board.changes()
    assert changes == {"rooms": b'["hall"]'}
    assert stage.board.changes() == changes, "until it is written"
    stage.board.note_written(changes)
    stage.hear("rooms/hall", b'{"celsius": 20.6}')
    assert stage.board.changes() == {}


def test_a_source_has_its_devices_back_at_the_start_and_one_that_left_is_forgotten(stage):
    devices = list(stage.board.restore({"rooms": b'["attic", "hall"]', "cellars": b"[]"}))
    assert [one.key.name for one in devices] == ["attic", "hall"]
    assert stage.board.changes() == {"cellars": None, "/filters": b'["rooms/+"]'}


def test_a_memory_that_cannot_be_read_begins_anew(stage, caplog):
    assert list(stage.board.restore({"rooms": b"torn", "/filters": b'["\xff"]'})) == []
    assert "rooms: begins anew, what it knew cannot be read" in caplog.text


def test_the_session_waits_for_a_clock_that_is_trusted_but_not_for_ever(stage, caplog):
    list(stage.board.restore({}))
    with caplog.at_level(logging.INFO):
        for waited_s in (0, 1, PATIENCE_S - 1):
            stage.board.attend(0.0, waited_s=waited_s, is_ready=False)
    assert not stage.line.is_started
    assert caplog.text.count("wait at the broker until the clock is trusted") == 1
    stage.board.attend(0.0, waited_s=PATIENCE_S, is_ready=False)
    assert stage.line.is_started


def test_a_filter_of_an_earlier_run_is_taken_back_once_there_is_a_connection(stage):
    list(stage.board.restore({"/filters": b'["old/+","rooms/+"]'}))
    stage.board.attend(0.0, waited_s=0, is_ready=True)
    assert stage.line.started_with == ("old/+", "rooms/+")
    assert stage.board.changes() == {}, "the broker may not know yet"
    stage.line.connection = 1
    stage.board.attend(1.0, waited_s=1, is_ready=True)
    assert stage.board.changes() == {"/filters": b'["rooms/+"]'}


def test_without_sources_there_is_no_session_unless_an_earlier_run_left_one():
    line, tally = FakeLine(filters=()), Tally(POLLER_HEALTH)
    board = Switchboard([], line, tally)
    list(board.restore({}))
    board.attend(0.0, waited_s=0, is_ready=True)
    assert not line.is_started
    list(board.restore({"/filters": b'["old/+"]'}))
    board.attend(0.0, waited_s=0, is_ready=True)
    assert line.started_with == ("old/+",)
    line.connection = 1
    board.attend(1.0, waited_s=1, is_ready=True)
    assert board.changes() == {"/filters": None}


def test_a_source_may_ask_once_a_second_while_there_is_a_connection(stage):
    list(stage.board.restore({}))
    for now in (0.0, 1.0, 2.0, 2.5, 3.0):
        stage.board.attend(now, waited_s=now, is_ready=True)
        stage.line.connection = 7 if now >= 1.0 else 0
    assert stage.rooms.asked == [7, 7]
    assert [one.topic for one in stage.line.said] == ["rooms/hall/get"] * 2
