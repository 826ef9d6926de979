"""What the bridge has: states as they came, and which ones it need not have again.

A group of messages goes in as one transaction. Only then are they
acknowledged, so that a message is either in here or still at the broker.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from bridge.arrival import Arrival, InfoCame, JournalCame, RefusedMessage, StateCame
from bridge.catchup import Known, Wanted
from bridge.database import Database, Sql
from bridge.errors import StoreError
from bridge.group import Group
from bridge.range_tables import read_all_ranges
from bridge.ranges import Range, Ranges, count, minus
from bridge.room import bytes_free, has_room
from bridge.status import DeviceBacklog
from readings.payload import CONTRACT
from readings.reading import DeviceKey, Kind

_PARKED = (
    "SELECT kind || '/' || device.name, count(*) FROM parked JOIN stream ON stream.id = parked.stream"
    " JOIN device ON device.id = stream.device GROUP BY device.id"
)
_QUARANTINED = "SELECT device, count(*) FROM quarantine GROUP BY device"


@dataclass(frozen=True, slots=True)
class Committed:
    """What became of a group's states, by device."""

    stored: Mapping[DeviceKey, int]
    repeated: Mapping[DeviceKey, int]


class Store:
    """The states that wait to be sent, and the memory of those that came.

    Args:
        database: The file.
        on_disk: How many bytes the disk of a file has left.
    """

    def __init__(self, database: Database, *, on_disk: Callable[[str], int] = bytes_free) -> None:
        self._database = database
        self._on_disk = on_disk

    def commit(self, group: Iterable[Arrival], now_ms: int) -> Committed:
        """Keep what a group of messages brought, all of it or nothing.

        Args:
            group: In the order in which they came.
            now_ms: For states whose time only a later contract can read.

        Raises:
            StoreError: Nothing was kept; what it would have been is not had.
        """
        with self._database.transaction() as sql:
            if not has_room(sql, self._on_disk):
                raise StoreError("the disk is full, but for what sending needs")
            writer = Group(sql, now_ms)
            for arrival in group:
                match arrival:
                    case StateCame():
                        if arrival.identity is not None and arrival.state.time_ms is not None:
                            writer.add_state(arrival.identity, arrival.state.time_ms, arrival.payload)
                    case RefusedMessage():
                        if arrival.identity is not None:
                            writer.add_refused(arrival.identity, arrival.payload)
                    case InfoCame():
                        writer.add_info(arrival)
                    case JournalCame():
                        writer.add_journal(arrival)
                    case _:
                        pass
            writer.finish()
        return Committed(writer.stored, writer.repeated)

    def backlog(self) -> dict[DeviceKey, DeviceBacklog]:
        """What of each device is not with the receiver."""
        found: dict[DeviceKey, DeviceBacklog] = {}
        with self._database.transaction() as sql:
            streams = sql.execute(
                "SELECT kind, device.name, stream.id, first, last, contract FROM stream"
                " JOIN device ON device.id = stream.device LEFT JOIN info ON info.id = stream.info"
            ).fetchall()
            had, done, wanted = (read_all_ranges(sql, table) for table in ("had", "done", "wanted"))
            for kind, name, stream, first, last, contract in streams:
                device = DeviceKey(Kind(kind), name)
                known = Known(first, last, had.get(stream, ()), wanted.get(stream, ()))
                waiting = minus(known.had, done.get(stream, ()))
                before = found.get(device, DeviceBacklog())
                is_later = contract is not None and contract > CONTRACT
                found[device] = DeviceBacklog(
                    waiting=before.waiting + (0 if is_later else count(waiting)),
                    missing=before.missing + count(known.wanted),
                    given_up=before.given_up + count(known.given_up),
                    unreadable=before.unreadable + (count(waiting) if is_later else 0),
                    oldest_waiting_ms=_earlier(
                        before.oldest_waiting_ms, _time_of_first(sql, stream, waiting)
                    ),
                )
            parked, quarantined = (dict(sql.execute(query).fetchall()) for query in (_PARKED, _QUARANTINED))
        return {
            device: replace(
                one, parked=parked.get(str(device), 0), quarantined=quarantined.get(str(device), 0)
            )
            for device, one in found.items()
        }

    def wanted(self) -> dict[DeviceKey, Wanted]:
        """What is to be asked for, by device; of streams that have their place, for only lists tell what exists."""
        found: dict[DeviceKey, dict[str, list[Range]]] = {}
        with self._database.transaction() as sql:
            for kind, name, stream, first, last in sql.execute(
                "SELECT kind, device.name, stream.name, wanted.first, wanted.last FROM wanted"
                " JOIN stream ON stream.id = wanted.stream JOIN device ON device.id = stream.device"
                " WHERE place IS NOT NULL ORDER BY device.id, place, wanted.first"
            ):
                streams = found.setdefault(DeviceKey(Kind(kind), name), {})
                streams.setdefault(stream, []).append((first, last))
        return {
            device: tuple((stream, tuple(ranges)) for stream, ranges in streams.items())
            for device, streams in found.items()
        }


def _time_of_first(sql: Sql, stream: int, waiting: Ranges) -> int | None:
    if not waiting:
        return None
    found = sql.execute(
        "SELECT time_ms FROM state WHERE stream = ? AND seq = ?", (stream, waiting[0][0])
    ).fetchone()
    return None if found is None else int(found[0])


def _earlier(one: int | None, other: int | None) -> int | None:
    return min((time for time in (one, other) if time is not None), default=None)
