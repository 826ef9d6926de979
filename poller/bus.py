"""A bus behind a TCP socket or a serial port: Modbus TCP, or RTU frames. The only module that knows pymodbus.

pymodbus makes the poller's requests and takes the answers apart. What a
shared bus needs is done by `poller.exchange`: pymodbus is handed an answer
only when it is whole, from the right unit and, on RTU, of the awaited length.
Left to itself it gives a late RTU answer to the next request, loses the rest
of an answer that came in pieces, and does not count the registers.
"""

import logging
import time
from collections.abc import Callable
from itertools import cycle

from pymodbus import FramerType, ModbusException
from pymodbus.client import ModbusTcpClient
from pymodbus.pdu import ModbusPDU

from poller.blocks import BlockRead, FailureReason, RegisterBlock
from poller.config import BusSettings
from poller.exchange import Exchange
from poller.frames import FramingError, rtu_request, tcp_request
from poller.line import Line
from poller.points import Table
from poller.request import GATEWAY_CODES, ILLEGAL_ADDRESS, READING, Request, reading
from poller.transport import ReadError
from readings.health import Tally

FOREIGN_NUMBERS = range(65001, 65536)
"""Modbus TCP's numbers for requests that pymodbus, which counts to 65000, did not make."""


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

    After a timeout on RTU it listens on for the late answer, at most for
    as long again: a request may take two timeouts, and `CONNECT_TIMEOUT_S` more
    while it is not connected.
    """

    def __init__(
        self, settings: BusSettings, *, tally: Tally, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        # What pymodbus would log for each lost answer is raised and counted here.
        logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
        self._monotonic = monotonic
        self._is_rtu = settings.framing == "rtu"
        self._exchange = Exchange(
            Line(settings, tally=tally, monotonic=monotonic),
            is_rtu=self._is_rtu,
            count_sent=lambda: tally.count("poller_requests_total", bus=settings.name),
            monotonic=monotonic,
        )
        self._client = _Client(
            FramerType.RTU if self._is_rtu else FramerType.SOCKET, self._exchange.send, self._exchange.receive
        )
        self._foreign_numbers = cycle(FOREIGN_NUMBERS)

    @property
    def is_connected(self) -> bool:
        """Whether the next request goes out without connecting first, as far as is known."""
        return self._exchange.is_connected

    def late_units(self) -> frozenset[int]:
        """The units that have answered too late since this was last asked."""
        return self._exchange.late_units()

    def clear_at(self, request: Request) -> float:
        """From when on no late answer to an earlier request can be taken for this one's, monotonic seconds."""
        return self._exchange.clear_at(request)

    def close(self) -> None:
        """Let the connection go; the next request makes a new one."""
        self._exchange.close()

    def read(self, block: RegisterBlock, unit: int, timeout_s: float) -> BlockRead:
        """Ask a device for a block.

        Raises:
            ReadError: No connection, no answer, not the awaited one, or an exception.
        """
        self._exchange.begin(reading(unit, block), timeout_s, is_ours=True)
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
        self._exchange.note_answered()
        return BlockRead(block, _words(block, response), read_at)

    def forward(self, request: Request, timeout_s: float, send_before: float) -> bytes:
        """Pass on another program's request as it is, unless a connection is had too late for that.

        Args:
            request: It.
            timeout_s: How long its answer may take.
            send_before: When it is too late, seconds of the monotonic clock.

        Returns:
            The PDU of its whole answer, which may be a refusal.

        Raises:
            ReadError: No connection, no answer, or not the awaited one.
        """
        self._exchange.begin(request, timeout_s, is_ours=False)
        if self._monotonic() > send_before:
            raise ReadError(FailureReason.UNREACHABLE, f"{request}: connecting took too long")
        try:
            self._exchange.send(
                rtu_request(request.unit, request.pdu)
                if self._is_rtu
                else tcp_request(next(self._foreign_numbers), request.unit, request.pdu)
            )
            answer = self._exchange.receive()
        except OSError as error:
            self.close()
            raise ReadError(FailureReason.DISCONNECTED, f"{request}: {error}") from error
        except FramingError as error:
            self.close()
            raise ReadError(FailureReason.GARBLED, f"{request}: {error}") from error
        pdu = answer[1:-2] if self._is_rtu else answer[7:]
        if not request.is_answered_by(pdu):
            raise ReadError(FailureReason.SHORT, f"{request}: an answer to something else")
        self._exchange.note_answered()
        return pdu


def _words(block: RegisterBlock, response: ModbusPDU) -> tuple[int, ...]:
    """What the answer to this block's request says."""
    if response.isError():
        code = response.exception_code
        if code in GATEWAY_CODES:
            raise ReadError(
                FailureReason.TIMEOUT, f"{block}: the gateway did not reach the device", is_gateways=True
            )
        reason = FailureReason.ILLEGAL_ADDRESS if code == ILLEGAL_ADDRESS else FailureReason.EXCEPTION
        raise ReadError(reason, f"{block}: exception {code}")
    if response.function_code != READING[block.table]:
        raise ReadError(FailureReason.GARBLED, f"{block}: an answer to function {response.function_code}")
    if block.table.holds_bits:
        words, expected = [int(bit) for bit in response.bits], 8 * block.answer_bytes
    else:
        words, expected = list(response.registers), block.count
    if len(words) != expected:
        raise ReadError(FailureReason.SHORT, f"{block}: expected {expected} values, got {len(words)}")
    return tuple(words[: block.count])
