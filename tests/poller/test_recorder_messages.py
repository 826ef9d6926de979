"""What others publish, in the journal's thread: acknowledged after the journal, admitted, remembered in the same transaction."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from poller.journal import Journal
from poller.listening import Incoming
from poller.publish import Publisher
from poller.recorder import Limits, Recorder
from poller.switchboard import Switchboard
from poller.trackers import Trackers
from poller.walltime import ClockReading
from readings.health import POLLER_HEALTH, Tally
from readings.message import Delivery, Message
from readings.reading import DeviceKey, Kind
from readings.release import RELEASED_MS
from readings.topics import Topics
from tests.poller.message_source import Rooms

HALL = DeviceKey(Kind.SENSOR, "hall")


@dataclass
class FakeClock:
    monotonic: float = 10.0

    def read(self) -> ClockReading:
        return ClockReading(RELEASED_MS + round(self.monotonic * 1000), self.monotonic, synchronised=True)


@dataclass
class FakeBroker:
    connection: int = 1
    is_connected: bool = True
    said: list[Message] = field(default_factory=list)

    def publish(self, message: Message) -> bool:
        self.said.append(message)
        return True

    def topics(self) -> list[str]:
        return [one.topic.removeprefix("heating/sensor/") for one in self.said if "/sensor/" in one.topic]


@dataclass
class WatchfulLine:
    """Looks into the journal whenever a message is acknowledged."""

    journal: Journal
    filters: tuple[str, ...] = ("rooms/+",)
    connection: int = 0
    is_started: bool = True
    rows_then: list[int] = field(default_factory=list)

    def acknowledge(self, incoming: Incoming) -> None:
        self.rows_then.append(self.journal.rows() if self.journal._path.is_file() else -1)

    def start(self, earlier: object) -> None: ...

    def say(self, message: Message) -> bool:
        return True


class Stage:
    def __init__(self, folder: Path, stream: str = "s1", *, most_series: int = 100) -> None:
        self.path = folder / "journal.sqlite"
        self.journal = Journal(self.path, stream=stream, boot="b1")
        self.clock, self.tally, self.broker = FakeClock(), Tally(POLLER_HEALTH), FakeBroker()
        self.line, self.rooms = WatchfulLine(self.journal), Rooms()
        self.publisher = Publisher(
            self.broker,
            Topics("heating"),
            "house",
            [],
            stream=stream,
            ranges=self.journal.listed,
            states=self.journal.states,
            tally=self.tally,
        )
        self.recorder = Recorder(
            self.journal,
            Trackers([], self.tally, most_series=most_series),
            self.publisher,
            clock=self.clock,
            limits=Limits(age_s=7 * 86400, size_bytes=10**9),
            tally=self.tally,
            switchboard=Switchboard([self.rooms], self.line, self.tally),
            group_s=0,
        )
        self.recorder.open()
        self.publisher.attend(0)

    def hears(self, *payloads: bytes, room: str = "hall") -> None:
        for payload in payloads:
            delivery = Delivery(f"rooms/{room}", payload, False, 1, 1, 1)
            self.recorder.hear(Incoming(delivery, self.clock.monotonic, is_live=True))
        for _ in payloads:
            self.recorder.work(0)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    stage.journal.close()


def test_a_message_is_acknowledged_when_the_journal_has_what_it_made(stage):
    stage.hears(b'{"celsius": 20.5}', b'{"celsius": 20.6}')
    assert stage.line.rows_then[0] >= 1
    assert stage.line.rows_then[1] == 2


def test_what_one_radio_message_brought_is_one_state(stage):
    """It comes as a message for each value, of one time; what was measured at another is another state."""
    at_ms = RELEASED_MS + 9000
    stage.rooms.fields = ("temperature_celsius", "humidity_percent")
    payloads = [
        b'{"temperature_celsius": 20.5, "time_ms": %d}' % at_ms,
        b'{"humidity_percent": 63, "time_ms": %d}' % at_ms,
        b'{"temperature_celsius": 20.6, "time_ms": %d}' % (at_ms + 60),
    ]
    for payload in payloads:
        delivery = Delivery("rooms/hall", payload, False, 1, 1, 1)
        stage.recorder.hear(Incoming(delivery, stage.clock.monotonic, is_live=True))
    stage.recorder.work(0)
    first, second = stage.journal.states(HALL, "s1", 1, 9)
    assert (first.time_ms, first.fresh) == (at_ms, {"temperature_celsius": 20.5, "humidity_percent": 63})
    assert (second.time_ms, second.fresh) == (at_ms + 60, {"temperature_celsius": 20.6})
    assert second.held == {"humidity_percent"}


def test_a_message_that_makes_nothing_is_acknowledged_too(stage):
    """It would come again for ever."""
    stage.hears(b"{", b"bug")
    assert len(stage.line.rows_then) == 2


def test_what_the_disk_refuses_is_shown_and_acknowledged(tmp_path, stage):
    stage.journal.close()
    stage.path.unlink(missing_ok=True)
    stage.path.mkdir()
    stage.hears(b'{"celsius": 20.5}')
    assert stage.line.rows_then == [-1]
    assert "hall/state" in stage.broker.topics()
    stage.path.rmdir()


def test_a_device_is_announced_before_its_first_state(stage):
    stage.hears(b'{"celsius": 20.5}')
    assert stage.broker.topics()[:4] == [
        "hall/availability",
        "hall/info",
        "hall/journal",
        "hall/availability",
    ]
    assert stage.broker.topics()[4] == "hall/state"


def test_the_next_run_has_the_device_from_the_start_and_its_filters_go_on(tmp_path, stage):
    stage.hears(b'{"celsius": 20.5, "time_ms": %d}' % (RELEASED_MS + 9000))
    stage.journal.close()
    later = Stage(tmp_path, stream="s2")
    assert list(later.publisher.devices) == [HALL]
    assert later.broker.topics() == ["hall/availability", "hall/info", "hall/journal"]
    later.hears(b'{"celsius": 20.5, "time_ms": %d}' % (RELEASED_MS + 9000))
    assert [len(later.journal.states(HALL, name, 1, 9)) for name in ("s1", "s2")] == [1, 0], "it is known"
    later.journal.close()


def test_what_is_one_device_too_many_is_counted_and_said_once(tmp_path, caplog):
    stage = Stage(tmp_path, most_series=2)
    for room in ("hall", "attic", "cellar", "garden"):
        stage.hears(b'{"celsius": 20.5}', room=room)
    assert len(stage.publisher.devices) == 2
    assert stage.tally.value("poller_devices_refused_total", reason="limit") == 2
    assert caplog.text.count("poller.max_series") == 1
    stage.journal.close()
