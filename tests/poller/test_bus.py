"""Reading over real sockets from gateways that do what gateways do, in both framings."""

import math
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count

import pytest
from pymodbus import FramerType
from pymodbus.client import ModbusTcpClient
from pymodbus.framer.rtu import FramerRTU

from poller.address import NetworkAddress
from poller.blocks import FailureReason, RegisterBlock
from poller.bus import ModbusTransport
from poller.config import BusSettings
from poller.line import Line
from poller.points import Table
from poller.request import Request as BusRequest
from poller.request import parse_request
from poller.transport import ReadError
from readings.health import POLLER_HEALTH, Tally
from tests.conftest import wait_until

TIMEOUT_S = 0.12
FUNCTIONS = {Table.COIL: 1, Table.DISCRETE: 2, Table.HOLDING: 3, Table.INPUT: 4}


def block(address: int, count: int, table: Table = Table.HOLDING) -> RegisterBlock:
    return RegisterBlock(table, address, count, ())


def words(unit: int, one: RegisterBlock) -> tuple[int, ...]:
    """What is in these places: every unit and address has a value of its own."""
    start = unit * 1000 + FUNCTIONS[one.table] * 100 + one.address
    return tuple((start + place) % (2 if one.table.holds_bits else 65536) for place in range(one.count))


@dataclass(frozen=True)
class Request:
    """One request as the gateway hears it."""

    framing: str
    transaction: int
    unit: int
    function: int
    address: int
    count: int

    def frame(self, pdu: bytes, unit: int | None = None) -> bytes:
        body = bytes([self.unit if unit is None else unit]) + pdu
        if self.framing == "rtu":
            return body + FramerRTU.compute_CRC(body).to_bytes(2, "big")
        return self.transaction.to_bytes(2, "big") + b"\0\0" + len(body).to_bytes(2, "big") + body

    def answer(self, *, count: int | None = None, unit: int | None = None) -> bytes:
        table = next(table for table, function in FUNCTIONS.items() if function == self.function)
        values = words(self.unit, block(self.address, count or self.count, table))
        if table.holds_bits:
            packed = sum(bit << place for place, bit in enumerate(values))
            data = packed.to_bytes((len(values) + 7) // 8, "little")
        else:
            data = b"".join(value.to_bytes(2, "big") for value in values)
        return self.frame(bytes([self.function, len(data)]) + data, unit)

    def refusal(self, code: int) -> bytes:
        return self.frame(bytes([self.function | 0x80, code]))


CLOSE = b""
Reply = list[tuple[float, bytes]]
"""What comes, each piece so many seconds after the one before; nothing to send is the end of the connection."""


def well(request: Request) -> Reply:
    return [(0, request.answer())]


def nothing(request: Request) -> Reply:
    return []


def late(request: Request) -> Reply:
    return [(1.5 * TIMEOUT_S, request.answer())]


@dataclass
class Gateway:
    """Answers each request by the next line of its script, and well once that is at its end."""

    framing: str
    script: list[Callable[[Request], Reply]]
    server: socket.socket
    requests: list[Request] = field(default_factory=list)
    connections: list[socket.socket] = field(default_factory=list)
    late: list[threading.Thread] = field(default_factory=list)

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=self.talk, args=(connection,), daemon=True).start()

    def hear(self, connection: socket.socket) -> bytes:
        """One request, whole."""
        data = connection.recv(8, socket.MSG_WAITALL)
        if not data:
            return b""
        if self.framing == "socket":
            return data + connection.recv(int.from_bytes(data[4:6], "big") - 2, socket.MSG_WAITALL)
        if data[1] == 23:
            data += connection.recv(3, socket.MSG_WAITALL)
        rest = {15: data[6] + 1, 16: data[6] + 1, 23: data[-1] + 2}.get(data[1], 0)
        return data + connection.recv(rest, socket.MSG_WAITALL) if rest else data

    def talk(self, connection: socket.socket) -> None:
        try:
            while data := self.hear(connection):
                header = 0 if self.framing == "rtu" else 6
                number = int.from_bytes(data[:2], "big") if header else 0
                places = data[header + 2 : header + 6]
                request = Request(
                    self.framing,
                    number,
                    data[header],
                    data[header + 1],
                    int.from_bytes(places[:2], "big"),
                    int.from_bytes(places[2:], "big"),
                )
                self.requests.append(request)
                reply = self.script.pop(0) if self.script else well
                pieces = reply(request)
                if any(delay_s for delay_s, _ in pieces):
                    thread = threading.Thread(target=self.send, args=(connection, pieces))
                    thread.start()
                    self.late.append(thread)
                else:
                    self.send(connection, pieces)
        except OSError:
            return

    def send(self, connection: socket.socket, pieces: Reply) -> None:
        try:
            for delay_s, piece in pieces:
                time.sleep(delay_s)
                connection.sendall(piece) if piece else connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def has_sent_late(self, answers: int) -> None:
        wait_until(lambda: len(self.late) == answers and not any(one.is_alive() for one in self.late))

    def close(self) -> None:
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        for thread in self.late:
            thread.join()
        for connection in self.connections:
            connection.close()


