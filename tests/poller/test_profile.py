"""A profile is data, and one that says too little or contradicts itself is refused in one line."""

from dataclasses import replace
from pathlib import Path

import pytest

from poller.errors import ProfileError
from poller.points import Encoding, Table
from poller.profile import Profile, load_profile, parse_profile, profile_names
from readings.vocabulary import VOCABULARY

HEAD = 'title = "T"\nkind = "meter"\nmanufacturer = "M"\nmodel = "X"\nsources = ["a manual"]\n'


def profile(fields: str, *, head: str = "") -> Profile:
    return parse_profile("t", f"{HEAD}{head}[fields]\n{fields}\n")


@pytest.mark.parametrize("name", profile_names())
def test_every_profile_that_comes_along_is_right(name):
    known = load_profile(name)
    assert known.sources
    for field, one in known.fields.items():
        assert one.quantity == VOCABULARY[known.kind][field]
        if one.difference is None and one.raw_of is None:
            assert one.rules.range is not None, field


@pytest.mark.parametrize("name", [one for one in profile_names() if load_profile(one).transport == "modbus"])
def test_no_two_fields_share_a_register(name):
    places = [
        (one.point.table, address, one.point.bit)
        for one in load_profile(name).fields.values()
        if one.point
        for address in range(one.point.address, one.point.address + one.point.registers)
    ]
    assert len(places) == len(set(places))


@pytest.mark.parametrize("name", [one for one in profile_names() if load_profile(one).transport == "modbus"])
def test_one_answer_of_zeros_publishes_nothing_that_was_not_zero(name):
    """A broken gateway answers with zeros: a first 0 is outside the range, impossible, or waits for a second."""
    for field, one in load_profile(name).fields.items():
        if one.point is None or one.rules.kind == "energy" or one.rules.range[0] > 0 or one.rules.low:
            continue
        assert one.rules.jump is not None, field
        assert one.rules.jump < 1, f"{field}: a whole number that changes is confirmed"


def test_the_wagos_default_fields_are_the_originals():
    chosen = load_profile("wago-879").choose()
    assert set(chosen) - {"energy_total_raw_kwh"} == {
        "power_total_kw", "power_L1_kw", "power_L2_kw", "power_L3_kw", "energy_total_kwh", "energy_L1_kwh",
        "energy_L2_kwh", "energy_L3_kwh", "frequency_hz", "power_factor",
    }  # fmt: skip


def test_a_derived_field_brings_what_it_is_made_of():
    known = load_profile("lg-r290")
    assert "return_temperature_celsius" in known.choose(less=("return_temperature_celsius",))
    without = ("return_temperature_celsius", "temperature_delta_celsius")
    assert not set(without) & known.choose(less=without).keys()
    with pytest.raises(ProfileError, match="'colour' is not a field of profile lg-r290"):
        known.choose(("colour",))


def test_defaults_hold_where_a_field_says_nothing():
    head = '[defaults]\ntable = "input"\nencoding = "int32"\nword_order = "little"\nsentinels = [-1]\n'
    known = profile(
        "voltage_avg_v = { address = 0x10, scale = 0.1, range = [0, 300] }\n"
        'tariff = { address = 7, table = "holding", encoding = "uint16", sentinels = [], range = [1, 4] }',
        head=head,
    )
    voltage, tariff = known.fields["voltage_avg_v"].point, known.fields["tariff"].point
    assert voltage
    assert tariff
    assert (voltage.table, voltage.encoding, voltage.word_order) == (Table.INPUT, Encoding.INT32, "little")
    assert (voltage.registers, voltage.sentinels) == (2, (-1,))
    assert (tariff.table, tariff.registers, tariff.sentinels) == (Table.HOLDING, 1, ())


def test_a_whole_number_moves_in_steps_of_its_scale_and_a_bit_is_0_or_1():
    known = profile(
        'energy_total_kwh = { address = 0, encoding = "uint32", scale = 0.1, range = [0, 1e6], max_power_kw = 45 }'
    )
    assert known.fields["energy_total_kwh"].rules.resolution == 0.1
    assert load_profile("thermostat").fields["switch_state"].rules.range == (0, 1)


