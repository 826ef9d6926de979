"""`heating scan` as a person uses it: what it prints runs, Ctrl-C shows what was found, nothing found says what to try."""

import json
import re
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from heating.__main__ import main
from heating.progress import Progress, draw
from poller.config import read_config
from poller.run import Poller
from simulator.bus import Bus
from simulator.gateway import Gateway
from simulator.house_bus import LiveHouse, house_bus
from simulator.wire import TcpFraming
from tests.conftest import Server, wait_until

FAST = ("--units", "1-10")


@pytest.fixture
def house() -> LiveHouse:
    return LiveHouse(start_s=1_768_449_600.0, monotonic=time.monotonic)


@pytest.fixture
def url(house: LiveHouse) -> Iterator[str]:
    bus = house_bus(house, framing="tcp", baud=0, turnaround_s=0)
    bus._reports_silence = True
    with Gateway(bus) as gateway:
        yield f"tcp://127.0.0.1:{gateway.address[1]}"


def test_what_is_found_has_its_evidence(url, capsys):
    assert main(["scan", url, *FAST]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    lines = said.out.splitlines()
    assert lines[0] == f"{url}: 10 of 10 unit ids asked"
    (meter,) = [line for line in lines if line.startswith("2 ")]
    assert meter.split()[1] == "wago-879"
    assert re.search(r"frequency (49\.9|50\.0)\d Hz", meter)
    assert "4 voltages 2" in meter
    (pump,) = [line for line in lines if line.startswith("7 ")]
    assert pump.split()[1] == "lg-r290"


@pytest.mark.mosquitto
def test_what_it_prints_runs_when_it_is_pasted(url, tmp_path, mosquitto: Server, capsys):
    assert main(["scan", url, *FAST]) == 0
    pasted = capsys.readouterr().out.partition("For config.toml:\n\n")[2]
    file = tmp_path / "config.toml"
    file.write_text(f"{pasted}\n[mqtt]\nport = {mosquitto.port}\n")
    assert main(["check", "--config", str(file)]) == 0
    poller = Poller(read_config(file, {}), trust_at_once=True, on_hang=pytest.fail)
    poller.start()
    try:
        for device in ("meter", "heatpump"):
            wait_until(
                lambda device=device: (
                    poller.tally.value("poller_polls_total", device=device, result="complete") >= 1
                ),
                what=f"a poll of {device}",
            )
    finally:
        poller.stop()


def test_two_devices_of_a_kind_have_names_of_their_own(house, tmp_path, capsys):
    with Gateway(Bus({3: house.meter(), 4: house.meter()}, TcpFraming(), reports_silence=True)) as gateway:
        assert main(["scan", f"tcp://127.0.0.1:{gateway.address[1]}", *FAST, "--json"]) == 0
    config = json.loads(capsys.readouterr().out)["config"]
    assert [one["name"] for one in tomllib.loads(config)["device"]] == ["meter-3", "meter-4"]
    file = tmp_path / "config.toml"
    file.write_text(config)
    assert main(["check", "--config", str(file)]) == 0


def test_a_device_on_the_network_has_no_line_behind_it(house, capsys):
    with Gateway(Bus(dict.fromkeys(range(1, 248), house.meter()), TcpFraming())) as gateway:
        assert main(["scan", f"tcp://127.0.0.1:{gateway.address[1]}", *FAST]) == 0
    out = capsys.readouterr().out
    assert "it answers whatever unit is asked: one device that is itself on the network" in out
    assert tomllib.loads(out.partition("For config.toml:\n\n")[2])["bus"][0]["baud"] == 0


def test_json_is_for_programs(url, capsys):
    assert main(["scan", url, *FAST, "--json"]) == 0
    seen = json.loads(capsys.readouterr().out)
    assert (seen["is_complete"], seen["asked"]) == (True, list(range(1, 11)))
    assert [(one["unit"], one["fits"][0]["profile"]) for one in seen["units"]] == [
        (2, "wago-879"),
        (7, "lg-r290"),
    ]
    assert seen["units"][0]["fits"][0]["is_sure"]


def test_ctrl_c_shows_what_was_found_so_far(house):
    with Gateway(house_bus(house, framing="tcp", baud=0, turnaround_s=0)) as gateway:
        url = f"tcp://127.0.0.1:{gateway.address[1]}"
        command = [sys.executable, "-m", "heating", "scan", url, "--timeout", "0.5", "--json"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            wait_until(
                lambda: any(one.unit == 4 for one in gateway.exchanges), within_s=60, what="unit 4 is asked"
            )
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, "")
    seen = json.loads(out)
    assert not seen["is_complete"]
    assert [one["unit"] for one in seen["units"]] == [2]


def test_a_bus_in_the_other_framing_is_said(house, capsys):
    with Gateway(house_bus(house, framing="rtu", baud=0, turnaround_s=0)) as gateway:
        where = f"127.0.0.1:{gateway.address[1]}"
        assert main(["scan", f"tcp://{where}", "--timeout", "0.05", "--units", "2"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines()[-1] == (
        f"unit 2 answers when it is asked in another way: `heating scan rtu+tcp://{where}`"
    )


def test_a_bus_on_which_nobody_answers_is_said(capsys):
    with Gateway(Bus({}, TcpFraming())) as gateway:
        assert (
            main(["scan", f"tcp://127.0.0.1:{gateway.address[1]}", "--timeout", "0.05", "--units", "2"]) == 1
        )
    assert "connected, but no unit answers" in capsys.readouterr().err.splitlines()[-1]


def test_a_device_that_no_profile_fits_is_shown(capsys):
    unknown = Bus({4: LiveHouse(start_s=0, monotonic=time.monotonic).heat_pump()}, TcpFraming())
    with Gateway(unknown) as gateway:
        url = f"tcp://127.0.0.1:{gateway.address[1]}"
        assert main(["scan", url, "--units", "4", "--profile", "wago-879"]) == 0
    out = capsys.readouterr().out
    assert "answers, but no profile fits: docs/new-device.md says what to do" in out
    assert "config.toml" not in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("gateway",), "argument URL: expected tcp://HOST:PORT"),
        (("tcp://127.0.0.1", "--units", "0-5"), "argument --units: expected unit ids from 1 to 247 such as 1-20,33, got '0-5'"),
        (("tcp://127.0.0.1", "--timeout", "no"), "argument --timeout: expected a number above 0, got 'no'"),
    ],
)  # fmt: skip
def test_a_wrong_argument_is_one_line(arguments, says, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["scan", *arguments])
    assert ended.value.code == 2
    assert says in capsys.readouterr().err.splitlines()[-1]


