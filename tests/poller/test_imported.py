"""A source that reads a page: at its interval, one request at a time, and what it does when it cannot."""

import logging
import threading

from poller.assemble import Report
from poller.device import Device
from poller.errors import PageError, PageTrouble
from poller.sources.imported import Imported
from readings.health import POLLER_HEALTH, Tally
from tests.poller.pages import HEAT_PUMP, SENSORS, import_settings

Step = bytes | Exception


class Stage:
    """A clock, a server and a listener that are told what happens."""

    def __init__(self, *steps: Step, takes_s: float = 0.0) -> None:
        self.steps = list(steps)
        self.takes_s = takes_s
        self.now = 1000.0
        self.rested: list[float] = []
        self.timeouts: list[float] = []
        self.heard: list[tuple[str, Report]] = []
        self.tally = Tally(POLLER_HEALTH)
        self.source = Imported(import_settings(), self.tally, fetch=self.fetch, monotonic=lambda: self.now)

    def fetch(self, url: str, timeout_s: float) -> bytes:
        assert url == "http://iot-api:8000/metrics"
        self.timeouts.append(timeout_s)
        self.now += self.takes_s
        step = self.steps.pop(0)
        if isinstance(step, Exception):
            raise step
        return step

    def emit(self, device: Device, report: Report) -> None:
        self.heard.append((device.key.name, report))

    def wait(self, seconds: float) -> bool:
        self.rested.append(seconds)
        self.now += seconds
        return not self.steps

    def run(self) -> "Stage":
        self.source.run(self.emit, self.wait)
        return self

    def counted(self, result: str) -> float:
        return self.tally.value("poller_page_reads_total", page="iot-api:8000", result=result)


GOOD = HEAT_PUMP.encode()
REFUSED = PageError(PageTrouble.UNREACHABLE, "Connection refused")


def test_it_reads_at_once_and_then_every_interval():
    stage = Stage(GOOD, GOOD, GOOD, takes_s=4.0).run()
    assert stage.rested == [26.0, 26.0, 26.0]
    assert [name for name, _ in stage.heard] == ["heatpump"] * 3
    assert stage.counted("read") == 3
    assert stage.timeouts == [10.0] * 3


def test_one_failed_read_leaves_no_two_intervals_without_a_reading():
    """With the longest request and a slow failure the next reading comes before the device would be lost."""
    stage = Stage(REFUSED, GOOD, takes_s=10.0).run()
    assert stage.rested[0] == 7.5
    began_s = 1000.0
    assert stage.now - stage.rested[-1] - began_s < 30.0
    assert stage.counted("unreachable") == 1


def test_a_failure_reports_nothing_and_is_counted_by_its_reason():
    stage = Stage(REFUSED, b"<html>\n", b"up 1\n", GOOD).run()
    assert [stage.counted(one) for one in ("unreachable", "not_metrics", "nothing_known", "read")] == [
        1,
        1,
        1,
        1,
    ]
    assert len(stage.heard) == 1


def test_a_change_is_logged_once(caplog):
    caplog.set_level(logging.INFO)
    timeout = PageError(PageTrouble.TIMEOUT, "no answer in time")
    Stage(GOOD, REFUSED, REFUSED, timeout, GOOD, GOOD).run()
    assert [one.getMessage() for one in caplog.records] == [
        "import iot-api:8000: cannot be read: Connection refused",
        "import iot-api:8000: cannot be read: no answer in time",
        "import iot-api:8000: is read again",
    ]


def test_how_long_a_page_has_stood_still_is_said():
    """A service whose monitor has died shows its last values for ever."""
    warmer = GOOD.replace(b"35.3", b"35.4")
    stage = Stage(GOOD, GOOD, GOOD)
    stage.run()
    assert stage.tally.value("poller_page_unchanged_seconds", device="heatpump") == 60
    stage.steps = [warmer]
    stage.run()
    assert stage.tally.value("poller_page_unchanged_seconds", device="heatpump") == 0


def test_what_has_times_of_its_own_needs_no_such_figure():
    stage = Stage(SENSORS.encode()).run()
    figures = stage.tally.samples()["poller_page_unchanged_seconds"]
    assert [one.labels["device"] for one in figures] == ["thermostat"]


def test_a_mistake_of_its_own_does_not_end_it(caplog):
    stage = Stage(ZeroDivisionError("x"), GOOD).run()
    assert stage.counted("mistake") == 1
    assert len(stage.heard) == 1
    assert "ZeroDivisionError" in caplog.text


def test_a_hung_server_delays_no_other_page():
    hung, done = threading.Event(), threading.Event()

    def hang(url: str, timeout_s: float) -> bytes:
        hung.set()
        assert done.wait(10)
        raise REFUSED

    tally = Tally(POLLER_HEALTH)
    slow = Imported(import_settings(), tally, fetch=hang)
    heard: list[str] = []
    thread = threading.Thread(target=slow.run, args=(lambda *_: None, lambda _: True))
    thread.start()
    assert hung.wait(10)
    quick = Imported(import_settings(), tally, fetch=lambda *_: SENSORS.encode())
    quick.run(lambda device, _: heard.append(device.key.name), lambda _: True)
    assert heard == ["temp_outdoor", "temp_indoor", "thermostat"]
    done.set()
    thread.join(10)
    assert not thread.is_alive()
