"""The folder of backups: never two at once, never a full disk, nothing left of one that was cut short."""

import contextlib
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from heating.__main__ import main
from heating.backup.folder import RESERVE_BYTES, make_room, note_request, note_snapshot, stage_in
from heating.backup.rotation import name_backup
from heating.backup.settings import ADDED, BackupSettings
from heating.backup.take import take_backup
from heating.errors import CommandError
from tests.conftest import wait_until

ROOT = Path(__file__).parents[3]
NOW = datetime(2026, 11, 26, 2, 30, tzinfo=UTC)


def fill(folder: Path, *sizes: int) -> list[Path]:
    """Backups of one night after the other, of so many bytes."""
    folder.mkdir(exist_ok=True)
    made = [folder / name_backup(NOW + timedelta(days=day)) for day in range(len(sizes))]
    for path, size in zip(made, sizes, strict=True):
        path.write_bytes(bytes(size))
    return made


@pytest.mark.parametrize(
    ("lacking", "gone"),
    [(-1, 0), (0, 0), (1, 1), (100, 1), (101, 2), (300, 2)],
)
def test_the_oldest_go_when_there_is_no_room_and_only_as_many_as_must(tmp_path, lacking, gone):
    made = fill(tmp_path, 100, 200, 400)
    make_room(tmp_path, 50, lambda _: 50 + RESERVE_BYTES - lacking)
    assert [path.exists() for path in made] == [False] * gone + [True] * (3 - gone)


def test_the_newest_is_never_given_up_for_the_next_one_and_then_nothing_is(tmp_path):
    made = fill(tmp_path, 100, 200, 400)
    (tmp_path / "photo.jpg").write_bytes(bytes(1000))
    with pytest.raises(CommandError, match=r"MB are missing\. Write to another disk"):
        make_room(tmp_path, 50, lambda _: 50 + RESERVE_BYTES - 301)
    assert all(path.exists() for path in made)


def settings(folder: Path, **places: Path) -> BackupSettings:
    (config := folder / "config.toml").write_text("")
    return BackupSettings(config, folder / "backups", True, folder, (), (), places)


def test_a_backup_counts_what_it_will_take_before_it_begins(tmp_path):
    (tmp_path / "journal.sqlite").write_bytes(bytes(1000))
    (tmp_path / "journal.sqlite-wal").write_bytes(bytes(500))
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "viewer").write_bytes(bytes(20))
    asked = settings(tmp_path, journal=tmp_path / "journal.sqlite", secrets=tmp_path / "secrets")
    with pytest.raises(CommandError, match="MB are missing"):
        take_backup(asked, None, NOW, lambda: "", free=lambda _: RESERVE_BYTES + 3019)
    with pytest.raises(CommandError, match=r"journal\.sqlite: cannot be backed up: file is not a database"):
        take_backup(asked, None, NOW, lambda: "", free=lambda _: RESERVE_BYTES + 3020)
    assert not list((tmp_path / "backups").iterdir())


def test_what_a_loss_of_power_left_is_taken_away_by_the_next_one_with_its_snapshot(tmp_path):
    prometheus = tmp_path / "prometheus"
    for name in ("ours", "theirs"):
        (prometheus / "snapshots" / name / "block").mkdir(parents=True)
    for name in (".heating-backup-x1", ".heating-backup-x2"):
        (tmp_path / "backups" / name).mkdir(parents=True)
    (tmp_path / "backups" / ".heating-backup-x1" / "journal.sqlite").write_bytes(bytes(100))
    (tmp_path / "backups" / ".heating-20261126T023000Z.tar.gz.unfinished").write_bytes(bytes(100))
    (tmp_path / "backups" / ".mine").write_text("stays")
    note_snapshot(tmp_path / "backups" / ".heating-backup-x1", "ours")
    with stage_in(tmp_path / "backups", prometheus) as stage:
        assert {one.name for one in (tmp_path / "backups").iterdir()} == {stage.name, ".mine"}
    assert {one.name for one in (prometheus / "snapshots").iterdir()} == {"theirs"}