def test_a_profile_may_bring_a_quantity_of_its_own():
    known = profile(
        'leak_ma = { address = 0, range = [0, 300], unit = "mA", description = "Leakage current", decimals = 1 }'
    )
    assert known.fields["leak_ma"].quantity.short == "Leak ma"


FLOAT = 'encoding = "float32"'


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ("power_total_kw = { address = 0, rnge = [0, 1] }", "fields.power_total_kw.rnge: unknown key"),
        ("power_total_kw = { address = -1 }", r"fields.power_total_kw.address: .*>= 0"),
        ("power_total_kw = {}", "expected exactly one of address, difference, raw_of"),
        ("seq = { address = 0 }", "none of the reserved names"),
        ("colour = { address = 0 }", "expected a unit and a description"),
        ('tariff = { address = 0, unit = "kW" }', "tariff.unit: comes from the vocabulary"),
        ('tariff = { address = 0, short = "Night" }', "tariff.short: comes from the vocabulary"),
        (
            'heat_mwh = { address = 0, unit = "MWh", description = "Heat", kind = "energy", max_power_kw = 9 }',
            "heat_mwh.unit: expected kWh, which max_power_kw goes with, got 'MWh'",
        ),
        ('tariff = { address = 0, words = { low = "1" } }', "tariff.words: expected whole numbers"),
        ('tariff = { address = 0, words = { 01 = "low" } }', "tariff.words: expected whole numbers"),
        ('tariff = { address = 0, words = { 1 = "" } }', "tariff.words: expected whole numbers"),
        (
            "tariff = { address = 0, range = [1, inf] }",
            r"tariff.range\[1\]: expected a finite number, got inf",
        ),
        ("tariff = { address = 0, scale = nan }", "tariff.scale: expected a finite number, got nan"),
        ("tariff = { address = 0, interval_s = inf }", "tariff.interval_s: expected a finite number"),
        ("tariff = { address = 0 }", "tariff.range: expected the lowest and the highest"),
        (
            "tariff = { address = 0, range = [4, 1] }",
            r"range: expected \[lowest, highest\], got \[4.0, 1.0\]",
        ),
        (
            f"voltage_avg_v = {{ address = 0, {FLOAT}, range = [0, 300] }}",
            "voltage_avg_v.resolution: expected",
        ),
        ("power_total_kw = { address = 0, range = [-45, 45] }", "power_total_kw.low: expected"),
        ("energy_total_kwh = { address = 0, range = [0, 1e6] }", "max_power_kw: expected the power in kW"),
        ('tariff = { address = 0, encoding = "string" }', "texts stand under"),
        ('tariff = { address = 0, encoding = "bit" }', "tariff.bit: expected"),
        ("tariff = { address = 0, bit = 3, range = [0, 1] }", "tariff.bit: expected"),
        (
            "tariff = { address = 0, scale = 0, range = [0, 1] }",
            "tariff.scale: expected a number other than 0",
        ),
        (
            f"frequency_hz = {{ address = 65535, {FLOAT}, range = [45, 65] }}",
            "expected the value to end below 65536",
        ),
        ('tariff = { address = 0, range = [1, 4], live_when = "tariff" }', "live_when: expected `possible`"),
        (
            'tariff = { difference = ["tariff", "tariff"] }',
            "tariff.difference: expected a field with an address",
        ),
        (
            'tariff = { address = 0, range = [1, 4] }\nenergy_total_raw_kwh = { raw_of = "tariff" }',
            "raw_of: expected an energy count",
        ),
    ],
)
def test_what_is_wrong_is_named_with_file_and_key(fields, complaint):
    with pytest.raises(ProfileError, match=complaint) as raised:
        profile(fields)
    assert str(raised.value).startswith("t.toml: fields.")
    assert "\n" not in str(raised.value)


