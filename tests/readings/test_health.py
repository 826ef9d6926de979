"""What programs count of themselves."""

import pytest

from readings.errors import PayloadError
from readings.health import (
    BRIDGE_HEALTH,
    POLLER_HEALTH,
    Health,
    HealthSample,
    Tally,
    decode_health,
    encode_health,
)


def test_counts_add_up_and_gauges_are_set():
    tally = Tally(POLLER_HEALTH)
    tally.count("poller_requests_total", bus="a")
    tally.count("poller_requests_total", 2, bus="a")
    tally.set("poller_device_up", 1, device="meter/m")
    tally.set("poller_device_up", 0, device="meter/m")
    assert tally.samples() == {
        "poller_device_up": [HealthSample({"device": "meter/m"}, 0.0)],
        "poller_requests_total": [HealthSample({"bus": "a"}, 3.0)],
    }


def test_a_label_too_few_or_too_many_is_a_mistake_of_ours():
    with pytest.raises(ValueError, match="expected the labels"):
        Tally(POLLER_HEALTH).count("poller_requests_total")


def test_a_report_survives_the_wire():
    report = Health(name="main", version="1", metrics={"poller_journal_rows": [HealthSample({}, 3.0)]})
    assert decode_health(encode_health(report)) == report
    with pytest.raises(PayloadError):
        decode_health(b'{"name":"main"}')


@pytest.mark.parametrize(("prefix", "rows"), [("poller_", POLLER_HEALTH), ("bridge_", BRIDGE_HEALTH)])
def test_counters_and_only_counters_end_in_total(prefix, rows):
    for name, row in rows.items():
        assert name.startswith(prefix)
        assert name.endswith("_total") == (row.kind == "counter"), name
