"""The command line: what a wrong configuration says, and what a good one shows."""

import argparse
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from heating.__main__ import _parser, main

GOOD = """
[mqtt]
host = "localhost"
[[bus]]
name = "rs485"
connect = "tcp://127.0.0.1:8899"
baud = 9600
[[device]]
name = "wp"
title = "Wärmepumpe"
bus = "rs485"
profile = "wago-879"
unit = 2
"""


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('host = "localhost"', 'hots = "localhost"', "mqtt.hots: unknown key"),
        ('host = "localhost"', "host = 5", "mqtt.host: expected `str`, got `int`"),
        ("unit = 2", "unit = 300", "device[0].unit: expected `int` <= 247"),
        (
            'profile = "wago-879"',
            'profile = "wago"',
            "device[0].profile: no profile 'wago': expected one of ",
        ),
        ('bus = "rs485"', 'bus = "can"', "device[0].bus: expected rs485, got 'can'"),
        ('name = "wp"', 'name = "Wärmepumpe"', "device[0].name: expected `str` matching regex"),
        ("tcp://127.0.0.1:8899", "127.0.0.1:8899", "bus[0].connect: expected tcp://HOST:PORT"),
        ("[mqtt]", "[mqqt]", "mqqt: unknown key"),
        ("[mqtt]", "[mqtt", "line 2"),
    ],
)
@pytest.mark.parametrize("command", ["check", "run"])
def test_a_mistake_stops_the_start_with_one_line(command, old, new, complaint, tmp_path, capsys):
    file = tmp_path / "config.toml"
    file.write_text(GOOD.replace(old, new, 1))
    assert main([command, "--config", str(file)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert line.startswith(f"{file}: ")
    assert complaint in line


def test_two_devices_with_one_name_are_a_mistake(tmp_path, capsys):
    file = tmp_path / "config.toml"
    file.write_text(GOOD + GOOD[GOOD.index("[[device]]") :].replace("unit = 2", "unit = 3"))
    assert main(["check", "--config", str(file)]) == 2
    assert "device[1].name: expected one of its own, 'wp' is device[0]" in capsys.readouterr().err


def test_a_missing_file_is_named(tmp_path, capsys):
    assert main(["check", "--config", str(tmp_path / "none.toml")]) == 2
    assert "none.toml: cannot be read" in capsys.readouterr().err


def test_a_good_configuration_shows_what_would_happen(tmp_path, capsys):
    file = tmp_path / "config.toml"
    file.write_text(GOOD + '[[remote_write]]\nurl = "http://me:9090/api/v1/write?key=secret"\n')
    assert main(["check", "--config", str(file)]) == 0
    said = capsys.readouterr().out
    assert said.endswith("  Readings are sent to http://me:9090/api/v1/write\n")
    assert "heating/meter/wp  Wärmepumpe: 11 fields every 30 s, unit 2 on bus rs485, profile wago-879" in said


def test_it_shows_what_other_programs_may_do(tmp_path, capsys):
    file = tmp_path / "config.toml"
    proxy = 'name = "rs485"\nproxy.listen = "0.0.0.0:5020"\n'
    writes = (
        'proxy.writes = [{ from = ["10.0.0.0/8", "::1"], unit = 7, coils = [0], holding = ["0-2", 4] }]\n'
    )
    for text, says in (
        (proxy, ["    nobody may write"]),
        (proxy + writes, ["    may write: unit 7 coils 0, holding 0-2, 4 from 10.0.0.0/8, ::1"]),
    ):
        file.write_text(GOOD.replace('name = "rs485"\n', text))
        assert main(["check", "--config", str(file)]) == 0
        shown = capsys.readouterr().out.splitlines()
        place = shown.index("  Modbus proxy for bus rs485 on 0.0.0.0:5020")
        assert shown[place + 1 : place + 2] == says


def test_a_taken_address_ends_the_run_with_one_line(tmp_path):
    file = tmp_path / "config.toml"
    with socket.create_server(("127.0.0.1", 0)) as holder:
        file.write_text(
            f'[bridge]\nlisten = "127.0.0.1:{holder.getsockname()[1]}"\n[mqtt]\nhost = "127.0.0.1"\nport = 1'
        )
        command = [sys.executable, "-m", "heating", "run", "--config", str(file)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith("cannot listen on 127.0.0.1:"), ended.stderr
    assert "Traceback" not in ended.stderr


def test_profiles_are_listed_and_shown(capsys):
    assert main(["profiles"]) == 0
    assert re.search(r"^wago-879 +meter +2 requests, 230 ms +WAGO", capsys.readouterr().out, re.MULTILINE)
    assert main(["profiles", "lg-r290"]) == 0
    said = capsys.readouterr().out
    assert "flow_temperature_celsius" in said
    assert "source: LG installation manual" in said


def test_profiles_of_the_users_own_are_listed_with_the_others(tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "cellar.toml").write_text('extends = "wago-879"\nstatus = "untested"\n')
    (tmp_path / "config.toml").write_text('[poller]\nprofiles = "mine"\n')
    assert main(["profiles", "--config", str(tmp_path / "config.toml")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("cellar ") and "UNTESTED" in line for line in lines)
    assert any(line.startswith("wago-879 ") and "UNTESTED" not in line for line in lines)
    assert main(["profiles", "nilan"]) == 2
    assert "no profile 'nilan': expected one of " in capsys.readouterr().err


def test_profiles_are_for_programs_too(capsys):
    assert main(["profiles", "--json"]) == 0
    known = {one["profile"]: one for one in json.loads(capsys.readouterr().out)}
    assert known["wago-879"]["kind"] == "meter"
    (power,) = [one for one in known["wago-879"]["fields"] if one["field"] == "power_total_kw"]
    assert (power["table"], power["address"], power["encoding"]) == ("holding", 0x5012, "float32")
    captures = Path(__file__).parents[1] / "data" / "captures"
    capture = str(captures / "wago-879-heating.toml")
    assert main(["profiles", "wago-879", "--capture", capture, "--json"]) == 0
    assert all(one["is_right"] for one in json.loads(capsys.readouterr().out))


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--mqtt-port", "0", "expected 1-65535, got '0'"),
        ("--mqtt-port", "-1", "expected 1-65535, got '-1'"),
        ("--web-port", "70000", "expected 1-65535, got '70000'"),
        ("--speed", "0", "expected a number above 0, got '0'"),
        ("--speed", "nan", "expected a number above 0, got 'nan'"),
        ("--seconds", "soon", "expected a number above 0, got 'soon'"),
    ],
)
def test_a_mistake_in_the_demos_options_is_one_line(option, value, says, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["demo", f"{option}={value}"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"heating demo: error: argument {option}: {says}"


def test_every_option_of_every_command_says_what_it_is():
    def options(parser):
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for command in action.choices.values():
                    yield from options(command)
            else:
                yield parser.prog, action

    unsaid = [(prog, action.dest) for prog, action in options(_parser()) if not action.help]
    assert unsaid == []


def test_who_reads_only_the_first_line_sees_no_traceback():
    ours, theirs = os.pipe()
    os.close(ours)
    command = [sys.executable, "-m", "heating", "profiles"]
    ended = subprocess.run(command, stdout=theirs, stderr=subprocess.PIPE, timeout=60, check=False)
    os.close(theirs)
    assert (ended.returncode, ended.stderr) == (141, b"")


@pytest.mark.parametrize("day", ["0001-01-02", "1969-12", "2026-02-30", "yesterday"])
def test_a_day_that_never_was_is_one_line(day, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["report", "daily", "--to", day])
    assert f"got '{day}'" in capsys.readouterr().err.splitlines()[-1]


def test_a_host_that_cannot_be_is_one_line(tmp_path, capsys):
    given = ["report", "daily", "--prometheus", "http://a..b:9090"]
    assert main([*given, "--config", str(tmp_path / "none.toml")]) == 1
    assert capsys.readouterr().err == "--prometheus: expected http://HOST:PORT, got 'http://a..b:9090'\n"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--apply"], "--data: expected the folder of Prometheus, its --storage.tsdb.path"),
        (["--undo"], "--data: expected the folder of Prometheus, its --storage.tsdb.path"),
        ([], "no Prometheus answers at http://127.0.0.1:1: "),
        (["--undo", "--data", "nowhere"], "--undo: nothing was made here"),
    ],
)
def test_a_migration_that_cannot_be_is_one_line(words, says, tmp_path, capsys):
    options = ["--prometheus", "http://127.0.0.1:1", "--config", str(tmp_path / "none.toml")]
    assert main(["migrate", *words, *options]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(says)
