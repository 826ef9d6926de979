"""The way from the stored states to the receiver: one batch after the other, each written down before it is sent.

What a batch holds, and in which order, is stored before its first request and
stays the same until its outcome is known, whoever dies meanwhile. So a request
whose answer was lost is repeated byte for byte.
"""

import heapq
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace

from bridge.batch import (
    AHEAD_MS,
    MAX_SAMPLES,
    Batch,
    Piece,
    Row,
    Run,
    and_the_rest,
    by_stream,
    cut,
    hold,
    to_pieces,
    to_runs,
)
from bridge.database import Database, Sql
from bridge.quarantine import Quarantine, put
from bridge.range_tables import read_ranges, write_ranges
from bridge.ranges import Range, Ranges, minus, single, union
from bridge.rows import Rows, device_from, info_from, numbers_from, row_before, runs_from, runs_to
from bridge.waiting import Waiting
from readings.database_file import DamagedError
from readings.payload import CONTRACT, Info
from readings.reading import DeviceKey

PARKED_MS = 86_400_000
"""What lies ahead of the clock for longer goes to quarantine: no clock is wrong for a day."""

MOST_ASIDE = 10
"""Batches that others go before; their states may not be dropped, so they are few.

When so many are aside, what came last goes before all others, to see whether the receiver works at all.
"""

_MOST_JUDGED = 500
"""Parked states that go to quarantine at a time."""