@dataclass
class Bus:
    gateway: Gateway
    transport: ModbusTransport
    tally: Tally

    def plays(self, *script: Callable[[Request], Reply]) -> None:
        self.gateway.script.extend(script)

    def read(self, one: RegisterBlock, unit: int = 2, timeout_s: float = TIMEOUT_S) -> tuple[int, ...]:
        read = self.transport.read(one, unit, timeout_s)
        assert read.block is one
        return read.words

    def fails(self, one: RegisterBlock, unit: int = 2) -> FailureReason:
        with pytest.raises(ReadError) as caught:
            self.transport.read(one, unit, TIMEOUT_S)
        return caught.value.reason

    @property
    def connects(self) -> float:
        return self.tally.value("poller_connects_total", bus="rs485")


def open_bus(framing: str) -> Bus:
    server = socket.create_server(("127.0.0.1", 0))
    gateway = Gateway(framing, [], server)
    threading.Thread(target=gateway.serve, daemon=True).start()
    tally = Tally(POLLER_HEALTH)
    settings = BusSettings("rs485", NetworkAddress(*server.getsockname(), framing), 9600, 0.03)
    return Bus(gateway, ModbusTransport(settings, tally=tally), tally)


@pytest.fixture(params=["socket", "rtu"])
def bus(request: pytest.FixtureRequest) -> Iterator[Bus]:
    opened = open_bus(request.param)
    yield opened
    opened.transport.close()
    opened.gateway.close()


@pytest.fixture
def rtu_bus() -> Iterator[Bus]:
    opened = open_bus("rtu")
    yield opened
    opened.transport.close()
    opened.gateway.close()


def ask(pdu: str, unit: int = 2) -> BusRequest:
    return parse_request(unit, bytes.fromhex(pdu))


A, B, C = block(100, 10), block(300, 4), block(500, 18)


@pytest.mark.parametrize(
    "one",
    [
        block(0x5008, 36),
        block(0, 125),
        block(0, 14, Table.INPUT),
        block(1, 13, Table.DISCRETE),
        block(0, 1, Table.COIL),
        block(7, 2000, Table.COIL),
    ],
    ids=str,
)
def test_every_table_is_read(bus, one):
    assert bus.read(one) == words(2, one)
    assert bus.read(one, unit=7) == words(7, one)
    assert bus.connects == 1
    assert bus.tally.value("poller_requests_total", bus="rs485") == 2


def test_an_answer_may_come_byte_by_byte(bus):
    def in_pieces(request: Request) -> Reply:
        return [(0.002, bytes([byte])) for byte in request.answer()]

    bus.plays(in_pieces)
    assert bus.read(B, timeout_s=5) == words(2, B)
    assert bus.read(A, timeout_s=5) == words(2, A)


