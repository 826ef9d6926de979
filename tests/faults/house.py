"""A house whose every program is a process that a test may kill, and the comparison of its journal with Prometheus."""

import contextlib
import json
import os
import secrets
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random

import msgspec
import pytest

from poller.clock import MachineClock
from poller.config import PollerSettings, read_config
from poller.journal import Journal, Row
from poller.walltime import WallTime
from tests.conftest import Server, free_port, wait_until

ROOT = Path(__file__).parents[2]
SHORT = os.environ.get("HEATING_FAULTS") == "short"
"""Fewer kills and fewer outages, for a run that somebody waits for."""

GATEWAYS, METERS = 3, 8
STATES_A_SECOND = GATEWAYS * METERS
"""Each meter is read once a second."""

NOT_READ = (
    "power_L2_kw", "power_L3_kw", "energy_L1_kwh", "energy_L2_kwh", "energy_L3_kwh",
    "energy_total_raw_kwh", "power_factor",
)  # fmt: skip

CATCH_UP_WITHIN_S = 15.0
"""The bridge listens 5 s after each connect, and asks again after 10 s without an answer."""

Samples = Mapping[tuple[str, str, int], float]
"""Values by name of the metric, device, and milliseconds since 1970 UTC."""


@dataclass
class Program:
    """One of ours, as a process."""

    command: list[str]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self, *more: str) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *self.command, *more],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)


@dataclass(frozen=True)
class Comparison:
    """The journal beside Prometheus."""

    rows: int
    expected: int
    samples: int
    missing: tuple[tuple[str, str, int], ...]
    extra: tuple[tuple[str, str, int], ...]
    """Samples that no row has, or has with another value."""


