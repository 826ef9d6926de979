"""Real servers for the tests: each on a free port, ended with the test.

What this machine lacks is skipped with its reason; CI runs with everything.
"""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from readings.settings import MqttSettings

collect_ignore = ["homeassistant/probe"]
"""It runs inside of Home Assistant, whose modules are not here: looking for doctests would import it."""

# How fast this machine is today proves nothing, and others share it.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

REFUSE_SKIPS = "HEATING_TESTS_REFUSE_SKIPS"
"""Set where everything is installed: a skipped test fails the run there."""


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if (
        exitstatus == 0
        and os.environ.get(REFUSE_SKIPS)
        and reporter is not None
        and reporter.stats.get("skipped")
    ):
        reporter.write_line(f"{REFUSE_SKIPS} is set, and tests were skipped", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def wait_until(condition: Callable[[], object], *, within_s: float = 10, what: str = "") -> None:
    """Wait for a condition, and fail with its name when the deadline passes."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {within_s} s: {what or condition}")
        time.sleep(0.01)


@dataclass
class Server:
    """A server process that a test may kill and start again."""

    command: list[str]
    port: int
    log: Path
    process: subprocess.Popen[bytes] | None = field(default=None)

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        wait_until(self.is_listening, within_s=20, what=f"{self.command[0]} listens; its log: {self.log}")

    def is_listening(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()
        with socket.socket() as probe:
            probe.settimeout(0.5)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()


def needs(program: str) -> str:
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")
    if path is None:
        pytest.skip(f"{program} is not installed")
    return path


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Server]:
    """A mosquitto broker with persistence, without passwords, on a free port."""
    program = needs("mosquitto")
    port = free_port()
    folder = tmp_path / "mosquitto"
    folder.mkdir()
    config = folder / "mosquitto.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {folder}/\n"
        "max_inflight_messages 0\nmax_queued_messages 0\nuser root\n"
    )
    server = Server([program, "-c", str(config)], port, folder / "log")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def mqtt_settings(mosquitto: Server) -> MqttSettings:
    return MqttSettings(host="127.0.0.1", port=mosquitto.port)


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[Server]:
    """A Prometheus with the remote-write receiver and an out-of-order window of 14 days, on a free port."""
    folder = tmp_path / "prometheus"
    folder.mkdir()
    server = start_prometheus(folder)
    yield server
    server.stop()


def start_prometheus(folder: Path) -> Server:
    """The same in a folder, for who keeps it for longer than a test."""
    program = needs("prometheus")
    port = free_port()
    config = folder / "prometheus.yml"
    config.write_text("storage:\n  tsdb:\n    out_of_order_time_window: 14d\n")
    server = Server(
        [
            program,
            f"--config.file={config}",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{port}",
            "--web.enable-remote-write-receiver",
        ],
        port,
        folder / "log",
    )
    server.start()
    return server
