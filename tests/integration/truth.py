"""What the devices truly held, held against what was published of it."""

import struct
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from poller.blocks import BlockRead, Poll, RegisterBlock
from poller.decode import decode_number
from poller.device import Device
from poller.points import Encoding, Point
from poller.request import READING, Request
from poller.states import Snapshot
from poller.transport import Transport
from simulator.bus import Exchange
from simulator.faults import GARBAGE_KINDS, FaultKind
from simulator.registers import Value


def is_true(point: Point, published: object, held: Value) -> bool:
    """Whether a published number is what the registers represented, as far as they resolve it."""
    if not isinstance(published, int | float) or not isinstance(held, int | float):
        return published is held
    if point.encoding is Encoding.FLOAT32:
        return struct.pack(">f", published) == struct.pack(">f", held)
    return abs(published - held) < 1e-9


OLDEST_S = 5.0
"""RTU has no transactions: an answer to the same request, asked in vain up to so long before, is as true."""


class Witness:
    """A transport that finds out, for every answer, in which exchange the device gave it.

    Args:
        transport: What carries the requests.
        monotonic: Its clock, which the exchanges are in as well.
        exchanges: The gateway's exchanges so far, oldest first.
        settle: Told of every true answer: its unit and fields.
        is_rtu: The framing has no transactions.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        monotonic: Callable[[], float],
        exchanges: Callable[[], Sequence[Exchange]],
        settle: Callable[[int, Iterable[str]], None],
        is_rtu: bool,
    ) -> None:
        self.requests = 0
        self.answered_at: dict[int, list[float]] = {}
        self._transport = transport
        self._monotonic = monotonic
        self._exchanges = exchanges
        self._settle = settle
        self._is_rtu = is_rtu
        self._answered: dict[tuple[object, float], Exchange | None] = {}
        self._unanswered: dict[tuple[int, object], float] = {}

    @property
    def is_connected(self) -> bool:
        return self._transport.is_connected

    def clear_at(self, request: Request) -> float:
        return self._transport.clear_at(request)

    def forward(self, request: Request, timeout_s: float, send_before: float) -> bytes:
        return self._transport.forward(request, timeout_s, send_before)

    def late_units(self) -> frozenset[int]:
        return self._transport.late_units()

    def close(self) -> None:
        self._transport.close()

    def read(self, block: RegisterBlock, unit: int, timeout_s: float) -> BlockRead:
        self.requests += 1
        now = self._monotonic()
        asked_at = self._unanswered.setdefault((unit, block.request), now) if self._is_rtu else now
        read = self._transport.read(block, unit, timeout_s)
        self._unanswered.pop((unit, block.request), None)
        self.answered_at.setdefault(unit, []).append(read.read_at)
        exchange = self._find(read, unit, max(asked_at, now - OLDEST_S))
        self._answered[block.request, read.read_at] = exchange
        if exchange is not None and exchange.carries_values:
            self._settle(unit, exchange.values)
        return read

    def exchange_of(self, read: BlockRead) -> Exchange | None:
        """The exchange that an answer is from; `None` when there is none. Ask once."""
        return self._answered.pop((read.block.request, read.read_at))

    def _find(self, read: BlockRead, unit: int, since: float) -> Exchange | None:
        """The newest exchange of this very request, after it was sent, that had this answer."""
        block = read.block
        wanted = (unit, READING[block.table], block.address, block.count)
        for one in reversed(self._exchanges()):
            if one.taken_at < since:
                break
            if (
                one.taken_at <= read.read_at
                and wanted == (one.unit, one.function, one.address, one.count)
                and read.words == _words(one.sent, one, is_rtu=self._is_rtu)[: block.count]
            ):
                return one
        return None


@dataclass(frozen=True, slots=True)
class Wrong:
    """A value that was published and that the device did not hold."""

    field: str
    at: float
    published: object
    held: object
    fault: FaultKind | None


STEP_KWH = 0.01
"""The smallest step of the meter's energy registers."""


@dataclass
class Counted:
    """An energy count as it was published: its rise is the true one but for what no register showed.

    Attributes:
        lost: What was consumed between the last reading of one meter and the first of the next, kWh.
        true: What was truly consumed until now.
        meters: How often the meter had been replaced.
    """

    published: float = 0.0
    lost: float = 0.0
    true: float = 0.0
    meters: int = 0

    def follow(self, published: float, register: float, added: float, meters: int) -> bool:
        """Take in a value; False when it is wrong.

        Args:
            published: The value.
            register: What the meter's register held.
            added: What earlier meters had counted, less what this one had when it was put in.
            meters: How often the meter has been replaced.
        """
        true = register + added
        lost = true - published
        unseen = max(true - self.true, 0.0) if meters != self.meters else 0.0
        is_right = published >= self.published and -STEP_KWH <= lost - self.lost <= unseen + STEP_KWH
        # The last digit of a 32-bit float comes and goes; it must not add up.
        known = self.lost if meters == self.meters else lost
        self.published, self.lost, self.true, self.meters = published, known, true, meters
        return is_right


