"""The processes around a measurement, and what the kernel says of them."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from heating.servers import find_program

_T = TypeVar("_T")

STARTS_WITHIN_S = 20.0
TAKES_AT_MOST_S = 900.0


class BenchError(Exception):
    """A measurement cannot be made; the text says why."""


def free_port() -> int:
    """A port of this machine that nothing holds."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def broker(folder: Path) -> Iterator[int]:
    """A mosquitto with the shipped number of messages in flight, and room for any backlog; gives its port."""
    program = find_program("mosquitto")
    if program is None:
        raise BenchError("mosquitto is not installed")
    port = free_port()
    config = folder / "mosquitto.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_inflight_messages 1000\nmax_queued_messages 0\n",
        encoding="utf-8",
    )
    with running([program, "-c", str(config)], folder / "mosquitto.log") as process:
        wait_for_port(port, process)
        yield port


@contextmanager
def running(command: Sequence[str], log: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that ends with the block; its standard output is a pipe, the rest goes to the log."""
    with log.open("ab") as errors:
        process = subprocess.Popen(  # noqa: S603  # our own programs
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def wait_for_port(port: int, process: subprocess.Popen[str]) -> None:
    """Wait until something listens there."""
    deadline = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise BenchError(f"{process.args!r} does not listen on port {port}")


@contextmanager
def gateway(folder: Path, baud: int) -> Iterator[tuple[str, int]]:
    """The simulated meter and heat pump, in a process of their own; gives their address."""
    command = [sys.executable, "-m", "bench.gateway", str(baud)]
    with running(command, folder / "gateway.log") as process:
        said = process.stdout.readline() if process.stdout else ""
        if not said:
            raise BenchError(f"the gateway does not start: {(folder / 'gateway.log').read_text()[-500:]}")
        yield "127.0.0.1", int(said)


def run_child(module: str, form: type[_T], *arguments: object, before: Sequence[str] = ()) -> _T:
    """Run one of our modules in a fresh process, and read the JSON that it prints last.

    Raises:
        BenchError: It failed.
    """
    done = subprocess.run(  # noqa: S603  # our own programs
        [*before, sys.executable, "-m", module, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=TAKES_AT_MOST_S,
    )
    if done.returncode:
        raise BenchError(f"{module} failed: {done.stderr[-2000:]}")
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=form)


def memory_mib(pid: int | str, what: str) -> float:
    """`VmRSS` (now) or `VmHWM` (at most so far) of a process."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) / 1024
    raise BenchError(f"/proc/{pid}/status does not say {what}")


def cpu_seconds(pid: int) -> float:
    """What a process and its threads have used."""
    # The name in parentheses may hold spaces; user and system time are the 14th and 15th field.
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def bytes_written() -> tuple[int, int]:
    """What this process handed to the kernel (`wchar`), and what of it is bound for the disk (`write_bytes`)."""
    lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    found = {name: int(number) for name, _, number in (line.partition(": ") for line in lines)}
    return found["wchar"], found["write_bytes"]
