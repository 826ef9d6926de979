"""What a house costs the disk: bytes per state, and how often it has to be waited for."""

import shutil
import tempfile
from pathlib import Path

from bench.house_hours import Written
from bench.processes import run_child
from bench.table import Table


def measure(*, is_quick: bool) -> Table:
    """Some hours of the house, as fast as they go, in one process under strace where that is installed."""
    hours = 0.1 if is_quick else 12.0
    with tempfile.TemporaryDirectory() as name:
        folder, trace = Path(name), Path(name) / "trace"
        strace = shutil.which("strace")
        before = (
            [strace, "-f", "-y", "-qq", "-e", "trace=fsync,fdatasync", "-o", str(trace)] if strace else []
        )
        found = run_child("bench.house_hours", Written, folder, hours, before=before)
        said = trace.read_text(encoding="utf-8").splitlines() if strace else []
    flushes = {
        side: f"{sum(f'/{side}.sqlite' in line for line in said) / hours:.1f}" if strace else "no strace here"
        for side in ("journal", "store")
    }
    kb = 1000 * found.states
    return Table(
        "Disk: journal and store",
        "python -m bench disk",
        ("measure", "poller's journal", "bridge's store", "unit"),
        (
            (
                "handed to the kernel",
                f"{found.journal_bytes / kb:.1f}",
                f"{found.store_bytes / kb:.1f}",
                "kB per state",
            ),
            (
                "the same, a day",
                f"{found.journal_bytes / hours * 24 / 1e6:.0f}",
                f"{found.store_bytes / hours * 24 / 1e6:.0f}",
                "MB",
            ),
            (
                "bound for the disk",
                f"{found.journal_bound / kb:.1f}",
                f"{found.store_bound / kb:.1f}",
                "kB per state",
            ),
            ("fsync and fdatasync", flushes["journal"], flushes["store"], "per hour"),
        ),
        f"meter every 30 s, heat pump every 10 s, three sensors every 60 s: {found.states / hours:.0f} states an hour,"
        f" {hours:g} hours by a clock that runs ahead. Handed to the kernel is `wchar` of /proc/self/io, bound for"
        f" the disk `write_bytes`; flushes are counted by strace.",
    )
