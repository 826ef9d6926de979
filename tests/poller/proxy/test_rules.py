"""Who may write what: a table."""

from ipaddress import ip_address, ip_network

import pytest

from poller.proxy.rules import WriteRule, judge_write, plain_address
from poller.request import parse_request

RULES = [
    WriteRule((ip_network("192.168.2.20"), ip_network("fd00::/64")), 7, (range(1),), (range(2, 5),)),
    WriteRule((ip_network("192.168.2.20"),), 7, (), (range(5, 6),)),
    WriteRule((ip_network("192.168.2.0/24"),), 2, (), (range(0x4011, 0x4012),)),
]
CONTROLLER, NEIGHBOUR, STRANGER = "192.168.2.20", "192.168.2.21", "10.0.0.1"

CASES = [
    (CONTROLLER, 7, "05 0000 ff00", 0),
    (CONTROLLER, 7, "05 0001 ff00", 2),
    (CONTROLLER, 7, "06 0002 015e", 0),
    (CONTROLLER, 7, "06 0001 0003", 2),
    (CONTROLLER, 7, "10 0002 0003 06 000000000000", 0),
    (CONTROLLER, 7, "10 0004 0002 04 00000000", 0),
    (CONTROLLER, 7, "10 0001 0002 04 00000000", 2),
    (CONTROLLER, 7, "10 0005 0002 04 00000000", 2),
    (CONTROLLER, 7, "0f 0000 0001 01 01", 0),
    (CONTROLLER, 7, "0f 0000 0002 01 03", 2),
    (CONTROLLER, 7, "17 0000 0010 0002 0001 02 015e", 0),
    (CONTROLLER, 7, "17 0002 0001 0000 0001 02 0003", 2),
    (CONTROLLER, 2, "06 0002 015e", 2),
    (CONTROLLER, 2, "06 4011 0002", 0),
    (NEIGHBOUR, 7, "05 0000 ff00", 2),
    (NEIGHBOUR, 2, "06 4011 0002", 0),
    (STRANGER, 2, "06 4011 0002", 1),
    ("fd00::17", 7, "05 0000 ff00", 0),
    ("fd00:0:0:1::17", 7, "05 0000 ff00", 1),
    ("::ffff:192.168.2.20", 7, "05 0000 ff00", 0),
    (STRANGER, 7, "03 0000 0001", 0),
]


@pytest.mark.parametrize(("source", "unit", "pdu", "code"), CASES)
def test_a_write_is_allowed_by_a_rule_or_refused(source, unit, pdu, code):
    request = parse_request(unit, bytes.fromhex(pdu))
    assert judge_write(RULES, plain_address(ip_address(source)), request) == code


@pytest.mark.parametrize("pdu", sorted({row[2] for row in CASES if row[2][:2] != "03"}))
def test_without_rules_nothing_is_writable(pdu):
    assert judge_write([], ip_address("127.0.0.1"), parse_request(7, bytes.fromhex(pdu))) == 1
