"""Stored states as rows of samples, each judged against the one before it.

What was readable when it was written down and is not now was damaged since,
though the file seems whole: `DamagedError`, as for the file itself.
"""

import json
from collections.abc import Iterator, Sequence

import msgspec

from bridge.arrival import MAX_SEQ
from bridge.batch import Row, RowId, Run
from bridge.database import Sql
from bridge.sample import Names, name_fields, to_samples
from readings.database_file import DamagedError
from readings.errors import PayloadError, TopicError
from readings.payload import Info, decode_info, decode_state
from readings.reading import DeviceKey, DeviceState, Kind

_FIRST_CHUNK, _MOST_CHUNK = 8, 128
"""States that are read at a time: few at first, for a batch takes a few of many devices, or many of few."""

_MOST_INFOS = 100
_MOST_STATES = 1000

_ALWAYS_READ = 1
"""Every release reads this contract, so that a state under it was one when it came. Under a later one it may be none."""

_NUMBERS = msgspec.json.Decoder(tuple[tuple[int, ...], ...])


class Rows:
    """Reads rows of one store, and remembers the announcements that name their samples.

    It remembers the states that it read lately, too: with those that one batch
    looked at and did not take, the next one begins.
    """

    def __init__(self) -> None:
        self._names: dict[int, tuple[int, Names]] = {}
        self._states: dict[RowId, DeviceState | None] = {}

    def of(self, sql: Sql, run: Run) -> Iterator[Row]:
        """The rows of a run, each judged against the one before it."""
        found = sql.execute(
            "SELECT kind, device.name FROM stream JOIN device ON device.id = stream.device WHERE stream.id = ?",
            (run.stream,),
        ).fetchone()
        if found is None:
            raise DamagedError(f"stream {run.stream}: there is none")
        device = device_from(*found)
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
                contract, names = self._names_of(sql, info)
                state = self._decode(row, payload, contract)
                samples = to_samples(state, names, state_before) if state else ()
                yield Row(row, device, time_ms, samples, before)
                before, state_before, following = row, state, seq + 1

    def _names_of(self, sql: Sql, info: int) -> tuple[int, Names]:
        """The contract of an announcement, and the series that it names."""
        known = self._names.get(info)
        if known is None:
            found = sql.execute("SELECT payload, contract FROM info WHERE id = ?", (info,)).fetchone()
            if found is None:
                raise DamagedError(f"info {info}: there is none")
            if len(self._names) >= _MOST_INFOS:
                self._names.clear()
            read = info_from(*found)
            known = self._names[info] = read.contract, name_fields(read)
        return known

    def _read_state(self, sql: Sql, row: RowId | None) -> DeviceState | None:
        if row is None:
            return None
        if row in self._states:
            return self._states[row]
        found = sql.execute(
            "SELECT state.payload, contract FROM state LEFT JOIN info ON info.id = state.info"
            " WHERE state.stream = ?1 AND seq = ?2"
            " UNION ALL SELECT before_payload, contract FROM device LEFT JOIN stream ON stream.id = before_stream"
            " LEFT JOIN info ON info.id = stream.info WHERE before_stream = ?1 AND before_seq = ?2",
            (row.stream, row.seq),
        ).fetchone()
        return self._decode(row, *found) if found else None

    def _decode(self, row: RowId, payload: bytes, contract: int | None) -> DeviceState | None:
        """A stored state; None for one that a later contract wrote and that is no state of ours."""
        if row in self._states:
            return self._states[row]
        try:
            state = decode_state(payload)
        except (PayloadError, TypeError) as error:
            if contract is not None and contract <= _ALWAYS_READ:
                raise DamagedError(f"state {row.stream} {row.seq}: {error}") from error
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
    try:
        return tuple(
            Run(stream, first, last, RowId(*before) if before else None)
            for stream, first, last, *before in numbers_from(text)
        )
    except (ValueError, TypeError) as error:
        raise DamagedError(f"runs of a batch: {error}") from error


def numbers_from(text: str) -> tuple[tuple[int, ...], ...]:
    """Lists of numbers, as they were written down."""
    try:
        return _NUMBERS.decode(text)
    except (msgspec.DecodeError, TypeError) as error:
        raise DamagedError(f"{text!r}: {error}") from error


def device_from(kind: str, name: str) -> DeviceKey:
    """A device, as it was written down."""
    try:
        return DeviceKey(Kind(kind), name)
    except (ValueError, TypeError, TopicError) as error:
        raise DamagedError(f"device: {error}") from error


def info_from(payload: bytes, contract: int) -> Info:
    """An announcement of this contract, as it was written down."""
    try:
        info = decode_info(payload)
    except (PayloadError, TypeError) as error:
        raise DamagedError(f"info: {error}") from error
    if info.contract != contract:
        raise DamagedError(f"info: expected contract {contract}, got {info.contract}")
    return info
