"""What the bridge says of itself."""

import pytest

from bridge.report import Report
from bridge.status import BridgeStatus, DeviceBacklog
from readings.health import BRIDGE_HEALTH, Tally
from readings.reading import DeviceKey, Kind
from readings.release import VERSION
from readings.topics import Topics


def test_a_device_is_labelled_by_its_name_as_everywhere_else():
    """A name that was another kind's before has both backlogs, not that of one of them."""
    status = BridgeStatus(
        devices={
            DeviceKey(Kind.METER, "hall"): DeviceBacklog(waiting=1, missing=2, given_up=3),
            DeviceKey(Kind.SENSOR, "hall"): DeviceBacklog(waiting=10, missing=20, given_up=30),
            DeviceKey(Kind.METER, "wp"): DeviceBacklog(),
        }
    )
    tally = Tally(BRIDGE_HEALTH)
    Report("b", topics=Topics("heating"), tally=tally, status=lambda: status, wall_ms=lambda: 0).set_gauges()
    assert {
        (name, sample.labels["device"]): sample.value
        for name in ("bridge_states_waiting", "bridge_states_missing", "bridge_states_given_up")
        for sample in tally.samples()[name]
    } == {
        ("bridge_states_waiting", "hall"): 11,
        ("bridge_states_missing", "hall"): 22,
        ("bridge_states_given_up", "hall"): 33,
        ("bridge_states_waiting", "wp"): 0,
        ("bridge_states_missing", "wp"): 0,
        ("bridge_states_given_up", "wp"): 0,
    }


@pytest.mark.parametrize(
    ("backlog", "is_complete"),
    [
        ({}, True),
        ({"waiting": 1, "oldest_waiting_ms": 1000}, False),
        ({"missing": 1}, False),
        ({"given_up": 1}, False),
        ({"quarantined": 1}, False),
        ({"unreadable": 1}, False),
    ],
)
def test_the_one_figure(backlog, is_complete):
    status = BridgeStatus(devices={DeviceKey(Kind.METER, "wp"): DeviceBacklog(**backlog)})
    tally = Tally(BRIDGE_HEALTH)
    Report("b", topics=Topics("heating"), tally=tally, status=lambda: status, wall_ms=lambda: 0).set_gauges()
    assert tally.value("bridge_data_complete") == is_complete


@pytest.mark.parametrize(
    "lost", [{}, {"dropped": 1}, {"too_old": 1}, {"broker_trouble": "refused"}, {"store_trouble": "full"}]
)
def test_what_was_dropped_or_left_out_or_cannot_come_is_not_there(lost):
    status = BridgeStatus(devices={DeviceKey(Kind.METER, "wp"): DeviceBacklog()}, **lost)
    assert status.is_complete == (not lost)


def test_the_age_of_the_oldest_that_waits_is_told_of_each_device():
    status = BridgeStatus(
        devices={
            DeviceKey(Kind.METER, "hall"): DeviceBacklog(waiting=1, oldest_waiting_ms=40_000),
            DeviceKey(Kind.SENSOR, "hall"): DeviceBacklog(waiting=1, oldest_waiting_ms=70_000),
            DeviceKey(Kind.METER, "wp"): DeviceBacklog(waiting=1, oldest_waiting_ms=98_500),
            DeviceKey(Kind.METER, "idle"): DeviceBacklog(),
        }
    )
    tally = Tally(BRIDGE_HEALTH)
    report = Report(
        "b", topics=Topics("heating"), tally=tally, status=lambda: status, wall_ms=lambda: 100_000
    )
    report.set_gauges()
    ages = tally.samples()["bridge_oldest_waiting_seconds"]
    assert {one.labels["device"]: one.value for one in ages} == {"hall": 60, "wp": 1.5, "idle": 0}


def test_it_says_when_it_started_and_which_release_it_is():
    tally = Tally(BRIDGE_HEALTH)
    Report("b", topics=Topics("heating"), tally=tally, status=BridgeStatus, wall_ms=lambda: 1_795_406_706_500)
    assert tally.value("bridge_start_time_seconds") == 1_795_406_706.5
    assert tally.value("bridge_build_info", version=VERSION) == 1
