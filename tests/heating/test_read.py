"""`heating read` against the simulated house: what it shows, and the line that says what to try next."""

import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from heating.__main__ import main
from simulator.gateway import Gateway
from simulator.house_bus import LiveHouse, house_bus
from simulator.serial_line import SerialLine


@pytest.fixture
def house() -> LiveHouse:
    return LiveHouse(start_s=1_768_449_600.0, monotonic=time.monotonic)


@pytest.fixture(params=["tcp", "rtu+tcp", "serial"])
def url(request: pytest.FixtureRequest, house: LiveHouse, tmp_path: Path) -> Iterator[str]:
    """The house as each kind of line brings it."""
    bus = house_bus(house, framing="tcp" if request.param == "tcp" else "rtu", baud=0, turnaround_s=0)
    if request.param == "serial":
        with SerialLine(bus, tmp_path / "port") as line:
            yield f"serial://{line.path}"
    else:
        with Gateway(bus) as gateway:
            yield f"{request.param}://{gateway.address[0]}:{gateway.address[1]}"


@pytest.fixture
def gateway(house: LiveHouse) -> Iterator[Gateway]:
    with Gateway(house_bus(house, framing="tcp", baud=0, turnaround_s=0)) as one:
        yield one


def url_of(gateway: Gateway, scheme: str = "tcp") -> str:
    return f"{scheme}://{gateway.address[0]}:{gateway.address[1]}"


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, list[str]]:
    code = main(list(arguments))
    said = capsys.readouterr()
    return code, said.out, said.err.splitlines()


def test_a_look_shows_registers_values_and_verdicts(url, capsys):
    code, out, err = run(capsys, "read", "--profile", "wago-879", url, "--unit", "2")
    assert (code, err) == (0, [])
    head, _, *table = out.splitlines()
    assert head.startswith("WAGO 879-30xx, unit 2 at ")
    assert "serial number 21470815" in head
    power = next(line for line in table if line.startswith("power_total_kw"))
    assert re.fullmatch(
        r"power_total_kw +holding 20498 \(0x5012\) +0x[0-9A-F]{4} 0x[0-9A-F]{4} +\d\.\d+ +kW +accepted", power
    )
    energy = next(line for line in table if line.startswith("energy_total_kwh"))
    assert energy.endswith("held back: the first count: believed when three in a row agree")


def test_bits_and_words_are_shown(gateway, capsys):
    _, out, _ = run(capsys, "read", "--profile", "lg-r290", url_of(gateway), "--unit", "7")
    assert re.search(r"^operating_mode +input 1 +0x0002 +2 \(heating\) +accepted$", out, re.MULTILINE)
    assert re.search(r"^compressor_running +discrete 3 +1 +1 +accepted$", out, re.MULTILINE)


def test_every_field_on_request(gateway, capsys):
    _, out, _ = run(capsys, "read", "--profile", "lg-r290", url_of(gateway), "--unit", "7", "--all")
    assert re.search(
        r"^solar_temperature_celsius +input 6 +0xFD77 +- +°C +no value: the device says that it has none$",
        out, re.MULTILINE,
    )  # fmt: skip


def test_json_is_for_programs(gateway, capsys):
    code, out, _ = run(capsys, "read", "--profile", "wago-879", url_of(gateway), "--unit", "2", "--json")
    seen = json.loads(out)
    assert (code, seen["serial_number"], seen["profile"]) == (0, "21470815", "wago-879")
    (power,) = [one for one in seen["fields"] if one["field"] == "power_total_kw"]
    assert (power["table"], power["address"], power["filter"], len(power["words"])) == (
        "holding", 20498, "accepted", 2,
    )  # fmt: skip


def test_watching_shows_what_the_filters_come_to_believe(gateway):
    """The third look accepts the energy counts; Ctrl-C ends it."""
    command = [
        sys.executable, "-m", "heating", "read", "--profile", "wago-879", url_of(gateway),
        "--unit", "2", "--watch", "0.05", "--json",
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        found = []
        for line in process.stdout:
            (energy,) = [one for one in json.loads(line)["fields"] if one["field"] == "energy_total_kwh"]
            found.append(energy["filter"])
            if found[-1] == "accepted":
                process.send_signal(2)
                break
        process.stdout.read()
        assert process.wait(10) == 130
        assert process.stderr.read() == ""
    assert found == ["held_back", "held_back", "accepted"]


@pytest.mark.parametrize(
    ("scheme", "arguments", "says"),
    [
        ("tcp", ("--profile", "lg-r290", "--unit", "2"), "refuses what profile lg-r290 asks for"),
        ("rtu+tcp", ("--profile", "wago-879", "--unit", "2"), "use tcp://127.0.0.1:"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line(gateway, scheme, arguments, says, capsys):
    code, out, err = run(capsys, "read", url_of(gateway, scheme), *arguments)
    assert (code, out) == (1, "")
    assert says in err[-1]
    assert err[:-1] in ([], ["No answer; looking what would bring one ..."])


def test_a_port_that_nobody_listens_on_is_one_line(capsys):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    code, _, err = run(capsys, "read", "--profile", "wago-879", f"tcp://127.0.0.1:{port}")
    assert code == 1
    (line,) = err
    assert line.startswith(f"tcp://127.0.0.1:{port}: nothing listens there")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("tcp://127.0.0.1",), "the following arguments are required: --profile"),
        (("127.0.0.1:502", "--profile", "wago-879"), "argument URL: expected tcp://HOST:PORT, rtu+tcp://HOST:PORT or serial://"),
        (("tcp://127.0.0.1", "--profile", "wago-879", "--unit", "0"), "argument --unit: expected a unit id from 1 to 247, got '0'"),
        (("tcp://127.0.0.1", "--profile", "wago-879", "--watch", "0"), "argument --watch: expected a number above 0, got '0'"),
    ],
)  # fmt: skip
def test_a_wrong_argument_is_one_line(arguments, says, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["read", *arguments])
    assert ended.value.code == 2
    assert says in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("profile", "says"),
    [
        ("wago", "no profile 'wago': expected one of "),
        ("thermostat", "--profile: expected a Modbus device, thermostat reports by itself"),
    ],
)
def test_a_profile_that_cannot_be_read_is_one_line(profile, says, capsys):
    code, _, err = run(capsys, "read", "tcp://127.0.0.1:1", "--profile", profile)
    assert code == 2
    (line,) = err
    assert line.startswith(says)
