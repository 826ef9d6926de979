"""`heating check` says every mistake of a configuration, and nothing that only follows from one."""

import json
from pathlib import Path

import pytest

from heating.__main__ import main
from heating.mistakes import find_mistakes
from poller.config import read_config
from readings.settings import apply_changes
from tests.poller.test_config import GOOD, MISTAKES

FULL_OF_MISTAKES = """
[mqtt]
hots = "localhost"
port = "1883"
[bridge]
listen = "nowhere"
[[bus]]
name = "rs485"
connect = "192.168.2.10:8899"
baud = -1
[[bus]]
name = "two"
connect = "serial:///dev/ttyUSB0?parity=X"
[[device]]
name = "wp"
bus = "can"
profile = "wago-879"
unit = 300
interval = 0
[[device]]
name = "lg"
bus = "rs485"
profile = "lg"
unti = 7
[[device]]
bus = "rs485"
profile = "lg-r290"
unit = 7
interval = 60
[[device]]
name = "wp"
bus = "two"
profile = "wago-879"
unit = 3
aliases = ["meter"]
[poler]
name = "x"
[[remote_write]]
url = "ftp://x"
[report]
timezone = "Mars/Base"
prise = 0.3
[backup]
folder = 7
"""

ALL_OF_THEM = (
    "mqtt.hots: unknown key",
    "mqtt.port: expected `int`, got `str`",
    "bus[0].baud: expected `int` >= 0",
    "device[0].unit: expected `int` <= 247",
    "device[0].interval: expected `float` >= 1.0",
    "device[1].unti: unknown key",
    "device[2].name: expected a value, it is missing",
    "poler: unknown key",
    "bus[0].connect: expected tcp://HOST:PORT",
    "bus[1].connect: expected parity N (none), E (even) or O (odd), got 'X'",
    "device[0].bus: expected rs485, two, got 'can'",
    "device[1].profile: no profile 'lg'",
    "device[2].interval: expected at most 15 s",
    "device[3].aliases: expected each once, and meter not at all",
    "device[3].name: expected one of its own, 'wp' is device[0]",
    "bridge.listen: expected ADDRESS:PORT, got 'nowhere'",
    "remote_write[0].url: expected http://HOST:PORT/PATH",
    "report.prise: unknown key",
    "report.timezone: expected a name like",
    "backup.folder: expected `str | null`, got `int`",
)


def test_every_mistake_is_a_line_of_its_own(tmp_path, capsys):
    file = tmp_path / "config.toml"
    file.write_text(FULL_OF_MISTAKES)
    assert main(["check", "--config", str(file)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    lines = said.err.splitlines()
    assert len(lines) == len(ALL_OF_THEM), lines
    for line, mistake in zip(lines, ALL_OF_THEM, strict=True):
        assert line.startswith(f"{file}: {mistake}")


@pytest.mark.parametrize(("good", "bad", "says"), MISTAKES)
def test_one_mistake_is_one_line(good, bad, says, tmp_path: Path):
    """What follows from taking it out of the way is none."""
    file = tmp_path / "config.toml"
    file.write_text(GOOD.replace(good, bad, 1))
    first, *more = find_mistakes(file, {}, read_config)
    assert first == f"{file}: {says}"
    # A key that is spelled wrong is one too many and one too few.
    assert not more or (says.endswith("unknown key") and more[0].endswith("it is missing") and not more[1:])


@pytest.mark.parametrize("text", ["[mqtt", "name = ", "[[bus]]\n[bus]"])
def test_what_is_no_toml_is_one_line(text, tmp_path, capsys):
    file = tmp_path / "config.toml"
    file.write_text(text)
    assert main(["check", "--config", str(file)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{file}: ")


def test_a_file_that_is_not_there_is_one_line(tmp_path, capsys):
    assert main(["check", "--config", str(tmp_path / "none.toml")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{tmp_path}/none.toml: cannot be read")


def test_variables_are_checked_as_well(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text(GOOD.replace('host = "broker"', "host = 1"))
    environ = {"HEATING_MQTT__PORT": "many", "HEATING_BUS__7__BAUD": "1", "PATH": "/bin"}
    assert list(find_mistakes(file, environ, read_config)) == [
        "HEATING_BUS__7__BAUD: expected an entry that is in the file, which has 1",
        "HEATING_MQTT__PORT: expected `int`, got 'many'",
        f"{file}: mqtt.host: expected `str`, got `int`",
    ]


def test_json_lists_the_mistakes_or_where_it_would_publish(tmp_path, capsys):
    file = tmp_path / "config.toml"
    file.write_text(FULL_OF_MISTAKES)
    assert main(["check", "--config", str(file), "--json"]) == 2
    seen = json.loads(capsys.readouterr().out)
    assert (seen["is_good"], len(seen["mistakes"])) == (False, len(ALL_OF_THEM))
    file.write_text(GOOD)
    assert main(["check", "--config", str(file), "--json"]) == 0
    seen = json.loads(capsys.readouterr().out)
    assert (seen["is_good"], seen["mistakes"]) == (True, [])
    assert [one["state_topic"] for one in seen["devices"]] == [
        "heating/meter/wp/state",
        "heating/heatpump/lg/state",
    ]


@pytest.mark.parametrize(
    "place", ["nothing", "bus[9]", "bus[0].name.deeper", "mqtt[0]", "device[0][0]", "bus.name"]
)
def test_a_change_of_what_is_not_there_changes_nothing(place):
    tables = {"mqtt": {"host": "a"}, "bus": [{"name": "a"}], "device": []}
    apply_changes(tables, {place: None})
    assert tables == {"mqtt": {"host": "a"}, "bus": [{"name": "a"}], "device": []}