class Outbox:
    """What is to be sent next, and what became of it.

    Args:
        database: Where everything is written down.
        boot: Which start of this host it is. After another one, what was
            settled shortly before is sent again: receivers do not wait for their
            disk, so a power cut may have taken it from them.
    """

    def __init__(self, database: Database, *, boot: str) -> None:
        self._database = database
        self._boot = boot
        self._generation = -1
        self._rows = Rows()
        self.quarantine = Quarantine(database.transaction)
        self._parked: dict[int, Ranges] = {}
        self._waiting = Waiting(self._rows)
        # The batch that was made the next one and is not under way yet.
        self._recalled: int | None = None
        # All batches before it are settled: a long catch-up leaves thousands, too many to look at each time.
        self._oldest_open = 0

    def begin(
        self, now_ms: int, now_s: float, limit: int = MAX_SAMPLES, last: int | None = None
    ) -> Batch | None:
        """The batch that was under way, or else the next one; None when nothing can be sent now.

        Args:
            now_ms: The wall clock.
            now_s: The clock that counts from the boot.
            limit: Samples in one request.
            last: Only what is among so many of the states that came last of each device.

        Raises:
            StoreError: It cannot be written down, so it must not be sent.
        """
        with self._database.transaction() as sql:
            self._catch_up_with_file(sql)
            unsettled = sql.execute(
                "SELECT id, runs, pieces, aside FROM batch WHERE id >= ? AND settled_s IS NULL ORDER BY id",
                (self._oldest_open,),
            ).fetchall()
            held = dict(self._parked)
            for number, runs, pieces, is_aside in unsettled:
                if not is_aside:
                    rows = tuple(row for run in runs_from(runs) for row in self._rows.of(sql, run))
                    left = _pieces_from(pieces, sum(len(row.samples) for row in rows))
                    if number != self._recalled:
                        # Whoever began it may have sent the first, and died.
                        left = (*(replace(one, may_be_there=True) for one in left[:1]), *left[1:])
                    self._recalled = None
                    return Batch(number, rows, left, generation=self._generation)
                hold(held, runs_from(runs))
            waiting = self._waiting.read(sql, held, now_s, last)
            batch = self._next(sql, waiting, now_ms, limit)
            if batch is not None:
                self._oldest_open = min([batch.id, *(number for number, *_ in unsettled)])
            return batch

    def arrange(self, batch: Batch, pieces: Sequence[Piece]) -> Batch:
        """Send what is left of a batch in these pieces.

        Raises:
            StoreError: It cannot be written down; nothing has changed.
        """
        with self._database.transaction() as sql:
            if batch.generation == self._database.generation:
                sql.execute("UPDATE batch SET pieces = ? WHERE id = ?", (_pieces_to(pieces), batch.id))
        return Batch(batch.id, batch.rows, tuple(pieces), generation=batch.generation)

    def set_aside(self, batch: Batch, most: int | None = MOST_ASIDE) -> int:
        """Let others go before a batch that the receiver fails at, unless so many are aside already.

        Returns:
            How many are aside with it; 0 when it is not.

        Raises:
            StoreError: It cannot be written down; nothing has changed.
        """
        with self._database.transaction() as sql:
            (aside,) = sql.execute("SELECT count(*) FROM batch WHERE aside").fetchone()
            if most is not None and aside >= most:
                return 0
            sql.execute("UPDATE batch SET aside = 1 WHERE id = ?", (batch.id,))
        return int(aside) + 1

    def recall(self) -> bool:
        """Make the oldest batch that was set aside the next one, unless one is under way; False when none is.

        Raises:
            StoreError: It cannot be written down; nothing has changed.
        """
        with self._database.transaction() as sql:
            recalled = sql.execute(
                "UPDATE batch SET aside = 0 WHERE id = (SELECT min(id) FROM batch WHERE aside)"
                " AND NOT EXISTS (SELECT 1 FROM batch WHERE settled_s IS NULL AND NOT aside) RETURNING id"
            ).fetchall()
            self._recalled = recalled[0][0] if recalled else None
            (unsettled,) = sql.execute("SELECT count(*) FROM batch WHERE settled_s IS NULL").fetchone()
        return bool(unsettled)

    def settle_first(self, batch: Batch, now_s: float, guilt: str = "") -> Batch:
        """The first piece is with the receiver, or in quarantine for the reason that is given.

        Args:
            batch: As it is now.
            now_s: On the clock that counts from the boot.
            guilt: What the receiver said of the piece's samples.

        Returns:
            What is left of the batch; it is settled when that has no pieces.

        Raises:
            StoreError: It cannot be written down; nothing has changed.
        """
        first, left = batch.pieces[:1], batch.pieces[1:]
        with self._database.transaction() as sql:
            if batch.generation == self._database.generation:
                for place in range(first[0].begin, first[0].end) if guilt else ():
                    put(sql, batch.row_of(place), [batch.samples[place]], guilt)
                if left:
                    sql.execute("UPDATE batch SET pieces = ? WHERE id = ?", (_pieces_to(left), batch.id))
                else:
                    _settle(sql, batch, now_s)
        return Batch(batch.id, batch.rows, left, generation=batch.generation)

    def unpark(self, now_ms: int, now_s: float) -> int:
        """Judge anew what was too far ahead of the clock; what was so for a day goes to quarantine.

        Returns:
            How many samples went there.

        Raises:
            StoreError: It cannot be written down; nothing has changed.
        """
        self._parked.clear()
        with self._database.transaction() as sql:
            sql.execute(
                "DELETE FROM parked WHERE NOT EXISTS (SELECT 1 FROM state"
                " WHERE state.stream = parked.stream AND state.seq = parked.seq AND time_ms > ?)",
                (now_ms + AHEAD_MS,),
            )
            sql.execute("UPDATE parked SET since_ms = ?1 WHERE since_ms > ?1", (now_ms,))
            old = sql.execute(
                "SELECT stream, seq FROM parked WHERE since_ms <= ? LIMIT ?",
                (now_ms - PARKED_MS, _MOST_JUDGED),
            ).fetchall()
            rows = by_stream(
                row
                for stream, seq in old
                for row in self._rows.of(sql, Run(stream, seq, seq, row_before(sql, stream, seq)))
            )
            for row in rows:
                put(sql, row, row.samples, "it lay ahead of the bridge's clock for a day")
            if rows:
                _mark_done(sql, rows)
                # As a batch that is settled, they leave the store as others do.
                sql.execute(
                    "INSERT INTO batch (runs, pieces, settled_s) VALUES (?, '[]', ?)",
                    (runs_to(to_runs(rows)), now_s),
                )
                sql.executemany("DELETE FROM parked WHERE stream = ? AND seq = ?", old)
        return sum(len(row.samples) for row in rows)

    def announced(self) -> tuple[Info, ...]:
        """What each device's newest stream was announced with.

        Raises:
            StoreError: It cannot be read.
        """
        with self._database.transaction() as sql:
            rows = sql.execute(
                "SELECT max(stream.id), payload, contract FROM stream JOIN info ON info.id = stream.info"
                " WHERE contract <= ? GROUP BY device",
                (CONTRACT,),
            ).fetchall()
            return tuple(info_from(payload, contract) for _, payload, contract in rows)

    def _catch_up_with_file(self, sql: Sql) -> None:
        """See whether the file is from before a start of this host, and forget what was known of another file."""
        # Each time: the transaction in which it was noted may have failed.
        notice_reboot(sql, self._boot)
        if self._generation == self._database.generation:
            return
        self._generation = self._database.generation
        self._rows = Rows()
        self._waiting = Waiting(self._rows)
        self._parked.clear()
        self._oldest_open = 0
        self._recalled = None

    def _next(self, sql: Sql, waiting: Sequence[Iterator[Row]], now_ms: int, limit: int) -> Batch | None:
        devices = sql.execute(
            "SELECT kind, name, newest_ms FROM device WHERE newest_ms IS NOT NULL"
        ).fetchall()
        newest = {device_from(kind, name): time for kind, name, time in devices}
        chosen = cut(heapq.merge(*waiting, key=lambda row: row.time_ms), newest, now_ms, limit)
        for one in chosen.parked:
            self._parked[one.stream] = union(self._parked.get(one.stream, ()), single([one.seq]))
        sql.executemany(
            "INSERT OR IGNORE INTO parked VALUES (?, ?, ?)",
            [(one.stream, one.seq, now_ms) for one in chosen.parked],
        )
        if not chosen.rows:
            return None
        rows = by_stream(chosen.rows)
        pieces = to_pieces(sum(len(row.samples) for row in rows), limit)
        number = sql.execute(
            "INSERT INTO batch (runs, pieces) VALUES (?, ?)", (runs_to(to_runs(rows)), _pieces_to(pieces))
        ).lastrowid
        assert number is not None  # noqa: S101 - an INSERT has a row; only the type says it might not
        return Batch(number, rows, pieces, generation=self._generation)


