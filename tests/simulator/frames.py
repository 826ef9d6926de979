"""Raw sockets and frames for the gateway's tests, written without a line of the simulator's own framing."""

import socket
import struct
from contextlib import contextmanager

from poller.profile import Encoding, Point, Table
from simulator.bus import Bus, Device
from simulator.gateway import Gateway
from simulator.wire import RtuFraming, TcpFraming

POINTS = [
    Point("power_total_kw", Table.HOLDING, 0x5012, 2, Encoding.FLOAT32),
    Point("power_L1_kw", Table.HOLDING, 0x5014, 2, Encoding.FLOAT32),
    *(Point(f"filler_{number}", Table.HOLDING, number, 1, Encoding.UINT16) for number in range(125)),
    Point("flow_celsius", Table.INPUT, 3, 1, Encoding.INT16, scale=0.1),
    Point("power_state", Table.COIL, 0, 1, Encoding.BIT),
    Point("defrost", Table.COIL, 2, 1, Encoding.BIT),
    Point("valve", Table.DISCRETE, 0, 1, Encoding.BIT),
    Point("pump", Table.DISCRETE, 9, 1, Encoding.BIT),
]
VALUES = {
    "power_total_kw": 25.0,
    "power_L1_kw": 1.5,
    "flow_celsius": 31.4,
    "power_state": 1,
    "defrost": 1,
    "valve": 1,
    "pump": 1,
    **{f"filler_{number}": number for number in range(125)},
}

FRAMINGS = {"tcp": TcpFraming(), "rtu": RtuFraming()}


@contextmanager
def gateway(framing="tcp", *, baud=0, turnaround_s=0.0, silence_s=0.0, reports_silence=False, units=(2,)):
    devices = {unit: Device(POINTS, lambda: VALUES, turnaround_s=turnaround_s) for unit in units}
    bus = Bus(devices, FRAMINGS[framing], baud=baud, silence_s=silence_s, reports_silence=reports_silence)
    with Gateway(bus) as one:
        yield one


@contextmanager
def client(one, timeout_s=5.0):
    with socket.create_connection(one.address, timeout=timeout_s) as connection:
        connection.settimeout(timeout_s)
        yield connection


def hexes(text):
    return bytes.fromhex(text)


def crc_of_the_book(body):
    """The table-free CRC of the Modbus serial line guide, bit by bit over one long number.

    Division by x^16 + x^15 + x^2 + 1 with the bits in the order in which they are sent.
    """
    bits = [byte >> place & 1 for byte in body for place in range(8)]
    bits = [bit ^ 1 for bit in bits[:16]] + bits[16:] + [0] * 16
    for place in range(len(bits) - 16):
        if bits[place]:
            for tap in (0, 1, 14, 16):
                bits[place + tap] ^= 1
    rest = bits[-16:]
    return bytes(sum(bit << place for place, bit in enumerate(rest[start : start + 8])) for start in (0, 8))


def framed(framing, pdu, *, unit=2, transaction=0x1234):
    body = bytes([unit]) + pdu
    if framing == "rtu":
        return body + crc_of_the_book(body)
    return struct.pack(">HHH", transaction, 0, len(body)) + body


def receive(connection, count):
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        assert more, f"closed after {data.hex(' ')}"
        data += more
    return data


def ask(connection, framing, pdu, expected, *, unit=2):
    """Send a request, and receive as many bytes as the expected answer has."""
    connection.sendall(framed(framing, hexes(pdu), unit=unit))
    return receive(connection, len(framed(framing, hexes(expected), unit=unit)))


def silent(connection, within_s=0.15):
    """Whether nothing comes, not even the end."""
    connection.settimeout(within_s)
    try:
        got = connection.recv(1)
    except TimeoutError:
        return True
    assert not got, got
    return False