class House:
    """Broker, Prometheus, poller, bridge and 24 meters; the meters alone are never killed.

    Args:
        folder: Where logs and data go.
        poller_data: The poller's folder, where it is to be another one.
        bridge_data: The bridge's.
    """

    def __init__(
        self,
        folder: Path,
        mosquitto: Server,
        prometheus: Server,
        *,
        poller_data: Path | None = None,
        bridge_data: Path | None = None,
    ) -> None:
        self.began = time.monotonic()
        self.mosquitto, self.prometheus = mosquitto, prometheus
        self.web_port = free_port()
        self.meters = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.devices", str(GATEWAYS), str(METERS)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        ports = self.meters.stdout.readline().split()
        config = folder / "config.toml"
        config.write_text(
            self._config(ports, poller_data or folder / "poller", bridge_data or folder / "bridge")
        )
        self.settings: PollerSettings = read_config(config, {})
        self.store = (bridge_data or folder / "bridge") / "store.sqlite"
        self.poller = Program(
            ["-m", "tests.faults.poller_at_once", "--config", str(config)], folder / "poller.log"
        )
        self.bridge = Program(["-m", "bridge", "--config", str(config)], folder / "bridge.log")
        self._programs = {
            "poller": self.poller,
            "broker": self.mosquitto,
            "bridge": self.bridge,
            "prometheus": self.prometheus,
        }

    def _config(self, ports: list[str], poller_data: Path, bridge_data: Path) -> str:
        lines = [
            f'[mqtt]\nhost = "127.0.0.1"\nport = {self.mosquitto.port}',
            f'[poller]\ndata = "{poller_data}"',
            f'[bridge]\ndata = "{bridge_data}"\nlisten = "127.0.0.1:{self.web_port}"',
            f'[[remote_write]]\nurl = "http://127.0.0.1:{self.prometheus.port}/api/v1/write"',
        ]
        for number, port in enumerate(ports, start=1):
            lines.append(
                f'[[bus]]\nname = "bus{number}"\nconnect = "tcp://127.0.0.1:{port}"\nbaud = 0\nturnaround_ms = 0'
            )
            lines += [
                f'[[device]]\nname = "m{number}-{unit}"\nbus = "bus{number}"\nprofile = "wago-879"\nunit = {unit}\n'
                f"interval = 1\nwithout = {json.dumps(NOT_READ)}"
                for unit in range(1, METERS + 1)
            ]
        return "\n\n".join(lines)

    # What happens to it

    def start(self, *, behind_s: float = 0.0) -> None:
        self.bridge.start()
        self.poller.start("--behind", str(behind_s))

    def kill(self, what: str) -> None:
        """SIGKILL; the broker's files can be taken away after it."""
        if what == "its persistence":
            for file in self.mosquitto.log.parent.glob("*.db"):
                file.unlink()
        else:
            self._programs[what].kill()

    def restart(self, what: str) -> None:
        if what in self._programs:
            self._programs[what].start()

    def stop(self) -> None:
        for program in (self.poller, self.bridge):
            with contextlib.suppress(subprocess.TimeoutExpired):
                program.stop()
            program.kill()
        self.meters.stdin.close()
        self.meters.stdout.close()
        self.meters.wait(10)

    def write_past(self, *, until_s_ago: float, every_s: float, states: int, seed: int) -> None:
        """States of every meter as a poller would have written them, the last one so many seconds ago."""
        draw = Random(seed)
        reading = MachineClock().read()
        clock = WallTime(reading.offset_ms, 0.0, is_trusted=True)
        journal = Journal(self.settings.journal, stream=secrets.token_hex(4), boot=MachineClock().boot)
        last = reading.monotonic - until_s_ago
        rows = [
            Row(
                device.key,
                last - every_s * (states - 1 - number) + place / 1000,
                dict.fromkeys(device.fields)
                | {"power_total_kw": round(draw.uniform(0, 9), 3), "energy_total_kwh": 1000 + number},
            )
            for number in range(states)
            for place, device in enumerate(self.settings.devices)
        ]
        for begin in range(0, len(rows), 5000):
            journal.commit(rows[begin : begin + 5000], {}, clock)
        journal.close()

    # What is seen of it

    def metrics(self) -> Mapping[str, float]:
        """The bridge's own figures, each summed over its labels but `message`; none while it is not there."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.web_port}/metrics", timeout=5) as answer:
                lines = answer.read().decode().splitlines()
        except OSError:
            return {}
        found: dict[str, float] = {}
        for line in lines:
            if line.startswith("bridge_"):
                name, _, value = line.rpartition(" ")
                if "message=" not in name:
                    name = name.partition("{")[0]
                found[name] = found.get(name, 0.0) + float(value)
        return found

    def has_said(self, program: str, words: str) -> bool:
        """Whether the bridge's or the poller's log holds these words."""
        return words in self._programs[program].log.read_text()

    def waiting(self) -> float:
        """How many states the bridge has that are not sent."""
        return self.metrics().get("bridge_states_waiting", 0)

    def catches_up(self) -> bool:
        """Whether states that were asked for come in, and more are missing."""
        seen = self.metrics()
        return (
            seen.get('bridge_messages_received_total{message="history"}', 0) > 0
            and seen.get("bridge_states_missing", 0) > STATES_A_SECOND
        )

    def await_catch_up(self, seed: int) -> None:
        """Come into a catch-up; where all has been caught up with, there is more to ask for."""
        deadline = time.monotonic() + CATCH_UP_WITHIN_S
        while not self.catches_up():
            if time.monotonic() > deadline:
                self.poller.stop()
                self.write_past(until_s_ago=60, every_s=1, states=400, seed=seed)
                self.poller.start()
                wait_until(self.catches_up, within_s=40, what="a catch-up")
            time.sleep(0.05)

    def journal_rows(self) -> int:
        return len(self._rows())

    def pass_seconds(self, seconds: float) -> None:
        """Let the meters' states of so many seconds be written."""
        goal = self.journal_rows() + round(seconds * STATES_A_SECOND)
        wait_until(
            lambda: self.journal_rows() >= goal, within_s=20 + 3 * seconds, what=f"{goal} rows in the journal"
        )

    def _rows(self) -> list[tuple[str, int | None, str]]:
        if not self.settings.journal.exists():
            return []
        with contextlib.closing(
            sqlite3.connect(f"file:{self.settings.journal}?mode=ro", uri=True, timeout=10)
        ) as one:
            return one.execute(
                "SELECT device.name, time_ms, payload FROM state JOIN device ON device.id = state.device"
            ).fetchall()

    def expected(self) -> tuple[int, Samples]:
        """How many rows the journal has, and the samples that they make by the contract."""
        samples: dict[tuple[str, str, int], float] = {}
        rows = self._rows()
        states = set()
        for device, time_ms, payload in rows:
            assert time_ms is not None
            assert (device, time_ms) not in states, f"two rows of {device} at {time_ms}"
            states.add((device, time_ms))
            values = msgspec.json.decode(payload)
            held = values.pop("held")
            for field, value in values.items():
                if value is not None and field not in held:
                    samples[f"meter_{field}", device, time_ms] = float(value)
        return len(rows), samples

    def stored(self) -> Samples | None:
        """Every sample that Prometheus has of the meters; `None` while it does not answer."""
        words = urllib.parse.urlencode({"query": '{__name__=~"meter_.+"}[14d]', "time": time.time() + 60})
        url = f"http://127.0.0.1:{self.prometheus.port}/api/v1/query"
        try:
            with urllib.request.urlopen(url, data=words.encode(), timeout=60) as answer:
                found = json.load(answer)["data"]["result"]
        except (OSError, urllib.error.HTTPError):
            return None
        samples: dict[tuple[str, str, int], float] = {}
        for series in found:
            labels = series["metric"]
            assert labels.keys() == {"__name__", "device"}, labels
            for at, value in series["values"]:
                place = (labels["__name__"], labels["device"], round(float(at) * 1000))
                assert place not in samples, f"two values at one time: {place}"
                samples[place] = float(value)
        return samples

    def compare(self, expected: Samples) -> Comparison | None:
        """What of these samples is missing, and what is there that the journal, read afterwards, has not."""
        stored = self.stored()
        if stored is None:
            return None
        rows, there = self.expected()
        return Comparison(
            rows,
            len(expected),
            len(stored),
            tuple(sorted(expected.keys() - stored.keys())),
            tuple(sorted(place for place, value in stored.items() if there.get(place) != value)),
        )

    def settle(self, what: str, capsys: pytest.CaptureFixture[str], *, within_s: float = 90) -> Comparison:
        """Wait until all that the journal holds now is in Prometheus, say what was seen, and demand it."""
        began = time.monotonic()
        _, expected = self.expected()
        seen = None
        while time.monotonic() - began < within_s:
            figures = self.metrics()
            behind = figures.get("bridge_states_waiting", 1e9) + figures.get("bridge_states_missing", 1e9)
            if behind < 4 * STATES_A_SECOND or time.monotonic() - began > within_s - 10:
                seen = self.compare(expected)
                if seen is not None and not seen.missing:
                    break
            time.sleep(0.5)
        with capsys.disabled():
            print(
                f"\n{what}: no answer from Prometheus"
                if seen is None
                else f"\n{what}: {seen.rows} rows, {seen.samples} samples, {len(seen.missing)} missing, "
                f"{len(seen.extra)} extra, {time.monotonic() - self.began:.0f} s, "
                f"{time.monotonic() - began:.0f} s of them until all was there",
                end=" ",
                flush=True,
            )
        assert seen is not None
        assert not seen.missing, f"{len(seen.missing)} missing, {seen.missing[:5]}; {self.metrics()}"
        assert not seen.extra, f"{len(seen.extra)} extra, {seen.extra[:5]}"
        with contextlib.closing(sqlite3.connect(f"file:{self.store}?mode=ro", uri=True, timeout=10)) as store:
            assert store.execute("SELECT name, reason FROM quarantine LIMIT 3").fetchall() == []
        return seen


@contextlib.contextmanager
def running(house: House) -> Iterator[House]:
    """A house that ends with the test, whatever happened to it."""
    try:
        yield house
    finally:
        house.stop()
