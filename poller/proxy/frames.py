"""Modbus TCP, the server's side: requests out of a stream of bytes, answers into it.

`take_query` looks at the bytes that have come: it returns a whole request and
removes it, returns `None` while it needs more, or raises when the peer does
not speak Modbus TCP.
"""

from dataclasses import dataclass

from poller.frames import FramingError, tcp_request

MAX_FRAME_BYTES = 260


@dataclass(frozen=True, slots=True)
class Query:
    """One request as it came.

    Attributes:
        transaction: Its sender's number, which its answer carries.
        pdu: Function code and data; at least the code.
    """

    transaction: int
    unit: int
    pdu: bytes


def take_query(buffer: bytearray) -> Query | None:
    r"""Take the next whole request out of the buffer.

    Raises:
        FramingError: This is no Modbus TCP, and where the next request begins is not known.

    >>> stream = bytearray.fromhex("0007 0000 0006 07 05 0000 ff00 0008")
    >>> take_query(stream), stream.hex()
    (Query(transaction=7, unit=7, pdu=b'\x05\x00\x00\xff\x00'), '0008')
    """
    if any(buffer[2:4]):
        raise FramingError(f"protocol {buffer[2:4].hex()}, expected 0000")
    if len(buffer) < 6:
        return None
    length = int.from_bytes(buffer[4:6], "big")
    if not 2 <= length <= MAX_FRAME_BYTES - 6:
        raise FramingError(f"a request of {length} bytes, expected 2-{MAX_FRAME_BYTES - 6}")
    if len(buffer) < 6 + length:
        return None
    frame = bytes(buffer[: 6 + length])
    del buffer[: 6 + length]
    return Query(int.from_bytes(frame[:2], "big"), frame[6], frame[7:])


def frame_answer(query: Query, pdu: bytes) -> bytes:
    """The bytes of an answer.

    >>> frame_answer(Query(7, 2, bytes.fromhex("03 5012 0002")), bytes.fromhex("83 0b")).hex(" ")
    '00 07 00 00 00 03 02 83 0b'
    """
    return tcp_request(query.transaction, query.unit, pdu)
