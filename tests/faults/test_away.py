"""Every reading of the journal is in Prometheus, however long the broker or Prometheus was away.

Nobody waits for it: the poller begins with a clock that is behind, the states
of the outage are written to its journal, and the poller goes on at the true time.
"""

import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.remote_write.encode import HEADERS, Encoder
from bridge.sample import Sample, Series
from tests.conftest import Server, wait_until
from tests.faults.house import SHORT, STATES_A_SECOND, House, running

pytestmark = [pytest.mark.faults, pytest.mark.mosquitto, pytest.mark.prometheus, pytest.mark.timeout(300)]

MINUTE_S, HOUR_S = 60.0, 3600.0
AWAY = {
    "10 minutes": (10 * MINUTE_S, 120),
    "66 minutes": (66 * MINUTE_S, 400),
    "30 hours": (30 * HOUR_S, 1000),
}
"""How long, and how many states each of the 24 meters brings meanwhile."""

MARGIN_S = 30.0
"""Between the states of the outage and those that the poller itself took before it."""


@pytest.fixture
def house(tmp_path: Path, mosquitto: Server, prometheus: Server) -> Iterator[House]:
    with running(House(tmp_path, mosquitto, prometheus)) as house:
        yield house


def write_sample_of_now(port: int) -> None:
    """Another program's: whatever comes later and is older, is late for this Prometheus."""
    body = Encoder({}).encode([Sample(Series("somebody_elses"), 1.0, time.time_ns() // 1_000_000)])
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/v1/write", data=body, headers=dict(HEADERS)
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 204


def spend(house: House, away_s: float, states: int) -> None:
    """The time of the outage: the journal gets its states, and the poller goes on in the present."""
    house.poller.stop()
    house.write_past(until_s_ago=1, every_s=(away_s - MARGIN_S) / states, states=states, seed=states)
    house.poller.start()
    house.pass_seconds(2)


CASES = [("prometheus", span) for span in AWAY] + [("broker", "10 minutes")]


@pytest.mark.parametrize(("who", "span"), CASES[:1] if SHORT else CASES)
def test_nothing_is_lost_while_somebody_is_away(house: House, who: str, span: str, capsys):
    away_s, states = AWAY[span]
    write_sample_of_now(house.prometheus.port)
    house.start(behind_s=away_s)
    wait_until(house.stored, within_s=20, what="samples from before the outage")
    house.kill(who)
    spend(house, away_s, states)
    if who == "prometheus":
        arrived = states * STATES_A_SECOND
        wait_until(
            lambda: house.waiting() > arrived, within_s=90, what="the outage's states wait in the bridge"
        )
    house.restart(who)
    house.settle(f"{who} away for {span}", capsys)