class Screen:
    """A terminal that keeps what was written to it."""

    def __init__(self, *, is_terminal: bool) -> None:
        self.written = ""
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal

    def write(self, text: str) -> None:
        self.written += text

    def flush(self) -> None:
        """It shows everything at once."""


def test_progress_is_one_line_that_is_gone_at_the_end():
    screen = Screen(is_terminal=True)
    with Progress(screen, monotonic=iter([0.0, 5.0, 10.0, 10.0]).__next__) as progress:
        progress.show(3, 4, "unit 1")
        progress.show(-1, -1, "unit 1: profile 1 of 2")
    assert screen.written.split("\r\x1b[K") == [
        "",
        draw(3, 4, "unit 1", 5.0),
        draw(3, 4, "unit 1: profile 1 of 2", 10.0),
        "",
    ]


def test_in_a_file_there_is_no_progress():
    screen = Screen(is_terminal=False)
    with Progress(screen) as progress:
        progress.show(1, 4, "unit 1")
    assert screen.written == ""


def test_the_configuration_beside_it_names_the_folder_of_own_profiles(url, tmp_path: Path, capsys):
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "my-meter.toml").write_text('extends = "wago-879"\ntitle = "My meter"\n')
    file = tmp_path / "config.toml"
    file.write_text('[poller]\nprofiles = "own"\n')
    assert main(["scan", url, *FAST, "--profile", "my-meter", "--config", str(file)]) == 0
    assert "my-meter" in capsys.readouterr().out
