"""Whole frames in a stream of bytes, for both framings of Modbus over a socket.

A stream has no frames: an answer comes in pieces, behind noise, or behind the
late answer to an earlier request. Nothing here guesses: what is not a whole
frame with the right checksum stays a heap of bytes.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from poller.errors import PollerError
from poller.request import READ_WRITE, READING, WRITE_COIL, WRITE_COILS, WRITE_REGISTER, WRITE_REGISTERS


class FramingError(PollerError):
    """These bytes are no answer; where the next one begins is not known."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One whole answer as it came.

    Attributes:
        start: Where it begins in the bytes that were looked at.
        data: All of it, with header and checksum.
        transaction: Modbus TCP's number of the request; 0 on RTU, which has none.
        function: What was asked for, without the mark of an exception.
        pdu: Function code and data, without what the framing adds.
        payload_bytes: How many bytes of values it carries.
        exception: The code with which the device refuses; 0 when it does not.
    """

    start: int
    data: bytes
    transaction: int
    unit: int
    function: int
    pdu: bytes
    payload_bytes: int
    exception: int


def rtu_frames(data: bytes) -> Iterator[Frame]:
    """The whole RTU answers in these bytes; noise around them is passed over.

    >>> [(one.start, one.unit, one.payload_bytes) for one in rtu_frames(bytes.fromhex("00 020302002a7d9b 02"))]
    [(1, 2, 2)]
    """
    start = 0
    while start + 5 <= len(data):
        size = _rtu_size(data, start)
        frame = data[start : start + size]
        if size and len(frame) == size and crc16(frame) == 0:
            yield _frame(start, frame, transaction=0, header=0)
            start += size
        else:
            start += 1


def is_whole(data: bytes) -> bool:
    """Whether these bytes are whole RTU answers and nothing else.

    >>> is_whole(bytes.fromhex("020302002a7d9b")), is_whole(bytes.fromhex("020302002a7d"))
    (True, False)
    """
    return sum(len(one.data) for one in rtu_frames(data)) == len(data)


def rtu_request(unit: int, pdu: bytes) -> bytes:
    """A request as it goes over a serial line.

    >>> rtu_request(2, bytes.fromhex("03 5012 0002")).hex(" ")
    '02 03 50 12 00 02 75 3d'
    """
    body = bytes([unit]) + pdu
    return body + crc16(body).to_bytes(2, "little")


def tcp_request(transaction: int, unit: int, pdu: bytes) -> bytes:
    """A request, or its answer, as Modbus TCP.

    >>> tcp_request(7, 2, bytes.fromhex("03 5012 0002")).hex(" ")
    '00 07 00 00 00 06 02 03 50 12 00 02'
    """
    return transaction.to_bytes(2, "big") + b"\0\0" + (len(pdu) + 1).to_bytes(2, "big") + bytes([unit]) + pdu


def tcp_frame(data: bytes) -> Frame | None:
    """The first Modbus TCP answer of these bytes; `None` while it is not whole yet.

    Raises:
        FramingError: These bytes are no Modbus TCP.

    >>> tcp_frame(bytes.fromhex("0001 0000 0005 02 03 02 002a")).transaction
    1
    """
    if len(data) >= 4 and data[2:4] != b"\0\0":
        raise FramingError(f"protocol {data[2:4].hex()}, expected 0000")
    if len(data) < 6:
        return None
    length = int.from_bytes(data[4:6], "big")
    if not 3 <= length <= 254:
        raise FramingError(f"a frame of {length} bytes, expected 3-254")
    frame = data[: 6 + length]
    if len(frame) < 6 + length:
        return None
    return _frame(0, frame, transaction=int.from_bytes(frame[:2], "big"), header=6)


def _frame(start: int, data: bytes, *, transaction: int, header: int) -> Frame:
    unit, function, first = data[header : header + 3]
    refuses = bool(function & 0x80)
    return Frame(
        start=start,
        data=data,
        transaction=transaction,
        unit=unit,
        function=function & 0x7F,
        pdu=data[header + 1 :] if header else data[1:-2],
        payload_bytes=0 if refuses else first,
        exception=first if refuses else 0,
    )


_FUNCTIONS = frozenset(
    {*READING.values(), WRITE_COIL, WRITE_REGISTER, WRITE_COILS, WRITE_REGISTERS, READ_WRITE}
)
_ECHOES = frozenset({WRITE_COIL, WRITE_REGISTER, WRITE_COILS, WRITE_REGISTERS})
"""Answered by the beginning of the request, not by values with their number before them."""


def _rtu_size(data: bytes, start: int) -> int:
    """How long the answer is that may begin here; 0 when none does."""
    function = data[start + 1]
    if function & 0x80 and function & 0x7F in _FUNCTIONS:
        return 5
    if function in _FUNCTIONS - _ECHOES:
        return 5 + data[start + 2]
    return 8 if function in _ECHOES else 0


def crc16(data: bytes) -> int:
    """Modbus' checksum; 0 over a frame that ends with its own (low byte first).

    >>> hex(crc16(b"123456789"))
    '0x4b37'
    """
    crc = 0xFFFF
    for byte in data:
        crc = (crc >> 8) ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc


def _crc_row(value: int) -> int:
    for _ in range(8):
        value = (value >> 1) ^ 0xA001 if value & 1 else value >> 1
    return value


_CRC_TABLE = tuple(_crc_row(value) for value in range(256))
