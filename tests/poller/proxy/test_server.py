"""The proxy's port over real sockets, with clients of every kind and a bus that does as it is told."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from itertools import count

import pytest

from poller.blocks import BlockRead, RegisterBlock
from poller.errands import PATIENCE_S, Errand, Outcome, Result
from poller.points import Table
from poller.proxy.conversation import IDLE_S, SLOW_S
from poller.proxy.desk import Desk
from poller.proxy.listener import TRY_EVERY_S
from poller.proxy.rules import WriteRule
from poller.proxy.server import MAKES_WAY_AFTER_S, MAX_CLIENTS, WARN_EVERY_S, ProxyServer
from poller.proxy.settings import ProxySettings
from readings.health import POLLER_HEALTH, Tally
from tests.conftest import wait_until

RULE = WriteRule((ip_network("127.0.0.0/8"),), 7, (range(1),), (range(2, 5),))
NUMBERS = count(1)


def frame(pdu: str, *, unit: int = 7, number: int | None = None) -> bytes:
    body = bytes([unit]) + bytes.fromhex(pdu)
    return (
        (number or next(NUMBERS) % 65536).to_bytes(2, "big") + b"\0\0" + len(body).to_bytes(2, "big") + body
    )


@dataclass
class Client:
    connection: socket.socket

    def send(self, pdu: str, unit: int = 7) -> bytes:
        asked = frame(pdu, unit=unit)
        self.connection.sendall(asked)
        return asked

    def hear(self) -> str:
        """The next answer's number, unit and PDU; nothing when the connection has ended."""
        try:
            head = self.connection.recv(6, socket.MSG_WAITALL)
            return (head[:2] + self.connection.recv(head[5], socket.MSG_WAITALL)).hex() if head else ""
        except ConnectionResetError:
            return ""

    def ask(self, pdu: str, unit: int = 7) -> str:
        asked, heard = self.send(pdu, unit), self.hear()
        assert heard[:6] == asked[:2].hex() + f"{unit:02x}", "its own answer"
        return heard[6:]


@dataclass
class House:
    """A proxy, its bus, and the time."""

    server: ProxyServer
    desk: Desk
    tally: Tally
    stopping: threading.Event
    now: list[float]
    clients: list[socket.socket] = field(default_factory=list)
    done: list[Errand] = field(default_factory=list)
    is_bus_free: threading.Event = field(default_factory=threading.Event)

    def connect(self) -> Client:
        wait_until(lambda: self.server.address)
        connection = socket.create_connection(self.server.address, timeout=10)
        self.clients.append(connection)
        return Client(connection)

    def passes(self, seconds: float) -> None:
        """Let time pass."""
        self.now[0] += seconds
        self.server.wake()

    def serve(self) -> None:
        """The bus: a register holds its address, a write is done, unit 9 is silent."""
        while not self.desk.wait(1.0):
            for errand in self.desk.collect():
                self.is_bus_free.wait(20)
                if not self.desk.claim(errand):
                    continue
                self.done.append(errand)
                request = errand.request
                if request.unit == 9:
                    self.desk.settle(errand, Outcome(bytes([request.function | 0x80, 11]), Result.NO_ANSWER))
                elif request.writes is not None:
                    self.desk.settle(errand, Outcome(request.pdu[:5], Result.ANSWERED))
                else:
                    words = range(request.reads.address, request.reads.address + request.reads.count)
                    data = b"".join(word.to_bytes(2, "big") for word in words)
                    pdu = bytes([request.function, len(data)]) + data
                    self.desk.settle(errand, Outcome(pdu, Result.ANSWERED))

    def count(self, function: int, result: Result) -> float:
        return self.tally.value(
            "poller_proxy_requests_total", bus="rs485", function=str(function), result=result.value
        )

    def dropped(self, reason: str) -> float:
        return self.tally.value("poller_proxy_clients_dropped_total", bus="rs485", reason=reason)

    @property
    def connected(self) -> float:
        return self.tally.value("poller_proxy_clients", bus="rs485")


def make_house(port: int = 0) -> House:
    stopping, tally, now = threading.Event(), Tally(POLLER_HEALTH), [1000.0]
    server = ProxyServer(
        "rs485",
        ProxySettings("127.0.0.1", port, (RULE,)),
        stopping=stopping,
        tally=tally,
        monotonic=lambda: now[0],
    )
    return House(server, server.desk, tally, stopping, now)


