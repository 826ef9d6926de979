"""How well the bus thread keeps its times, on a simulated line of 9600 baud."""

import tempfile
import threading
import time
from itertools import pairwise
from pathlib import Path
from statistics import mean, pstdev

from bench.poller import BAUD, make_meter, make_settings
from bench.processes import gateway
from bench.table import Table
from poller.blocks import BlockRead, Poll, RegisterBlock
from poller.bus import ModbusTransport
from poller.config import BusSettings
from poller.device import Device
from poller.loop import BusWorker
from readings.health import POLLER_HEALTH, Tally


class _Watched(ModbusTransport):
    """Notes when each request begins."""

    def __init__(self, settings: BusSettings, tally: Tally) -> None:
        super().__init__(settings, tally=tally)
        self.begun: list[float] = []

    def read(self, block: RegisterBlock, unit: int, timeout_s: float) -> BlockRead:
        self.begun.append(time.monotonic())
        return super().read(block, unit, timeout_s)


def measure(*, is_quick: bool) -> Table:
    """Poll for a minute."""
    polls, interval_s = (5, 0.3) if is_quick else (60, 1.0)
    with tempfile.TemporaryDirectory() as folder, gateway(Path(folder), BAUD) as address:
        begun = _poll(address, polls + 1, interval_s)
    gaps = [later - earlier for earlier, later in pairwise(begun)]
    away_ms = [abs(gap - interval_s) * 1000 for gap in gaps]
    drift_ms = (begun[-1] - begun[0] - polls * interval_s) * 1000
    return Table(
        "Poller: keeping time",
        "python -m bench timetable",
        ("measure", "poller", "unit"),
        (
            ("mean interval", f"{mean(gaps):.5f}", f"s, asked {interval_s:g}"),
            ("off after the last interval", f"{drift_ms:.2f}", "ms"),
            ("standard deviation of an interval", f"{pstdev(gaps) * 1000:.2f}", "ms"),
            ("largest deviation of an interval", f"{max(away_ms):.2f}", "ms"),
        ),
        f"from first request to first request of {polls} polls of the simulated meter.",
    )


def _poll(address: tuple[str, int], polls: int, interval_s: float) -> list[float]:
    """When each poll's first request went out."""
    settings, tally, stopped = make_settings(address), Tally(POLLER_HEALTH), threading.Event()
    transport = _Watched(settings, tally)
    begun: list[float] = []

    def on_poll(_device: Device, _poll: Poll) -> bool:
        begun.append(transport.begun[0])
        transport.begun.clear()
        if len(begun) == polls:
            stopped.set()
        return False

    BusWorker(
        settings,
        [make_meter(interval_s)],
        transport=transport,
        monotonic=time.monotonic,
        wait=stopped.wait,
        on_poll=on_poll,
        tally=tally,
    ).run()
    return begun