class Judge:
    """Compares every fresh value of every state with what its device held at that exchange.

    Attributes:
        wrong: What the device did not hold.
        echoes: Of the same kind, but a single word of zeros or ones in a field that had truly
            said 0 the reading before, in the poll in which it stopped to: it says that nothing
            has changed. No rule can tell that (mode 0 stays mode 0; -0.1 °C follows 0.0 °C),
            other than by asking for every 0 twice for ever.
        fresh: How often a device's field had a value of its own.
        states: How many states each device had.
        added: When the meter was replaced, and what to add to its registers from then on.
    """

    def __init__(self, witness: Witness) -> None:
        self.wrong: list[Wrong] = []
        self.echoes: list[Wrong] = []
        self.fresh: Counter[tuple[str, str]] = Counter()
        self.states: Counter[str] = Counter()
        self.energy: dict[tuple[str, str], Counted] = {}
        self.added: list[tuple[float, Mapping[str, float]]] = []
        self._witness = witness
        self._last: dict[tuple[str, str], int | float] = {}

    def see(self, device: Device, poll: Poll, snapshot: Snapshot | None) -> None:
        """Take in a poll and the state that was made of it."""
        exchanges = {
            point.name: exchange
            for read in poll.reads
            for exchange in [self._witness.exchange_of(read)]
            for point in read.block.points
        }
        if snapshot is None:
            return
        self.states[device.key.name] += 1
        for name, value in snapshot.values.items():
            if value is not None and name not in snapshot.held:
                self._check(device, name, value, exchanges, snapshot.taken)
                self.fresh[device.key.name, name] += 1
                self._last[device.key.name, name] = value

    def _check(
        self,
        device: Device,
        name: str,
        value: int | float,
        exchanges: Mapping[str, Exchange | None],
        at: float,
    ) -> None:
        one = device.fields[name]
        sources = one.difference or (one.raw_of or name,)
        exchange = exchanges.get(sources[0])
        if exchange is None:
            self.wrong.append(Wrong(name, at, value, "no such exchange", None))
        elif not self._is_right(device, name, value, exchange):
            kind = exchange.fault.kind if exchange.fault else None
            wrong = Wrong(name, at, value, [exchange.values[source] for source in sources], kind)
            is_echo = kind in {FaultKind.ZERO, FaultKind.FULL_SCALE} and exchange.fault.field == name
            if is_echo and self._said_zero(device, name, value):
                self.echoes.append(wrong)
            else:
                self.wrong.append(wrong)

    def _said_zero(self, device: Device, name: str, value: int | float) -> bool:
        last, low = self._last.get((device.key.name, name)), device.fields[name].rules.low
        if last is None:
            return False
        return last == value == 0 or (low is not None and max(abs(last), abs(value)) < low)

    def _is_right(self, device: Device, name: str, value: int | float, exchange: Exchange) -> bool:
        one, held = device.fields[name], exchange.values
        if one.difference is not None:
            warm, cold = (held[source] for source in one.difference)
            return abs(value - (warm - cold)) < 1e-9
        if one.rules.kind == "energy" and one.raw_of is None:
            added = [more[name] for at, more in self.added if at <= exchange.taken_at]
            counted = self.energy.setdefault((device.key.name, name), Counted())
            return counted.follow(value, held[name], added[-1] if added else 0.0, len(added))
        source = one.raw_of or name
        point = device.fields[source].point
        assert point is not None
        return is_true(point, value, held[source])


class NaiveReader:
    """What somebody publishes who trusts pymodbus and has no filters.

    pymodbus looks at checksum, transaction, unit and function. It does not
    see that an RTU answer is an earlier request's, and believes every word.
    """

    BELIEVED = GARBAGE_KINDS | {FaultKind.SHORT, FaultKind.LATE}

    def __init__(self, devices: Iterable[Device], *, is_rtu: bool) -> None:
        self.wrong: Counter[FaultKind] = Counter()
        self._points = {
            one.unit: [field.point for field in one.fields.values() if field.point is not None]
            for one in devices
        }
        self._is_rtu = is_rtu
        self._late: Exchange | None = None

    def see(self, exchange: Exchange) -> None:
        """Read the answer to one request, as the stream brings it."""
        kind = exchange.fault.kind if exchange.fault else None
        if not exchange.values or (kind is not None and kind not in self.BELIEVED):
            return
        late, self._late = self._late, exchange if self._is_rtu and kind is FaultKind.LATE else None
        if late is not None and (late.unit, late.function) == (exchange.unit, exchange.function):
            self._read(exchange, late.sent, FaultKind.LATE)
        elif kind is not None and kind is not FaultKind.LATE:
            self._read(exchange, exchange.sent, kind)

    def _read(self, asked: Exchange, sent: bytes, kind: FaultKind) -> None:
        words = _words(sent, asked, is_rtu=self._is_rtu)
        for point in self._points.get(asked.unit, ()):
            start = point.address - asked.address
            mine = words[start : start + point.registers] if start >= 0 else ()
            if point.name not in asked.values or len(mine) < point.registers:
                continue
            value = mine[0] if point.encoding is Encoding.BIT else _number(point, mine)
            self.wrong[kind] += not is_true(point, value, asked.values[point.name])


def _words(sent: bytes, asked: Exchange, *, is_rtu: bool) -> tuple[int, ...]:
    """What an answer says, taken as an answer to this request."""
    data = sent[3:-2] if is_rtu else sent[9:]
    if asked.function <= 2:
        return tuple(data[place // 8] >> place % 8 & 1 for place in range(8 * len(data)))
    return tuple(int.from_bytes(data[place : place + 2], "big") for place in range(0, len(data), 2))


def _number(point: Point, words: Sequence[int]) -> int | float:
    number = decode_number(words, point.encoding, point.word_order)
    return number if point.encoding is Encoding.FLOAT32 else round(number * point.scale, 9)
