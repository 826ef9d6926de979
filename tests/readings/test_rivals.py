"""Two programs with one name, and all that only looks like it."""

import queue
import threading
from collections.abc import Callable
from pathlib import Path

from bridge.config import BridgeSettings
from bridge.run import Bridge, wall_ms
from poller.config import PollerSettings
from poller.run import Poller
from readings.health import Health, HealthSample, encode_health
from readings.rivals import PROVEN, Rivals, name_instance
from readings.settings import MqttSettings
from tests.conftest import free_port, wait_until

EARLY, LATE = name_instance(1000, "ff"), name_instance(2000, "00")


def said(instance: str, number: int) -> bytes:
    metrics = {"poller_broker_connects_total": [HealthSample({}, float(number))]}
    return encode_health(Health(name="house", version="1", instance=instance, metrics=metrics))


def ends(me: str, *heard: tuple[int, bytes]) -> bool:
    rivals = Rivals(me)
    return any(rivals.hear(payload, connection) for connection, payload in heard)


def test_the_later_of_two_that_throw_each_other_out_is_to_end():
    for me, other, result in ((LATE, EARLY, True), (EARLY, LATE, False)):
        assert ends(me, *((number, said(other, number)) for number in range(1, PROVEN + 1))) is result
        assert not ends(me, *((number, said(other, number)) for number in range(1, PROVEN)))


def test_what_a_predecessor_left_behind_is_no_rival():
    """However often the broker gives it back; and what it left on one connection counts once."""
    assert not ends(LATE, *((connection, said(EARLY, 7)) for connection in range(1, 20)))
    assert not ends(LATE, *((1, said(EARLY, number)) for number in range(20)))


def test_own_words_and_those_of_programs_that_name_no_instance_are_no_rival_s():
    assert not ends(LATE, *((number, said(LATE, number)) for number in range(9)))
    assert not ends(LATE, *((number, said("", number)) for number in range(9)))
    assert not ends(LATE, *((number, b"not health") for number in range(9)))


def test_only_connections_in_a_row_count():
    assert not ends(LATE, *((number, said(EARLY, number)) for number in range(1, 20, 2)))


def test_a_rival_that_comes_back_for_years_costs_no_memory():
    """The later one ends and is started again, and says something new each time."""
    rivals = Rivals(EARLY)
    for number in range(1, 1001):
        assert not rivals.hear(said(LATE, number), connection=number)
    assert len(repr(vars(rivals))) < 2 * len(said(LATE, 1000))


def next_instant() -> None:
    """Until the clock that names instances has moved on."""
    began = wall_ms()
    wait_until(lambda: wall_ms() > began)


def make_bridge(folder: Path, mqtt: MqttSettings, on_failure: Callable[[], None]) -> Bridge:
    next_instant()
    return Bridge(
        BridgeSettings(
            mqtt=mqtt,
            name="house",
            listen=("127.0.0.1", free_port()),
            store=folder / "store.sqlite",
            store_age_s=600,
            store_bytes=10**7,
            receiver=None,
        ),
        on_failure=on_failure,
    )


def test_the_later_of_two_bridges_says_so_and_ends(tmp_path, mqtt_settings: MqttSettings, caplog):
    ended = [threading.Event(), threading.Event()]
    bridges = [make_bridge(tmp_path, mqtt_settings, event.set) for event in ended]
    try:
        for bridge in bridges:
            bridge.start()
        assert ended[1].wait(30)
        assert not ended[0].is_set()
        assert [one.has_failed for one in bridges] == [False, True]
        assert "another bridge with the name 'house' is at work on this broker" in caplog.text
    finally:
        for bridge in bridges:
            bridge.stop()


def make_poller(folder: Path, mqtt: MqttSettings, on_hang: Callable[[str], None]) -> Poller:
    next_instant()
    return Poller(
        PollerSettings(mqtt, "house", folder / "journal.sqlite", 600, 10**7, (), ()), on_hang=on_hang
    )


def test_the_later_of_two_pollers_says_so_and_ends(tmp_path, mqtt_settings: MqttSettings):
    said_by: tuple[queue.Queue[str], queue.Queue[str]] = (queue.Queue(), queue.Queue())
    pollers = [
        make_poller(tmp_path / str(number), mqtt_settings, said.put) for number, said in enumerate(said_by)
    ]
    try:
        for poller in pollers:
            poller.start()
        assert said_by[1].get(timeout=30) == "another poller with the name 'house' is at work on this broker"
        assert said_by[0].empty()
    finally:
        for poller in pollers:
            poller.stop()
