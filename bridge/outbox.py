"""The way from the stored states to the receiver: one batch after the other, each written down before it is sent.

What a batch holds, and in which order, is stored before its first request and
stays the same until its outcome is known, whoever dies meanwhile. So a request
whose answer was lost is repeated byte for byte.
"""

import heapq
import json
from collections.abc import Iterator, Mapping, Sequence
from math import isnan

from bridge.arrival import MAX_SEQ
from bridge.batch import Batch, Piece, Row, RowId, Run, cut, to_pieces, to_runs
from bridge.database import Database, Sql
from bridge.gaps import Gap, Place, find_passable
from bridge.ranges import Range, Ranges, minus, single, union
from bridge.sample import to_samples
from bridge.store import read_ranges, write_ranges
from readings.errors import PayloadError
from readings.payload import CONTRACT, Info, decode_info, decode_state
from readings.reading import DeviceKey, DeviceState, Kind

_CHUNK = 64
"""States that are read at a time."""


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
        self._infos: dict[int, Info] = {}
        self._parked: dict[int, Ranges] = {}
        self._gaps: dict[int, Mapping[Gap, float]] = {}

    def begin(self, now_ms: int, now_s: float) -> Batch | None:
        """The batch that was under way, or else the next one; None when nothing can be sent now.

        Args:
            now_ms: The wall clock.
            now_s: The clock that counts from the boot.

        Raises:
            StoreError: It cannot be written down, so it must not be sent.
        """
        with self._database.transaction() as sql:
            self._catch_up_with_file(sql)
            unsettled = sql.execute("SELECT id, runs, pieces FROM batch WHERE settled_s IS NULL").fetchone()
            if unsettled is not None:
                number, runs, pieces = unsettled
                return Batch(
                    number,
                    tuple(row for run in runs_from(runs) for row in self._read_run(sql, run)),
                    tuple(Piece(begin, end) for begin, end in json.loads(pieces)),
                    generation=self._generation,
                    is_resumed=True,
                )
            return self._next(sql, now_ms, now_s)

    def replace_first(self, batch: Batch, pieces: Sequence[Piece]) -> Batch:
        """Send these pieces instead of the first one, which the receiver refuses.

        Raises:
            StoreError: It cannot be written down; nothing has changed.
        """
        left = (*pieces, *batch.pieces[1:])
        with self._database.transaction() as sql:
            if batch.generation == self._database.generation:
                sql.execute("UPDATE batch SET pieces = ? WHERE id = ?", (_pieces_to(left), batch.id))
        return Batch(batch.id, batch.rows, left, generation=batch.generation)

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
                if guilt:
                    _quarantine(sql, batch, first[0], guilt)
                if left:
                    sql.execute("UPDATE batch SET pieces = ? WHERE id = ?", (_pieces_to(left), batch.id))
                else:
                    _settle(sql, batch, now_s)
        return Batch(batch.id, batch.rows, left, generation=batch.generation)

    def unpark(self) -> None:
        """Judge anew what was too far ahead of the clock."""
        self._parked.clear()

    def _catch_up_with_file(self, sql: Sql) -> None:
        """When the file is new to us, see whether it is from before a start of this host."""
        if self._generation == self._database.generation:
            return
        self._generation = self._database.generation
        self._infos.clear()
        self._parked.clear()
        self._gaps.clear()
        boot = sql.execute("SELECT value FROM note WHERE key = 'boot'").fetchone()
        if boot is None or boot[0] != self._boot:
            for (runs,) in sql.execute("SELECT runs FROM batch WHERE settled_s IS NOT NULL").fetchall():
                for run in runs_from(runs):
                    done = read_ranges(sql, "done", run.stream)
                    write_ranges(sql, "done", run.stream, done, minus(done, ((run.first, run.last),)))
            sql.execute("DELETE FROM batch WHERE settled_s IS NOT NULL")
            sql.execute("INSERT OR REPLACE INTO note VALUES ('boot', ?)", (self._boot,))

    def _next(self, sql: Sql, now_ms: int, now_s: float) -> Batch | None:
        devices = sql.execute("SELECT id, kind, name, newest_ms FROM device").fetchall()
        newest = {DeviceKey(Kind(kind), name): time for _, kind, name, time in devices if time is not None}
        waiting = [self._read_waiting(sql, number, now_s) for number, _, _, _ in devices]
        chosen = cut(heapq.merge(*waiting, key=lambda row: row.time_ms), newest, now_ms)
        for one in chosen.parked:
            self._parked[one.stream] = union(self._parked.get(one.stream, ()), single([one.seq]))
        if not chosen.rows:
            return None
        runs = to_runs(chosen.rows)
        by_id = {row.id: row for row in chosen.rows}
        rows = tuple(by_id[RowId(run.stream, seq)] for run in runs for seq in range(run.first, run.last + 1))
        pieces = to_pieces(sum(len(row.samples) for row in rows))
        number = sql.execute(
            "INSERT INTO batch (runs, pieces) VALUES (?, ?)", (_runs_to(runs), _pieces_to(pieces))
        ).lastrowid
        assert number is not None  # noqa: S101 - an INSERT has a row; only the type says it might not
        return Batch(number, rows, pieces, generation=self._generation)

    def _read_waiting(self, sql: Sql, device: int, now_s: float) -> Iterator[Row]:
        """What of a device may be sent now, in row order; what cannot be named yet is passed over."""
        places = []
        for stream, contract in sql.execute(
            "SELECT stream.id, contract FROM stream LEFT JOIN info ON info.id = stream.info"
            " WHERE device = ? AND place IS NOT NULL ORDER BY place",
            (device,),
        ).fetchall():
            gone = union(read_ranges(sql, "done", stream), self._parked.get(stream, ()))
            had = read_ranges(sql, "had", stream) if contract is not None and contract <= CONTRACT else ()
            places.append(Place(stream, minus(had, gone), gone, read_ranges(sql, "wanted", stream)))
        passable = find_passable(places, self._gaps.get(device, {}), now_s)
        self._gaps[device] = passable.gaps
        for stream, (first, last) in passable.ranges:
            yield from self._read_run(sql, Run(stream, first, last, _row_before(sql, stream, first)))

    def _read_run(self, sql: Sql, run: Run) -> Iterator[Row]:
        """The rows of a run, each judged against the one before it."""
        kind, name = sql.execute(
            "SELECT kind, device.name FROM stream JOIN device ON device.id = stream.device WHERE stream.id = ?",
            (run.stream,),
        ).fetchone()
        device = DeviceKey(Kind(kind), name)
        before, state_before = run.before, _read_state(sql, run.before)
        following = run.first
        while following <= run.last:
            rows = sql.execute(
                "SELECT seq, time_ms, info, payload FROM state WHERE stream = ? AND seq BETWEEN ? AND ?"
                " ORDER BY seq LIMIT ?",
                (run.stream, following, run.last, _CHUNK),
            ).fetchall()
            if not rows:
                return
            for seq, time_ms, info, payload in rows:
                state = _decode(payload)
                samples = to_samples(state, self._info(sql, info), state_before) if state else ()
                yield Row(RowId(run.stream, seq), device, time_ms, samples, before)
                before, state_before, following = RowId(run.stream, seq), state, seq + 1

    def _info(self, sql: Sql, number: int) -> Info:
        known = self._infos.get(number)
        if known is None:
            (payload,) = sql.execute("SELECT payload FROM info WHERE id = ?", (number,)).fetchone()
            if len(self._infos) >= 100:
                self._infos.clear()
            known = self._infos[number] = decode_info(payload)
        return known


