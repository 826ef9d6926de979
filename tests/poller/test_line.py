"""Connecting to a gateway within its time, whatever the name server does."""

import socket
import threading
import time
from contextlib import ExitStack

import pytest

from poller.address import NetworkAddress
from poller.blocks import FailureReason
from poller.config import BusSettings
from poller.line import Line
from poller.network import NetworkConnector
from poller.resolver import Endpoint, Resolver
from poller.transport import ReadError
from readings.health import POLLER_HEALTH, Tally
from tests.conftest import wait_until


def at(port: int) -> Endpoint:
    return Endpoint(socket.AF_INET, ("127.0.0.1", port))


def line_to(resolver: Resolver) -> Line:
    settings = BusSettings("rs485", NetworkAddress("gateway", 502, "rtu"), 9600, 0.03)
    return Line(
        settings,
        tally=Tally(POLLER_HEALTH),
        monotonic=time.monotonic,
        connector=NetworkConnector(resolver, time.monotonic),
    )


def connects(line: Line) -> bool:
    try:
        line.connect()
    except ReadError:
        return False
    return True


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_an_address_needs_no_name_server(address):
    resolver = Resolver(address, 502, lambda *_: pytest.fail("the name server was asked"))
    (endpoint,) = resolver.endpoints(0)
    assert endpoint.address[:2] == (address, 502)


def test_a_dead_name_server_holds_the_bus_no_longer_than_a_connection_may_take(monkeypatch):
    """The system's look-up goes on for a minute; a bus thread silent for so long would be taken for hung."""
    monkeypatch.setattr("poller.line.CONNECT_TIMEOUT_S", 0.1)
    is_back = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = (at(server.getsockname()[1]),)
        line = line_to(Resolver("gateway", 502, lambda *_: found if is_back.wait(20) else ()))
        began = time.monotonic()
        with pytest.raises(ReadError, match="no answer from the name server within 0") as caught:
            line.connect()
        assert time.monotonic() - began < 10, "the name server takes 20"
        assert caught.value.reason is FailureReason.UNREACHABLE
        is_back.set()
        wait_until(lambda: connects(line))
        line.close()


def test_the_last_known_address_stays_until_the_name_server_has_another_one():
    answers = [(at(1),), OSError("no such name"), (at(2),)]
    may_answer = threading.Semaphore(1)

    def look_up(host: str, port: int) -> tuple[Endpoint, ...]:
        assert may_answer.acquire(timeout=20)
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    resolver = Resolver("gateway", 502, look_up)
    assert resolver.endpoints(20) == (at(1),)
    assert resolver.endpoints(20) == (at(1),), "nobody waits for a name that was known"
    may_answer.release()
    wait_until(lambda: resolver._answer is None or resolver._answer.done())
    assert resolver.endpoints(20) == (at(1),)
    may_answer.release()
    wait_until(lambda: resolver.endpoints(20) == (at(2),))


def test_the_thread_of_a_bus_outlives_a_name_that_cannot_be_one():
    with pytest.raises(ReadError):
        line_to(Resolver("a..b", 502)).connect()


def test_all_addresses_together_have_the_time_of_one_and_the_good_one_comes_first_afterwards(monkeypatch):
    """A name may have an IPv6 address on which the gateway never answers."""
    monkeypatch.setattr("poller.line.CONNECT_TIMEOUT_S", 0.2)
    with ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):  # a full backlog answers nobody
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        good = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        dead, alive = at(full.getsockname()[1]), at(good.getsockname()[1])
        resolver = Resolver("gateway", 502, lambda *_: (dead, dead, alive))
        line = line_to(resolver)
        # With a time of its own for each, the good one would have had its turn.
        with pytest.raises(ReadError, match="no answer: is the address right"):
            line.connect()
        wait_until(lambda: connects(line))
        assert resolver.endpoints(0)[0] == alive
        line.close()
