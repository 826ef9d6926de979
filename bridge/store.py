"""What the bridge has: states as they came, and which ones it need not have again.

A group of messages goes in as one transaction. Only then are they
acknowledged, so that a message is either in here or still at the broker.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import itemgetter

from bridge.arrival import Arrival, Identity, InfoCame, JournalCame, RefusedMessage, StateCame
from bridge.catchup import Known, Wanted, note_list, pass_over, see
from bridge.database import Database, Sql
from bridge.errors import StoreError
from bridge.ranges import Range, Ranges, contains, count, minus, place_streams, single, union
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
            writer = _Group(sql, now_ms)
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

    def rows(self) -> int:
        """How many states are kept, sent ones too."""
        with self._database.transaction() as sql:
            (rows,) = sql.execute("SELECT count(*) FROM state").fetchone()
        return int(rows)


def read_ranges(sql: Sql, table: str, stream: int) -> Ranges:
    """The ranges of a stream in `had`, `wanted` or `done`."""
    return tuple(
        sql.execute(f"SELECT first, last FROM {table} WHERE stream = ? ORDER BY first", (stream,))  # noqa: S608 - one of three tables of ours
    )


def read_all_ranges(sql: Sql, table: str) -> dict[int, Ranges]:
    """The same of every stream, at once: years of starts leave thousands of them."""
    rows = sql.execute(f"SELECT stream, first, last FROM {table} ORDER BY stream, first")  # noqa: S608 - one of three tables of ours
    return {
        stream: tuple((first, last) for _, first, last in own)
        for stream, own in groupby(rows, key=itemgetter(0))
    }


def write_ranges(sql: Sql, table: str, stream: int, old: Ranges, new: Ranges) -> None:
    """Turn the ranges of a stream from what was read into what they are now."""
    before, after = set[Range](old), set[Range](new)
    sql.executemany(
        f"DELETE FROM {table} WHERE stream = ? AND first = ?",  # noqa: S608 - one of three tables of ours
        [(stream, first) for first, _ in before - after],
    )
    sql.executemany(
        f"INSERT INTO {table} VALUES (?, ?, ?)",  # noqa: S608 - one of three tables of ours
        [(stream, first, last) for first, last in sorted(after - before)],
    )


def _time_of_first(sql: Sql, stream: int, waiting: Ranges) -> int | None:
    if not waiting:
        return None
    found = sql.execute(
        "SELECT time_ms FROM state WHERE stream = ? AND seq = ?", (stream, waiting[0][0])
    ).fetchone()
    return None if found is None else int(found[0])


def _earlier(one: int | None, other: int | None) -> int | None:
    return min((time for time in (one, other) if time is not None), default=None)


@dataclass(slots=True)
class _Stream:
    """A stream as the group finds it, and what the group adds.

    Attributes:
        before: What was known of it when the group began.
        known: What is known of it now, but for `new`.
        new: The numbers that came since.
    """

    id: int
    info: int | None
    contract: int
    before: Known
    known: Known
    new: set[int] = field(default_factory=set)
    refused: set[int] = field(default_factory=set)

    def has(self, seq: int) -> bool:
        return seq in self.new or contains(self.known.had, seq)

    def fold(self) -> Known:
        """Count what came among what is known."""
        if self.new:
            self.known = see(self.known, single(self.new))
            self.new.clear()
        return self.known


class _Group:
    """One group on its way into the tables."""

    def __init__(self, sql: Sql, now_ms: int) -> None:
        self._sql = sql
        self._now_ms = now_ms
        self._streams: dict[tuple[DeviceKey, str], _Stream] = {}
        self.stored: Counter[DeviceKey] = Counter()
        self.repeated: Counter[DeviceKey] = Counter()

    def add_state(self, identity: Identity, time_ms: int, payload: bytes) -> None:
        stream = self._stream(identity.device, identity.stream)
        if stream.has(identity.seq):
            self.repeated[identity.device] += 1
            return
        self._sql.execute(
            "INSERT INTO state (stream, seq, time_ms, info, payload) VALUES (?, ?, ?, ?, ?)",
            (stream.id, identity.seq, time_ms, stream.info, payload),
        )
        stream.new.add(identity.seq)
        self.stored[identity.device] += 1

    def add_refused(self, identity: Identity, payload: bytes) -> None:
        """A state that is none counts as had, for it will not get better; a later contract's may be one."""
        stream = self._stream(identity.device, identity.stream)
        if stream.contract > CONTRACT:
            self.add_state(identity, self._now_ms, payload)
        elif not stream.has(identity.seq):
            stream.new.add(identity.seq)
            stream.refused.add(identity.seq)

    def add_info(self, came: InfoCame) -> None:
        stream = self._stream(came.device, came.stream)
        if stream.info is not None:
            (known,) = self._sql.execute("SELECT payload FROM info WHERE id = ?", (stream.info,)).fetchone()
            if known == came.payload:
                return
        new = self._sql.execute(
            "INSERT INTO info (stream, contract, payload) VALUES (?, ?, ?)",
            (stream.id, came.contract, came.payload),
        ).lastrowid
        assert new is not None  # noqa: S101 - an INSERT has a row; only the type says it might not
        self._announce(stream.id, new)
        stream.info, stream.contract = new, came.contract
        self._announce_earlier(came.device)

    def add_journal(self, came: JournalCame) -> None:
        """Learn what exists, and give the streams their places; what is kept once is not given again."""
        for one in came.ranges:
            stream = self._stream(came.device, one.stream)
            stream.known = note_list(stream.fold(), (one.first, one.last), is_live=came.is_live)
        places = dict(
            self._sql.execute(
                "SELECT stream.name, place FROM stream JOIN device ON device.id = stream.device"
                " WHERE kind = ? AND device.name = ? AND place IS NOT NULL",
                (came.device.kind, came.device.name),
            ).fetchall()
        )
        order = [one.stream for one in came.ranges]
        if came.is_live:
            gone = self._pass_over(came.device, set(order))
            begin = next((place for place, name in enumerate(order) if name not in places), len(order))
            order[begin:begin] = gone
        new = place_streams(places, order)
        for name, place in new.items():
            number = self._stream(came.device, name).id
            self._sql.execute("UPDATE stream SET place = ? WHERE id = ?", (place, number))
        if new:
            self._announce_earlier(came.device)

    def finish(self) -> None:
        for stream in self._streams.values():
            known, before = stream.fold(), stream.before
            if known == before:
                continue
            write_ranges(self._sql, "had", stream.id, before.had, known.had)
            write_ranges(self._sql, "wanted", stream.id, before.wanted, known.wanted)
            if (known.first, known.last) != (before.first, before.last):
                self._sql.execute(
                    "UPDATE stream SET first = ?, last = ? WHERE id = ?", (known.first, known.last, stream.id)
                )
            if stream.refused:
                done = read_ranges(self._sql, "done", stream.id)
                write_ranges(self._sql, "done", stream.id, done, union(done, single(stream.refused)))

    def _pass_over(self, device: DeviceKey, listed: set[str]) -> list[str]:
        """Give up what a live list no longer names; say which streams of these never had a place.

        Such a stream came here and then left the journal before any list named
        it: a power cut took its rows. Nothing will ever place it but this.
        """
        rows = self._sql.execute(
            "SELECT stream.name, place FROM stream JOIN device ON device.id = stream.device"
            " WHERE kind = ? AND device.name = ? ORDER BY stream.id",
            (device.kind, device.name),
        ).fetchall()
        open_rows = {
            name
            for (name,) in self._sql.execute(
                "SELECT name FROM stream WHERE id IN (SELECT stream FROM wanted)"
            )
        }
        unplaced: list[str] = []
        for name, place in rows:
            if name in listed or not (place is None or name in open_rows or (device, name) in self._streams):
                continue
            stream = self._stream(device, name)
            # One that is announced and has no state yet has only begun.
            if place is not None or stream.fold().had:
                stream.known = pass_over(stream.fold())
            if place is None and stream.known.had:
                unplaced.append(name)
        return unplaced

    def _stream(self, device: DeviceKey, name: str) -> _Stream:
        known = self._streams.get((device, name))
        if known is None:
            known = self._streams[device, name] = self._find_stream(device, name)
        return known

    def _find_stream(self, device: DeviceKey, name: str) -> _Stream:
        owner = (device.kind, device.name)
        found = self._sql.execute(
            "SELECT stream.id, info.id, contract, first, last FROM stream JOIN device ON device.id = stream.device"
            " LEFT JOIN info ON info.id = stream.info WHERE kind = ? AND device.name = ? AND stream.name = ?",
            (*owner, name),
        ).fetchone()
        if found is not None:
            number, info, contract, first, last = found
            had, wanted = (read_ranges(self._sql, table, number) for table in ("had", "wanted"))
            known = Known(first, last, had, wanted)
            return _Stream(number, info, contract or 0, known, known)
        self._sql.execute("INSERT OR IGNORE INTO device (kind, name) VALUES (?, ?)", owner)
        new = self._sql.execute(
            "INSERT INTO stream (device, name) SELECT id, ? FROM device WHERE kind = ? AND name = ?",
            (name, *owner),
        ).lastrowid
        assert new is not None  # noqa: S101 - an INSERT has a row; only the type says it might not
        return _Stream(new, None, 0, Known(), Known())

    def _announce(self, stream: int, info: int) -> None:
        self._sql.execute("UPDATE stream SET info = ? WHERE id = ?", (info, stream))
        self._sql.execute("UPDATE state SET info = ? WHERE stream = ? AND info IS NULL", (info, stream))

    def _announce_earlier(self, device: DeviceKey) -> None:
        """Give a stream that ended unannounced the announcement of the one after it.

        An announcement is retained, so one that came and went while the bridge
        was away is gone; without another one its states would wait for ever. A
        stream that is announced and not listed yet is the run that has just begun.
        """
        later: tuple[int, int] | None = None
        for stream, name, place, info, contract in self._sql.execute(
            "SELECT stream.id, stream.name, place, info.id, contract FROM stream"
            " JOIN device ON device.id = stream.device LEFT JOIN info ON info.id = stream.info"
            " WHERE kind = ? AND device.name = ? ORDER BY place IS NULL DESC, place DESC, stream.id DESC",
            (device.kind, device.name),
        ).fetchall():
            if info is not None:
                later = info, contract
            elif later is not None and place is not None:
                self._announce(stream, later[0])
                if (known := self._streams.get((device, name))) is not None:
                    known.info, known.contract = later
