"""The gateway over raw sockets: frames as a person writes them down."""

import socket
import time

import pytest

from simulator.bus import Bus, Device
from simulator.faults import Fault, FaultKind
from simulator.gateway import Gateway
from tests.conftest import wait_until
from tests.simulator.frames import FRAMINGS, POINTS, ask, client, framed, gateway, hexes, receive, silent

EXCHANGES = [
    # 25.0 is 41c8 0000
    ("a float", "03 5012 0002", "03 04 41c8 0000"),
    ("two floats, 1.5 is 3fc0 0000", "03 5012 0004", "03 08 41c8 0000 3fc0 0000"),
    ("31.4 °C in tenths", "04 0003 0001", "04 02 013a"),
    ("coils 0 and 2 of 3", "01 0000 0003", "01 01 05"),
    ("inputs 0 and 9 of 10: the low places come first", "02 0000 000a", "02 02 01 02"),
    ("no such register", "03 0200 0001", "83 02"),
    ("one register too far", "03 5012 0005", "83 02"),
    ("no such coil", "01 0003 0001", "81 02"),
    ("no register at all", "03 5012 0000", "83 03"),
    ("126 registers", "03 0000 007e", "83 03"),
    ("half a float cannot be written", "06 5012 0001", "86 02"),
    ("neither can it with others", "10 007c 0002 04 0001 0001", "90 02"),
    ("nor what no function writes", "15 0000 0001", "95 01"),
    ("a coil is on or off", "05 0000 0001", "85 03"),
    ("fewer values than it says", "10 0000 0002 02 0001", "90 03"),
]

WRITES = [
    ("a coil off, and back", "05 0000 0000", "05 0000 0000", "01 0000 0001", "01 01 00"),
    ("a register", "06 0007 1234", "06 0007 1234", "03 0007 0001", "03 02 1234"),
    ("coils", "0f 0000 0001 01 00", "0f 0000 0001", "01 0000 0001", "01 01 00"),
    ("registers", "10 0008 0002 04 0001 ffff", "10 0008 0002", "03 0007 0003", "03 06 0007 0001 ffff"),
    ("written, then read", "17 0002 0002 0003 0001 02 0063", "17 04 0002 0063", "03 0003 0001", "03 02 0063"),
]


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize(("pdu", "answer"), [row[1:] for row in EXCHANGES], ids=[row[0] for row in EXCHANGES])
def test_a_request_is_answered(framing, pdu, answer):
    with gateway(framing) as one, client(one) as connection:
        assert ask(connection, framing, pdu, answer).hex() == framed(framing, hexes(answer)).hex()


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize(
    ("write", "echo", "read", "answer"), [row[1:] for row in WRITES], ids=[row[0] for row in WRITES]
)
def test_what_is_written_is_held(framing, write, echo, read, answer):
    with gateway(framing) as one, client(one) as connection:
        assert ask(connection, framing, write, echo).hex() == framed(framing, hexes(echo)).hex()
        assert ask(connection, framing, read, answer).hex() == framed(framing, hexes(answer)).hex()


def test_whole_frames_written_by_hand():
    with gateway("tcp") as one, client(one) as connection:
        connection.sendall(hexes("abcd 0000 0006 02 03 5012 0002"))
        assert receive(connection, 13) == hexes("abcd 0000 0007 02 03 04 41c8 0000")
    with gateway("rtu") as one, client(one) as connection:
        connection.sendall(hexes("02 03 5012 0002 753d"))
        assert receive(connection, 9) == hexes("02 03 04 41c8 0000 5cf1")


@pytest.mark.parametrize("framing", FRAMINGS)
def test_requests_may_come_in_pieces_and_in_heaps(framing):
    request, answer = framed(framing, hexes("03 5012 0002")), framed(framing, hexes("03 04 41c8 0000"))
    with gateway(framing) as one, client(one) as connection:
        for place in range(len(request)):
            connection.sendall(request[place : place + 1])
        assert receive(connection, len(answer)) == answer
        connection.sendall(request * 3)
        assert receive(connection, 3 * len(answer)) == 3 * answer


@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_unit_that_is_not_there_never_answers_and_the_others_go_on(framing):
    with gateway(framing) as one, client(one) as connection:
        connection.sendall(framed(framing, hexes("03 5012 0002"), unit=9))
        assert silent(connection)
        connection.settimeout(5)
        assert ask(connection, framing, "04 0003 0001", "04 02 013a")


def test_some_gateways_report_a_silent_unit():
    with gateway("tcp", reports_silence=True) as one, client(one) as connection:
        assert ask(connection, "tcp", "03 5012 0002", "83 0b", unit=9)[-2:] == hexes("83 0b")


def test_a_damaged_request_is_not_answered_and_the_next_one_is():
    with gateway("rtu") as one, client(one) as connection:
        connection.sendall(hexes("02 03 5012 0002 753e"))
        assert silent(connection)
        connection.settimeout(5)
        assert ask(connection, "rtu", "04 0003 0001", "04 02 013a")


def test_what_is_not_modbus_is_shown_the_door(caplog):
    with gateway("tcp") as one, client(one) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert connection.recv(1) == b""
    assert "expected a Modbus TCP header" in caplog.text


@pytest.mark.parametrize("framing", FRAMINGS)
def test_at_9600_baud_the_line_takes_its_time(framing):
    """50 registers: 8 and 105 characters of 11 bits, two silences of 3.5, and the turnaround."""
    least_s = (8 + 105 + 2 * 3.5) * 11 / 9600 + 0.02
    answer = "03 64 " + "".join(f"{number:04x}" for number in range(50))
    with gateway(framing, baud=9600, turnaround_s=0.02) as one, client(one) as connection:
        began = time.monotonic()
        ask(connection, framing, "03 0000 0032", answer)
        assert time.monotonic() - began >= least_s