def test_a_lost_answer_is_a_timeout_and_the_connection_is_kept(bus):
    bus.plays(nothing, well, nothing)
    assert bus.fails(A) is FailureReason.TIMEOUT
    assert bus.read(B) == words(2, B)
    assert bus.fails(A) is FailureReason.TIMEOUT
    assert bus.connects == 1
    assert bus.transport.late_units() == frozenset()


def test_after_three_timeouts_in_a_row_the_connection_is_made_anew(bus):
    bus.plays(nothing, nothing, well, nothing, nothing, nothing)
    for unit in (2, 3):
        assert bus.fails(A, unit) is FailureReason.TIMEOUT
    assert bus.read(A) == words(2, A), "an answer in between begins the count again"
    for unit in (2, 3):
        assert bus.fails(A, unit) is FailureReason.TIMEOUT
    assert bus.transport.is_connected
    assert bus.fails(A) is FailureReason.TIMEOUT
    assert not bus.transport.is_connected
    assert bus.read(A) == words(2, A)
    assert bus.connects == 2


def test_a_late_answer_is_not_taken_for_the_next_one_and_shows_that_the_device_is_there(bus):
    bus.plays(late, well, late)
    assert bus.fails(A) is FailureReason.TIMEOUT
    assert bus.read(B, timeout_s=1) == words(2, B)
    assert bus.fails(C, unit=7) is FailureReason.TIMEOUT
    assert bus.read(A, timeout_s=1) == words(2, A)
    bus.gateway.has_sent_late(2)
    assert bus.read(A) == words(2, A)
    assert bus.transport.late_units() == {2, 7}
    assert bus.transport.late_units() == frozenset(), "it is told once"
    assert bus.connects == 1


def test_late_answers_do_not_cost_the_connection(rtu_bus):
    rtu_bus.plays(nothing, nothing, late, late, late, nothing)
    assert [rtu_bus.fails(A) for _ in range(6)] == [FailureReason.TIMEOUT] * 6
    assert rtu_bus.read(A) == words(2, A)
    assert rtu_bus.connects == 1


def test_a_line_that_never_rests_does_not_hold_the_bus(bus):
    """A request is over after one timeout, on RTU after two, whatever comes."""
    bus.plays(lambda request: [(0.005, b"\0")] * 100)
    began = time.monotonic()
    assert bus.fails(A) is FailureReason.GARBLED
    assert time.monotonic() - began < 3 * TIMEOUT_S


def test_a_deadline_that_has_passed_is_not_waited_for():
    with socket.create_server(("127.0.0.1", 0)) as server:
        settings = BusSettings("rs485", NetworkAddress(*server.getsockname(), "rtu"), 9600, 0.03)
        line = Line(settings, tally=Tally(POLLER_HEALTH), monotonic=lambda: 10.0)
        line.connect()
        assert not line.fill(10.0)
        assert not line.fill(9.0)
        line.close()


def test_pymodbus_alone_gives_the_late_answer_to_the_next_request(rtu_bus):
    """The trap that this module is for: the same gateway, the same script, the library as it comes."""
    rtu_bus.plays(late, late)
    port = rtu_bus.gateway.server.getsockname()[1]
    naive = ModbusTcpClient("127.0.0.1", port=port, framer=FramerType.RTU, timeout=TIMEOUT_S, retries=0)
    with pytest.raises(Exception, match="No response"):
        naive.read_holding_registers(A.address, count=A.count, device_id=2)
    wrong = naive.read_holding_registers(C.address, count=C.count, device_id=2)
    assert tuple(wrong.registers) == words(2, A)
    assert not wrong.isError()
    naive.close()


def test_an_answer_later_than_the_line_was_listened_to_is_known_by_its_length(rtu_bus):
    very_late = lambda request: [(2.5 * TIMEOUT_S, request.answer())]  # noqa: E731
    rtu_bus.plays(very_late, lambda request: [(1.0 * TIMEOUT_S, request.answer())])
    assert rtu_bus.fails(A) is FailureReason.TIMEOUT
    assert rtu_bus.read(C, timeout_s=5) == words(2, C)
    assert rtu_bus.transport.late_units() == {2}


