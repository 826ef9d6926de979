"""The encoder against words worked out by hand from the Modbus and IEEE 754 documents."""

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.profile import Encoding, Point, Table, load_profile, parse_profile
from simulator.bus import Device
from simulator.devices import heat_pump_values, meter_values, profile_values
from simulator.errors import EncodeError, IllegalAddressError
from simulator.house import House
from simulator.registers import RegisterMap, encode, points_of, represented


def point(encoding, registers=None, **rest):
    return Point("field", Table.HOLDING, 0, registers or encoding.registers, encoding, **rest)


BY_HAND = [
    # sign 0, exponent 127+4, mantissa 1.5625: 0 10000011 1001000...
    ("25 as float32", point(Encoding.FLOAT32), 25.0, [0x41C8, 0x0000]),
    ("low word first", point(Encoding.FLOAT32, word_order="little"), 25.0, [0x0000, 0x41C8]),
    # sign 1, exponent 127+1, mantissa 1.6 = 1.1001 1001 1001 1001 1001 101 (rounded)
    ("an export of 3.2", point(Encoding.FLOAT32), -3.2, [0xC04C, 0xCCCD]),
    # 1.5 = 1.1b, exponent 1023 = 0x3FF
    ("1.5 as float64", point(Encoding.FLOAT64), 1.5, [0x3FF8, 0, 0, 0]),
    ("float64, low word first", point(Encoding.FLOAT64, word_order="little"), 1.5, [0, 0, 0, 0x3FF8]),
    ("31.4 °C in tenths", point(Encoding.INT16, scale=0.1), 31.4, [314]),
    ("-6.5 °C in tenths: 65536 - 65", point(Encoding.INT16, scale=0.1), -6.5, [0xFFBF]),
    ("65535 without sign", point(Encoding.UINT16), 65535, [0xFFFF]),
    ("-2 on 32 bits", point(Encoding.INT32), -2, [0xFFFF, 0xFFFE]),
    ("-2 on 32 bits, low word first", point(Encoding.INT32, word_order="little"), -2, [0xFFFE, 0xFFFF]),
    # 123456789 = 0x075B CD15
    ("123456.789 kWh in Wh", point(Encoding.UINT32, scale=0.001), 123456.789, [0x075B, 0xCD15]),
    ("-2 on 64 bits", point(Encoding.INT64), -2, [0xFFFF, 0xFFFF, 0xFFFF, 0xFFFE]),
    (
        "2^40 + 1 on 64 bits, low word first",
        point(Encoding.UINT64, word_order="little"),
        2**40 + 1,
        [1, 0, 0x100, 0],
    ),
    ("12345 as 12 thousands and 345", point(Encoding.THOUSANDS), 12345, [12, 345]),
    ("the same, low word first", point(Encoding.THOUSANDS, word_order="little"), 12345, [345, 12]),
    ("no count", point(Encoding.THOUSANDS, sentinels=(32768,)), None, [0x8000, 0x8000]),
    ("bit 3", point(Encoding.BIT, bit=3), 1, [0x0008]),
    ("bit 3, clear", point(Encoding.BIT, bit=3), 0, [0]),
    ("a serial number", point(Encoding.HEX, 2), "21470815", [0x2147, 0x0815]),
    ("a name, 'L' 0x4C, 'G' 0x47", point(Encoding.STRING, 2), "LG", [0x4C47, 0]),
    ("not connected: -649", point(Encoding.INT16, scale=0.1, sentinels=(-649, 3000)), None, [0xFD77]),
    ("not connected: all ones", point(Encoding.UINT32, sentinels=("ones",)), None, [0xFFFF, 0xFFFF]),
    ("not connected: -1 is all ones, too", point(Encoding.INT16, sentinels=("ones",)), None, [0xFFFF]),
]


@pytest.mark.parametrize(
    ("where", "value", "words"), [row[1:] for row in BY_HAND], ids=[r[0] for r in BY_HAND]
)
def test_a_value_becomes_the_words_that_a_person_works_out(where, value, words):
    assert list(encode(where, value)) == words


