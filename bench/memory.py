"""Memory and processor of the two programs beside a simulated house in real time."""

import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench.processes import broker, cpu_seconds, free_port, gateway, memory_mib, running, wait_for_port
from bench.sink import sink
from bench.table import Table

CONFIG = """\
[mqtt]
host = "127.0.0.1"
port = {mqtt_port}

[bridge]
listen = "127.0.0.1:{web_port}"

[[bus]]
name = "rs485"
connect = "tcp://{gateway[0]}:{gateway[1]}"
baud = 9600

[[device]]
name = "meter"
bus = "rs485"
profile = "wago-879"
unit = 2
interval = 5
aliases = ["wago"]

[[device]]
name = "heatpump"
bus = "rs485"
profile = "lg-r290"
unit = 7
interval = 10

[[remote_write]]
url = "{url}"
"""

SETTLES_S = 5.0


def measure(*, is_quick: bool) -> Table:
    """Start both, and look at them then, two minutes later, and four."""
    settles_s, runs_s = (0.2, 0.2) if is_quick else (SETTLES_S, 120.0)
    with (
        tempfile.TemporaryDirectory() as name,
        broker(folder := Path(name)) as mqtt_port,
        gateway(folder, 9600) as address,
        sink() as url,
    ):
        config, web_port = folder / "config.toml", free_port()
        config.write_text(
            CONFIG.format(mqtt_port=mqtt_port, web_port=web_port, gateway=address, url=url), encoding="utf-8"
        )
        bridge, poller = (
            [sys.executable, "-m", program, "--config", str(config)] for program in ("bridge", "poller")
        )
        with running(bridge, folder / "bridge.log") as one, running(poller, folder / "poller.log") as other:
            wait_for_port(web_port, one)
            pids = (other.pid, one.pid)
            time.sleep(settles_s)
            looks = [[_look(pid) for pid in pids]]
            for _ in range(2):
                time.sleep(runs_s)
                looks.append([_look(pid) for pid in pids])
    early, middle, late = looks
    return Table(
        "Both programs: memory, and what they use at rest",
        "python -m bench memory",
        ("measure", "poller", "bridge", "unit"),
        (
            ("resident after the start", *(f"{one.memory_mib:.1f}" for one in early), "MiB"),
            (f"resident {runs_s:g} s later", *(f"{one.memory_mib:.1f}" for one in middle), "MiB"),
            (f"resident {2 * runs_s:g} s later", *(f"{one.memory_mib:.1f}" for one in late), "MiB"),
            ("CPU until the first look", *(f"{one.cpu_s:.2f}" for one in early), "s"),
            (
                f"CPU in the last {runs_s:g} s",
                *(
                    f"{(after.cpu_s - before.cpu_s) / runs_s * 100:.2f}"
                    for before, after in zip(middle, late, strict=True)
                ),
                "% of a core",
            ),
        ),
        f"`python -m poller` and `python -m bridge` with a simulated meter every 5 s and heat pump every 10 s on a line of"
        f" 9600 baud, mosquitto, and a receiver that takes everything. After the start is after {settles_s:g} s. Where the"
        f" clock is not synchronised, states are stored and sent only from the third minute on.",
    )


@dataclass(frozen=True, slots=True)
class _Look:
    memory_mib: float
    cpu_s: float


def _look(pid: int) -> _Look:
    return _Look(memory_mib(pid, "VmRSS"), cpu_seconds(pid))
