"""Where blocks are made, and what stands in the way."""

import pytest

from heating.__main__ import main
from heating.errors import CommandError
from heating.migrate.blocks import FOLDER, Blocks, Made
from tests.conftest import needs

START_MS = 1_772_748_000_123
POINTS = [(START_MS + 30_000 * place, 0.1 * place) for place in range(100)]


@pytest.fixture
def data(tmp_path):
    (tmp_path / "wal").mkdir()
    return tmp_path


def test_a_folder_that_is_not_prometheus_is_said(tmp_path):
    with pytest.raises(CommandError, match=r"is no folder of Prometheus: expected its --storage.tsdb.path"):
        Blocks(tmp_path, "promtool").check(0)


def test_what_the_disk_refuses_is_one_line(data, capsys):
    (there := data / FOLDER / "under-way" / "complete.json").mkdir(parents=True)
    command = ["migrate", "--apply", "--prometheus", "http://127.0.0.1:1", "--data", str(data)]
    assert main([*command, "--config", str(data / "none.toml")]) == 1
    assert capsys.readouterr().err == f"{there}: Is a directory\n"


def test_a_full_disk_is_said(data):
    with pytest.raises(CommandError, match="expected 1000000000000 MB that are free, there are "):
        Blocks(data, "promtool").check(10**18)


def test_a_promtool_that_is_not_there_is_said(data):
    with pytest.raises(CommandError, match=r"no promtool: .*--promtool names another place"):
        Blocks(data, str(data / "none")).check(0)


def test_a_promtool_that_fails_is_said_with_its_words(data):
    (program := data / "promtool").write_text("#!/bin/sh\necho 'no space' >&2\nexit 1\n")
    program.chmod(0o755)
    blocks = Blocks(data, str(program))
    blocks.begin()
    with pytest.raises(CommandError, match="promtool makes no block: no space"):
        blocks.add([("meter_power_total_kw", {"device": "wp"}, POINTS)])


def test_blocks_that_hold_something_else_are_not_put_in_their_places(data):
    blocks = Blocks(data, needs("promtool"))
    blocks.begin()
    assert blocks.add([("meter_power_total_kw", {"device": "wp"}, POINTS)]) == 100
    with pytest.raises(CommandError, match="the blocks hold 100 samples of 101"):
        blocks.complete([Made("{}", START_MS, START_MS, 101)])
    assert not blocks.is_complete()
    blocks.complete([Made("{}", START_MS, START_MS, 100)])
    (name,) = blocks.put().blocks
    assert sorted(path.name for path in data.iterdir()) == sorted([name, FOLDER, "wal"])
    owner = data.stat()
    assert {(path.stat().st_uid, path.stat().st_gid) for path in (data / name).rglob("*")} == {
        (owner.st_uid, owner.st_gid)
    }