def test_what_reports_by_itself_has_no_addresses():
    with pytest.raises(ProfileError, match="reports by itself"):
        profile("tariff = { address = 0, range = [1, 4] }", head='transport = "messages"\n')


def test_a_profile_that_is_none_names_those_there_are():
    with pytest.raises(ProfileError, match=f"expected one of {', '.join(profile_names())}"):
        load_profile("nilan")


# Profiles on top of others, and of the user's own

OWN = """
title = "Cellar"
sources = ["what its display shows"]
extends = "wago-879"
base = 1

[defaults]
word_order = "little"

[fields]
power_total_kw = { scale = -1 }
tariff = { default = true }
power_L1_kw = { address = 0x6001 }
leak_ma = { address = 1, encoding = "uint16", range = [0, 300], unit = "mA", description = "Leakage current" }
"""


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name.replace('_', '-')}.toml").write_text(text, encoding="utf-8")
    return folder


def test_a_profile_extends_another_and_says_only_what_differs(tmp_path):
    own, wago = load_profile("cellar", write(tmp_path, cellar=OWN)), load_profile("wago-879")
    assert (own.title, own.model, own.identity) == ("Cellar", wago.model, wago.identity)
    assert own.sources == ("what its display shows", *wago.sources)
    power, before = own.fields["power_total_kw"], wago.fields["power_total_kw"]
    assert power.point == replace(before.point, scale=-1, word_order="little")
    assert power.rules == before.rules
    assert (own.fields["tariff"].default, own.fields["voltage_L1_v"].default) == (True, False)
    assert own.fields.keys() == wago.fields.keys() | {"leak_ma"}


def test_addresses_from_1_are_those_of_the_file_itself(tmp_path):
    """What is taken over has its own way of counting."""
    own = load_profile("cellar", write(tmp_path, cellar=OWN))
    addresses = {name: one.point.address for name, one in own.fields.items() if one.point}
    assert (addresses["power_L1_kw"], addresses["leak_ma"], addresses["power_L2_kw"]) == (0x6000, 0, 0x5016)
    counted = profile(
        "frequency_hz = { address = 13, range = [45, 65] }",
        head="base = 1\n[identity]\nserial_number = { address = 501, registers = 2 }\n",
    )
    assert counted.fields["frequency_hz"].point.address == 12
    assert counted.identity["serial_number"].address == 500
    with pytest.raises(ProfileError, match=r"t.toml: fields.tariff.address: expected 1 or more, where"):
        profile("tariff = { address = 0, range = [1, 4] }", head="base = 1\n")


def test_each_table_may_be_counted_as_its_manual_does(tmp_path):
    """30013 is input register 12, 40009 holding register 8; the table may be said anywhere."""
    base = "base = { input = 30001, holding = 40001 }\n"
    known = profile(
        'frequency_hz = { address = 30013, range = [45, 65] }\ntariff = { table = "holding", address = 40009, range = [1, 4] }',
        head=f'{base}[defaults]\ntable = "input"\n[identity]\nserial_number = {{ address = 40101, registers = 2 }}\n',
    )
    assert (known.fields["frequency_hz"].point.address, known.fields["tariff"].point.address) == (12, 8)
    assert known.identity["serial_number"].address == 100
    folder = write(
        tmp_path,
        a=f'extends = "eastron-sdm72"\n{base}[fields]\npower_total_kw = {{ address = 300055 }}\n'.replace(
            "30001", "300001"
        ),
    )
    assert load_profile("a", folder).fields["power_total_kw"].point.address == 54


def test_a_profile_may_extend_one_of_the_same_folder_and_so_on(tmp_path):
    folder = write(
        tmp_path, cellar=OWN, loft='extends = "cellar"\ntitle = "Loft"\n', shed='extends = "loft"\n'
    )
    shed = load_profile("shed", folder)
    assert (shed.title, shed.fields["power_total_kw"].point.scale) == ("Loft", -1)
    assert {"cellar", "loft", "shed", "wago-879"} <= set(profile_names(folder))
    assert "cellar" not in profile_names()


