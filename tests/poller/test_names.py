"""Device names that are made of what others call their devices."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from poller.names import LONGEST, make_device_name
from readings.reading import is_device_name

WORDS = st.text(alphabet="aäAÄbß _/-.+#\u0308é客0", max_size=4)
"""Texts that lie close enough together to collide."""


@pytest.mark.parametrize("text", ["temp_indoor", "0x00158d0001", "heat-pump_2"])
def test_a_text_that_may_be_a_name_is_its_own(text):
    assert make_device_name(text) == text


@pytest.mark.parametrize(
    ("text", "readable"),
    [
        ("Wohnzimmer Süd", "wohnzimmer_sued-"),
        ("kitchen/floor light", "kitchen_floor_light-"),
        ("Bad (groß)", "bad_gross-"),
        ("Salle à manger", "salle_a_manger-"),
        ("客厅", "device-"),
        ("", "device-"),
        ("a/+/#", "a-"),
    ],
)
def test_the_readable_part_is_kept(text, readable):
    name = make_device_name(text)
    assert name.startswith(readable)
    assert len(name) == len(readable) + 6


@given(st.text(max_size=300))
@example("\ud800")
def test_every_text_makes_a_name(text):
    name = make_device_name(text)
    assert is_device_name(name)
    assert len(name) <= LONGEST


@given(st.sets(WORDS, min_size=2, max_size=2))
@example({"ä", "a\u0308b"})
def test_two_texts_never_make_one_name(texts):
    """Composed or decomposed accents are the same text to people."""
    one, other = texts
    if one.replace("a\u0308", "ä").replace("A\u0308", "Ä") != other.replace("a\u0308", "ä").replace(
        "A\u0308", "Ä"
    ):
        assert make_device_name(one) != make_device_name(other)
