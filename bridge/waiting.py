"""What of each device waits in the store and may be sent now, in the order of its rows."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from bridge.batch import Row, Run
from bridge.database import Sql
from bridge.gaps import Place, Waiter, find_passable
from bridge.range_tables import read_all_ranges
from bridge.ranges import Range, Ranges, minus, union
from bridge.rows import Rows, row_before
from readings.payload import CONTRACT

STORED = """
WITH RECURSIVE stored(stream) AS (
    SELECT min(stream) FROM state
    UNION ALL
    SELECT (SELECT min(stream) FROM state WHERE stream > stored.stream) FROM stored WHERE stored.stream IS NOT NULL
)
"""
"""For a query that asks which streams have states; DISTINCT would look at every state."""

_OPEN_STREAMS = f"""
{STORED}, begin(device, place) AS (
    SELECT device, min(place) FROM stream
    WHERE id IN (SELECT stream FROM stored UNION SELECT stream FROM wanted) GROUP BY device
)
SELECT stream.id, stream.device, contract
FROM begin JOIN stream ON stream.device = begin.device AND stream.place >= begin.place
LEFT JOIN info ON info.id = stream.info
ORDER BY stream.device, stream.place
"""  # noqa: S608 - constants
"""Of each device, the streams from the first on that has states here or at the poller: years of starts lie before it."""


class Waiting:
    """Reads what waits, and remembers since when what is behind a gap waits.

    Args:
        rows: Makes rows of stored states.
    """

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._since: dict[int, Mapping[Waiter, float]] = {}

    def read(
        self, sql: Sql, held: Mapping[int, Ranges], now_s: float, last: int | None = None
    ) -> list[Iterator[Row]]:
        """The rows of each device; they are read as far as somebody takes them.

        Args:
            sql: The transaction, which must still be open then.
            held: What is not to go now, by stream.
            now_s: The clock that counts from the boot.
            last: Only what is among so many of the states that came last of each device.
        """
        return [
            self._in_order(sql, device, places, now_s, last)
            for device, places in self._find_places(sql, held).items()
        ]

    def _find_places(self, sql: Sql, held: Mapping[int, Ranges]) -> dict[int, list[Place]]:
        """The streams of each device in order, from the first of which something is here or missing."""
        streams = sql.execute(_OPEN_STREAMS).fetchall()
        oldest = min((stream for stream, _, _ in streams), default=0)
        had, done, wanted = (read_all_ranges(sql, table, oldest) for table in ("had", "done", "wanted"))
        places: dict[int, list[Place]] = {}
        for stream, device, contract in streams:
            gone = union(done.get(stream, ()), held.get(stream, ()))
            here = had.get(stream, ()) if contract is not None and contract <= CONTRACT else ()
            place = Place(stream, minus(here, gone), gone, wanted.get(stream, ()))
            places.setdefault(device, []).append(place)
        return places

    def _in_order(
        self, sql: Sql, device: int, places: Sequence[Place], now_s: float, most: int | None
    ) -> Iterator[Row]:
        """What of a device may be sent now, in row order; what cannot be named yet is passed over."""
        passable = find_passable(places, self._since.get(device, {}), now_s)
        self._since[device] = passable.since
        ranges = passable.ranges if most is None else _among_last(most, passable.ranges, places[-1])
        for stream, (first, last) in ranges:
            yield from self._rows.of(sql, Run(stream, first, last, row_before(sql, stream, first)))


def _among_last(most: int, ranges: Iterable[tuple[int, Range]], place: Place) -> list[tuple[int, Range]]:
    """What of these lies among so many states that came last of a stream."""
    newest = max((last for _, last in (*place.waiting, *place.gone)), default=0)
    return [
        (stream, (max(first, newest - most + 1), last))
        for stream, (first, last) in ranges
        if stream == place.stream and last > newest - most
    ]