def test_a_late_answer_of_another_device_is_passed_over(rtu_bus):
    rtu_bus.plays(lambda request: [(0, request.frame(b"\x03\x04\0\0\0\1", unit=5) + request.answer())])
    assert rtu_bus.read(A) == words(2, A)
    assert rtu_bus.transport.late_units() == {5}


def test_what_came_while_nobody_asked_is_cleared_away(rtu_bus):
    rtu_bus.plays(lambda request: [(0, request.answer()), (0.05, request.answer())])
    assert rtu_bus.read(A) == words(2, A)
    rtu_bus.gateway.has_sent_late(1)
    rtu_bus.plays(nothing)
    assert rtu_bus.fails(A) is FailureReason.TIMEOUT, "the stray answer is not this one"
    assert rtu_bus.connects == 1


def test_noise_before_an_answer_does_not_hide_it(rtu_bus):
    rtu_bus.plays(lambda request: [(0, b"\0\xff" + request.answer())])
    assert rtu_bus.read(A) == words(2, A)


def test_a_short_answer_is_refused(bus):
    """pymodbus alone gives it as it is, without an error."""
    bus.plays(lambda request: [(0, request.answer(count=1))])
    assert bus.fails(A) is FailureReason.SHORT
    assert bus.read(A) == words(2, A)


def test_an_answer_of_another_unit_is_refused(bus):
    bus.plays(lambda request: [(0, request.answer(unit=192))])
    assert bus.fails(A) is FailureReason.WRONG_UNIT
    assert bus.read(A) == words(2, A)


def test_an_answer_to_another_function_is_refused(bus):
    bus.plays(lambda request: [(0, request.frame(b"\x04\x14" + bytes(20)))])
    assert bus.fails(A) in {FailureReason.SHORT, FailureReason.GARBLED}
    assert bus.read(A) == words(2, A)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (2, FailureReason.ILLEGAL_ADDRESS),
        (4, FailureReason.EXCEPTION),
        (6, FailureReason.EXCEPTION),
        (11, FailureReason.TIMEOUT),
    ],
)
def test_an_exception_has_its_reason(bus, code, reason):
    """11 is the gateway's: the device did not answer it."""
    bus.plays(lambda request: [(0, request.refusal(code))])
    assert bus.fails(A) is reason
    assert bus.read(A) == words(2, A)
    assert bus.connects == 1


@pytest.mark.parametrize(
    "spoil",
    [
        lambda frame: frame[:-3],
        lambda frame: frame[:1],
        lambda frame: bytes(byte ^ 0x55 for byte in frame),
        lambda frame: b"\x7e" * 40,
    ],
    ids=["cut off", "one byte", "inverted", "noise"],
)
def test_what_is_no_whole_answer_ends_the_connection(bus, spoil):
    bus.plays(lambda request: [(0, spoil(request.answer()))])
    assert bus.fails(A) is FailureReason.GARBLED
    assert not bus.transport.is_connected
    assert bus.read(A) == words(2, A)
    assert bus.connects == 2


def test_a_connection_that_ends_under_a_request_fails_it_and_the_next_one_is_on_a_new_one(bus):
    bus.plays(lambda request: [(0, request.answer()[:5]), (0.01, CLOSE)])
    assert bus.fails(A) is FailureReason.DISCONNECTED
    assert bus.read(A) == words(2, A)
    assert bus.connects == 2


def test_a_connection_that_ends_while_idle_costs_no_request(bus):
    assert bus.read(A) == words(2, A)
    bus.gateway.connections[0].shutdown(socket.SHUT_RDWR)
    assert bus.read(A) == words(2, A)
    assert bus.connects == 2


def test_a_gateway_that_ends_the_connection_instead_of_being_silent_is_no_lost_connection(rtu_bus):
    """Otherwise a dead device behind such a gateway would never be known as down."""
    rtu_bus.plays(lambda request: [(1.5 * TIMEOUT_S, CLOSE)])
    assert rtu_bus.fails(A) is FailureReason.TIMEOUT
    assert rtu_bus.read(A) == words(2, A)


