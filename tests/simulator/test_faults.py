"""Every fault shows on the wire, in both framings; and the plan of when which comes."""

from pathlib import Path
from random import Random

import pytest

from simulator.faults import Fault, FaultKind, FaultPlan
from tests.simulator.frames import FRAMINGS, ask, client, framed, gateway, hexes, receive, silent

TRUE = "03 08 41c8 0000 3fc0 0000"

# What goes out instead of 25.0 and 1.5 (the word after them is not there: 0).
# 3.67e-27 = 1.135811 * 2^-88: exponent 127 - 88 = 0x27, mantissa 0.135811 * 2^23 = 0x116239
# 1e30 = 1.577722 * 2^99: exponent 127 + 99 = 0xe2, mantissa 0.577722 * 2^23 = 0x49f2ca
GARBAGE = [
    (FaultKind.TINY, "1391 6239 1391 6239"),
    (FaultKind.NAN, "7fc0 0000 7fc0 0000"),
    (FaultKind.HUGE, "7149 f2ca 7149 f2ca"),
    (FaultKind.ZERO, "0000 0000 0000 0000"),
    (FaultKind.FULL_SCALE, "ffff ffff ffff ffff"),
    (FaultKind.SHIFTED, "0000 3fc0 0000 0000"),
]
REQUEST = "03 5012 0004"


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize(("kind", "words"), GARBAGE)
def test_garbage_comes_in_a_well_formed_answer_once(framing, kind, words):
    with gateway(framing) as one, client(one) as connection:
        one.faults.next(Fault(kind), unit=2)
        garbage = framed(framing, hexes("03 08" + words))
        assert ask(connection, framing, REQUEST, TRUE).hex() == garbage.hex()
        assert ask(connection, framing, REQUEST, TRUE) == framed(framing, hexes(TRUE))
        bad, good = one.exchanges
    assert bad.values == good.values == {"power_total_kw": 25.0, "power_L1_kw": 1.5}
    assert bad.fault == Fault(kind)
    assert not bad.carries_values
    assert good.carries_values


def test_garbage_can_hit_one_field_and_waits_for_a_request_that_reads_it():
    with gateway("tcp") as one, client(one) as connection:
        one.faults.next(Fault(FaultKind.NAN, field="power_L1_kw"))
        assert ask(connection, "tcp", "04 0003 0001", "04 02 013a")[-2:] == hexes("013a")
        assert ask(connection, "tcp", REQUEST, TRUE)[-8:] == hexes("41c8 0000 7fc0 0000")


@pytest.mark.parametrize("kind", [kind for kind, _ in GARBAGE])
def test_garbage_spares_bits_and_says_so(kind):
    with gateway("tcp") as one, client(one) as connection:
        one.faults.next(Fault(kind))
        assert ask(connection, "tcp", "01 0000 0003", "01 01 05")[-1] == 5
        assert one.exchanges[0].carries_values


@pytest.mark.parametrize(
    ("fault", "framing", "wire"),
    [
        (Fault(FaultKind.EXCEPTION), "tcp", "1234 0000 0003 02 83 04"),
        (Fault(FaultKind.EXCEPTION, code=6), "tcp", "1234 0000 0003 02 83 06"),
        (Fault(FaultKind.SHORT), "tcp", "1234 0000 0007 02 03 04 41c8 0000"),
        (Fault(FaultKind.SHORT), "rtu", "02 03 04 41c8 0000 5cf1"),
        (Fault(FaultKind.TRUNCATED), "tcp", "1234 0000 000b 02 03"),
        (Fault(FaultKind.TRUNCATED), "rtu", "02 03 08 41c8 00"),
        # Another unit's answer has other words, so that believing it is wrong.
        (Fault(FaultKind.WRONG_UNIT), "tcp", "1234 0000 000b 03 03 08 0000 3fc0 0000 0000"),
        (Fault(FaultKind.WRONG_TRANSACTION), "tcp", "1235 0000 000b 02 03 08 0000 3fc0 0000 0000"),
        (Fault(FaultKind.GARBLED), "tcp", "1234 0000 000b 02 56 08 41c8 0000 3fc0 0000"),
    ],
)
def test_damaged_frames_written_by_hand(fault, framing, wire):
    with gateway(framing) as one, client(one) as connection:
        one.faults.next(fault)
        connection.sendall(framed(framing, hexes(REQUEST)))
        assert receive(connection, len(hexes(wire))).hex() == hexes(wire).hex()
        assert silent(connection, 0.05)
        assert not one.exchanges[0].carries_values


