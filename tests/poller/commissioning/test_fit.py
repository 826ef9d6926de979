"""Whether a profile fits: what counts as evidence, and what speaks against."""

import pytest

from poller.commissioning.fit import evidence_bits, ranked, telling_fields, weigh
from poller.decode import NoNumber
from poller.profile import load_profile, parse_profile

METER = load_profile("wago-879")
HEAT_PUMP = load_profile("lg-r290")
RUNNING = {
    "frequency_hz": 50.02, "voltage_L1_v": 229.9, "voltage_L2_v": 231.2, "voltage_L3_v": 230.4,
    "power_total_kw": 1.234, "power_factor": 0.97, "energy_total_kwh": 12345.6,
}  # fmt: skip


def test_a_running_meter_is_known_by_what_it_reads():
    fit = weigh(METER, RUNNING, ())
    assert fit.is_sure
    assert fit.evidence == (
        "frequency 50.02 Hz, 3 voltages 229.9-231.2 V, power 1.234 kW, energy count 12345.6 kWh"
    )
    assert (fit.against, fit.missing) == ((), ())


def test_a_meter_at_rest_is_known_by_its_voltages():
    at_rest = RUNNING | {"power_total_kw": 0, "energy_total_kwh": 0, "power_factor": 0}
    assert weigh(METER, at_rest, ()).is_sure


@pytest.mark.parametrize("readings", [{}, dict.fromkeys(RUNNING, 0)], ids=["nothing", "zeros"])
def test_an_empty_register_says_nothing(readings):
    fit = weigh(METER, readings, ())
    assert fit.evidence == ""
    assert not fit.is_possible


@pytest.mark.parametrize("nonsense", [3.67e-27, 1e30, NoNumber.NOT_A_NUMBER, NoNumber.FULL_SCALE])
def test_what_cannot_be_speaks_against(nonsense):
    fit = weigh(METER, dict.fromkeys(RUNNING, nonsense), ())
    assert set(fit.against) == set(RUNNING)
    assert not fit.is_possible


def test_words_in_the_wrong_order_do_not_fit():
    """230.4 V with its registers swapped is 1.6e-19."""
    swapped = {name: 1.6e-19 for name in RUNNING if name.startswith("voltage")}
    assert not weigh(METER, swapped, ()).is_possible


def test_a_sentinel_is_honest_and_says_nothing():
    assert weigh(HEAT_PUMP, {"outdoor_temperature_celsius": NoNumber.SENTINEL}, ()).bits == 0


def test_an_address_that_is_not_there_costs_and_is_named():
    whole, lacking = weigh(METER, RUNNING, ()), weigh(METER, RUNNING, ("energy_L1_kwh", "voltage_avg_v"))
    assert lacking.bits < whole.bits
    assert lacking.missing == ("energy_L1_kwh",), "what is not read by default is not missed"


@pytest.mark.parametrize(
    ("profile", "field", "value", "at_least", "at_most"),
    [
        (METER, "frequency_hz", 50.0, 9, 10),
        (METER, "voltage_L1_v", 230.0, 4, 7),
        (METER, "power_total_kw", 1.2, 2, 5),
        (HEAT_PUMP, "outdoor_temperature_celsius", -2.1, 3, 10),
        (HEAT_PUMP, "operating_mode", 2, 1, 1),
        (HEAT_PUMP, "compressor_running", 1, 0, 0),
    ],
)
def test_the_narrower_the_believable_the_more_it_says(profile, field, value, at_least, at_most):
    assert at_least <= evidence_bits(profile.fields[field], value) <= at_most


def test_the_best_comes_first_and_what_cannot_be_not_at_all():
    fits = [
        weigh(METER, RUNNING, ("energy_L1_kwh",)),
        weigh(HEAT_PUMP, {"outdoor_temperature_celsius": 900.0}, ()),
        weigh(METER, RUNNING, ()),
    ]
    best, second = ranked(fits)
    assert best.bits > second.bits


def test_of_two_alike_the_tested_one_comes_first():
    text = (
        'title = "T"\nkind = "meter"\nmanufacturer = "M"\nmodel = "M"\nsources = ["one", "two"]\n{more}\n[fields]\n'
        'frequency_hz = {{ address = 0, scale = 0.01, encoding = "uint16", range = [45, 65] }}\n'
    )
    untested, tested = (
        parse_profile(name, text.format(more=more))
        for name, more in (("a", 'status = "untested"'), ("b", ""))
    )
    fits = [weigh(one, {"frequency_hz": 50.0}, ()) for one in (untested, tested)]
    assert [one.profile.name for one in ranked(fits)] == ["b", "a"]


def test_voltages_are_looked_at_even_where_they_are_not_read_by_default():
    assert {"voltage_L1_v", "voltage_L2_v", "voltage_L3_v", "frequency_hz"} <= telling_fields(METER).keys()
    assert "reactive_power_total_kvar" not in telling_fields(METER)
