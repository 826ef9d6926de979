"""A profile held against a capture, and a made-up manual's page whose profile the tests keep."""

from pathlib import Path

import pytest

from heating.__main__ import main
from poller.commissioning.capture import Capture, hold, parse_capture
from poller.errors import CaptureError, ProfileError
from poller.profile import load_profile, parse_profile

PAGE = Path(__file__).parent.parent.parent / "data" / "manual-page"


def capture(text: str) -> Capture:
    return parse_capture("c.toml", f'profile = "wago-879"\n{text}')


BLOCK = '[[block]]\ntable = "holding"\naddress = 0x5012\nwords = [0x3F80, 0, 0x4000, 0]\n'


def test_the_profile_of_the_made_up_page_reads_what_its_display_shows():
    """From registers that count from 1, hundredths of a kWh, 64 bits with the low word first, and all ones for nothing."""
    shown = parse_capture("display.toml", (PAGE / "display.toml").read_text(encoding="utf-8"))
    profile = parse_profile("borealis-e3", (PAGE / "borealis-e3.toml").read_text(encoding="utf-8"))
    held = list(hold(profile, shown))
    assert {one.point.name for one in held} == shown.expected.keys()
    assert [one.point.name for one in held if not one.is_right] == []


def test_every_point_that_lies_whole_in_a_capture_is_held_against_it():
    held = {
        one.point.name: one
        for one in hold(load_profile("wago-879"), capture(BLOCK + "[values]\npower_total_kw = 1.5\n"))
    }
    assert held.keys() == {"power_total_kw", "power_L1_kw"}
    assert (held["power_total_kw"].meaning, held["power_total_kw"].is_right) == (1.0, False)
    assert (held["power_L1_kw"].words, held["power_L1_kw"].expected) == ((0x4000, 0), None)


def test_what_a_capture_speaks_of_and_does_not_hold_is_not_right():
    (missing,) = [
        one
        for one in hold(load_profile("wago-879"), capture(BLOCK + "[values]\nfrequency_hz = 50.0\n"))
        if one.point.name == "frequency_hz"
    ]
    assert (missing.words, missing.meaning, missing.is_right) == ((), None, False)
    with pytest.raises(ProfileError, match="'colour' is nothing that profile wago-879 has an address of"):
        list(hold(load_profile("wago-879"), capture(BLOCK + "[values]\ncolour = 1\n")))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "c.toml: block: expected a value, it is missing"),
        (BLOCK.replace("0x3F80", "70000"), r"c.toml: block\[0\].words\[0\]: expected `int` <= 65535"),
        (BLOCK.replace("holding", "registers"), r"c.toml: block\[0\].table: invalid enum value 'registers'"),
        ("block = ", "c.toml: Invalid value"),
    ],
)
def test_a_capture_that_is_none_is_refused_with_file_and_key(text, says):
    with pytest.raises(CaptureError, match=says):
        capture(text)


def test_the_command_shows_each_field_beside_the_display(tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "config.toml").write_text('[poller]\nprofiles = "mine"\n', encoding="utf-8")
    own = (PAGE / "borealis-e3.toml").read_text(encoding="utf-8")
    (tmp_path / "mine" / "borealis-e3.toml").write_text(own, encoding="utf-8")
    ask = [
        "profiles",
        "borealis-e3",
        "--config",
        str(tmp_path / "config.toml"),
        "--capture",
        str(PAGE / "display.toml"),
    ]
    assert main(ask) == 0
    said = capsys.readouterr().out
    assert (
        "energy_import_total_kwh  input 30     0xD687 0x0012 0x0000 0x0000  12345.67  kWh   the same" in said
    )
    assert said.endswith("15 of 15 as the display showed them\n")
    wrong = own.replace('"little"', '"big"')
    (tmp_path / "mine" / "borealis-e3.toml").write_text(wrong, encoding="utf-8")
    assert main(ask) == 1
    assert "12345.67: not the same" in capsys.readouterr().out
    assert main(["profiles", "--capture", str(PAGE / "display.toml")]) == 2
    assert main(["profiles", "wago-879", "--capture", str(tmp_path / "none.toml")]) == 2
    assert "none.toml: cannot be read: " in capsys.readouterr().err