def notice_reboot(sql: Sql, boot: str) -> None:
    """After a new start of the host, what was settled shortly before it is to be sent again.

    So are the settled pieces of a batch that was under way: after the others, whose first may be on its way.
    Whoever works with settled batches looks first; nobody may take away what is to be sent again.
    """
    known = sql.execute("SELECT value FROM note WHERE key = 'boot'").fetchone()
    if known is None or known[0] != boot:
        for (runs,) in sql.execute("SELECT runs FROM batch WHERE settled_s IS NOT NULL").fetchall():
            for run in runs_from(runs):
                done = read_ranges(sql, "done", run.stream)
                write_ranges(sql, "done", run.stream, done, minus(done, ((run.first, run.last),)))
        sql.execute("DELETE FROM batch WHERE settled_s IS NOT NULL")
        for number, pieces in sql.execute("SELECT id, pieces FROM batch").fetchall():
            again = _pieces_to(and_the_rest(_pieces_from(pieces)))
            sql.execute("UPDATE batch SET pieces = ? WHERE id = ?", (again, number))
        sql.execute("INSERT OR REPLACE INTO note VALUES ('boot', ?)", (boot,))


def _settle(sql: Sql, batch: Batch, now_s: float) -> None:
    sql.execute("UPDATE batch SET pieces = '[]', settled_s = ? WHERE id = ?", (now_s, batch.id))
    _mark_done(sql, batch.rows)
    newest: dict[DeviceKey, int] = {}
    for row in batch.rows:
        newest[row.device] = max(row.time_ms, newest.get(row.device, row.time_ms))
    sql.executemany(
        "UPDATE device SET newest_ms = max(?1, coalesce(newest_ms, ?1)) WHERE kind = ?2 AND name = ?3",
        [(time, device.kind, device.name) for device, time in newest.items()],
    )


def _mark_done(sql: Sql, rows: Sequence[Row]) -> None:
    ranges: dict[int, list[Range]] = {}
    for run in to_runs(rows):
        ranges.setdefault(run.stream, []).append((run.first, run.last))
    for stream, sent in ranges.items():
        done = read_ranges(sql, "done", stream)
        write_ranges(sql, "done", stream, done, union(done, sent))


def _pieces_to(pieces: Sequence[Piece]) -> str:
    return json.dumps([[piece.begin, piece.end, *([1] if piece.may_be_there else ())] for piece in pieces])


def _pieces_from(text: str, samples: int | None = None) -> tuple[Piece, ...]:
    """The pieces that were written down, as far as there are so many samples."""
    try:
        pieces = tuple(Piece(begin, end, bool(mark)) for begin, end, *mark in numbers_from(text))
    except ValueError as error:
        raise DamagedError(f"pieces of a batch: {error}") from error
    if samples is None:
        return pieces
    return tuple(replace(one, end=min(one.end, samples)) for one in pieces if one.begin < samples)
