"""The journal: every reading that was taken, in one SQLite file for all devices.

A reading is taken once its row is committed; only then is it published. A
state's identity is (device, stream, seq); its seq is given in the transaction
that writes the row, and the order of a device's states is that of its rows.
The rows without wall time are always the last ones of their boot, because the
transaction that writes the first row with a time gives the waiting ones theirs.

A commit is safe from the death of the process (write-ahead log). It is not
flushed to the medium at once (`synchronous = NORMAL`): that would cost an SD
card thousands of flushes a day. A power cut takes what the kernel has not yet
written back, half a minute by its defaults; SQLite then finds an earlier,
whole state. No identity is given twice by that: the next start is a new stream.
"""

import logging
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from poller import journal_rows as rows_of
from poller import journal_upkeep as upkeep
from poller.errors import JournalError
from poller.journal_file import open_file
from poller.walltime import WallTime
from readings.database_file import DamagedError, LaterVersionError, is_damage, set_aside, used_bytes
from readings.payload import StreamRange
from readings.reading import DeviceKey, DeviceState, Value

OpenFile = Callable[[Path], sqlite3.Connection]
"""Opens the journal's file, as `open_file` does."""

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

_STEPS = 50
"""How often the oldest rows are taken out of a file that is too large, before other work has its turn."""


@dataclass(frozen=True, slots=True)
class Row:
    """A reading that wants a row.

    Attributes:
        taken: When it was taken, seconds of the monotonic clock.
        own_ms: The source's own time of it, where it gives one; it counts once the clock is trusted.
    """

    key: DeviceKey
    taken: float
    values: Mapping[str, Value]
    held: frozenset[str] = frozenset()
    own_ms: int | None = None

    def time_ms(self, clock: WallTime) -> int | None:
        """Its wall time; `None` while the clock is not trusted."""
        return self.own_ms if clock.is_trusted and self.own_ms is not None else clock.at(self.taken)


@dataclass(frozen=True, slots=True)
class Kept:
    """A device's filter state as an earlier run, or this one, left it."""

    data: bytes
    same_boot: bool


@dataclass(frozen=True, slots=True)
class Pruned:
    """How many rows left the journal, by reason, and whose list became shorter at its old end."""

    age: int = 0
    size: int = 0
    no_time: int = 0
    shrunk: frozenset[DeviceKey] = frozenset()


