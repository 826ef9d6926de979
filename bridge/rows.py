"""Stored states as rows of samples, each judged against the one before it."""

import json
from collections.abc import Iterator, Sequence

from bridge.arrival import MAX_SEQ
from bridge.batch import Row, RowId, Run
from bridge.database import Sql
from bridge.sample import Names, name_fields, to_samples
from readings.errors import PayloadError
from readings.payload import decode_info, decode_state
from readings.reading import DeviceKey, DeviceState, Kind

_FIRST_CHUNK, _MOST_CHUNK = 8, 128
"""States that are read at a time: few at first, for a batch takes a few of many devices, or many of few."""

_MOST_INFOS = 100
_MOST_STATES = 1000


class Rows:
    """Reads rows of one store, and remembers the announcements that name their samples.

    It remembers the states that it read lately, too: with those that one batch
    looked at and did not take, the next one begins.
    """

    def __init__(self) -> None:
        self._names: dict[int, Names] = {}
        self._states: dict[RowId, DeviceState | None] = {}

    def of(self, sql: Sql, run: Run) -> Iterator[Row]:
        """The rows of a run, each judged against the one before it."""
        kind, name = sql.execute(
            "SELECT kind, device.name FROM stream JOIN device ON device.id = stream.device WHERE stream.id = ?",
            (run.stream,),
        ).fetchone()
        device = DeviceKey(Kind(kind), name)
        before, state_before = run.before, self._read_state(sql, run.before)
        following, chunk = run.first, _FIRST_CHUNK
        while following <= run.last:
            rows = sql.execute(
                "SELECT seq, time_ms, info, payload FROM state WHERE stream = ? AND seq BETWEEN ? AND ?"
                " ORDER BY seq LIMIT ?",
                (run.stream, following, run.last, chunk),
            ).fetchall()
            if not rows:
                return
            chunk = min(2 * chunk, _MOST_CHUNK)
            for seq, time_ms, info, payload in rows:
                row = RowId(run.stream, seq)
                state = self._decode(row, payload)
                samples = to_samples(state, self._names_of(sql, info), state_before) if state else ()
                yield Row(row, device, time_ms, samples, before)
                before, state_before, following = row, state, seq + 1

    def _names_of(self, sql: Sql, info: int) -> Names:
        """The series that an announcement names."""
        known = self._names.get(info)
        if known is None:
            (payload,) = sql.execute("SELECT payload FROM info WHERE id = ?", (info,)).fetchone()
            if len(self._names) >= _MOST_INFOS:
                self._names.clear()
            known = self._names[info] = name_fields(decode_info(payload))
        return known

    def _read_state(self, sql: Sql, row: RowId | None) -> DeviceState | None:
        if row is None:
            return None
        if row in self._states:
            return self._states[row]
        found = sql.execute(
            "SELECT payload FROM state WHERE stream = ?1 AND seq = ?2"
            " UNION ALL SELECT before_payload FROM device WHERE before_stream = ?1 AND before_seq = ?2",
            (row.stream, row.seq),
        ).fetchone()
        return self._decode(row, found[0]) if found else None

    def _decode(self, row: RowId, payload: bytes) -> DeviceState | None:
        """A stored state; None for one that a later contract wrote and that is no state of ours."""
        if row in self._states:
            return self._states[row]
        try:
            state = decode_state(payload)
        except PayloadError:
            state = None
        if len(self._states) >= _MOST_STATES:
            self._states.clear()
        self._states[row] = state
        return state


def row_before(sql: Sql, stream: int, seq: int) -> RowId | None:
    """The row before a place, of this stream or an earlier one, be it stored or removed."""
    device, place, removed_stream, removed_seq = sql.execute(
        "SELECT device.id, place, before_stream, before_seq FROM stream"
        " JOIN device ON device.id = stream.device WHERE stream.id = ?",
        (stream,),
    ).fetchone()

    def places() -> Iterator[tuple[int, int]]:
        yield stream, seq
        # Seldom needed, and years of starts leave thousands of them.
        yield from sql.execute(
            "SELECT id, ? FROM stream WHERE device = ? AND place < ? ORDER BY place DESC",
            (MAX_SEQ + 1, device, place),
        )

    for one, below in places():
        (last,) = sql.execute(
            "SELECT max(seq) FROM state WHERE stream = ? AND seq < ?", (one, below)
        ).fetchone()
        if one == removed_stream and removed_seq < below:
            last = max(last or 0, removed_seq)
        if last is not None:
            return RowId(one, last)
    return None


def runs_to(runs: Sequence[Run]) -> str:
    """What a batch holds, to be written down."""
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
