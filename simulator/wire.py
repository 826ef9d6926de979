"""Modbus frames, the server's side: requests out of a stream of bytes, answers into frames.

`take` looks at a buffer of received bytes: it returns a whole request and
removes it, returns `None` while it needs more, or raises when the peer does
not speak Modbus.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from poller.profile import Table
from simulator.errors import FramingError

TABLES = {1: Table.COIL, 2: Table.DISCRETE, 3: Table.HOLDING, 4: Table.INPUT}
"""The reading functions, and the table that each reads."""

READ_WRITE = 23
WRITES = {5: Table.COIL, 6: Table.HOLDING, 15: Table.COIL, 16: Table.HOLDING, 23: Table.HOLDING}
"""The writing functions, and the table that each writes."""

ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE, DEVICE_FAILURE, NO_ANSWER = 1, 2, 3, 4, 0x0B


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `transaction` is 0 where the framing has none."""

    unit: int
    pdu: bytes
    transaction: int = 0

    @property
    def function(self) -> int:
        """The function code."""
        return self.pdu[0]

    @property
    def span(self) -> tuple[int, int]:
        """Address and count of a reading request; of any other what stands in their place."""
        return int.from_bytes(self.pdu[1:3], "big"), int.from_bytes(self.pdu[3:5], "big")


def written(request: Request) -> tuple[int, tuple[int, ...]]:
    """Address and words of a writing request.

    Raises:
        ValueError: It is not as long as it says.

    >>> written(Request(7, bytes.fromhex("0f 0003 000a 02 0502")))
    (3, (1, 0, 1, 0, 0, 0, 0, 0, 0, 1))
    >>> written(Request(7, bytes.fromhex("17 0000 0001 0002 0001 02 015e")))
    (2, (350,))
    """
    pdu, function = request.pdu, request.function
    numbers = [int.from_bytes(pdu[place : place + 2], "big") for place in range(1, len(pdu) - 1, 2)]
    if function in {5, 6}:
        if len(pdu) != 5 or (function == 5 and numbers[1] not in {0, 0xFF00}):
            raise ValueError("not an address and a value")
        return numbers[0], (numbers[1] if function == 6 else numbers[1] // 0xFF00,)
    address, count, start = (*numbers[:2], 6) if function != 23 else (*numbers[2:4], 10)
    data = pdu[start:]
    size = (count + 7) // 8 if function == 15 else 2 * count
    if not count or len(data) != size or pdu[start - 1] != size:
        raise ValueError("not as many values as it says")
    if function == 15:
        return address, tuple(data[place // 8] >> place % 8 & 1 for place in range(count))
    return address, tuple(int.from_bytes(data[place : place + 2], "big") for place in range(0, size, 2))


class Framing(Protocol):
    """How a PDU travels: with a header that has a transaction id (TCP), or with a checksum (RTU)."""

    @property
    def has_checksum(self) -> bool:
        """Whether frames end with a checksum; otherwise they begin with a transaction id."""

    def take(self, buffer: bytearray) -> Request | None:
        """Take the next whole request out of the buffer."""

    def frame(self, request: Request, pdu: bytes) -> bytes:
        """The bytes of an answer to a request."""


class TcpFraming:
    """Modbus TCP: transaction, protocol 0, length, unit; no checksum."""

    has_checksum = False

    def take(self, buffer: bytearray) -> Request | None:
        r"""Take the next whole request out of the buffer.

        >>> TcpFraming().take(bytearray.fromhex("0007 0000 0006 02 03 5012 0002"))
        Request(unit=2, pdu=b'\x03P\x12\x00\x02', transaction=7)
        """
        if len(buffer) < 8:
            return None
        protocol, length = int.from_bytes(buffer[2:4], "big"), int.from_bytes(buffer[4:6], "big")
        if protocol != 0 or not 2 <= length <= 254:
            raise FramingError(f"expected a Modbus TCP header, got {buffer[:7].hex(' ')}")
        if len(buffer) < 6 + length:
            return None
        whole = bytes(buffer[: 6 + length])
        del buffer[: 6 + length]
        return Request(whole[6], whole[7:], int.from_bytes(whole[:2], "big"))

    def frame(self, request: Request, pdu: bytes) -> bytes:
        """The bytes of an answer to a request."""
        header = request.transaction.to_bytes(2, "big") + bytes(2) + (len(pdu) + 1).to_bytes(2, "big")
        return header + bytes([request.unit]) + pdu


class RtuFraming:
    """RTU over TCP: the bytes of the serial line, unit first, CRC last."""

    has_checksum = True

    def take(self, buffer: bytearray) -> Request | None:
        r"""Take the next whole request out of the buffer; a damaged one is dropped, as a device does.

        >>> RtuFraming().take(bytearray.fromhex("02 03 5012 0002 753d"))
        Request(unit=2, pdu=b'\x03P\x12\x00\x02', transaction=0)
        """
        length = _request_length(buffer)
        if length is None or len(buffer) < length:
            return None
        whole = bytes(buffer[:length])
        if crc(whole[:-2]) != whole[-2:]:
            buffer.clear()  # where the next request begins nobody can tell
            return None
        del buffer[:length]
        return Request(whole[0], whole[1:-2])

    def frame(self, request: Request, pdu: bytes) -> bytes:
        """The bytes of an answer to a request."""
        body = bytes([request.unit]) + pdu
        return body + crc(body)


def crc(data: bytes) -> bytes:
    """The CRC-16 of the serial line, as it is sent: low byte first.

    >>> crc(bytes.fromhex("01 03 0000 0001")).hex()
    '840a'
    """
    register = 0xFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ 0xA001 if register & 1 else register >> 1
    return register.to_bytes(2, "little")


def answer_pdu(function: int, words: Sequence[int]) -> bytes:
    """The PDU that answers a reading request.

    >>> answer_pdu(4, [0x00FF, 0x0100]).hex(" "), answer_pdu(1, [1, 0, 1]).hex(" ")
    ('04 04 00 ff 01 00', '01 01 05')
    """
    if function in TABLES and TABLES[function].holds_bits:
        packed = sum(bit << place for place, bit in enumerate(words))
        data = packed.to_bytes((len(words) + 7) // 8, "little")
    else:
        data = b"".join(word.to_bytes(2, "big") for word in words)
    return bytes([function, len(data)]) + data


def exception_pdu(function: int, code: int) -> bytes:
    """The PDU that refuses a request.

    >>> exception_pdu(3, 2).hex(" ")
    '83 02'
    """
    return bytes([function | 0x80, code])


def _request_length(buffer: bytearray) -> int | None:
    """How long the request at the start of an RTU stream is; `None` while that cannot be told."""
    if len(buffer) < 2:
        return None
    if buffer[1] in {15, 16}:
        return 9 + buffer[6] if len(buffer) > 6 else None
    if buffer[1] == 23:
        return 13 + buffer[10] if len(buffer) > 10 else None
    # Every other function of six bytes and a checksum; what is not is dropped by its checksum.
    return 8
