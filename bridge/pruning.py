"""Keeps the store small: what was sent leaves after ten minutes, what cannot be sent after days, oldest first."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bridge.arrival import MAX_SEQ
from bridge.batch import RowId, Run, hold
from bridge.database import Database, Sql
from bridge.outbox import notice_reboot
from bridge.range_tables import read_ranges, write_ranges
from bridge.ranges import Range, Ranges, minus, single, union
from bridge.room import bytes_free, has_room
from bridge.rows import device_from, row_before, runs_from, runs_to
from bridge.waiting import STORED
from readings.database_file import used_bytes
from readings.reading import DeviceKey

SENT_ROWS_STAY_S = 600.0
"""A receiver that does not wait for its disk has written everything by then."""

MOST_STREAMS = 1000
"""Kept of a device: twice what a journal lists."""

MOST_QUARANTINED = 100_000

_MOST_GAPS = 200
"""The row before each of so many is kept; a journal is asked for the oldest first, and soon answers for all."""

ROWS_AT_ONCE = 200
"""Removed in one transaction: SQLite's log holds every page that it changes, and on a full disk must fit into the room
that is kept for sending (`bridge.room`), also where a state has some kilobytes."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much the store may keep of what it cannot send."""

    age_ms: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Pruned:
    """What one run did.

    Attributes:
        dropped: States that were dropped unsent, in part or as a whole, by device and reason.
        is_done: Nothing is left that the next run would remove.
    """

    dropped: Mapping[tuple[DeviceKey, str], int] = field(default_factory=dict)
    is_done: bool = True


class Pruning:
    """Removes from the store what need not, or cannot, stay in it.

    Args:
        database: The store.
        limits: What may stay.
        boot: Which start of this host it is.
        on_disk: How many bytes the disk of a file has left.
    """

    def __init__(
        self,
        database: Database,
        limits: Limits,
        *,
        boot: str,
        on_disk: Callable[[str], int] = bytes_free,
    ) -> None:
        self._database = database
        self._limits = limits
        self._boot = boot
        self._on_disk = on_disk

    def run(self, *, now_ms: int, now_s: float) -> Pruned:
        """Remove some of it, in one transaction; what is left is for the next run, which looks at everything anew.

        Args:
            now_ms: The wall clock.
            now_s: The clock that counts from the boot.

        Raises:
            StoreError: Nothing was removed.
        """
        with self._database.transaction() as sql:
            notice_reboot(sql, self._boot)
            # Without room nothing that is missing could come, and the rows kept for it would be the room.
            work = _Work(sql, ROWS_AT_ONCE, gaps=_MOST_GAPS if has_room(sql, self._on_disk) else 0)
            work.remove_sent(before_s=now_s - SENT_ROWS_STAY_S, after_s=now_s)
            newest = sql.execute("SELECT time_ms FROM state ORDER BY arrival DESC LIMIT 1").fetchone()
            if newest is not None:
                # A clock that is wrong must not empty the store, nor must a state from the future.
                work.drop_older_than(min(now_ms, newest[0]) - self._limits.age_ms)
            while (
                work.left
                and used_bytes(sql) > self._limits.bytes
                and (work.remove_oldest_sent() or work.drop_oldest())
            ):
                pass
            if work.left:
                work.forget()
        return Pruned(work.dropped, is_done=work.left > 0)