def test_a_profile_is_replaced_only_by_one_that_says_so(tmp_path):
    folder = write(tmp_path, wago_879='extends = "wago-879"\ntitle = "Mine"\n')
    with pytest.raises(ProfileError) as raised:
        load_profile("wago-879", folder)
    assert str(raised.value) == (
        f"{folder / 'wago-879.toml'}: a profile 'wago-879' comes with the program; "
        "expected another file name, or `replaces = true` to take its place"
    )
    write(tmp_path, wago_879='replaces = true\nextends = "wago-879"\ntitle = "Mine"\n')
    assert load_profile("wago-879", folder).title == "Mine"
    assert load_profile("wago-879").title == "WAGO 879-30xx"


def test_a_profile_leaves_out_what_its_device_lacks(tmp_path):
    write(tmp_path, a='extends = "wago-879"\nwithout = ["tariff"]\n', b='extends = "a"\n')
    for name in ("a", "b"):
        assert "tariff" not in load_profile(name, tmp_path).fields


def test_what_comes_along_extends_what_comes_along(tmp_path):
    write(tmp_path, eastron_sdm72_v2='replaces = true\nextends = "eastron-sdm72-v2"\npause_ms = 7\n')
    assert load_profile("eastron-sdm72-v2", tmp_path).pause_ms == 7
    assert load_profile("eastron-sdm630", tmp_path) == load_profile("eastron-sdm630")
    write(tmp_path, mine='extends = "eastron-sdm72-v2"\n')
    assert load_profile("mine", tmp_path).pause_ms == 7


def test_untested_is_what_a_file_says_of_itself(tmp_path):
    folder = write(tmp_path, a='extends = "wago-879"\nstatus = "untested"\n', b='extends = "a"\n')
    assert [load_profile(name, folder).is_untested for name in ("a", "b")] == [True, False]


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({"a": 'extends = "nilan"'}, "a.toml: extends: no profile 'nilan', expected one of a, "),
        ({"a": 'extends = "b"', "b": 'extends = "a"'}, "b.toml: extends: 'a' is made of this file itself"),
        ({"a": 'extends = "a"'}, "a.toml: extends: no profile 'a'"),
        ({"a": 'extends = "b"', "b": 'extends = "wago-879"\ncolour = 1'}, "b.toml: colour: unknown key"),
        ({"a": "extends = 3"}, r"a.toml: extends: expected `str \| null`, got `int`"),
        ({"a": 'extends = "wago-879"\nfields = 3'}, "a.toml: fields: expected `object`, got `int`"),
        (
            {"a": 'extends = "wago-879"\n[fields]\npower_L1_kw = 3'},
            "a.toml: fields.power_L1_kw: expected its keys in braces, got 3",
        ),
        ({"a": 'extends = "wago-879"\nbase = "one"'}, r"a.toml: base: expected `int \| object`"),
        ({"a": 'extends = "wago-879"\nbase = { registers = 1 }'}, "a.toml: base.registers: unknown key"),
        ({"a": 'extends = "wago-879"\nwithout = ["colour"]'}, "without: 'colour' is not a field of wago-879"),
        (
            {"a": 'extends = "wago-879"\nwithout = ["energy_total_kwh"]'},
            "energy_total_raw_kwh.raw_of: expected",
        ),
        ({"a": "title ="}, "a.toml: Invalid value"),
        ({"a": 'title = "A"'}, "a.toml: kind: expected a value, it is missing"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_name(tmp_path, files, complaint):
    with pytest.raises(ProfileError, match=complaint) as raised:
        load_profile("a", write(tmp_path, **files))
    assert str(raised.value).startswith(str(tmp_path))
    assert "\n" not in str(raised.value)


def test_a_folder_that_is_not_there_and_a_file_that_is_no_text_are_said(tmp_path):
    with pytest.raises(ProfileError, match="expected a folder with profiles, there is none at"):
        profile_names(tmp_path / "none")
    (tmp_path / "a.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ProfileError, match=r"a.toml: cannot be read: "):
        load_profile("a", tmp_path)
