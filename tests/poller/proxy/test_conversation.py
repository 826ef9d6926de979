"""One client: what it sends ahead, what it does not take, when it is given up."""

from ipaddress import ip_address

import pytest

from poller.frames import FramingError
from poller.proxy.conversation import IDLE_S, MAX_AHEAD_BYTES, SLOW_S, Conversation

ASK = bytes.fromhex("0001 0000 0006 02 03 5012 0002")
ANSWER = bytes.fromhex("03 04 41c8 0000")


def talk() -> Conversation:
    return Conversation(ip_address("192.168.2.20"), 100.0)


def test_requests_sent_ahead_wait_until_the_answer_before_was_taken():
    one = talk()
    one.receive(ASK + ASK[:1] + b"\x02" + ASK[2:], 100.0)
    assert one.take_query().transaction == 1
    assert one.take_query() is None, "it is not answered yet"
    one.answer(ANSWER, 100.1)
    assert one.outbox == bytes.fromhex("0001 0000 0007 02") + ANSWER
    assert one.take_query() is None, "it has not taken the answer yet"
    one.outbox.clear()
    assert one.take_query().transaction == 2


def test_what_is_taken_in_is_bounded():
    one = talk()
    one.receive(ASK * 80, 100.0)
    assert one.room == MAX_AHEAD_BYTES - 80 * len(ASK)
    one.receive(ASK * 6 + ASK[: one.room - 6 * len(ASK)], 100.0)
    assert one.room == 0


def test_garbage_is_told():
    one = talk()
    one.receive(b"GET / HTTP/1.1\r\n", 100.0)
    with pytest.raises(FramingError):
        one.take_query()


def test_an_answer_to_nothing_is_a_mistake():
    with pytest.raises(RuntimeError):
        talk().answer(ANSWER, 100.0)


def test_a_request_that_does_not_become_whole_is_slow_however_it_trickles():
    one = talk()
    for place in range(4):
        one.receive(ASK[place : place + 1], 200.0 + place)
        assert one.take_query() is None
    assert one.find_fault(200.0 + SLOW_S - 0.1) is None
    assert one.find_fault(200.0 + SLOW_S) == "slow"


def test_the_time_for_a_request_begins_when_the_one_before_is_answered():
    one = talk()
    one.receive(ASK + ASK[:5], 100.0)
    one.take_query()
    assert one.find_fault(109.0) is None, "it is our turn"
    one.answer(ANSWER, 109.0)
    one.outbox.clear()
    one.take_query()
    assert one.find_fault(109.0 + SLOW_S - 0.1) is None
    assert one.find_fault(109.0 + SLOW_S) == "slow"


def test_who_does_not_take_its_answer_is_slow():
    one = talk()
    one.receive(ASK, 100.0)
    one.take_query()
    one.answer(ANSWER, 100.0)
    del one.outbox[:5]
    assert one.find_fault(100.0 + SLOW_S - 0.1) is None
    assert one.find_fault(100.0 + SLOW_S) == "slow"


def test_who_asks_nothing_is_idle_but_not_while_it_waits():
    one = talk()
    assert one.find_fault(100.0 + IDLE_S - 1) is None
    assert one.find_fault(100.0 + IDLE_S) == "idle"
    assert one.is_idle(110.0, 10.0)
    one.receive(ASK, 110.0)
    one.take_query()
    assert not one.is_idle(1000.0, 10.0)
    assert one.find_fault(1000.0) is None