def test_attempts_to_connect_back_off_to_a_second_and_say_so_once(caplog):
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    now = 0.0
    tally = Tally(POLLER_HEALTH)
    settings = BusSettings("rs485", NetworkAddress("127.0.0.1", port, "rtu"), 9600, 0.03)
    transport = ModbusTransport(settings, tally=tally, monotonic=lambda: now)
    attempts = []
    for _ in range(300):
        failures = tally.value("poller_connect_failures_total", bus="rs485")
        with pytest.raises(ReadError) as caught:
            transport.read(A, 2, TIMEOUT_S)
        assert caught.value.reason is FailureReason.UNREACHABLE
        if tally.value("poller_connect_failures_total", bus="rs485") > failures:
            attempts.append(now)
        now += 1 / 64
    assert attempts == [0, 0.25, 0.75, 1.75, 2.75, 3.75]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert tally.value("poller_requests_total", bus="rs485") == 0, "nothing was sent"


def test_faults_are_counted_and_raised_but_not_logged(bus, caplog):
    bus.plays(nothing, late, lambda request: [(0, request.answer(unit=9))], lambda request: [(0, b"???")])
    for _ in range(4):
        bus.fails(A)
    assert [record for record in caplog.records if record.levelname not in {"INFO", "DEBUG"}] == []


def test_a_hundred_reads_with_every_fault_mixed_in_give_no_wrong_value(bus):
    """Blocks of different length, as the plan makes them; every place has a value of its own."""
    timeout_s = 0.04
    chance = random.Random(20261123)
    faults: list[Callable[[Request], Reply]] = [
        nothing,
        lambda request: [(chance.uniform(1, 4) * timeout_s, request.answer())],
        lambda request: [(0, request.answer(count=1))],
        lambda request: [(0, request.answer(unit=5))],
        lambda request: [(0, request.refusal(chance.choice([2, 4, 11])))],
        lambda request: [(0, chance.randbytes(chance.randrange(1, 40)))],
        lambda request: [(0, request.answer()[: chance.randrange(1, 9)])],
        lambda request: [(0, request.answer()[:4]), (0.01, CLOSE)],
        lambda request: [(0, CLOSE)],
    ]
    asked = count()
    right = 0
    for _ in range(100):
        bus.plays(chance.choice(faults) if chance.random() < 0.4 else well)
        one, unit = (A, B, C)[next(asked) % 3], chance.choice([2, 7])
        try:
            read = bus.transport.read(one, unit, timeout_s)
        except ReadError:
            continue
        assert read.words == words(unit, one)
        right += 1
    assert right > 40


# Requests of other programs

WRITE = ask("06 0002 015e")
IN_TIME = math.inf


def echo(request: Request) -> Reply:
    return [(0, request.frame(WRITE.pdu))]


def forwarding_fails(bus: Bus, request: BusRequest) -> FailureReason:
    with pytest.raises(ReadError) as caught:
        bus.transport.forward(request, TIMEOUT_S, IN_TIME)
    return caught.value.reason


@pytest.mark.parametrize(
    ("request_pdu", "answer_pdu"),
    [
        ("01 0000 0009", "01 02 ff01"),
        ("02 0001 000d", "02 02 0504"),
        ("03 0002 0002", "03 04 0001 0002"),
        ("04 0002 0001", "04 02 8000"),
        ("05 0000 ff00", "05 0000 ff00"),
        ("06 0002 015e", "06 0002 015e"),
        ("0f 0000 0003 01 05", "0f 0000 0003"),
        ("10 0002 0002 04 00010002", "10 0002 0002"),
        ("17 0000 0002 0002 0001 02 000a", "17 04 0001 0002"),
        ("03 0002 0002", "83 02"),
        ("06 0002 015e", "86 04"),
        ("03 0002 0002", "83 0b"),
    ],
)
def test_a_request_of_another_program_and_its_answer_pass_unchanged(bus, request_pdu, answer_pdu):
    def gateway(request: Request) -> Reply:
        return [(0, request.frame(bytes.fromhex(answer_pdu)))]

    bus.plays(gateway)
    assert bus.transport.forward(ask(request_pdu), 1, IN_TIME).hex() == answer_pdu.replace(" ", "")
    assert bus.connects == 1


