"""Requests that somebody else made, written down by hand, and what is an answer to them."""

import pytest

from poller.points import Table
from poller.request import IllegalRequestError, answer_read, answered_block, parse_request, reading

GOOD = [
    # PDU, what it reads, what it writes, its answer
    ("01 0000 0009", "coil 0+9", None, "01 02 ff01"),
    ("02 0001 000d", "discrete 1+13", None, "02 02 0504"),
    ("03 5008 0012", "holding 20488+18", None, "03 24" + "00" * 36),
    ("04 0000 000e", "input 0+14", None, "04 1c" + "00" * 28),
    ("01 0000 07d0", "coil 0+2000", None, "01 fa" + "00" * 250),
    ("03 ff83 007d", "holding 65411+125", None, "03 fa" + "00" * 250),
    ("05 0000 ff00", None, "coil 0+1", "05 0000 ff00"),
    ("05 0000 0000", None, "coil 0+1", "05 0000 0000"),
    ("06 0002 015e", None, "holding 2+1", "06 0002 015e"),
    ("0f 0013 000a 02 cd01", None, "coil 19+10", "0f 0013 000a"),
    ("10 0001 0002 04 000a0102", None, "holding 1+2", "10 0001 0002"),
    ("17 0003 0006 000e 0003 06 00ff00ff00ff", "holding 3+6", "holding 14+3", "17 0c" + "00" * 12),
]

BAD = [
    ("00", 1),
    ("07", 1),
    ("2b 0e01", 1),
    ("83 02", 1),
    ("03", 3),
    ("03 0000", 3),
    ("03 0000 0000", 3),
    ("03 0000 007e", 3),
    ("03 0000 0001 00", 3),
    ("01 0000 07d1", 3),
    ("03 ffff 0002", 2),
    ("05 0000 0001", 3),
    ("05 0000 ff", 3),
    ("06 0000", 3),
    ("0f 0000 0000 00", 3),
    ("0f 0000 0009 01 ff", 3),
    ("0f 0000 0009 02 ff", 3),
    ("0f 0000 07b1 f7" + "00" * 247, 3),
    ("10 0000 0001 02 00", 3),
    ("10 0000 0001 03 000000", 3),
    ("10 0000 007c f8" + "00" * 248, 3),
    ("10 ffff 0002 04 00000000", 2),
    ("17 0000 0001 0000 0000 00", 3),
    ("17 0000 007e 0000 0001 02 0000", 3),
    ("17 0000 0001 ffff 0002 04 00000000", 2),
]


def pdu(text: str) -> bytes:
    return bytes.fromhex(text)


@pytest.mark.parametrize(("text", "reads", "writes", "answer"), GOOD)
def test_a_request_is_understood_and_knows_its_answer(text, reads, writes, answer):
    request = parse_request(7, pdu(text))
    assert (request.reads and str(request.reads), request.writes and str(request.writes)) == (reads, writes)
    assert request.is_answered_by(pdu(answer))
    assert request.is_answered_by(bytes([request.function | 0x80, 2]))


@pytest.mark.parametrize(("text", "code"), BAD)
def test_what_no_device_would_take_has_its_exception(text, code):
    with pytest.raises(IllegalRequestError) as caught:
        parse_request(7, pdu(text))
    assert caught.value.code == code


@pytest.mark.parametrize("text", [row[0] for row in GOOD])
def test_a_request_cut_anywhere_is_illegal(text):
    for size in range(1, len(pdu(text))):
        with pytest.raises(IllegalRequestError):
            parse_request(7, pdu(text)[:size])


@pytest.mark.parametrize(("text", "answer"), [(row[0], row[3]) for row in GOOD])
def test_no_other_answer_is_its_own(text, answer):
    request, right = parse_request(7, pdu(text)), pdu(answer)
    others = [pdu(other) for _, _, _, other in GOOD if other != answer]
    others += [right[:-1], right + b"\0", b"", bytes([right[0] | 0x80]), bytes([right[0] ^ 1 | 0x80, 2])]
    assert not [other.hex() for other in others if request.is_answered_by(other)]


@pytest.mark.parametrize(
    ("text", "answer", "words"),
    [
        ("01 0000 0009", "01 02 ff01", (1,) * 9),
        ("02 0001 000a", "02 02 0502", (1, 0, 1, 0, 0, 0, 0, 0, 0, 1)),
        ("03 0000 0002", "03 04 0001 ffff", (1, 65535)),
        ("04 0000 0001", "04 02 8000", (32768,)),
    ],
)
def test_what_an_answer_says_and_how_it_is_said_again(text, answer, words):
    request = parse_request(7, pdu(text))
    read = answered_block(request, pdu(answer), 100.0)
    assert (read.block, read.words, read.read_at) == (request.reads, words, 100.0)
    assert answer_read(request, words) == pdu(answer)


def test_only_a_plain_read_says_something():
    for text, _, writes, answer in GOOD:
        request = parse_request(7, pdu(text))
        assert (answered_block(request, pdu(answer), 0.0) is None) == (writes is not None)
        assert answered_block(request, bytes([request.function | 0x80, 2]), 0.0) is None


def test_the_pollers_own_reads_are_the_same_requests():
    for text, reads, writes, _ in GOOD:
        if writes is None:
            request = parse_request(7, pdu(text))
            assert reading(7, request.reads) == request, reads
    assert {parse_request(7, pdu(row[0])).reads.table for row in GOOD[:4]} == set(Table)