class _Work:
    """One run within its transaction.

    Attributes:
        left: So many rows may still be removed.
    """

    def __init__(self, sql: Sql, left: int, *, gaps: int) -> None:
        self._sql = sql
        self.left = left
        self.dropped: Counter[tuple[DeviceKey, str]] = Counter()
        self._under_way: dict[int, Ranges] = {}
        runs = [
            run
            for (text,) in sql.execute("SELECT runs FROM batch WHERE settled_s IS NULL").fetchall()
            for run in runs_from(text)
        ]
        hold(self._under_way, runs)
        # What waits for long is read again: without the row that it is judged against a series would not end, and a
        # batch would have other samples, so that its pieces were others.
        parked = sql.execute(
            "SELECT stream, seq FROM parked WHERE NOT EXISTS"
            " (SELECT 1 FROM parked AS one WHERE one.stream = parked.stream AND one.seq = parked.seq - 1)"
        ).fetchall()
        # And what is missing may end a series when it comes.
        missing = sql.execute(
            "SELECT stream, wanted.first FROM wanted JOIN stream ON id = stream ORDER BY place, wanted.first LIMIT ?",
            (gaps,),
        ).fetchall()
        judged_against = {run.before for run in runs}
        judged_against |= {row_before(sql, *place) for place in (*parked, *missing)}
        self._needed: dict[int, Ranges] = {}
        hold(self._needed, [Run(row.stream, row.seq, row.seq, None) for row in judged_against if row])
        for device, *remembered in sql.execute(
            "SELECT id, before_stream, before_seq FROM device WHERE before_stream IS NOT NULL"
        ).fetchall():
            if RowId(*remembered) in judged_against:
                # Whatever of it is removed would be remembered in its place.
                streams = sql.execute("SELECT id FROM stream WHERE device = ?", (device,)).fetchall()
                hold(self._needed, [Run(stream, 1, MAX_SEQ, None) for (stream,) in streams])

    def remove_sent(self, *, before_s: float, after_s: float) -> None:
        """What was settled before, or, on the clock of an earlier boot, seems to be settled in the future."""
        # Not all at once: a long catch-up leaves thousands.
        for number, runs in self._sql.execute(
            "SELECT id, runs FROM batch WHERE settled_s < ? OR settled_s > ? ORDER BY id", (before_s, after_s)
        ):
            if not self.left:
                return
            self._remove_batch(number, runs_from(runs))

    def remove_oldest_sent(self) -> bool:
        """Rather one that others are judged against than a state that was not sent."""
        return any(
            self._remove_batch(number, runs_from(runs), is_forced=is_forced)
            for is_forced in (False, True)
            for number, runs in self._sql.execute(
                "SELECT id, runs FROM batch WHERE settled_s IS NOT NULL ORDER BY id"
            )
        )

    def drop_older_than(self, horizon_ms: int) -> None:
        for stream in self._streams():
            while self.left and (seqs := self._oldest(stream, horizon_ms)):
                self._drop(stream, seqs, "age")

    def drop_oldest(self) -> bool:
        """Drop some of the stream whose next state is the oldest of all."""
        heads = [(head, stream) for stream in self._streams() if (head := self._head_ms(stream)) is not None]
        if not heads:
            return False
        _, stream = min(heads)
        self._drop(stream, self._oldest(stream, None), "full")
        return True

    def forget(self) -> None:
        """Forget streams that no journal lists any more, and the oldest of a full quarantine."""
        for (device,) in self._sql.execute(
            "SELECT device FROM stream GROUP BY device HAVING count(*) > ?", (MOST_STREAMS,)
        ).fetchall():
            old = self._sql.execute(
                "SELECT id FROM stream WHERE device = ?1 AND id NOT IN (SELECT stream FROM state) AND id NOT IN"
                " (SELECT id FROM stream WHERE device = ?1 ORDER BY id DESC LIMIT ?2)",
                (device, MOST_STREAMS),
            ).fetchall()
            for table, key in (
                ("stream", "id"),
                ("info", "stream"),
                ("had", "stream"),
                ("wanted", "stream"),
                ("done", "stream"),
            ):
                self._sql.executemany(f"DELETE FROM {table} WHERE {key} = ?", old)  # noqa: S608 - tables of ours
        gone = self._sql.execute(
            "DELETE FROM quarantine WHERE id <= (SELECT id FROM quarantine ORDER BY id DESC LIMIT 1 OFFSET ?)"
            " AND id IN (SELECT id FROM quarantine ORDER BY id LIMIT ?) RETURNING device, stream, seq",
            (MOST_QUARANTINED, self.left),
        ).fetchall()
        self.left -= len(gone)
        for device, _, _ in set(gone):
            kind, _, name = device.partition("/")
            self.dropped[device_from(kind, name), "quarantine"] += 1

    def _remove_batch(self, number: int, runs: tuple[Run, ...], *, is_forced: bool = False) -> bool:
        """Remove a settled batch, or as much of it as may be; False where something that waits is judged against it."""
        if not is_forced and any(
            first <= run.last and run.first <= last
            for run in runs
            for first, last in self._needed.get(run.stream, ())
        ):
            return False
        rest: list[Run] = []
        for run in runs:
            last = min(run.last, run.first + self.left - 1)
            if run.first <= last:
                self._remove(run.stream, (run.first, last))
            if last < run.last:
                rest.append(Run(run.stream, last + 1, run.last, None))
        if rest:
            # Whoever wants it to be sent again finds what is still there.
            self._sql.execute("UPDATE batch SET runs = ? WHERE id = ?", (runs_to(rest), number))
        else:
            self._sql.execute("DELETE FROM batch WHERE id = ?", (number,))
        return True

    def _streams(self) -> list[int]:
        """Those that have states, for years of starts leave thousands."""
        found = self._sql.execute(f"{STORED} SELECT stream FROM stored WHERE stream IS NOT NULL")  # noqa: S608 - a constant
        return [number for (number,) in found.fetchall()]

    def _waiting(self, stream: int) -> Ranges:
        gone = union(read_ranges(self._sql, "done", stream), self._under_way.get(stream, ()))
        return minus(read_ranges(self._sql, "had", stream), gone)

    def _head_ms(self, stream: int) -> int | None:
        waiting = self._waiting(stream)
        if not waiting:
            return None
        found = self._sql.execute(
            "SELECT time_ms FROM state WHERE stream = ? AND seq = ?", (stream, waiting[0][0])
        ).fetchone()
        return None if found is None else int(found[0])

    def _oldest(self, stream: int, horizon_ms: int | None) -> list[int]:
        """The next states of a stream, as long as they are older than that."""
        waiting = self._waiting(stream)
        if not waiting:
            return []
        rows = self._sql.execute(
            "SELECT seq, time_ms FROM state WHERE stream = ? AND seq BETWEEN ? AND ? ORDER BY seq LIMIT ?",
            (stream, *waiting[0], self.left),
        ).fetchall()
        young = next(
            (place for place, (_, time) in enumerate(rows) if horizon_ms is not None and time >= horizon_ms),
            len(rows),
        )
        return [seq for seq, _ in rows[:young]]

    def _drop(self, stream: int, seqs: list[int], reason: str) -> None:
        device = self._sql.execute(
            "SELECT kind, device.name FROM stream JOIN device ON device.id = stream.device WHERE stream.id = ?",
            (stream,),
        ).fetchone()
        self.dropped[device_from(*device), reason] += len(seqs)
        gone = single(seqs)
        done = read_ranges(self._sql, "done", stream)
        write_ranges(self._sql, "done", stream, done, union(done, gone))
        for one in gone:
            self._remove(stream, one)

    def _remove(self, stream: int, gone: Range) -> None:
        """Remove rows; the last one in order stays with its device, for the next to be judged against."""
        self.left -= gone[1] - gone[0] + 1
        self._sql.execute(
            "UPDATE device SET before_stream = state.stream, before_seq = state.seq, before_payload = payload"
            " FROM state JOIN stream ON stream.id = state.stream"
            " WHERE state.stream = ?1 AND state.seq = ?2 AND device.id = stream.device"
            " AND (before_stream IS NULL OR (before_stream = ?1 AND before_seq < ?2)"
            "  OR (SELECT place FROM stream WHERE id = before_stream) < stream.place)",
            (stream, gone[1]),
        )
        self._sql.execute("DELETE FROM state WHERE stream = ? AND seq BETWEEN ? AND ?", (stream, *gone))
