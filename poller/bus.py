"""A bus behind a TCP socket or a serial port: Modbus TCP, or RTU frames. The only module that knows pymodbus.

pymodbus makes the requests and takes the answers apart. What a shared bus
needs is done here: pymodbus is handed an answer only when it is whole, from
the right unit and, on RTU, of the awaited length. Left to itself it gives a
late RTU answer to the next request, loses the rest of an answer that came in
pieces, and does not count the registers.
"""

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pymodbus import FramerType, ModbusException
from pymodbus.client import ModbusTcpClient
from pymodbus.pdu import ModbusPDU

from poller.blocks import BlockRead, FailureReason, RegisterBlock
from poller.config import BusSettings
from poller.frames import Frame, FramingError, is_whole, rtu_frames, tcp_frame
from poller.line import Line
from poller.points import Table
from poller.transport import ReadError
from readings.health import Tally

MAX_UNANSWERED = 3
"""After so many requests in a row that nothing answered, the connection itself is doubted."""

FUNCTIONS = {Table.COIL: 1, Table.DISCRETE: 2, Table.HOLDING: 3, Table.INPUT: 4}
ILLEGAL_ADDRESS = 2
GATEWAY_CODES = frozenset({10, 11})
"""Exceptions by which the gateway says that it reached nobody."""


@dataclass(frozen=True, slots=True)
class _Awaited:
    """The answer that is waited for."""

    block: RegisterBlock
    unit: int
    timeout_s: float
    deadline: float

    def is_answered_by(self, frame: Frame) -> bool:
        """On RTU only the length tells an answer from a late one to an earlier request."""
        fits = frame.exception != 0 or frame.payload_bytes == self.block.answer_bytes
        return fits and frame.unit == self.unit and frame.function == FUNCTIONS[self.block.table]


class _Client(ModbusTcpClient):
    """pymodbus' client over our own connection."""

    def __init__(
        self, framer: FramerType, send: Callable[[bytes], None], receive: Callable[[], bytes]
    ) -> None:
        super().__init__("", framer=framer, retries=0)
        self._send = send
        self._receive = receive

    def connect(self) -> bool:
        """The transport has connected already."""
        return True

    def send(self, request: bytes, addr: tuple[str, int] | None = None) -> int:  # noqa: ARG002  # pymodbus' signature
        """One whole request."""
        self._send(request)
        return len(request)

    def recv(self, size: int | None) -> bytes:  # noqa: ARG002  # pymodbus' signature
        """One whole answer."""
        return self._receive()