@pytest.fixture
def house() -> Iterator[House]:
    with run(make_house()) as one:
        yield one


@contextmanager
def run(one: House) -> Iterator[House]:
    one.is_bus_free.set()
    threads = [threading.Thread(target=target, daemon=True) for target in (one.server.run, one.serve)]
    for thread in threads:
        thread.start()
    yield one
    one.stopping.set()
    one.is_bus_free.set()
    one.server.wake()
    for thread in threads:
        thread.join(5)
    for client in one.clients:
        client.close()
    assert not any(thread.is_alive() for thread in threads)


def test_reads_and_allowed_writes_reach_the_bus_and_their_answers_the_client(house):
    client = house.connect()
    assert client.ask("03 0010 0002") == "030400100011"
    assert client.ask("05 0000 ff00") == "050000ff00"
    assert client.ask("10 0002 0002 04 015e00d2") == "1000020002"
    assert client.ask("03 0000 0001", unit=9) == "830b"
    assert [house.count(3, Result.ANSWERED), house.count(3, Result.NO_ANSWER)] == [1, 1]
    assert [house.count(5, Result.ANSWERED), house.count(16, Result.ANSWERED)] == [1, 1]


def test_what_is_illegal_or_forbidden_never_reaches_the_bus(house):
    client = house.connect()
    assert [client.ask(pdu) for pdu in ("2b 0e0100", "03 0000 0000", "05 0001 ff00", "06 0009 0001")] == [
        "ab01", "8303", "8502", "8602",
    ]  # fmt: skip
    assert client.ask("06 0002 0001", unit=2) == "8602"
    assert house.done == []
    assert (
        house.tally.value("poller_proxy_requests_total", bus="rs485", function="other", result="illegal") == 1
    )
    assert house.count(6, Result.FORBIDDEN) == 2


def test_what_was_read_a_moment_ago_answers_without_the_bus(house):
    client = house.connect()
    block = RegisterBlock(Table.HOLDING, 100, 3, ())
    house.desk.note_read(7, BlockRead(block, (7, 8, 9), read_at=1000.0))
    house.passes(0.9)
    assert client.ask("03 0065 0002") == "030400080009"
    assert house.count(3, Result.RECENT) == 1
    house.passes(0.1)
    assert client.ask("03 0065 0002") == "030400650066"
    house.desk.note_read(7, BlockRead(block, (7, 8, 9), read_at=1001.0))
    house.desk.note_written(7)
    assert client.ask("03 0065 0002") == "030400650066"


