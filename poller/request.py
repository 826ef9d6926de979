"""One Modbus request: what it reads, what it writes, and which answer is its own.

Nothing here knows of a framing: a PDU is function code and data, the same on
a serial line and on a network.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from poller.blocks import BlockRead, RegisterBlock
from poller.errors import PollerError
from poller.points import Table

READING = {Table.COIL: 1, Table.DISCRETE: 2, Table.HOLDING: 3, Table.INPUT: 4}
"""The function code that reads each table."""

WRITE_COIL, WRITE_REGISTER, WRITE_COILS, WRITE_REGISTERS, READ_WRITE = 5, 6, 15, 16, 23

ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE = 1, 2, 3
BUSY, NO_PATH, NO_ANSWER = 6, 10, 11
"""A server that has no time now; a gateway that has no way to the device; a gateway whose device is silent."""

GATEWAY_CODES = frozenset({NO_PATH, NO_ANSWER})
"""Exceptions by which the gateway says that it reached nobody."""

MAX_READ = {Table.COIL: 2000, Table.DISCRETE: 2000, Table.HOLDING: 125, Table.INPUT: 125}
MAX_WRITTEN = {WRITE_COILS: 1968, WRITE_REGISTERS: 123, READ_WRITE: 121}
ADDRESSES = 65536

_TABLES = {function: table for table, function in READING.items()}


class IllegalRequestError(PollerError):
    """A request that no device would take; `code` is the exception that says so."""

    def __init__(self, code: int) -> None:
        super().__init__(f"exception {code}")
        self.code = code


@dataclass(frozen=True, slots=True)
class Request:
    """One request to one unit.

    Attributes:
        pdu: Function code and data, as they go over the bus.
        reads: The addresses whose values its answer carries.
        writes: The addresses that it changes.
    """

    unit: int
    pdu: bytes
    reads: RegisterBlock | None
    writes: RegisterBlock | None

    @property
    def function(self) -> int:
        """The function code."""
        return self.pdu[0]

    def is_answered_by(self, pdu: bytes) -> bool:
        """Whether this is a whole answer to it: a refusal, as many values as asked for, or the echo of a write.

        >>> ask = parse_request(7, bytes.fromhex("06 0002 015e"))
        >>> [ask.is_answered_by(bytes.fromhex(one)) for one in ("06 0002 015e", "06 0002 0000", "86 02", "83 02")]
        [True, False, True, False]
        """
        if is_refusal(pdu):
            return pdu[0] & 0x7F == self.function and len(pdu) == 2
        if not pdu or pdu[0] != self.function:
            return False
        if self.reads is None:
            return pdu == self.pdu[:5]
        size = self.reads.answer_bytes
        return len(pdu) == 2 + size and pdu[1] == size

    def __str__(self) -> str:
        return str(self.reads if self.writes is None else f"writing {self.writes}")


def reading(unit: int, block: RegisterBlock) -> Request:
    """The request that reads a block.

    >>> reading(2, RegisterBlock(Table.HOLDING, 0x5012, 2, ())).pdu.hex(" ")
    '03 50 12 00 02'
    """
    place = block.address.to_bytes(2, "big") + block.count.to_bytes(2, "big")
    return Request(unit, bytes([READING[block.table]]) + place, block, None)


def parse_request(unit: int, pdu: bytes) -> Request:
    """Understand a request that somebody else made.

    Raises:
        IllegalRequestError: It is none of functions 1-6, 15, 16 and 23, or not as long as it says.

    >>> str(parse_request(7, bytes.fromhex("05 0000 ff00")))
    'writing coil 0+1'
    """
    function = pdu[0]
    if function in _TABLES:
        return Request(unit, pdu, _read_span(pdu, _TABLES[function], size=5), None)
    if function in {WRITE_COIL, WRITE_REGISTER}:
        if len(pdu) != 5 or (function == WRITE_COIL and pdu[3:] not in {b"\0\0", b"\xff\0"}):
            raise IllegalRequestError(ILLEGAL_VALUE)
        table = Table.COIL if function == WRITE_COIL else Table.HOLDING
        return Request(unit, pdu, None, RegisterBlock(table, _number(pdu, 1), 1, ()))
    if function in {WRITE_COILS, WRITE_REGISTERS}:
        table = Table.COIL if function == WRITE_COILS else Table.HOLDING
        return Request(unit, pdu, None, _written_span(pdu, table, place=1))
    if function == READ_WRITE:
        reads = _read_span(pdu, Table.HOLDING, size=len(pdu))
        return Request(unit, pdu, reads, _written_span(pdu, Table.HOLDING, place=5))
    raise IllegalRequestError(ILLEGAL_FUNCTION)


def is_refusal(pdu: bytes) -> bool:
    """Whether this answer is an exception."""
    return bool(pdu) and bool(pdu[0] & 0x80)


def refusal(function: int, code: int) -> bytes:
    """The answer that refuses a request.

    >>> refusal(3, NO_ANSWER).hex(" ")
    '83 0b'
    """
    return bytes([function | 0x80, code])


def answered_block(request: Request, pdu: bytes, read_at: float) -> BlockRead | None:
    """What the answer to a plain read says; `None` for any other request and for a refusal.

    >>> ask = parse_request(2, bytes.fromhex("01 0000 0003"))
    >>> answered_block(ask, bytes.fromhex("01 01 05"), 100.0).words
    (1, 0, 1)
    """
    if request.reads is None or request.writes is not None or is_refusal(pdu):
        return None
    data = pdu[2:]
    if request.reads.table.holds_bits:
        words = [data[place // 8] >> place % 8 & 1 for place in range(request.reads.count)]
    else:
        words = [_number(data, place) for place in range(0, len(data), 2)]
    return BlockRead(request.reads, tuple(words), read_at)


def answer_read(request: Request, words: Sequence[int]) -> bytes:
    """The answer to a plain read.

    Args:
        request: A read of one table.
        words: As many as it asks for.

    >>> answer_read(parse_request(2, bytes.fromhex("04 0002 0002")), [1, 0x8000]).hex(" ")
    '04 04 00 01 80 00'
    """
    if request.function in {READING[Table.COIL], READING[Table.DISCRETE]}:
        packed = sum(bit << place for place, bit in enumerate(words))
        data = packed.to_bytes((len(words) + 7) // 8, "little")
    else:
        data = b"".join(word.to_bytes(2, "big") for word in words)
    return bytes([request.function, len(data)]) + data


def _read_span(pdu: bytes, table: Table, *, size: int) -> RegisterBlock:
    if len(pdu) != size or len(pdu) < 5 or not 1 <= _number(pdu, 3) <= MAX_READ[table]:
        raise IllegalRequestError(ILLEGAL_VALUE)
    return _span(table, _number(pdu, 1), _number(pdu, 3))


def _written_span(pdu: bytes, table: Table, *, place: int) -> RegisterBlock:
    """The addresses written, whose values stand behind address, count and number of bytes."""
    if len(pdu) < place + 5:
        raise IllegalRequestError(ILLEGAL_VALUE)
    block = RegisterBlock(table, _number(pdu, place), _number(pdu, place + 2), ())
    values = pdu[place + 5 :]
    if not 1 <= block.count <= MAX_WRITTEN[pdu[0]] or not pdu[place + 4] == len(values) == block.answer_bytes:
        raise IllegalRequestError(ILLEGAL_VALUE)
    return _span(table, block.address, block.count)


def _span(table: Table, address: int, count: int) -> RegisterBlock:
    if address + count > ADDRESSES:
        raise IllegalRequestError(ILLEGAL_ADDRESS)
    return RegisterBlock(table, address, count, ())


def _number(data: bytes, place: int) -> int:
    return int.from_bytes(data[place : place + 2], "big")
