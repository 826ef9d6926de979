"""One group of messages on its way into the tables, within a transaction that somebody else begins and ends."""

from collections import Counter
from dataclasses import dataclass, field

from bridge.arrival import Identity, InfoCame, JournalCame
from bridge.catchup import Known, note_list, pass_over, see
from bridge.database import Sql
from bridge.range_tables import read_ranges, write_ranges
from bridge.ranges import contains, place_streams, single, union
from readings.payload import CONTRACT
from readings.reading import DeviceKey


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


class Group:
    """Takes one group in; `finish` comes last.

    Args:
        sql: The transaction.
        now_ms: The wall clock, for states whose time only a later contract can read.

    Attributes:
        stored: How many states were new, by device.
        repeated: How many were there already.
    """

    def __init__(self, sql: Sql, now_ms: int) -> None:
        self._sql = sql
        self._now_ms = now_ms
        self._streams: dict[tuple[DeviceKey, str], _Stream] = {}
        self.stored: Counter[DeviceKey] = Counter()
        self.repeated: Counter[DeviceKey] = Counter()

    def add_state(self, identity: Identity, time_ms: int, payload: bytes) -> None:
        """Keep a state, unless it is had already: an identity has one row, and its first content."""
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
        """Keep an announcement for the states of its stream, also for those that came before it."""
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
            gone, has_run_begun = self._pass_over(came.device, set(order))
            # They ended before the run of now, which is the last in the list unless it has no state yet.
            end = len(order) if has_run_begun else max(0, len(order) - 1)
            begin = next((place for place, name in enumerate(order) if name not in places), end)
            order[begin:begin] = gone
        new = place_streams(places, order)
        for name, place in new.items():
            number = self._stream(came.device, name).id
            self._sql.execute("UPDATE stream SET place = ? WHERE id = ?", (place, number))
        if new:
            self._announce_earlier(came.device)

    def finish(self) -> None:
        """Write down what is known of the streams now."""
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

    def _pass_over(self, device: DeviceKey, listed: set[str]) -> tuple[list[str], bool]:
        """Give up what a live list no longer names; say which streams of these never had a place.

        Such a stream came here and then left the journal before any list named
        it: a power cut took its rows, or they became too old while the bridge
        was away. Nothing will ever place it but this.

        Returns:
            These streams, and whether the newest one is a run that has only begun.
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
        has_run_begun = False
        for name, place in rows:
            has_run_begun = False
            if name in listed or not (place is None or name in open_rows or (device, name) in self._streams):
                continue
            stream = self._stream(device, name)
            # One that is announced and has no state yet has only begun.
            if place is not None or stream.fold().had:
                stream.known = pass_over(stream.fold())
            if place is None and stream.known.had:
                unplaced.append(name)
            has_run_begun = place is None and not stream.known.had
        return unplaced, has_run_begun

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