def _row_before(sql: Sql, stream: int, seq: int) -> RowId | None:
    """The row before a place, of this stream or an earlier one, be it stored or removed."""
    device, place, removed_stream, removed_seq = sql.execute(
        "SELECT device.id, place, before_stream, before_seq FROM stream"
        " JOIN device ON device.id = stream.device WHERE stream.id = ?",
        (stream,),
    ).fetchone()
    earlier = sql.execute(
        "SELECT id FROM stream WHERE device = ? AND place < ? ORDER BY place DESC", (device, place)
    ).fetchall()
    for one, below in ((stream, seq), *((number, MAX_SEQ + 1) for (number,) in earlier)):
        (last,) = sql.execute(
            "SELECT max(seq) FROM state WHERE stream = ? AND seq < ?", (one, below)
        ).fetchone()
        if one == removed_stream and removed_seq < below:
            last = max(last or 0, removed_seq)
        if last is not None:
            return RowId(one, last)
    return None


def _read_state(sql: Sql, row: RowId | None) -> DeviceState | None:
    if row is None:
        return None
    found = sql.execute(
        "SELECT payload FROM state WHERE stream = ?1 AND seq = ?2"
        " UNION ALL SELECT before_payload FROM device WHERE before_stream = ?1 AND before_seq = ?2",
        (row.stream, row.seq),
    ).fetchone()
    return _decode(found[0]) if found else None


def _decode(payload: bytes) -> DeviceState | None:
    """A stored state; None for one that a later contract wrote and that is no state of ours."""
    try:
        return decode_state(payload)
    except PayloadError:
        return None


def _settle(sql: Sql, batch: Batch, now_s: float) -> None:
    sql.execute("UPDATE batch SET pieces = '[]', settled_s = ? WHERE id = ?", (now_s, batch.id))
    ranges: dict[int, list[Range]] = {}
    for run in to_runs(batch.rows):
        ranges.setdefault(run.stream, []).append((run.first, run.last))
    for stream, sent in ranges.items():
        done = read_ranges(sql, "done", stream)
        write_ranges(sql, "done", stream, done, union(done, sent))
    newest: dict[DeviceKey, int] = {}
    for row in batch.rows:
        newest[row.device] = max(row.time_ms, newest.get(row.device, row.time_ms))
    sql.executemany(
        "UPDATE device SET newest_ms = max(?1, coalesce(newest_ms, ?1)) WHERE kind = ?2 AND name = ?3",
        [(time, device.kind, device.name) for device, time in newest.items()],
    )


def _quarantine(sql: Sql, batch: Batch, piece: Piece, reason: str) -> None:
    for place, sample in enumerate(batch.samples[piece.begin : piece.end], piece.begin):
        row = batch.row_of(place)
        (stream,) = sql.execute("SELECT name FROM stream WHERE id = ?", (row.id.stream,)).fetchone()
        series = sample.series
        sql.execute(
            "INSERT INTO quarantine (device, stream, seq, name, labels, value, time_ms, reason)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                str(row.device),
                stream,
                row.id.seq,
                series.name,
                json.dumps(dict(series.labels), ensure_ascii=False),
                None if isnan(sample.value) else sample.value,
                sample.timestamp_ms,
                reason,
            ),
        )


def _runs_to(runs: Sequence[Run]) -> str:
    return json.dumps(
        [
            [run.stream, run.first, run.last, *((run.before.stream, run.before.seq) if run.before else ())]
            for run in runs
        ]
    )


def runs_from(text: str) -> tuple[Run, ...]:
    """What a batch holds, as it was written down."""
    return tuple(
        Run(stream, first, last, RowId(*before) if before else None)
        for stream, first, last, *before in json.loads(text)
    )


def _pieces_to(pieces: Sequence[Piece]) -> str:
    return json.dumps([[piece.begin, piece.end] for piece in pieces])