class ModbusTransport:
    """One bus, for one thread.

    After a timeout on RTU, `read` listens on for the late answer, at most for
    as long again: it may take two timeouts, and `CONNECT_TIMEOUT_S` more
    while it is not connected.
    """

    def __init__(
        self, settings: BusSettings, *, tally: Tally, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        # What pymodbus would log for each lost answer is raised and counted here.
        logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
        self._name = settings.name
        self._tally = tally
        self._monotonic = monotonic
        self._line = Line(settings, tally=tally, monotonic=monotonic)
        self._is_rtu = settings.framing == "rtu"
        self._client = _Client(
            FramerType.RTU if self._is_rtu else FramerType.SOCKET, self._send, self._receive
        )
        self._awaited: _Awaited | None = None
        self._sent = b""
        self._late: set[int] = set()
        self._unanswered = 0

    @property
    def is_connected(self) -> bool:
        """Whether the next request goes out without connecting first, as far as is known."""
        return self._line.is_connected

    def late_units(self) -> frozenset[int]:
        """The units that have answered too late since this was last asked."""
        late = frozenset(self._late)
        self._late.clear()
        return late

    def close(self) -> None:
        """Let the connection go; the next read makes a new one."""
        self._line.close()
        self._unanswered = 0

    def read(self, block: RegisterBlock, unit: int, timeout_s: float) -> BlockRead:
        """Ask a device for a block.

        Raises:
            ReadError: No connection, no answer, not the awaited one, or an exception.
        """
        self._line.connect()
        if not self._clear_line():
            self.close()
            self._line.connect()
        self._awaited = _Awaited(block, unit, timeout_s, self._monotonic() + timeout_s)
        ask = {
            Table.COIL: self._client.read_coils,
            Table.DISCRETE: self._client.read_discrete_inputs,
            Table.HOLDING: self._client.read_holding_registers,
            Table.INPUT: self._client.read_input_registers,
        }[block.table]
        try:
            response = ask(block.address, count=block.count, device_id=unit)
        except OSError as error:
            self.close()
            raise ReadError(FailureReason.DISCONNECTED, f"{block}: {error}") from error
        except (ModbusException, FramingError) as error:
            self.close()
            raise ReadError(FailureReason.GARBLED, f"{block}: {error}") from error
        read_at = self._monotonic()
        self._unanswered = 0
        return BlockRead(block, _words(block, response), read_at)

    def _clear_line(self) -> bool:
        """Take what came since the last answer; False when the connection is of no use any more."""
        try:
            self._line.take_waiting()
        except OSError:
            return False
        if not self._is_rtu:
            # Modbus TCP numbers its answers: a late one is passed over in its place.
            return True
        stray = bytes(self._line.buffer)
        self._line.buffer.clear()
        self._note_late(rtu_frames(stray))
        return is_whole(stray)

    def _send(self, request: bytes) -> None:
        self._tally.count("poller_requests_total", bus=self._name)
        self._sent = request
        self._line.send(request, self._expected().timeout_s)

    def _receive(self) -> bytes:
        awaited = self._expected()
        return self._receive_rtu(awaited) if self._is_rtu else self._receive_tcp(awaited)

    def _receive_tcp(self, awaited: _Awaited) -> bytes:
        """Read answers until the one with the request's number comes."""
        number = self._client.transaction.request_transaction_id
        while True:
            frame = tcp_frame(bytes(self._line.buffer))
            if frame is None:
                if not self._line.fill(awaited.deadline):
                    if heard := bytes(self._line.buffer):
                        raise FramingError(f"only a piece of an answer: {heard[:32].hex(' ')}")
                    self._count_unanswered()
                    raise _no_answer(awaited)
                continue
            del self._line.buffer[: len(frame.data)]
            if frame.transaction != number:
                self._note_late([frame])
            elif frame.unit != awaited.unit:
                raise _wrong_unit(awaited, [frame])
            else:
                return frame.data

    def _receive_rtu(self, awaited: _Awaited) -> bytes:
        """Read until the awaited answer has come; else read on until it comes late or the line was quiet."""
        answer = self._find(awaited, awaited.deadline)
        if answer is not None:
            self._line.buffer.clear()
            return answer.data
        try:
            late = self._find(awaited, awaited.deadline + awaited.timeout_s)
        except OSError as error:
            self.close()
            raise _no_answer(awaited) from error
        # An adapter that hears itself brings the request back, ahead of everything.
        heard = bytes(self._line.buffer).removeprefix(self._sent)
        frames = list(rtu_frames(heard))
        self._note_late(frames)
        if late is not None:
            self._unanswered = 0
            raise ReadError(FailureReason.TIMEOUT, f"{awaited.block}: the answer came too late")
        if not is_whole(heard):
            raise FramingError(f"no whole answer in {heard[:32].hex(' ')}")
        self._count_unanswered()
        if any(one.unit == awaited.unit for one in frames):
            raise _short(awaited, frames)
        raise _wrong_unit(awaited, frames) if frames else _no_answer(awaited)

    def _find(self, awaited: _Awaited, deadline: float) -> Frame | None:
        """Read until the awaited answer is there, behind whatever came before it."""
        while True:
            frames = list(rtu_frames(bytes(self._line.buffer)))
            for place, frame in enumerate(frames):
                if awaited.is_answered_by(frame):
                    self._note_late(frames[:place])
                    return frame
            if not self._line.fill(deadline):
                return None

    def _note_late(self, frames: Iterable[Frame]) -> None:
        self._late.update(one.unit for one in frames if one.exception not in GATEWAY_CODES)

    def _count_unanswered(self) -> None:
        self._unanswered += 1
        if self._unanswered >= MAX_UNANSWERED:
            self.close()

    def _expected(self) -> _Awaited:
        if self._awaited is None:
            raise RuntimeError("pymodbus sends and receives within a read only")
        return self._awaited


def _words(block: RegisterBlock, response: ModbusPDU) -> tuple[int, ...]:
    """What the answer to this block's request says."""
    if response.isError():
        code = response.exception_code
        if code in GATEWAY_CODES:
            raise ReadError(FailureReason.TIMEOUT, f"{block}: the gateway did not reach the device")
        reason = FailureReason.ILLEGAL_ADDRESS if code == ILLEGAL_ADDRESS else FailureReason.EXCEPTION
        raise ReadError(reason, f"{block}: exception {code}")
    if response.function_code != FUNCTIONS[block.table]:
        raise ReadError(FailureReason.GARBLED, f"{block}: an answer to function {response.function_code}")
    if block.table.holds_bits:
        words, expected = [int(bit) for bit in response.bits], 8 * block.answer_bytes
    else:
        words, expected = list(response.registers), block.count
    if len(words) != expected:
        raise ReadError(FailureReason.SHORT, f"{block}: expected {expected} values, got {len(words)}")
    return tuple(words[: block.count])


def _no_answer(awaited: _Awaited) -> ReadError:
    return ReadError(FailureReason.TIMEOUT, f"{awaited.block}: no answer within {awaited.timeout_s:g} s")


def _short(awaited: _Awaited, frames: Iterable[Frame]) -> ReadError:
    got = ", ".join(str(one.payload_bytes) for one in frames)
    return ReadError(
        FailureReason.SHORT, f"{awaited.block}: expected {awaited.block.answer_bytes} bytes, got {got}"
    )


def _wrong_unit(awaited: _Awaited, frames: Iterable[Frame]) -> ReadError:
    got = ", ".join(str(one.unit) for one in frames)
    return ReadError(FailureReason.WRONG_UNIT, f"{awaited.block}: unit {awaited.unit} was asked, got {got}")