def test_what_is_no_answer_to_a_passed_on_request_is_none(bus):
    for wrong in ("06 0002 0000", "06 0003 015e", "03 02 015e", "06 0002 015e 00"):
        bus.plays(lambda request, wrong=wrong: [(0, request.frame(bytes.fromhex(wrong)))])
        assert forwarding_fails(bus, WRITE) in {FailureReason.SHORT, FailureReason.GARBLED}
    bus.plays(lambda request: [(0, request.frame(WRITE.pdu, unit=9))])
    assert forwarding_fails(bus, WRITE) is FailureReason.WRONG_UNIT
    bus.plays(echo)
    assert bus.transport.forward(WRITE, 1, IN_TIME) == WRITE.pdu


def test_silence_towards_another_program_does_not_cost_the_connection(bus):
    """It may look for units that do not exist."""
    bus.plays(*[nothing] * 5)
    assert [forwarding_fails(bus, WRITE) for _ in range(5)] == [FailureReason.TIMEOUT] * 5
    assert bus.read(A) == words(2, A)
    assert bus.connects == 1


def test_on_rtu_it_is_known_what_may_still_be_answered(rtu_bus):
    clear = float("-inf")
    read, other_unit = ask("03 0064 000a"), ask("03 0064 000a", unit=7)
    rtu_bus.plays(nothing)
    began = time.monotonic()
    assert rtu_bus.fails(A) is FailureReason.TIMEOUT
    assert began + 5 <= rtu_bus.transport.clear_at(read) < began + 6
    assert rtu_bus.transport.clear_at(WRITE) == rtu_bus.transport.clear_at(other_unit) == clear
    rtu_bus.plays(well)
    assert rtu_bus.read(A) == words(2, A)
    assert rtu_bus.transport.clear_at(read) > began, "it may have been the first one's"
    assert rtu_bus.read(B) == words(2, B)
    assert rtu_bus.transport.clear_at(read) == clear, "a device answers one request after the other"


def test_a_late_refusal_of_another_request_is_not_taken_for_this_ones(rtu_bus):
    """It would cut this block into pieces for good."""
    rtu_bus.plays(
        lambda request: [(1.5 * TIMEOUT_S, request.refusal(2))],  # half a timeout after the next request...
        lambda request: [(1.0 * TIMEOUT_S, request.answer())],  # ...and before its answer
    )
    assert forwarding_fails(rtu_bus, ask("03 0fff 0001")) is FailureReason.TIMEOUT
    assert rtu_bus.read(A, timeout_s=5) == words(2, A)


def test_an_adapter_that_hears_itself_does_not_confirm_a_write(rtu_bus):
    def heard(request: Request) -> bytes:
        return request.frame(
            bytes([request.function]) + request.address.to_bytes(2, "big") + request.count.to_bytes(2, "big")
        )

    rtu_bus.plays(
        lambda request: [(0, heard(request) + request.answer())], lambda request: [(0, heard(request))]
    )
    assert rtu_bus.read(A) == words(2, A)
    assert forwarding_fails(rtu_bus, WRITE) is FailureReason.TIMEOUT
    rtu_bus.plays(lambda request: [(0, heard(request)), (0.02, request.frame(WRITE.pdu))])
    assert rtu_bus.transport.forward(WRITE, 1, IN_TIME) == WRITE.pdu


def test_a_request_for_which_there_is_a_connection_too_late_is_not_sent(bus):
    with pytest.raises(ReadError) as caught:
        bus.transport.forward(WRITE, TIMEOUT_S, time.monotonic() - 0.001)
    assert caught.value.reason is FailureReason.UNREACHABLE
    assert bus.read(A) == words(2, A)
    assert len(bus.gateway.requests) == 1
