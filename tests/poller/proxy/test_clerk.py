"""What is answered without the bus, and what goes to it."""

from ipaddress import ip_address, ip_network

import pytest

from poller.blocks import BlockRead, RegisterBlock
from poller.errands import Outcome
from poller.points import Table
from poller.proxy.clerk import handle
from poller.proxy.frames import Query
from poller.proxy.recent import RecentReads
from poller.proxy.rules import WriteRule
from poller.request import Request

HOME = ip_address("192.168.2.20")
RULES = [WriteRule((ip_network("192.168.2.20"),), 7, (range(1),), ())]


def block(address: int, count: int, table: Table = Table.HOLDING) -> RegisterBlock:
    return RegisterBlock(table, address, count, ())


def memory() -> RecentReads:
    recent = RecentReads()
    recent.keep(2, BlockRead(block(100, 4), (1, 2, 3, 4), read_at=50.0))
    recent.keep(2, BlockRead(block(0, 10, Table.COIL), (1, 0) * 5, read_at=50.5))
    return recent


def asked(unit: int, pdu: str, *, now: float = 50.9, source=HOME) -> str:
    recent = memory()
    found = handle(
        Query(1, unit, bytes.fromhex(pdu)), source, RULES, lambda one, span: recent.find(one, span, now)
    )
    if isinstance(found, Outcome):
        return f"{found.result.value} {found.pdu.hex()}"
    assert isinstance(found, Request)
    return f"bus {found.unit} {found.pdu.hex()}"


@pytest.mark.parametrize(
    ("unit", "pdu", "becomes"),
    [
        (2, "03 0064 0004", "recent 03080001000200030004"),
        (2, "03 0065 0002", "recent 030400020003"),
        (2, "01 0001 0009", "recent 0102aa00"),
        (2, "03 0063 0002", "bus 2 0300630002"),
        (2, "03 0067 0002", "bus 2 0300670002"),
        (2, "04 0064 0004", "bus 2 0400640004"),
        (3, "03 0064 0004", "bus 3 0300640004"),
        (248, "03 0064 0004", "bus 248 0300640004"),
        (0, "03 0064 0004", "illegal 830a"),
        (0, "05 0000 ff00", "illegal 850a"),
        (2, "2b 0e 01 00", "illegal ab01"),
        (2, "03 0000 0000", "illegal 8303"),
        (7, "05 0000 ff00", "bus 7 050000ff00"),
        (7, "06 0000 0003", "forbidden 8602"),
        (7, "17 0064 0004 0000 0001 02 0000", "forbidden 9702"),
    ],
)
def test_what_becomes_of_a_request(unit, pdu, becomes):
    assert asked(unit, pdu) == becomes


def test_an_answer_from_memory_is_younger_than_a_second():
    assert asked(2, "03 0064 0004", now=50.999).startswith("recent")
    assert asked(2, "03 0064 0004", now=51.0).startswith("bus")


def test_who_may_write_nothing_is_told_so():
    assert asked(7, "05 0000 ff00", source=ip_address("10.0.0.1")) == "forbidden 8501"


def test_what_was_read_before_a_write_is_forgotten_and_only_that():
    recent = memory()
    recent.keep(7, BlockRead(block(100, 1), (9,), read_at=50.0))
    recent.forget(7)
    assert recent.find(7, block(100, 1), 50.1) is None
    assert recent.find(2, block(100, 1), 50.1) == (1,)


def test_the_newest_read_answers():
    recent = memory()
    recent.keep(2, BlockRead(block(102, 2), (33, 44), read_at=50.6))
    assert recent.find(2, block(103, 1), 50.7) == (44,)
    assert recent.find(2, block(101, 2), 50.7) == (2, 3), "whole from one read, or not at all"
    assert recent.find(2, block(102, 2), 51.2) == (33, 44), "the older one is too old by now"