def test_no_value_of_a_float_is_not_a_number():
    assert math.isnan(struct.unpack(">f", struct.pack(">HH", *encode(point(Encoding.FLOAT32), None)))[0])


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (point(Encoding.INT16), 40000),
        (point(Encoding.UINT16), -1),
        (point(Encoding.FLOAT32), 1e39),
        (point(Encoding.INT16), None),
        (point(Encoding.HEX, 2), "no hex"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(where, value):
    with pytest.raises(EncodeError, match="field: "):
        encode(where, value)


@given(st.integers(-32768, 32767), st.sampled_from([1, 0.1, 0.01, 0.001, 10]))
def test_what_an_integer_register_represents_is_a_short_decimal(raw, scale):
    """25.06, never 25.060000000000002: the truth that tests compare with."""
    value = represented(point(Encoding.INT16, scale=scale), raw * scale)
    assert value == pytest.approx(raw * scale)
    assert len(f"{value!r}".partition(".")[2]) <= 3


POINTS = [
    Point("power_total_kw", Table.HOLDING, 10, 2, Encoding.FLOAT32),
    Point("frequency_hz", Table.HOLDING, 14, 1, Encoding.UINT16, scale=0.01),
    Point("tariff", Table.HOLDING, 100, 1, Encoding.UINT16),
    Point("alarm", Table.HOLDING, 101, 1, Encoding.BIT, bit=0),
    Point("door", Table.HOLDING, 101, 1, Encoding.BIT, bit=15),
    Point("pump", Table.COIL, 10, 1, Encoding.BIT),
]
VALUES = {"power_total_kw": 25.0, "frequency_hz": 50.0, "tariff": 2, "alarm": 1, "door": 1, "pump": 1}


def test_a_block_holds_its_points_and_zeros_between():
    answer = RegisterMap(POINTS).read(Table.HOLDING, 10, 5, VALUES)
    assert answer.words == (0x41C8, 0, 0, 0, 5000)
    assert answer.values == {"power_total_kw": 25.0, "frequency_hz": 50.0}


def test_half_a_point_is_read_but_means_nothing():
    answer = RegisterMap(POINTS).read(Table.HOLDING, 11, 4, VALUES)
    assert answer.words == (0, 0, 0, 5000)
    assert answer.values == {"frequency_hz": 50.0}


def test_bits_share_a_register_and_coils_are_not_registers():
    registers = RegisterMap(POINTS)
    assert registers.read(Table.HOLDING, 101, 1, VALUES).words == (0x8001,)
    assert registers.read(Table.COIL, 10, 1, VALUES).words == (1,)


def test_a_device_without_a_value_for_a_point_is_found_out():
    with pytest.raises(EncodeError, match="tariff"):
        RegisterMap(POINTS).read(Table.HOLDING, 100, 1, {})


@pytest.mark.parametrize(
    ("strict", "address", "count", "legal"),
    [
        (False, 10, 5, True),
        (False, 12, 2, True),
        (False, 9, 2, False),
        (False, 14, 2, False),
        (False, 14, 87, False),
        (False, 100, 1, True),
        (True, 10, 2, True),
        (True, 10, 5, False),
        (True, 12, 1, False),
    ],
)
def test_addresses_outside_the_blocks_are_illegal_and_gaps_as_the_device_is(strict, address, count, legal):
    registers = RegisterMap(POINTS, strict=strict)
    if legal:
        registers.read(Table.HOLDING, address, count, VALUES)
    else:
        with pytest.raises(IllegalAddressError):
            registers.read(Table.HOLDING, address, count, VALUES)
    with pytest.raises(IllegalAddressError):
        registers.read(Table.INPUT, address, count, VALUES)


@pytest.mark.parametrize(("name", "values"), [("wago-879", meter_values), ("lg-r290", heat_pump_values)])
def test_the_house_has_a_value_for_every_point_of_a_profile(name, values):
    points = points_of(load_profile(name))
    state = House(draw=lambda: 0.5, start_s=1_768_449_600).at(1_768_449_700)
    registers = RegisterMap(points)
    for one in points:
        registers.read(one.table, one.address, one.registers, values(state))
    assert values(state).keys() >= {one.name for one in points}


def test_a_device_may_be_picky_about_the_length_of_a_request():
    meter = Device(POINTS, lambda: VALUES, max_registers=40, multiple_of=2)
    assert [count for count in range(50) if meter.takes(Table.HOLDING, count)] == list(range(2, 41, 2))
    assert [count for count in (0, 1, 41, 2000, 2001) if meter.takes(Table.COIL, count)] == [1, 41, 2000]


def test_a_quantity_that_the_house_does_not_know_moves_within_its_range():
    own = parse_profile(
        "own",
        'title = "T"\nkind = "meter"\nmanufacturer = "M"\nmodel = "X"\nsources = ["a manual"]\n[fields]\n'
        'leak_ma = { address = 0, range = [0, 300], unit = "mA", description = "Leakage current" }\n'
        'relay = { address = 1, range = [2, 5], unit = "", description = "Relay", kind = "enum", words = { 5 = "on" } }\n'
        "frequency_hz = { address = 2, scale = 0.01, range = [45, 65] }\n",
    )
    house = House(draw=lambda: 0.5, start_s=1_768_449_600)
    first, second = (profile_values(own, house.at(1_768_449_700 + later)) for later in (0, 300))
    assert first["leak_ma"] != second["leak_ma"]
    assert all(149 < one["leak_ma"] < 151 and one["relay"] == 5 for one in (first, second))
    assert 49 < first["frequency_hz"] < 51
