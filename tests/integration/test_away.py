"""What others publish while the poller is away, or is killed: the shipped broker keeps it, and every reading arrives once."""

import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.conftest import Server, free_port, needs, wait_until

ROOT = Path(__file__).parents[2]
MESSAGES = 5000
PREFIX = "shellypro2-00005e005301"
CONFIG = """
[mqtt]
host = "127.0.0.1"
port = {port}
[[shelly]]
prefix = "shellypro2-00005e005301"
[[shelly.sensor]]
name = "hall"
address = "00:00:5e:00:53:10"
device_id = 200
temperature = 202
"""


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Server]:
    """A mosquitto that keeps as much as ours does."""
    program, port = needs("mosquitto"), free_port()
    kept = ("persist", "autosave", "max_", "queue_")
    lines = (ROOT / "mosquitto" / "mosquitto.conf").read_text().splitlines()
    shipped = [line for line in lines if line.startswith(kept) and "persistence_location" not in line]
    own = [
        f"listener {port} 127.0.0.1",
        "allow_anonymous true",
        f"persistence_location {tmp_path}/",
        "user root",
    ]
    config = tmp_path / "mosquitto.conf"
    config.write_text("\n".join([*own, *shipped]) + "\n")
    server = Server([program, "-c", str(config)], port, tmp_path / "log")
    server.start()
    yield server
    server.stop()


class Poller:
    """A poller as a process that trusts its clock at once."""

    def __init__(self, folder: Path, port: int) -> None:
        self._config = folder / "config.toml"
        self._config.write_text(CONFIG.format(port=port))
        self._log = folder / "poller.log"
        self._journal = folder / "data" / "journal.sqlite"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.faults.poller_at_once", "--config", str(self._config)]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)

    def kill_amid(self, rows: int) -> None:
        """Kill it as soon as it has more rows than that, and before it can write the next one."""
        file = sqlite3.connect(self._journal, timeout=20, isolation_level=None)

        def has_them_and_waits() -> bool:
            file.execute("BEGIN IMMEDIATE")
            (found,) = file.execute("SELECT count(*) FROM state").fetchone()
            if found <= rows:
                file.execute("ROLLBACK")
            return found > rows

        try:
            wait_until(has_them_and_waits, within_s=30)
            self.kill()
        finally:
            file.close()

    def readings(self) -> list[tuple[int, float]]:
        """Time and temperature of every row in which it is fresh."""
        if not self._journal.exists():
            return []
        file = sqlite3.connect(self._journal, timeout=20)
        try:
            rows = file.execute("SELECT time_ms, payload FROM state ORDER BY stream, seq").fetchall()
        except sqlite3.OperationalError:
            return []  # it is just being made
        finally:
            file.close()
        states = [(time_ms, msgspec.json.decode(payload)) for time_ms, payload in rows]
        return [
            (time_ms, one["temperature_celsius"])
            for time_ms, one in states
            if one["temperature_celsius"] is not None and "temperature_celsius" not in one["held"]
        ]


@pytest.fixture
def poller(tmp_path: Path, broker: Server) -> Iterator[Poller]:
    poller = Poller(tmp_path, broker.port)
    yield poller
    poller.kill()


def publish(port: int, readings: list[tuple[int, float]]) -> None:
    """As the gateway would: one notification per broadcast."""
    frames = [
        {
            "src": PREFIX,
            "dst": f"{PREFIX}/events",
            "method": "NotifyStatus",
            "params": {
                "ts": time_ms / 1000 + 0.4,
                "bthomesensor:202": {"id": 202, "value": celsius, "last_updated_ts": time_ms // 1000},
            },
        }
        for time_ms, celsius in readings
    ]
    subprocess.run(
        [needs("mosquitto_pub"), "-p", str(port), "-q", "1", "-t", f"{PREFIX}/events/rpc", "-l"],
        input=b"\n".join(map(msgspec.json.encode, frames)),
        check=True,
        timeout=30,
    )


@pytest.mark.mosquitto
def test_five_thousand_messages_sent_while_the_poller_is_away_arrive_though_it_is_killed_amid_them(
    broker, poller
):
    now_s = int(time.time())
    first = (now_s - 7200) * 1000
    poller.start()
    deadline = time.monotonic() + 20
    while not poller.readings():
        assert time.monotonic() < deadline, "the first reading"
        publish(broker.port, [(first, 20.0)])
        time.sleep(0.2)
    poller.kill()

    away = [(first + 1000 * n, 20 + n / 1000) for n in range(1, MESSAGES + 1)]
    publish(broker.port, away)
    poller.start()
    poller.kill_amid(500)
    assert len(poller.readings()) < MESSAGES / 2, "most of it was still to come"
    poller.start()
    wait_until(lambda: len(poller.readings()) > MESSAGES, within_s=60, what="every reading")
    assert poller.readings() == [(first, 20.0), *away]
