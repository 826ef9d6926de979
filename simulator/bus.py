"""The serial side of the gateway: devices, the line's timing, and what becomes of one request."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from poller.profile import Encoding, Point, Table
from simulator.errors import IllegalAddressError
from simulator.faults import GARBAGE_KINDS, Fault, FaultKind, damaged_frame, damaged_words
from simulator.registers import Answer, RegisterMap, Value
from simulator.wire import (
    ILLEGAL_ADDRESS,
    ILLEGAL_FUNCTION,
    ILLEGAL_VALUE,
    NO_ANSWER,
    READ_WRITE,
    TABLES,
    WRITES,
    Framing,
    Request,
    answer_pdu,
    exception_pdu,
    written,
)

_MAX_REGISTERS, _MAX_BITS = 125, 2000

WRITABLE = frozenset({Encoding.BIT, Encoding.INT16, Encoding.UINT16})
"""What one register, or one coil, holds as a whole."""


class Device:
    """A device on the bus: where its values are, and what they are at the moment of a request.

    Args:
        points: Where its registers are.
        values: Gives every point's value; called on the gateway's thread.
        turnaround_s: How long it thinks before it answers.
        strict: Whether addresses without a point are illegal even between points.
        max_registers: The longest request that it answers.
        multiple_of: It answers requests for a multiple of so many registers.
    """

    def __init__(
        self,
        points: Iterable[Point],
        values: Callable[[], Mapping[str, Value]],
        *,
        turnaround_s: float = 0.0,
        strict: bool = False,
        max_registers: int = _MAX_REGISTERS,
        multiple_of: int = 1,
    ) -> None:
        self.turnaround_s = turnaround_s
        self._max_registers = max_registers
        self._multiple_of = multiple_of
        self._map = RegisterMap(points, strict=strict)
        self._values = values
        self._written: dict[str, Value] = {}

    def fields(self, table: Table, address: int, count: int) -> frozenset[str]:
        """The points that a request reads, whole."""
        return frozenset(point.name for point in self._map.points(table, address, count))

    def takes(self, table: Table, count: int) -> bool:
        """Whether it answers requests of this length."""
        if table.holds_bits:
            return 1 <= count <= _MAX_BITS
        return 1 <= count <= self._max_registers and count % self._multiple_of == 0

    def answer(self, table: Table, address: int, count: int) -> tuple[Answer, int]:
        """The answer to a request, and the word after it (0 where there is none).

        Raises:
            IllegalAddressError: One of the addresses is not there.
        """
        values = {**self._values(), **self._written}
        answer = self._map.read(table, address, count, values)
        try:
            following = self._map.read(table, address + count, 1, values).words[0]
        except IllegalAddressError:
            following = 0
        return answer, following

    def write(self, table: Table, address: int, words: Sequence[int]) -> None:
        """Hold these words from now on.

        Raises:
            IllegalAddressError: One of the addresses is not that of a whole number of one register, or a bit.
        """
        found: dict[str, Value] = {}
        for place, word in enumerate(words, address):
            point = next(iter(self._map.points(table, place, 1)), None)
            if point is None or point.encoding not in WRITABLE or point.bit is not None:
                raise IllegalAddressError(f"{table} {place} cannot be written")
            is_negative = point.encoding is Encoding.INT16 and word >= 0x8000
            found[point.name] = (word - 0x10000 if is_negative else word) * point.scale
        self._written |= found


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and what came of it.

    Attributes:
        pdu: The whole request.
        taken_at: When the device looked at its values, seconds of the monotonic clock.
        values: What the device truly held, for each point that lies wholly in the
            request, as its registers represent it; empty for a refusal.
        fault: What went wrong; `None` when the answer was sent in time and undistorted.
        sent: The bytes that went to the client; empty where there was no answer.
    """

    unit: int
    function: int
    address: int
    count: int
    pdu: bytes
    taken_at: float
    values: Mapping[str, Value]
    fault: Fault | None
    sent: bytes

    @property
    def carries_values(self) -> bool:
        """Whether the client was sent these values: undistorted, though perhaps late."""
        return bool(self.values) and (self.fault is None or self.fault.kind is FaultKind.LATE)


@dataclass(frozen=True, slots=True)
class Reply:
    """What the gateway does for a request: wait, send (or not), perhaps close the connection."""

    after_s: float
    exchange: Exchange
    closes: bool = False


class Line:
    """A serial line's timing: 11 bits per character, a silence of 3.5 characters around each frame.

    >>> round(Line(9600).seconds(8), 4)  # a request of 8 bytes
    0.0132
    """

    def __init__(self, baud: int) -> None:
        self._character_s = 11 / baud if baud else 0.0
        # Above 19200 baud the standard fixes the silence.
        self._silence_s = 0.00175 if baud > 19200 else 3.5 * self._character_s

    def seconds(self, frame_bytes: int) -> float:
        """How long a frame holds the line, 0 for a device that is itself on the network."""
        return frame_bytes * self._character_s + self._silence_s