def test_all_connections_share_one_line():
    """Four requests at once over two connections take four times one request's time."""
    one_s = (8 + 9 + 2 * 3.5) * 11 / 9600 + 0.01
    with (
        gateway("tcp", baud=9600, turnaround_s=0.01, units=(2, 7)) as one,
        client(one) as first,
        client(one) as second,
    ):
        began = time.monotonic()
        for connection, unit in ((first, 2), (second, 7), (first, 7), (second, 2)):
            connection.sendall(framed("tcp", hexes("03 5012 0002"), unit=unit))
        for connection in (first, second):
            receive(connection, 2 * 13)
        assert time.monotonic() - began >= 4 * one_s


def test_a_unit_that_is_not_there_holds_the_line_as_long_as_the_gateway_waits():
    with gateway("tcp", silence_s=0.1) as one, client(one) as connection:
        began = time.monotonic()
        connection.sendall(framed("tcp", hexes("03 5012 0002"), unit=9))
        ask(connection, "tcp", "03 5012 0002", "03 04 41c8 0000")
        assert time.monotonic() - began >= 0.1


def test_it_remembers_what_it_truly_answered():
    with gateway("tcp") as one, client(one) as connection:
        began = time.monotonic()
        ask(connection, "tcp", "03 5012 0004", "03 08 41c8 0000 3fc0 0000")
        ask(connection, "tcp", "03 0200 0001", "83 02")
        read, refused = one.exchanges
    assert (read.unit, read.function, read.address, read.count) == (2, 3, 0x5012, 4)
    assert read.values == {"power_total_kw": 25.0, "power_L1_kw": 1.5}
    assert read.carries_values
    assert read.fault is None
    assert read.sent == framed("tcp", hexes("03 08 41c8 0000 3fc0 0000"))
    assert began <= read.taken_at <= refused.taken_at <= time.monotonic()
    assert not refused.values
    assert not refused.carries_values


def test_a_device_can_go_and_come_back():
    with gateway("tcp") as one, client(one) as connection:
        one.bus.unplug(2)
        connection.sendall(framed("tcp", hexes("03 5012 0002")))
        assert silent(connection)
        one.bus.plug_in(2)
        connection.settimeout(5)
        assert ask(connection, "tcp", "03 5012 0002", "03 04 41c8 0000")
        assert [exchange.carries_values for exchange in one.exchanges] == [False, True]


def test_new_sockets_can_be_refused_for_a_while():
    with gateway("tcp") as one, client(one) as old:
        ask(old, "tcp", "04 0003 0001", "04 02 013a")
        began = time.monotonic()
        one.refuse(0.5)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(one.address, timeout=1)
        assert ask(old, "tcp", "03 5012 0002", "03 04 41c8 0000")
        while True:
            try:
                connection = socket.create_connection(one.address, timeout=1)
                break
            except ConnectionRefusedError:
                assert time.monotonic() - began < 10
                time.sleep(0.01)
        with connection:
            assert time.monotonic() - began >= 0.5
            assert ask(connection, "tcp", "03 5012 0002", "03 04 41c8 0000")


def test_all_connections_can_be_closed():
    with gateway("tcp") as one, client(one) as connection:
        ask(connection, "tcp", "03 5012 0002", "03 04 41c8 0000")
        one.close_connections()
        assert connection.recv(1) == b""
        with client(one) as another:
            assert ask(another, "tcp", "03 5012 0002", "03 04 41c8 0000")


def test_a_taken_port_is_an_error():
    with gateway("tcp") as one, pytest.raises(OSError, match="in use"):
        Gateway(one.bus, port=one.address[1]).start()


def test_without_transactions_a_late_answer_goes_to_whoever_is_there():
    """A client that reconnects to get rid of a late answer is given it on the new connection."""
    with gateway("rtu") as one:
        one.faults.next(Fault(FaultKind.LATE, delay_s=0.5))
        with client(one) as first:
            first.sendall(framed("rtu", hexes("03 5012 0002")))
            assert silent(first, 0.05)
        with client(one) as second:
            assert receive(second, 9) == framed("rtu", hexes("03 04 41c8 0000"))


def test_with_transactions_a_late_answer_to_a_closed_connection_is_dropped():
    with gateway("tcp") as one:
        one.faults.next(Fault(FaultKind.LATE, delay_s=0.3))
        with client(one) as first:
            first.sendall(framed("tcp", hexes("03 5012 0002")))
            assert silent(first, 0.05)
        with client(one) as second:
            assert ask(second, "tcp", "04 0003 0001", "04 02 013a")[-4:] == hexes("04 02 013a")


def test_it_stops_in_the_middle_of_a_long_answer():
    with gateway("tcp") as one, client(one) as connection:
        one.faults.next(Fault(FaultKind.LATE, delay_s=60))
        connection.sendall(framed("tcp", hexes("03 5012 0002")))
        assert silent(connection, 0.05)
        began = time.monotonic()
        one.stop()
        assert time.monotonic() - began < 2


def test_a_mistake_in_a_device_stops_the_gateway_and_is_said(caplog):
    """Silence would be taken for a dead bus, by whoever tests against it."""
    bus = Bus({2: Device(POINTS, dict)}, FRAMINGS["tcp"])
    with Gateway(bus) as one, client(one) as connection:
        connection.sendall(framed("tcp", hexes("03 5012 0002")))
        assert connection.recv(1) == b""
        wait_until(lambda: not any(thread.is_alive() for thread in one._threads))
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(one.address, timeout=1)
    assert "the gateway stops: its bus thread has ended" in caplog.text
    assert "the device has no value for this point" in caplog.text
