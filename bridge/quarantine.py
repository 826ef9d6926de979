"""The quarantine: samples that the receiver will never take as they are, until somebody looks at them.

The bridge puts them there and takes them out; `heating quarantine` looks into
the same file while the bridge runs, and only ever changes what is marked.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from math import isnan
from pathlib import Path

import msgspec

from bridge.batch import Row
from bridge.database import Sql, visit
from bridge.sample import STALE, Sample, Series
from readings.database_file import DamagedError

_COLUMNS = "id, device, stream, seq, name, labels, value, time_ms, reason, resend"

_LABELS = msgspec.json.Decoder(dict[str, str])


@dataclass(frozen=True, slots=True)
class Quarantined:
    """One sample in quarantine.

    Attributes:
        device: Kind and name, as in its topics.
        reason: What the receiver, or the bridge's clock, said of it.
        is_to_go: Somebody asked for it to be sent again.
    """

    id: int
    device: str
    stream: str
    seq: int
    sample: Sample
    reason: str
    is_to_go: bool


class Quarantine:
    """What is in quarantine.

    Args:
        transaction: How to begin one in the store.
    """

    def __init__(self, transaction: Callable[[], AbstractContextManager[Sql]]) -> None:
        self._transaction = transaction

    def entries(self) -> tuple[Quarantined, ...]:
        """All of it, oldest first.

        Raises:
            StoreError: The store cannot be read; so it is with all that follows.
        """
        with self._transaction() as sql:
            rows = sql.execute(f"SELECT {_COLUMNS} FROM quarantine ORDER BY id")  # noqa: S608 - our columns
            return tuple(_entry(row) for row in rows)

    def due(self, limit: int) -> tuple[Quarantined, ...]:
        """Those that somebody wants to be sent again, at most so many."""
        with self._transaction() as sql:
            rows = sql.execute(
                f"SELECT {_COLUMNS} FROM quarantine WHERE resend ORDER BY id LIMIT ?",  # noqa: S608 - our columns
                (limit,),
            )
            return tuple(_entry(row) for row in rows)

    def resend(self, ids: Sequence[int] | None) -> int:
        """Mark those, or all, to be sent again by the bridge; how many there were."""
        return self._change("UPDATE quarantine SET resend = 1", ids)

    def drop(self, ids: Sequence[int] | None) -> int:
        """Forget those, or all, for ever; how many there were."""
        return self._change("DELETE FROM quarantine", ids)

    def keep(self, one: Quarantined, reason: str) -> None:
        """It was sent again in vain: it stays, for that reason."""
        with self._transaction() as sql:
            sql.execute("UPDATE quarantine SET resend = 0, reason = ? WHERE id = ?", (reason, one.id))

    def _change(self, statement: str, ids: Sequence[int] | None) -> int:
        with self._transaction() as sql:
            if ids is None:
                return sql.execute(statement).rowcount
            return sum(sql.execute(f"{statement} WHERE id = ?", (one,)).rowcount for one in ids)


def put(sql: Sql, row: Row, samples: Iterable[Sample], reason: str) -> None:
    """Put samples of a state there; one that is there already stays there once."""
    (stream,) = sql.execute("SELECT name FROM stream WHERE id = ?", (row.id.stream,)).fetchone()
    sql.executemany(
        "INSERT INTO quarantine (device, stream, seq, name, labels, value, time_ms, reason)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (device, stream, seq, name, labels) DO UPDATE SET reason = excluded.reason",
        [
            (
                str(row.device),
                stream,
                row.id.seq,
                sample.series.name,
                json.dumps(dict(sample.series.labels), ensure_ascii=False),
                None if isnan(sample.value) else sample.value,
                sample.timestamp_ms,
                reason,
            )
            for sample in samples
        ],
    )


@contextmanager
def open_quarantine(path: Path) -> Iterator[Quarantine]:
    """Look into a store that the bridge may be using.

    Raises:
        StoreError: There is none, or it is another release's.
    """
    with visit(path) as transaction:
        yield Quarantine(transaction)


def _entry(row: tuple[int, str, str, int, str, str, float | None, int, str, int]) -> Quarantined:
    number, device, stream, seq, name, labels, value, time_ms, reason, resend = row
    try:
        series = Series(name, tuple(sorted(_LABELS.decode(labels).items())))
    except (msgspec.DecodeError, TypeError) as error:
        raise DamagedError(f"labels in quarantine: {error}") from error
    sample = Sample(series, STALE if value is None else value, time_ms)
    return Quarantined(number, device, stream, seq, sample, reason, bool(resend))
