"""Every reading of the journal is in Prometheus, whoever was killed, at whatever instant."""

import itertools
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

from tests.conftest import Server
from tests.faults.house import SHORT, House, running

pytestmark = [pytest.mark.faults, pytest.mark.mosquitto, pytest.mark.prometheus, pytest.mark.timeout(600)]

VICTIMS = ("poller", "broker", "bridge", "prometheus")
PAIRS = tuple(itertools.combinations(VICTIMS, 2))
FORGETFUL = ("broker", "its persistence")
SEED = int(os.environ.get("HEATING_FAULTS_SEED") or secrets.randbelow(10**6))
LONGEST_AWAY_S = 2.0


class Kill(NamedTuple):
    """Who is killed at once, and whether that has to fall into a catch-up."""

    victims: tuple[str, ...]
    in_catch_up: bool = False


CASES = {
    **{one: [Kill((one,), number < 10) for number in range(20)] for one in VICTIMS},
    "every pair": [Kill(pair, number % 2 == 0) for number, pair in enumerate(PAIRS)],
    "broker's persistence": [Kill(FORGETFUL, in_catch_up=True), Kill(FORGETFUL)],
}
if SHORT:
    singly = [Kill((one,), is_catching_up) for is_catching_up in (True, False) for one in VICTIMS]
    CASES = {"everyone": [*singly, *map(Kill, PAIRS), Kill(FORGETFUL)]}


@pytest.fixture
def house(tmp_path: Path, mosquitto: Server, prometheus: Server) -> Iterator[House]:
    with running(House(tmp_path, mosquitto, prometheus)) as house:
        yield house


@pytest.mark.parametrize("who", CASES)
def test_nothing_is_lost_whoever_is_killed(house: House, who: str, capsys):
    """Some of the kills fall into a catch-up: the bridge has never seen what was written before it came."""
    draw = Random(f"{SEED} {who}")
    house.write_past(until_s_ago=60, every_s=1, states=200 if SHORT else 800, seed=SEED)
    house.start()
    for victims, in_catch_up in CASES[who]:
        if in_catch_up:
            house.await_catch_up(SEED)
        time.sleep(draw.uniform(0, 1))
        for victim in victims:
            house.kill(victim)
        time.sleep(draw.uniform(0, LONGEST_AWAY_S))
        for victim in draw.sample(victims, len(victims)):
            house.restart(victim)
    house.pass_seconds(1)
    house.settle(f"{len(CASES[who])} kills, {who}, seed {SEED}", capsys)
