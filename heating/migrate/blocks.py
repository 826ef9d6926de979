"""Blocks of Prometheus, made by its own promtool beside its data and put among them at the end.

All are made before the first one is put in its place, which is a rename. Whoever ends the
program before has changed nothing, and whoever ends it while they are put in their places finds the rest
done by the next run.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from heating.errors import CommandError
from heating.migrate.sieve import Points
from heating.migrate.windows import BLOCK_H
from heating.report.queries import escape

FOLDER = "heating-migrate"
"""Within Prometheus' folder, which passes over what has not the name of a block."""

UNDER_WAY, COMPLETE = "under-way", "complete.json"
TIMEOUT_S = 3600


class Made(msgspec.Struct, frozen=True):
    """What was made of one device's past.

    Attributes:
        selector: Its series and no others.
        from_ms: The first sample, milliseconds since 1970 UTC.
        to_ms: The last one.
        samples: How many.
    """

    selector: str
    from_ms: int
    to_ms: int
    samples: int


class Record(msgspec.Struct, frozen=True):
    """What a run put among Prometheus' data.

    Attributes:
        made: Per device.
        blocks: The names of the blocks as they were put there; Prometheus merges them with others.
    """

    made: tuple[Made, ...]
    blocks: tuple[str, ...]


class Blocks:
    """The folder of a Prometheus, as far as a migration writes there."""

    def __init__(self, data: Path, promtool: str) -> None:
        self._data = data
        self._promtool = promtool
        self._folder = data / FOLDER
        self._work = self._folder / UNDER_WAY

    def check(self, needed_bytes: int) -> None:
        """See that it can be done, before all of it is read.

        Raises:
            CommandError: It is no such folder, cannot be written, is full, or there is no promtool.
        """
        if not (self._data / "wal").is_dir():
            raise CommandError(f"{self._data}: is no folder of Prometheus: expected its --storage.tsdb.path")
        if not os.access(self._data, os.W_OK):
            raise CommandError(f"{self._data}: cannot be written: run this as root or as Prometheus' user")
        free = shutil.disk_usage(self._data).free
        if free < needed_bytes:
            raise CommandError(
                f"{self._data}: expected {needed_bytes / 1e6:.0f} MB that are free, there are {free / 1e6:.0f}"
            )
        try:
            subprocess.run([self._promtool, "--version"], check=True, capture_output=True, timeout=60)  # noqa: S603 - the person's choice
        except (OSError, subprocess.SubprocessError) as error:
            raise CommandError(
                f"no promtool: {error}. It comes with Prometheus; --promtool names another place"
            ) from error

    def records(self) -> Sequence[Record]:
        """What was done here before."""
        return [
            msgspec.json.decode(path.read_bytes(), type=Record)
            for path in sorted(self._folder.glob("*.json"))
        ]

    def are_separate(self, record: Record) -> bool:
        """Whether some blocks are still as they were put there, so that Prometheus may not have seen them yet."""
        return any((self._data / name).exists() for name in record.blocks)

    def begin(self) -> None:
        """An empty place to work in; what an interrupted run left there goes."""
        shutil.rmtree(self._work, ignore_errors=True)
        (self._work / "blocks").mkdir(parents=True)

    def add(self, series: Iterable[tuple[str, Mapping[str, str], Points]]) -> int:
        """Make the block of one window; gives how many samples it holds.

        Args:
            series: The name, labels and samples of each, in the order of time.

        Raises:
            CommandError: promtool cannot.
        """
        text, temporary = self._work / "openmetrics", self._work / "temporary"
        written = 0
        with text.open("w", encoding="utf-8") as file:
            for name, labels, points in series:
                pairs = ",".join(f'{key}="{escape(value)}"' for key, value in labels.items())
                head = f"{name}{{{pairs}}}"
                file.writelines(
                    f"{head} {value!r} {time_ms // 1000}.{time_ms % 1000:03d}\n" for time_ms, value in points
                )
                written += len(points)
            file.write("# EOF\n")
        if written == 0:
            return 0
        temporary.mkdir(exist_ok=True)
        command = [
            self._promtool, "tsdb", "create-blocks-from", f"--max-block-duration={BLOCK_H}h", "--quiet",
            "openmetrics", str(text), str(self._work / "blocks"),
        ]  # fmt: skip
        environment = {**os.environ, "TMPDIR": str(temporary)}
        try:
            subprocess.run(  # noqa: S603 - the person's choice
                command, check=True, capture_output=True, timeout=TIMEOUT_S, env=environment, text=True
            )
        except subprocess.CalledProcessError as error:
            raise CommandError(f"promtool makes no block: {' '.join(error.stderr.split())}") from error
        except (OSError, subprocess.SubprocessError) as error:
            raise CommandError(f"promtool makes no block: {error}") from error
        return written

    def complete(self, made: Sequence[Made]) -> None:
        """Compare what the blocks say of themselves with what was written, and write down that all are there.

        Raises:
            CommandError: They hold something else.
        """
        metas = sorted((self._work / "blocks").glob("*/meta.json"))
        held = sum(json.loads(one.read_bytes())["stats"]["numSamples"] for one in metas)
        expected = sum(one.samples for one in made)
        if held != expected:
            raise CommandError(
                f"the blocks hold {held:,} samples of {expected:,}: nothing was put in its place"
            )
        record = msgspec.json.encode(Record(tuple(made), tuple(one.parent.name for one in metas)))
        (self._work / f"{COMPLETE}.new").write_bytes(record)
        os.sync()
        (self._work / f"{COMPLETE}.new").rename(self._work / COMPLETE)

    def is_complete(self) -> bool:
        """Whether a run made all blocks and has not put all of them in their places."""
        return (self._work / COMPLETE).exists()

    def put(self) -> Record:
        """Put every block in its place, and keep the record."""
        said = (self._work / COMPLETE).read_bytes()
        record = msgspec.json.decode(said, type=Record)
        owner = self._data.stat()
        for name in record.blocks:
            block = self._work / "blocks" / name
            if block.exists():
                if os.geteuid() == 0:
                    for path in (block, *block.rglob("*")):
                        os.chown(path, owner.st_uid, owner.st_gid)
                block.rename(self._data / name)
        (self._work / COMPLETE).rename(self._folder / f"{record.blocks[0]}.json")
        shutil.rmtree(self._work)
        return record

    def forget(self) -> None:
        """Take the records away, once what they name is gone."""
        shutil.rmtree(self._folder)
