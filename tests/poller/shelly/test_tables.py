"""`[[shelly]]` in the configuration: a mistake is one line that names the key."""

from pathlib import Path

import pytest

from poller.config import read_config
from readings.errors import SettingsError

HEAD = '[[shelly]]\nprefix = "shelly-1"\n'
SENSOR = '[[shelly.sensor]]\nname = "hall"\naddress = "00005e005310"\n'


def read(folder: Path, text: str) -> None:
    path = folder / "config.toml"
    path.write_text(text)
    read_config(path, {})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[[shelly]]\n", "shelly[0].prefix: expected a value, it is missing"),
        ('[[shelly]]\nprefix = "a/#"\n', "shelly[0].prefix: expected"),
        ('[[shelly]]\nprefix = "a/"\n', "shelly[0].prefix: expected"),
        ('[[shelly]]\nprefix = "$SYS"\n', "shelly[0].prefix: expected"),
        (HEAD + HEAD, "shelly[1].prefix: expected one of its own, 'shelly-1' is shelly[0].prefix"),
        (HEAD + "colour = 1\n", "shelly[0].colour: unknown key"),
        (
            HEAD + '[[shelly.sensor]]\nname = "hall"\n',
            "shelly[0].sensor[0]: expected an address, a device_id or",
        ),
        (
            HEAD + '[[shelly.sensor]]\nname = "hall"\naddress = "00:00"\n',
            "shelly[0].sensor[0].address: expected 12 hexadecimal digits, got '00:00'",
        ),
        (
            HEAD + SENSOR + 'component = "temperature:0"\n',
            "shelly[0].sensor[0].component: expected no address",
        ),
        (
            HEAD + '[[shelly.sensor]]\nname = "Hall"\naddress = "00005e005310"\n',
            "shelly[0].sensor[0].name: expected",
        ),
        (HEAD + SENSOR + "silent_after = 0\n", "shelly[0].sensor[0].silent_after: expected"),
        (
            HEAD + SENSOR + SENSOR.replace("hall", "attic").replace("5e0053", "5E-0053"),
            "shelly[0].sensor[1].address: expected one of its own, '00:00:5e:00:53:10' is shelly[0].sensor[0].address",
        ),
        (
            HEAD + SENSOR + '[[shelly.meter]]\nname = "hall"\n',
            "shelly[0].meter[0].name: expected one of its own, 'hall' is shelly[0].sensor[0].name",
        ),
        (
            HEAD + '[[shelly.thermostat]]\nname = "room"\ncurrent = "hall"\n',
            "shelly[0].thermostat[0].current: expected a [[shelly.sensor]] first, got 'hall'",
        ),
        (HEAD + '[[shelly.pump]]\nname = "p"\nfield = "x"\n', "shelly[0].pump[0].field: "),
        (
            HEAD + '[[shelly.meter]]\nname = "house"\nfields = ["colour"]\n',
            "shelly.meter 'house': 'colour' is not a field of profile shelly-em: expected",
        ),
    ],
)
def test_a_mistake_is_one_line_that_names_the_key(tmp_path, text, expected):
    with pytest.raises(SettingsError) as error:
        read(tmp_path, text)
    line = str(error.value).removeprefix(f"{tmp_path / 'config.toml'}: ")
    assert line.startswith(expected)
    assert "\n" not in line


def test_a_name_that_a_device_on_a_bus_has_is_refused(tmp_path):
    bus = '[[bus]]\nname = "b"\nconnect = "tcp://127.0.0.1"\n[[device]]\nname = "room"\nbus = "b"\nprofile = "wago-879"\n'
    with pytest.raises(SettingsError, match="device: meter/room and thermostat/room have one name"):
        read(tmp_path, bus + HEAD + '[[shelly.thermostat]]\nname = "room"\n')
