"""What the demo shows in the terminal."""

import io
import os
from datetime import UTC, datetime

import pytest

from heating.terminal import Terminal, show_state
from readings.payload import FieldInfo, Info
from readings.reading import DeviceKey, DeviceState, Kind

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def info(title: str, **fields: FieldInfo) -> Info:
    return Info(
        contract=1,
        poller="p",
        stream="s",
        title=title,
        manufacturer="",
        model="",
        profile="",
        interval=5,
        fields=fields,
    )


@pytest.mark.parametrize(
    ("kind", "values", "line"),
    [
        (
            Kind.METER,
            {"power_total_kw": 1.2344, "energy_total_kwh": 812.446},
            "Power 1.234 kW · Energy 812.45 kWh",
        ),
        (Kind.METER, {"power_total_kw": None, "energy_total_kwh": 1}, "Power - · Energy 1.00 kWh"),
        (Kind.METER, {"power_total_kw": None}, "cannot be read"),
        (
            Kind.HEATPUMP,
            {"compressor_running": 1, "operating_mode": 2},
            "Compressor on · Operating mode heating",
        ),
        (Kind.HEATPUMP, {"compressor_running": 0, "operating_mode": 9}, "Compressor off · Operating mode 9"),
        (
            Kind.SENSOR,
            {"temperature_celsius": 21.5, "humidity_percent": 44},
            "Temperature 21.5 °C · Humidity 44 %",
        ),
        (
            Kind.THERMOSTAT,
            {"switch_state": 0, "target_temperature_celsius": 21},
            "Switch off · Target 21.0 °C",
        ),
    ],
)
def test_a_state_is_one_line_that_a_person_reads(kind, values, line):
    known = info("Title", operating_mode=FieldInfo(kind="enum", words={"2": "heating"}))
    shown = show_state(DeviceKey(kind, "d"), DeviceState(0, "s", 1, values), known)
    assert " ".join(shown.split()) == f"Title {line}"


def test_before_its_announcement_a_device_has_its_id():
    shown = show_state(DeviceKey(Kind.METER, "m1"), DeviceState(0, "s", 1, {"power_total_kw": 1}), None)
    assert shown.startswith("m1 ")


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_the_footer_stays_below():
    out = Screen()
    terminal = Terminal(out)
    terminal.line("first")
    terminal.keep_below(["", "addresses"])
    terminal.line("second")
    terminal.close()
    assert out.getvalue() == "first\n\naddresses\n\x1b[2F\x1b[Jsecond\n\naddresses\n"


def test_in_a_file_the_footer_stands_at_start_and_end():
    out = io.StringIO()
    terminal = Terminal(out)
    terminal.keep_below(["addresses"])
    terminal.reading(DeviceKey(Kind.METER, "m"), DeviceState(0, "s", 1, {"power_total_kw": 1}), None, NOON)
    terminal.close()
    lines = out.getvalue().splitlines()
    assert (lines[0], lines[-1]) == ("addresses", "addresses")
    assert lines[1].startswith("12:00:00  m ")


def test_a_reader_that_goes_away_is_told_once_and_costs_no_error():
    """`heating demo | head`."""
    gone: list[bool] = []
    read, write = os.pipe()
    with os.fdopen(write, "w", encoding="utf-8") as out:
        terminal = Terminal(out)
        terminal.tell_when_gone(lambda: gone.append(True))
        terminal.line("first")
        assert os.read(read, 100) == b"first\n"
        os.close(read)
        for _ in range(3):
            terminal.line("nobody reads this")
        terminal.close()
    assert gone == [True]
