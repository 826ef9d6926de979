"""What the bridge says of itself."""

from bridge.report import Report
from bridge.status import BridgeStatus, DeviceBacklog
from readings.health import BRIDGE_HEALTH, Tally
from readings.reading import DeviceKey, Kind
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
