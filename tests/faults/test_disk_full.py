"""A disk that is full stops no reading, and once there is room again everything that has a row gets to Prometheus."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import Server, wait_until
from tests.faults.house import SHORT, House, running

pytestmark = [pytest.mark.faults, pytest.mark.mosquitto, pytest.mark.prometheus, pytest.mark.timeout(300)]

DISK_MB = 6


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(disk)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def fill(disk: Path) -> Path:
    """Take every byte that is left."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass
    return filler


SAYS = {
    "bridge": ("nothing can be stored", "the store takes states again"),
    "poller": ("journal: cannot be used", "readings are kept again"),
}
"""What a program says when its disk is full, and when it is free again."""


@pytest.mark.parametrize("owner", ["bridge"] if SHORT else SAYS)
def test_nothing_is_lost_when_the_disk_is_full_and_free_again(
    tmp_path: Path, small_disk: Path, mosquitto: Server, prometheus: Server, owner: str, capsys
):
    """What the poller shows while its disk is full has no row, and is not promised."""
    full, free = SAYS[owner]
    with running(House(tmp_path, mosquitto, prometheus, **{f"{owner}_data": small_disk / owner})) as house:
        house.start()
        wait_until(house.stored, within_s=20, what="samples before the disk is full")
        filler = fill(small_disk)
        wait_until(lambda: house.has_said(owner, full), within_s=60, what=full)
        if owner == "bridge":
            house.pass_seconds(4)
        filler.unlink()
        wait_until(lambda: house.has_said(owner, free), within_s=30, what=free)
        house.pass_seconds(3)
        house.settle(f"{owner}'s disk full and free again", capsys)
