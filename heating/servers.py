"""The servers that the demo starts for itself: a broker, and Prometheus where it is installed."""

import errno
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

READY_WITHIN_S = 20.0


class ServerError(Exception):
    """A server did not start; the text says what it said."""


def free_port(wanted: int, host: str = "127.0.0.1") -> int:
    """The wanted port, or the next one that nothing holds.

    Raises:
        ServerError: Nothing is free in the next hundred, or there is no such address here.
    """
    for port in range(wanted, min(wanted + 100, 65536)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                if error.errno in {errno.EADDRINUSE, errno.EACCES}:
                    continue
                raise ServerError(f"cannot listen on {host}: {error.strerror}") from error
            return port
    raise ServerError(f"no free port from {wanted} on")


def find_program(name: str) -> str | None:
    """Where a server program is; Debian keeps some outside of a user's PATH."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")


@dataclass(slots=True)
class Server:
    """A server process of ours, in a session of its own so that Ctrl-C reaches us first."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def stop(self) -> None:
        """End it, and wait until it is gone."""
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(5)


def start_broker(folder: Path, port: int, mosquitto: str | None) -> Server:
    """Start `mosquitto` where there is one, else the broker that came as a package.

    Raises:
        ServerError: It does not listen.
    """
    if mosquitto is None:
        return _start("iotcore", [sys.executable, "-m", "heating.embedded_broker", str(port)], folder, port)
    config = folder / "mosquitto.conf"
    # Without `user`, mosquitto started by root would give up its rights, and with them this folder.
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {folder}/\nuser root\n",
        encoding="utf-8",
    )
    return _start("mosquitto", [mosquitto, "-c", str(config)], folder, port)


def start_prometheus(folder: Path, port: int, program: str, bridge: str) -> Server:
    """Start Prometheus as a remote-write receiver that also scrapes the bridge's health, at that HOST:PORT.

    Raises:
        ServerError: It does not listen.
    """
    config = folder / "prometheus.yml"
    config.write_text(
        "storage: {tsdb: {out_of_order_time_window: 14d}}\n"
        "scrape_configs:\n"
        "  - job_name: heating\n"
        "    scrape_interval: 10s\n"
        f"    static_configs: [{{targets: ['{bridge}']}}]\n"
        "    metric_relabel_configs: [{source_labels: [__name__], regex: '(bridge|poller)_.*', action: keep}]\n",
        encoding="utf-8",
    )
    command = [
        program,
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'prometheus'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--web.enable-remote-write-receiver",
    ]
    return _start("Prometheus", command, folder, port)


def _start(name: str, command: list[str], folder: Path, port: int) -> Server:
    # Should this process be killed outright, the kernel ends its servers with it.
    setpriv = shutil.which("setpriv")
    prefix = [setpriv, "--pdeathsig", "TERM"] if setpriv else []
    log = folder / f"{name.lower()}.log"
    with log.open("ab") as out:
        process = subprocess.Popen(  # noqa: S603  # the programs are named above
            [*prefix, *command], stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )
    server = Server(name, port, process, log)
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ServerError(f"{name} ended at once: {_last_line(log)}")
        with socket.socket() as probe:
            probe.settimeout(0.5)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return server
        time.sleep(0.05)
    server.stop()
    raise ServerError(f"{name} did not listen on {port} within {READY_WITHIN_S:.0f} s: {_last_line(log)}")


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"