def test_many_clients_at_once_each_get_their_own_answers(house):
    clients = [house.connect() for _ in range(10)]

    def talk(number: int) -> None:
        for place in range(20):
            address = 100 * number + place
            assert clients[number].ask(f"03 {address:04x} 0001") == f"0302{address:04x}"
        right.append(number)

    right: list[int] = []
    threads = [threading.Thread(target=talk, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(right) == list(range(10))
    assert house.connected == 10


def test_requests_sent_ahead_are_answered_one_after_the_other(house):
    client = house.connect()
    client.connection.sendall(
        b"".join(frame(f"03 {place:04x} 0001", number=place) for place in range(1, 200))
    )
    assert [client.hear() for _ in range(199)] == [f"{place:04x}070302{place:04x}" for place in range(1, 200)]


def test_a_client_that_does_not_speak_modbus_is_let_go_and_harms_nobody(house):
    good, bad = house.connect(), house.connect()
    bad.connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
    assert bad.hear() == ""
    assert good.ask("03 0010 0001") == "03020010"
    assert house.dropped("garbage") == 1
    wait_until(lambda: house.connected == 1)


def test_a_client_that_goes_takes_its_request_with_it(house):
    """A write that nobody waits for any more is not done."""
    house.is_bus_free.clear()
    first, second = house.connect(), house.connect()
    first.send("05 0000 ff00")
    wait_until(lambda: len(house.desk._waiting) == 1)
    second.send("05 0000 0000")
    wait_until(lambda: len(house.desk._waiting) == 2)
    second.connection.close()
    wait_until(lambda: len(house.desk._waiting) == 1)
    house.is_bus_free.set()
    assert first.hear().endswith("050000ff00")


def test_what_waits_too_long_is_refused_in_time_and_never_sent(house):
    house.is_bus_free.clear()
    first, second = house.connect(), house.connect()
    first.send("05 0000 ff00")
    wait_until(lambda: len(house.desk._waiting) == 1)
    house.passes(1.0)
    second.send("05 0000 0000")
    wait_until(lambda: len(house.desk._waiting) == 2)
    house.passes(PATIENCE_S - 1.0)
    assert first.hear().endswith("8506")
    house.is_bus_free.set()
    assert second.hear().endswith("0500000000")
    assert [errand.request.pdu.hex() for errand in house.done] == ["0500000000"]


def test_a_client_that_trickles_or_does_not_take_its_answers_is_let_go(house):
    slow, greedy, good = house.connect(), house.connect(), house.connect()
    slow.connection.sendall(frame("03 0000 0001")[:7])
    for place in range(20):  # until the answers that nobody takes fill the sockets' buffers
        house.desk.note_read(7, BlockRead(RegisterBlock(Table.HOLDING, 0, 125, ()), (place,) * 125, 1000.0))
    greedy.connection.settimeout(0.5)
    asked = frame("03 0000 007d") * 1000
    try:
        while True:
            greedy.connection.sendall(asked)
    except TimeoutError:
        pass
    assert good.ask("03 0010 0001") == "03020013"
    house.passes(SLOW_S)
    wait_until(lambda: house.dropped("slow") == 2)
    assert slow.hear() == ""
    assert good.ask("03 0010 0001") == "03020010"
    assert house.connected == 1


def test_a_client_that_asks_nothing_for_minutes_may_come_again(house):
    idle, busy = house.connect(), house.connect()
    busy.ask("03 0000 0001")
    house.passes(IDLE_S - 1)
    busy.ask("03 0000 0001")
    house.passes(1)
    assert idle.hear() == ""
    assert house.dropped("idle") == 1
    assert busy.ask("03 0000 0001") == "03020000"


def test_the_number_of_clients_is_bounded_and_the_idle_make_way(house):
    clients = [house.connect() for _ in range(MAX_CLIENTS)]
    assert all(client.ask("03 0000 0001") == "03020000" for client in clients)
    assert house.connect().hear() == "", "everybody has just asked"
    house.passes(MAKES_WAY_AFTER_S)
    assert all(client.ask("03 0000 0001") == "03020000" for client in clients[1:])
    assert house.connect().ask("03 0000 0001") == "03020000"
    assert clients[0].hear() == ""
    assert house.dropped("full") == 2
    assert house.connected == MAX_CLIENTS


def test_a_refused_write_is_told_at_most_once_a_minute(house, caplog):
    client = house.connect()
    for _ in range(5):
        client.ask("06 0009 0001")
    house.passes(WARN_EVERY_S)
    client.ask("05 0003 ff00")
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert said == [
        "bus rs485: proxy: unit 7: writing holding 9+1 refused for 127.0.0.1, [bus.proxy] does not allow it",
        "bus rs485: proxy: unit 7: writing coil 3+1 refused for 127.0.0.1, [bus.proxy] does not allow it; "
        "4 more since the last such line",
    ]


def test_a_port_that_is_taken_is_said_once_and_had_when_it_is_free(caplog):
    caplog.set_level("INFO", logger="poller")
    taken = socket.create_server(("127.0.0.1", 0))
    with run(make_house(taken.getsockname()[1])) as one:
        wait_until(lambda: caplog.records)
        for _ in range(3):
            tried = one.server._listener._try_at
            one.passes(TRY_EVERY_S)
            wait_until(lambda tried=tried: one.server._listener._try_at > tried)
        assert one.tally.value("poller_proxy_listening", bus="rs485") == 0
        taken.close()
        one.passes(TRY_EVERY_S)
        assert one.connect().ask("03 0010 0001") == "03020010"
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "Address already in use; trying again every 5 s" in caplog.records[0].getMessage()
    assert one.tally.value("poller_proxy_listening", bus="rs485") == 1


def test_its_thread_shows_life_while_nobody_asks(house):
    house.connect().ask("03 0000 0001")
    house.now[0] += 100
    wait_until(lambda: house.server.last_alive == house.now[0])