def test_on_a_disk_that_is_not_mounted_no_backup_is_written_on_the_disk_below(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (usb := Path("usb")).mkdir()
    Path("config.toml").write_text('[backup]\nfolder = "usb/heating"\n')
    assert main(["backup", "--config", "config.toml"]) == 1
    assert capsys.readouterr().err == "usb/heating: there is no such folder: is its disk mounted?\n"
    assert main(["backup", "-o", "usb/heating/b.tar.gz", "--config", "config.toml"]) == 1
    assert "No such file or directory: 'usb/heating'" in capsys.readouterr().err
    assert not list(usb.iterdir())
    (folder := usb / "heating").mkdir()  # as the engine makes it
    assert main(["backup", "--config", "config.toml"]) == 1
    assert (
        "is empty: is its disk mounted? If this is the right folder, put any file" in capsys.readouterr().err
    )
    assert not list(folder.iterdir())
    (folder / "README").touch()
    assert main(["backup", "--config", "config.toml"]) == 0
    assert len(list(folder.iterdir())) == 2


def snapshot_in(prometheus: Path, name: str) -> None:
    (prometheus / "snapshots" / name / "block").mkdir(parents=True)


def snapshots(prometheus: Path) -> set[str]:
    return {one.name for one in (prometheus / "snapshots").iterdir()}


def test_a_snapshot_whose_answer_never_came_is_taken_away_and_once_more_by_the_next_backup(tmp_path):
    """Prometheus does not hear that nobody waits any more: it may go on with it. Others' stay."""
    prometheus = tmp_path / "prometheus"
    ours, before, later = "20261126T023000Z-5", "20261125T090000Z-7", "20261126T090000Z-1"
    snapshot_in(prometheus, before)

    def unanswered() -> str:
        snapshot_in(prometheus, ours)
        raise CommandError("no Prometheus answers: timed out")

    asked = settings(tmp_path, prometheus=prometheus)
    with pytest.raises(CommandError, match="timed out"):
        take_backup(asked, None, NOW, unanswered)
    assert snapshots(prometheus) == {before}
    snapshot_in(prometheus, ours)
    snapshot_in(prometheus, later)
    with stage_in(tmp_path / "backups", prometheus) as stage:
        assert list((tmp_path / "backups").iterdir()) == [stage]
    assert snapshots(prometheus) == {before, later}


def test_a_refusal_leaves_nothing(tmp_path):
    snapshot_in(tmp_path / "prometheus", "20261125T090000Z-7")

    def refused() -> str:
        raise CommandError("start Prometheus with --web.enable-admin-api")

    with pytest.raises(CommandError, match="--web"):
        take_backup(settings(tmp_path, prometheus=tmp_path / "prometheus"), None, NOW, refused)
    assert not list((tmp_path / "backups").iterdir())
    assert snapshots(tmp_path / "prometheus") == {"20261125T090000Z-7"}


@pytest.mark.parametrize("is_noted", [True, False], ids=["noted", "a note that a loss of power emptied"])
def test_a_snapshot_that_was_asked_for_when_power_was_lost_is_taken_away(tmp_path, is_noted):
    prometheus = tmp_path / "prometheus"
    snapshot_in(prometheus, "20261125T090000Z-7")
    (stage := tmp_path / "backups" / ".heating-backup-x1").mkdir(parents=True)
    note_request(stage, prometheus)
    snapshot_in(prometheus, "20261126T023000Z-5")
    if not is_noted:
        for note in stage.iterdir():
            note.write_bytes(b"")
    with stage_in(tmp_path / "backups", prometheus):
        pass
    left = set() if is_noted else {"20261126T023000Z-5"}
    assert snapshots(prometheus) == {"20261125T090000Z-7"} | left, "without a note nothing of others goes"


def test_two_at_once_are_one_and_a_line(tmp_path):
    with (
        stage_in(tmp_path, None),
        pytest.raises(CommandError, match="another backup is being written there"),
        stage_in(tmp_path, None),
    ):
        pytest.fail("both")
    with stage_in(tmp_path, None):
        pass


def test_what_a_person_adds_to_the_stack_is_what_git_ignores():
    """But the backups themselves, and the configuration, which has a name of its own."""
    ignored = (ROOT / ".gitignore").read_text().partition("# What a person adds to the stack.\n")[2]
    names = {line.strip("/").removesuffix("/*") for line in ignored.splitlines() if line.startswith("/")}
    assert names - {"backups", ".homeassistant"} == {"config.toml", *ADDED}


def test_a_stack_takes_along_what_was_added_to_it_and_only_what_is_there(tmp_path):
    (tmp_path / "etc").mkdir()
    stack = tmp_path / "stack"
    (stack / "mosquitto" / "own").mkdir(parents=True)
    (stack / "mosquitto" / "own" / "acl").write_text("user devices\n")
    (stack / ".env").write_text("COMPOSE_FILE=compose.yaml:compose/serial.yaml\n")
    (stack / "README.md").write_text("ours")
    config = tmp_path / "etc" / "config.toml"
    config.write_text("")
    run = [sys.executable, "-m", "heating"]
    environment = {**os.environ, "HEATING_BACKUP__STACK": str(stack)}
    subprocess.run(
        [*run, "backup", "-o", str(tmp_path / "b.tar.gz"), "--config", str(config)],
        cwd=ROOT, env=environment, check=True, capture_output=True,
    )  # fmt: skip
    empty = tmp_path / "empty"
    environment["HEATING_BACKUP__STACK"] = str(empty)
    subprocess.run(
        [*run, "restore", str(tmp_path / "b.tar.gz"), "--config", str(empty / "config.toml")],
        cwd=ROOT, env=environment, check=True, capture_output=True,
    )  # fmt: skip
    assert {one.relative_to(empty).as_posix() for one in empty.rglob("*") if one.is_file()} == {
        "config.toml",
        ".env",
        "mosquitto/own/acl",
    }


def test_a_backup_that_is_told_to_end_takes_away_what_it_has_begun(tmp_path):
    """As the engine and systemd do it: SIGTERM. A fifo beside the configuration holds it up."""
    (tmp_path / "config.toml").write_text('[backup]\nmosquitto = "mosquitto.db"\n')
    os.mkfifo(tmp_path / "mosquitto.db")
    process = subprocess.Popen(
        [sys.executable, "-m", "heating", "backup", "--config", str(tmp_path / "config.toml")], cwd=ROOT
    )
    folder, held = tmp_path / "backups", []

    def is_held_up() -> bool:
        with contextlib.suppress(OSError):  # nobody reads it yet
            held.append(os.open(tmp_path / "mosquitto.db", os.O_WRONLY | os.O_NONBLOCK))
        return bool(held)

    try:
        wait_until(is_held_up, within_s=20, what="it reads")
        assert list(folder.iterdir())
        process.terminate()
    finally:
        for one in held:
            os.close(one)
    assert process.wait(20) == 143
    assert not list(folder.iterdir())
