"""`heating dump` as a person uses it."""

import json
import time
from collections.abc import Iterator

import pytest

from heating.__main__ import main
from simulator.gateway import Gateway
from simulator.house_bus import LiveHouse, house_bus


@pytest.fixture
def url() -> Iterator[str]:
    house = LiveHouse(start_s=1_768_449_600.0, monotonic=time.monotonic)
    with Gateway(house_bus(house, framing="tcp", baud=0, turnaround_s=0)) as gateway:
        yield f"tcp://127.0.0.1:{gateway.address[1]}"


def test_what_was_dumped_shows_what_a_profile_makes_of_it(url, tmp_path, capsys):
    assert main(["dump", url, "--unit", "2", "holding:0x5000-0x5031", "--profile", "wago-879"]) == 0
    file = tmp_path / "wago.toml"
    file.write_text(capsys.readouterr().out)
    assert main(["profiles", "wago-879", "--capture", str(file)]) == 0
    assert "frequency_hz" in capsys.readouterr().out


def test_json_is_for_programs(url, capsys):
    assert main(["dump", url, "--unit", "7", "input:0-30", "coil:0", "--json"]) == 0
    seen = json.loads(capsys.readouterr().out)
    assert [(one["table"], one["address"], len(one["words"])) for one in seen["blocks"]] == [
        ("coil", 0, 1),
        ("input", 0, 25),
    ]
    assert seen["refused"] == [{"table": "input", "first": 25, "last": 30}]


def test_addresses_that_are_not_there_are_said(url, capsys):
    assert main(["dump", url, "--unit", "2", "input:0-9"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == f"{url}, unit 2: it has none of these addresses: another table, or off by one?\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("tcp://127.0.0.1", "input:0"), "the following arguments are required: --unit"),
        (("tcp://127.0.0.1", "--unit", "2"), "the following arguments are required: TABLE:FIRST-LAST"),
        (("tcp://127.0.0.1", "--unit", "2", "input"), "expected coil, discrete, input or holding and addresses from 0 to 65535, such as input:0-50, got 'input'"),
        (("gateway", "--unit", "2", "input:0"), "argument URL: expected tcp://HOST:PORT"),
    ],
)  # fmt: skip
def test_a_wrong_argument_is_one_line(arguments, says, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["dump", *arguments])
    assert ended.value.code == 2
    assert says in capsys.readouterr().err.splitlines()[-1]
