"""A house of processes without containers: a backup while it works, everything killed and deleted, and everything put back."""

import contextlib
import itertools
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Server, wait_until
from tests.faults.house import METERS, ROOT, House, Samples, running

pytestmark = [pytest.mark.long, pytest.mark.mosquitto, pytest.mark.prometheus, pytest.mark.timeout(300)]


@pytest.fixture
def house(tmp_path: Path, mosquitto: Server, prometheus: Server) -> Iterator[House]:
    prometheus.stop()
    prometheus.command.append("--web.enable-admin-api")
    prometheus.start()
    with running(House(tmp_path, mosquitto, prometheus)) as house:
        with (tmp_path / "config.toml").open("a") as config:
            config.write(
                f'\n[backup]\nprometheus_data = "{tmp_path}/prometheus/data"\n'
                f'mosquitto = "{tmp_path}/mosquitto/mosquitto.db"\n'
            )
        yield house


def heating(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "heating", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def destroy(house: House, folder: Path) -> None:
    """Kill everything, and delete what it had written."""
    for what in ("poller", "bridge", "broker", "prometheus"):
        house.kill(what)
    for name in ("poller", "bridge", "prometheus/data", "mosquitto/mosquitto.db", "config.toml"):
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def save_broker(house: House, folder: Path) -> None:
    """Have the broker write its file, as it does now and then."""
    house.mosquitto.process.send_signal(signal.SIGUSR1)
    wait_until((folder / "mosquitto" / "mosquitto.db").exists, what="the broker's file")


def streams(house: House) -> list[str]:
    with contextlib.closing(sqlite3.connect(f"file:{house.settings.journal}?mode=ro", uri=True)) as journal:
        found = journal.execute("SELECT name FROM stream WHERE id IN (SELECT stream FROM state) ORDER BY id")
        return [name for (name,) in found]


def counts(stored: Samples) -> Iterator[list[float]]:
    """The energy of each meter, in the order of time."""
    energy = sorted(place for place in stored if place[0] == "meter_energy_total_kwh")
    for _, places in itertools.groupby(energy, key=lambda place: place[1]):
        yield [stored[place] for place in places]


def test_everything_is_put_back_and_goes_on_as_if_the_disk_had_not_died(
    house: House, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    house.start()
    wait_until(house.stored, within_s=40, what="samples in Prometheus")
    house.pass_seconds(6)
    # What the journal has, and neither store nor Prometheus: the restored bridge has to ask for it.
    house.kill("bridge")
    known = house.stored()
    house.pass_seconds(3)
    save_broker(house, tmp_path)
    _, expected = house.expected()
    said = heating("backup", "-o", f"{tmp_path}/backup.tar.gz", "--config", f"{tmp_path}/config.toml")
    assert "checked: config, store, journal, prometheus, mosquitto\n" in said
    assert known
    assert expected.keys() - known.keys(), "something is in the journal alone"
    (before,) = streams(house)

    destroy(house, tmp_path)
    heating("restore", f"{tmp_path}/backup.tar.gz", "--config", f"{tmp_path}/config.toml")
    for what in ("broker", "prometheus"):
        house.restart(what)
    house.start()
    house.pass_seconds(5)
    house.poller.stop()
    house.poller.start()
    seen = house.settle("after the restore", capsys)
    assert seen.expected > len(expected)
    assert streams(house)[0] == before
    assert len(set(streams(house))) == 3, "each start opens a new one"
    stored = house.stored()
    assert {place: stored.get(place) for place in expected} == expected
    assert {place: stored.get(place) for place in known} == known
    all_counts = list(counts(stored))
    assert len(all_counts) == 3 * METERS
    assert all(one == sorted(one) for one in all_counts), "an energy count never falls"


def test_what_came_late_is_sent_again_when_that_is_asked_for(
    house: House, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """A snapshot of Prometheus leaves out what is older than its series' newest and has come in the last hours."""
    house.start()
    wait_until(house.stored, within_s=40, what="samples in Prometheus")
    house.poller.stop()
    house.write_past(until_s_ago=120, every_s=10, states=20, seed=1)
    house.poller.start()
    house.settle("before the backup, with what came late", capsys)
    house.kill("bridge")  # else Prometheus has more than the journal, which is taken before it
    save_broker(house, tmp_path)
    _, expected = house.expected()
    heating("backup", "-o", f"{tmp_path}/backup.tar.gz", "--config", f"{tmp_path}/config.toml")
    destroy(house, tmp_path)
    words = ("restore", f"{tmp_path}/backup.tar.gz", "--config", f"{tmp_path}/config.toml", "--resend")
    assert "store.sqlite" not in heating(*words)
    for what in ("broker", "prometheus"):
        house.restart(what)
    late = expected.keys() - (house.stored() or {}).keys()
    house.start()
    house.pass_seconds(2)
    house.poller.stop()
    house.poller.start()
    house.settle("after the restore", capsys)
    stored = house.stored()
    assert {place: stored.get(place) for place in expected} == expected
    assert len(late) > 10 * METERS, "so much was in the journal of the backup alone"