class Bus:
    """One line with its devices.

    Args:
        devices: By unit id.
        framing: How the gateway's clients speak.
        baud: The line's speed; 0 is no serial line, and no time passes.
        silence_s: How long the gateway holds the line for a unit that does not answer.
        reports_silence: Whether it then answers with exception 0x0B (Modbus TCP) or not at all.
    """

    def __init__(
        self,
        devices: Mapping[int, Device],
        framing: Framing,
        *,
        baud: int = 0,
        silence_s: float = 0.0,
        reports_silence: bool = False,
    ) -> None:
        self._devices = dict(devices)
        self.framing = framing
        self._line = Line(baud)
        self._silence_s = silence_s
        self._reports_silence = reports_silence
        self._unplugged: set[int] = set()

    def unplug(self, unit: int) -> None:
        """From now on this unit answers nothing."""
        self._unplugged.add(unit)

    def plug_in(self, unit: int) -> None:
        """The unit is back."""
        self._unplugged.discard(unit)

    def request_seconds(self, request: Request) -> float:
        """How long the request holds the line: unit, PDU, checksum."""
        return self._line.seconds(len(request.pdu) + 3)

    def fields(self, request: Request) -> frozenset[str]:
        """The points that a request reads."""
        device, table = self._devices.get(request.unit), TABLES.get(request.function)
        if device is None or table is None or len(request.pdu) != 5:
            return frozenset()
        return device.fields(table, *request.span)

    def reply(self, request: Request, fault: Fault | None, now: float) -> Reply:
        """What becomes of a request that has reached the devices now."""
        device = None if request.unit in self._unplugged else self._devices.get(request.unit)
        silent = fault is not None and fault.kind is FaultKind.SILENT
        if device is None or silent:
            refusal = exception_pdu(request.function, NO_ANSWER)
            sent = self.framing.frame(request, refusal) if self._reports_silence else b""
            return Reply(self._silence_s, self._exchange(request, now, {}, fault, sent))
        table = TABLES.get(request.function)
        if fault is not None and not _bites(fault, table, self.framing):
            fault = None
        pdu, values = self._ask(device, request, table, fault)
        after_s = device.turnaround_s + self._line.seconds(len(pdu) + 3)
        sent = self.framing.frame(request, pdu)
        if fault is not None:
            after_s += fault.delay_s if fault.kind is FaultKind.LATE else 0
            sent = damaged_frame(fault, request, pdu, self.framing)
        closes = fault is not None and fault.kind is FaultKind.CLOSED
        return Reply(after_s, self._exchange(request, now, values, fault, sent), closes=closes)

    def _ask(
        self, device: Device, request: Request, table: Table | None, fault: Fault | None
    ) -> tuple[bytes, Mapping[str, Value]]:
        """The device's PDU, its words as a fault leaves them, and its true values."""
        if request.function in WRITES:
            return self._write(device, request), {}
        if table is None:
            return exception_pdu(request.function, ILLEGAL_FUNCTION), {}
        address, count = request.span
        if len(request.pdu) != 5 or not device.takes(table, count):
            return exception_pdu(request.function, ILLEGAL_VALUE), {}
        try:
            answer, following = device.answer(table, address, count)
        except IllegalAddressError:
            return exception_pdu(request.function, ILLEGAL_ADDRESS), {}
        words = answer.words
        if fault is not None:
            words = damaged_words(fault, words, following, address=address, points=answer.points, table=table)
        return answer_pdu(request.function, words), answer.values

    def _write(self, device: Device, request: Request) -> bytes:
        """The PDU that says what became of a writing request."""
        try:
            address, words = written(request)
            device.write(WRITES[request.function], address, words)
            if request.function != READ_WRITE:
                return request.pdu[:5]
            answer, _ = device.answer(Table.HOLDING, *request.span)
        except IllegalAddressError:
            return exception_pdu(request.function, ILLEGAL_ADDRESS)
        except ValueError:
            return exception_pdu(request.function, ILLEGAL_VALUE)
        return answer_pdu(request.function, answer.words)

    def _exchange(
        self,
        request: Request,
        now: float,
        values: Mapping[str, Value],
        fault: Fault | None,
        sent: bytes,
    ) -> Exchange:
        address, count = request.span
        return Exchange(request.unit, request.function, address, count, request.pdu, now, values, fault, sent)


def _bites(fault: Fault, table: Table | None, framing: Framing) -> bool:
    """Whether the fault makes a difference to this request."""
    if fault.kind is FaultKind.WRONG_TRANSACTION:
        return not framing.has_checksum
    return fault.kind not in GARBAGE_KINDS or (table is not None and not table.holds_bits)