class Journal:
    """The journal of one run of the poller; used by one thread.

    Every method opens the file where it is not open, and raises JournalError
    when the disk does not do what was asked. Then nothing was written.

    Attributes:
        stream: This run's random id.

    Args:
        path: The SQLite file; its folder is made.
        boot: This boot's id: monotonic times of one boot can be compared.
        opens: How to open it.
    """

    def __init__(self, path: Path, *, stream: str, boot: str, opens: OpenFile = open_file) -> None:
        self.stream = stream
        self._opens = opens
        self._path = path
        self._boot = boot
        self._connection: sqlite3.Connection | None = None
        self._last: dict[DeviceKey, int] = {}
        self._infos: dict[DeviceKey, bytes] = {}
        self._latest_ms: dict[DeviceKey, int] = {}
        self._some_wait = True
        self._newest_ms = 0
        self._reached_ms: int | None = None

    @property
    def newest_ms(self) -> int:
        """The newest time of any row that ever was in this file; 0 when there was none."""
        return self._newest_ms

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def kept(self) -> Mapping[DeviceKey, Kept]:
        """The filter states that were last committed."""

        def read(connection: sqlite3.Connection) -> Mapping[DeviceKey, Kept]:
            keys = rows_of.device_keys(connection)
            rows = connection.execute("SELECT id, kept, kept_boot FROM device WHERE typeof(kept) = 'blob'")
            return {
                keys[device]: Kept(kept, same_boot=boot == self._boot)
                for device, kept, boot in rows
                if device in keys
            }

        return self._do(read)

    def memories(self) -> Mapping[str, bytes]:
        """What the sources of the last run knew, by their names."""
        query = "SELECT source, content FROM memory WHERE typeof(content) = 'blob'"
        return self._do(lambda connection: dict(connection.execute(query)))

    def infos(self) -> Mapping[DeviceKey, bytes]:
        """The devices that it has rows of, with what was last announced of each; empty where it does not know."""

        def read(connection: sqlite3.Connection) -> Mapping[DeviceKey, bytes]:
            keys = rows_of.device_keys(connection)
            return {keys[device]: info for device, info in rows_of.infos(connection) if device in keys}

        return self._do(read)

    def commit(
        self,
        rows: Sequence[Row],
        kept: Mapping[DeviceKey, bytes],
        clock: WallTime,
        memories: Mapping[str, bytes | None] = MappingProxyType({}),
        infos: Mapping[DeviceKey, bytes] = MappingProxyType({}),
    ) -> tuple[DeviceState, ...]:
        """Write readings, the filter states behind them, what sources know and what was announced, in one transaction.

        While the clock is not trusted the rows wait for their time; once it
        is, those of this boot that wait get theirs.

        Args:
            rows: The readings.
            kept: Filter states.
            clock: What is thought of the wall clock.
            memories: What sources know now, by name; `None` forgets it.
            infos: What is announced of the devices that the readings are of.

        Returns:
            The states as they are to be published: with time and seq, or without both.
        """
        if not rows and not kept and not memories and not (clock.is_trusted and self._some_wait):
            return ()

        last: dict[DeviceKey, int] = {}

        def write(connection: sqlite3.Connection) -> tuple[tuple[DeviceState, ...], int]:
            last.update(self._last)  # here, because a file that turns out to be damaged makes it run twice
            with _transaction(connection):
                if clock.is_trusted and self._some_wait:
                    upkeep.give_times(connection, self._boot, clock)
                    self._latest_ms.clear()
                states = tuple(self._insert(connection, row, last, clock) for row in rows)
                for key, data in kept.items():
                    connection.execute(
                        "UPDATE device SET kept = ?, kept_boot = ? WHERE id = ?",
                        (data, self._boot, rows_of.make_device(connection, key)),
                    )
                for source, content in memories.items():
                    rows_of.remember(connection, source, content)
                for key, info in infos.items():
                    if self._infos.get(key) != info:
                        rows_of.keep_info(connection, key, info)
                newest_ms = upkeep.newest_ms(connection)
            return states, newest_ms

        states, newest_ms = self._do(write)
        self._last = last
        self._infos.update(infos)
        self._newest_ms = max(self._newest_ms, newest_ms)
        if rows and clock.is_trusted:
            self._reached_ms = clock.at(max(row.taken for row in rows))
        self._some_wait = not clock.is_trusted and (self._some_wait or bool(rows))
        return states

    def listed(self, key: DeviceKey) -> tuple[StreamRange, ...]:
        """What may be asked for: the rows with a time, oldest stream first, the newest streams only."""
        return self._do(lambda connection: rows_of.ranges(connection, key))

    def states(self, key: DeviceKey, stream: str, first: int, last: int) -> tuple[DeviceState, ...]:
        """The states `first` to `last` of a stream, as far as they are here and have a time."""
        return self._do(lambda connection: rows_of.states(connection, key, stream, first, last))

    def prune(self, *, max_age_s: float, max_bytes: int) -> Pruned:
        """Take out what is too old or too much, oldest first, and set aside what will never get a time.

        Age counts back from the time at which this run took its last row, not
        from the clock, so that a wrong clock cannot empty the journal; nor from
        the latest time of any row, so that a clock that was once far ahead does
        not make every row after it too old.
        """

        def work(connection: sqlite3.Connection) -> Pruned:
            with _transaction(connection):
                no_time = upkeep.set_timeless_aside(connection, self._boot)
                aged: dict[int, int] = {}
                if self._reached_ms is not None:
                    aged = upkeep.prune_age(connection, self._reached_ms - round(max_age_s * 1000))
            shrunk, cut = set(aged), 0
            for _ in range(_STEPS):
                if used_bytes(connection) <= max_bytes:
                    break
                with _transaction(connection):
                    device, gone = upkeep.prune_oldest(connection)
                cut += gone
                if device is not None:
                    shrunk.add(device)
            with _transaction(connection):
                upkeep.forget_empty_streams(connection, self.stream)
            keys = rows_of.device_keys(connection)
            return Pruned(
                sum(aged.values()), cut, no_time, frozenset(keys[one] for one in shrunk & keys.keys())
            )

        return self._do(work)

    def rows(self) -> int:
        """How many states the journal holds, those that wait for a time included."""
        return self._do(rows_of.count)

    def file_bytes(self) -> int:
        """The size of the file and its log on disk.

        Raises:
            OSError: The disk does not say.
        """
        return sum(
            one.stat().st_size
            for one in (self._path, self._path.with_name(self._path.name + "-wal"))
            if one.exists()
        )

    def free_bytes(self) -> int:
        """What is free on its disk for a program that is not root's.

        Raises:
            OSError: The disk is not there.
        """
        return shutil.disk_usage(self._path.parent).free

    def _insert(
        self, connection: sqlite3.Connection, row: Row, last: dict[DeviceKey, int], clock: WallTime
    ) -> DeviceState:
        seq = last[row.key] = last.get(row.key, 0) + 1
        time_ms = row.time_ms(clock)
        if time_ms is not None:
            time_ms = self._free_time(connection, row.key, time_ms)
        stream = rows_of.make_stream(connection, self.stream, self._boot)
        state = DeviceState(time_ms, self.stream, seq, dict(row.values), row.held)
        # A source's own time may be ahead of the clock, which must not seem too old to be true by that.
        newest_ms = None if time_ms is None else min(time_ms, clock.at(row.taken) or 0)
        rows_of.insert_state(connection, row.key, state, stream=stream, taken=row.taken, newest_ms=newest_ms)
        return state if time_ms is not None else replace(state, seq=None)

    def _free_time(self, connection: sqlite3.Connection, key: DeviceKey, time_ms: int) -> int:
        """A time that no state of the device has yet.

        A clock that was set back comes by the same one twice, and a source whose own
        clock is ahead has been where ours comes later. A later time than any is free, so
        that only these cost a search, and each device's first row of a run.
        """
        latest_ms = self._latest_ms.get(key)
        is_later = latest_ms is not None and time_ms > latest_ms
        if not is_later and (device := rows_of.find_device(connection, key)) is not None:
            taken = rows_of.taken_times(connection, device, time_ms)
            time_ms = rows_of.next_free(time_ms, taken)
            latest_ms = max(taken, default=0) if latest_ms is None else latest_ms
        self._latest_ms[key] = max(latest_ms or 0, time_ms)
        return time_ms

    def _do(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Do some work on the open file; once more on a new one when this one turns out to be damaged."""
        try:
            try:
                return work(self._connected())
            except (sqlite3.Error, DamagedError, UnicodeDecodeError) as error:
                self.close()
                if not is_damage(error):
                    raise
                aside = set_aside(self._path)
                _log.error("journal: %s is damaged (%s): set aside as %s", self._path, error, aside.name)
                return work(self._connected())
        except (sqlite3.Error, DamagedError, LaterVersionError, UnicodeDecodeError, OSError) as error:
            self.close()
            raise JournalError(f"{self._path}: {error}") from error

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = self._opens(self._path)
            self._infos.clear()
            self._newest_ms = max(self._newest_ms, upkeep.newest_ms(self._connection))
        return self._connection


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