def test_garbled_bytes_fail_the_checksum():
    with gateway("rtu") as one, client(one) as connection:
        one.faults.next(Fault(FaultKind.GARBLED))
        got = ask(connection, "rtu", REQUEST, TRUE)
        assert got != framed("rtu", hexes(TRUE))
        assert got[-2:] == framed("rtu", hexes(TRUE))[-2:]


def test_without_transactions_none_can_be_wrong():
    with gateway("rtu") as one, client(one) as connection:
        one.faults.next(Fault(FaultKind.WRONG_TRANSACTION))
        assert ask(connection, "rtu", REQUEST, TRUE) == framed("rtu", hexes(TRUE))
        assert one.exchanges[0].fault is None


@pytest.mark.parametrize("framing", FRAMINGS)
def test_no_answer_at_all(framing):
    with gateway(framing) as one, client(one) as connection:
        one.faults.next(Fault(FaultKind.SILENT), times=2)
        connection.sendall(framed(framing, hexes(REQUEST)) * 2)
        assert silent(connection)
        assert [exchange.sent for exchange in one.exchanges] == [b"", b""]


@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_late_answer_is_true_and_is_taken_for_the_next_by_who_does_not_look(framing):
    with gateway(framing) as one, client(one) as connection:
        one.faults.next(Fault(FaultKind.LATE, delay_s=0.5))
        connection.sendall(framed(framing, hexes(REQUEST)))
        assert silent(connection, 0.1)
        connection.settimeout(5)
        assert ask(connection, framing, REQUEST, TRUE) == framed(framing, hexes(TRUE))
        assert one.exchanges[0].carries_values


@pytest.mark.parametrize("framing", FRAMINGS)
def test_the_socket_is_closed_instead_of_an_answer(framing):
    with gateway(framing) as one, client(one) as connection:
        one.faults.next(Fault(FaultKind.CLOSED))
        connection.sendall(framed(framing, hexes(REQUEST)))
        assert connection.recv(1) == b""
        with client(one) as another:
            assert ask(another, framing, REQUEST, TRUE)


def test_every_fault_has_a_test_here():
    """A new kind of fault is a line in the tables above."""
    text = Path(__file__).read_text(encoding="utf-8")
    assert all(f"FaultKind.{kind.name}" in text for kind in FaultKind)


def test_orders_are_served_one_after_the_other_and_each_to_its_unit():
    plan = FaultPlan(Random(1).random)
    nan, zero, late = Fault(FaultKind.NAN), Fault(FaultKind.ZERO), Fault(FaultKind.LATE, delay_s=1)
    plan.next(nan, unit=2, times=2)
    plan.next(zero)
    plan.next(late, unit=7, times=None)
    assert [plan.take(unit, ()) for unit in (2, 2, 7, 7, 7, 2)] == [nan, nan, zero, late, late, None]
    plan.clear()
    assert plan.take(7, ()) is None


def test_chances_come_as_often_as_they_are_given_and_the_same_again_for_a_seed():
    def drawn(seed):
        plan = FaultPlan(Random(seed).random)
        plan.at_random(Fault(FaultKind.NAN), 0.1, unit=2)
        plan.at_random(Fault(FaultKind.SILENT), 0.05)
        return [fault.kind if (fault := plan.take(2, ())) else None for _ in range(4000)]

    assert drawn(1) == drawn(1) != drawn(2)
    assert 0.08 < drawn(1).count(FaultKind.NAN) / 4000 < 0.12
    assert 0.03 < drawn(1).count(FaultKind.SILENT) / 4000 < 0.06
    other = FaultPlan(Random(1).random)
    other.at_random(Fault(FaultKind.NAN), 1.0, unit=2)
    assert other.take(7, ()) is None
