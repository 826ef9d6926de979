"""What the bridge has: states as they came, and which ones it need not have again.

A group of messages goes in as one transaction. Only then are they
acknowledged, so that a message is either in here or still at the broker.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from bridge.arrival import Arrival, InfoCame, InfoGone, JournalCame, RefusedMessage, StateCame
from bridge.catchup import Wanted
from bridge.database import Database, Sql
from bridge.errors import StoreError
from bridge.group import Group
from bridge.range_tables import read_ranges
from bridge.ranges import Range, Ranges, count, minus
from bridge.room import bytes_free, has_room
from bridge.rows import device_from
from bridge.status import DeviceBacklog
from bridge.waiting import STORED
from readings.payload import CONTRACT
from readings.reading import DeviceKey

_WITH_STATES = f"""
{STORED}
SELECT stream.id, stream.device, contract FROM stored JOIN stream ON stream.id = stored.stream
LEFT JOIN info ON info.id = stream.info
"""  # noqa: S608 - constants
_MISSING = """
SELECT device, total(wanted.last - wanted.first + 1) FROM wanted JOIN stream ON stream.id = wanted.stream
GROUP BY device
"""
_NOT_HAD = """
SELECT device, total(numbers) FROM (
    SELECT device, last - ifnull(first, 1) + 1 AS numbers FROM stream WHERE last >= ifnull(first, 1)
    UNION ALL
    SELECT device, max(had.first, ifnull(stream.first, 1)) - had.last - 1 FROM had
    JOIN stream ON stream.id = had.stream WHERE had.last >= ifnull(stream.first, 1)
) GROUP BY device
"""
"""What is known of, less what was had of it: missing or given up. SQLite sums it, for years of starts leave thousands of streams;
in floating point, for a sum that does not fit its integers is an error, and a list may claim as much."""

_PARKED = "SELECT device, count(*) FROM parked JOIN stream ON stream.id = parked.stream GROUP BY device"
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
        self._generation = database.generation
        self._announced: dict[tuple[type[Arrival], DeviceKey], InfoCame | JournalCame] = {}
        self._owes = False

    def commit(self, group: Sequence[Arrival], now_ms: int) -> Committed:
        """Keep what a group of messages brought, all of it or nothing.

        Args:
            group: In the order in which they came.
            now_ms: For states whose time only a later contract can read.

        Raises:
            StoreError: Nothing was kept. States of it are not had, and can be
                asked for again; its announcements go in with the next group.
        """
        before = tuple(self._announced.values())
        self._remember(group)
        owed, self._owes = self._owes, True
        with self._database.transaction() as sql:
            if not has_room(sql, self._on_disk):
                raise StoreError("the disk is full, but for what sending needs")
            writer = Group(sql, now_ms)
            generation = self._database.generation
            # None comes again before the next connect: neither those that the disk refused, nor those of a file whose
            # place another one took.
            missed = before if owed or generation != self._generation else ()
            for arrival in (*missed, *group):
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
        self._generation, self._owes = generation, False
        return Committed(writer.stored, writer.repeated)

    def backlog(self) -> dict[DeviceKey, DeviceBacklog]:
        """What of each device is not with the receiver."""
        waiting, unreadable, oldest_ms = Counter[int](), Counter[int](), dict[int, int]()
        with self._database.transaction() as sql:
            devices = [
                (number, device_from(kind, name))
                for number, kind, name in sql.execute("SELECT id, kind, name FROM device").fetchall()
            ]
            missing, not_had, parked, quarantined = (
                dict(sql.execute(query).fetchall()) for query in (_MISSING, _NOT_HAD, _PARKED, _QUARANTINED)
            )
            # What waits has its state here, and few streams have any.
            for stream, device, contract in sql.execute(_WITH_STATES).fetchall():
                left = minus(*(read_ranges(sql, table, stream) for table in ("had", "done")))
                is_later = contract is not None and contract > CONTRACT
                (unreadable if is_later else waiting)[device] += count(left)
                time_ms = _time_of_first(sql, stream, left)
                if time_ms is not None:
                    oldest_ms[device] = min(time_ms, oldest_ms.get(device, time_ms))
        found: dict[DeviceKey, DeviceBacklog] = {}
        for number, device_key in devices:
            found[device_key] = DeviceBacklog(
                waiting=waiting[number],
                missing=round(missing.get(number, 0)),
                given_up=round(max(0, not_had.get(number, 0) - missing.get(number, 0))),
                parked=parked.get(number, 0),
                quarantined=quarantined.get(str(device_key), 0),
                unreadable=unreadable[number],
                oldest_waiting_ms=oldest_ms.get(number),
            )
        return found

    def wanted(self) -> dict[DeviceKey, Wanted]:
        """What is to be asked for, by device; of streams that have their place, for only lists tell what exists."""
        found: dict[DeviceKey, dict[str, list[Range]]] = {}
        with self._database.transaction() as sql:
            for kind, name, stream, first, last in sql.execute(
                "SELECT kind, device.name, stream.name, wanted.first, wanted.last FROM wanted"
                " JOIN stream ON stream.id = wanted.stream JOIN device ON device.id = stream.device"
                " WHERE place IS NOT NULL ORDER BY device.id, place, wanted.first"
            ):
                streams = found.setdefault(device_from(kind, name), {})
                streams.setdefault(stream, []).append((first, last))
        return {
            device: tuple((stream, tuple(ranges)) for stream, ranges in streams.items())
            for device, streams in found.items()
        }

    def unlisted(self) -> list[DeviceKey]:
        """The devices of which states came of a stream that no list has named yet."""
        with self._database.transaction() as sql:
            return [
                device_from(kind, name)
                for kind, name in sql.execute(
                    "SELECT DISTINCT kind, device.name FROM stream JOIN device ON device.id = stream.device"
                    " WHERE place IS NULL AND stream.id IN (SELECT stream FROM had)"
                )
            ]

    def _remember(self, group: Sequence[Arrival]) -> None:
        """What a connect would bring again: of each device what it was last announced with, and its last list."""
        for arrival in group:
            match arrival:
                case InfoCame(device):
                    self._announced[InfoCame, device] = arrival
                case JournalCame(device):
                    self._announced[JournalCame, device] = replace(arrival, is_live=False)
                case InfoGone(device):
                    self._announced.pop((InfoCame, device), None)
                case _:
                    pass


def _time_of_first(sql: Sql, stream: int, waiting: Ranges) -> int | None:
    if not waiting:
        return None
    found = sql.execute(
        "SELECT time_ms FROM state WHERE stream = ? AND seq = ?", (stream, waiting[0][0])
    ).fetchone()
    return None if found is None else int(found[0])
