"""Backups against real servers' files: made, everything destroyed, put back, compared."""

import contextlib
import gzip
import io
import json
import os
import pwd
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bridge.config import read_config as read_bridge_config
from bridge.database import Database
from bridge.outbox import Outbox
from bridge.sample import Sample, Series
from bridge.store import Store
from heating.__main__ import main
from heating.backup.archive import write_archive
from heating.backup.contents import FORMAT, PARTS, Head
from heating.backup.rotation import choose_old, name_backup
from heating.backup.settings import read_settings
from heating.backup.snapshot import copy_database
from heating.backup.take import take_backup
from heating.errors import CommandError
from poller.config import read_config as read_poller_config
from poller.journal import Journal, Row
from poller.walltime import WallTime
from readings.payload import StreamRange
from readings.release import RELEASED_MS
from tests.bridge.states import METER, NOON_MS, info, journal, ready, state
from tests.conftest import needs
from tests.heating.report.simple_house import SimpleHouse, fill, utc
from tests.heating.report.test_real_report import serve
from tests.history import send
from tests.integration.prometheus_api import query

ROOT = Path(__file__).parents[3]
HEAD = Head(format=FORMAT, version="0.1.0", made="2026-11-26T02:30:00+00:00")
NOW = datetime(2026, 11, 26, 2, 30, tzinfo=UTC)
CONFIG = """
[mqtt]
host = "localhost"
username = "poller"
password_file = "secrets/mqtt"
[poller]
data = "poller"
[bridge]
data = "bridge"
[backup]
also = ["secrets"]
mosquitto = "broker/mosquitto.db"
"""


def database(path: Path, rows: int) -> sqlite3.Connection:
    """A database that its program has open, with what it wrote still in the log beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE state (seq INTEGER)")
    connection.execute("BEGIN")
    connection.executemany("INSERT INTO state VALUES (?)", [(seq,) for seq in range(rows)])
    connection.execute("COMMIT")
    return connection


def count(path: Path) -> int:
    connection = sqlite3.connect(path)
    try:
        return connection.execute("SELECT count(*) FROM state").fetchone()[0]
    finally:
        connection.close()


@pytest.fixture
def home(tmp_path):
    """A configuration, passwords, journal, store and the broker's file."""
    home = tmp_path / "home"
    (home / "secrets").mkdir(parents=True)
    (home / "secrets" / "mqtt").write_text("hush")
    (home / "config.toml").write_text(CONFIG)
    (home / "broker").mkdir()
    (home / "broker" / "mosquitto.db").write_bytes(b"\x00\xb5\x00mosquitto db")
    open_ones = [
        database(home / "poller" / "journal.sqlite", 1000),
        database(home / "bridge" / "store.sqlite", 7),
    ]
    yield home
    for one in open_ones:
        one.close()


@pytest.fixture
def backup(home, tmp_path):
    made = tmp_path / "made.tar.gz"
    assert main(["backup", "-o", str(made), "--config", str(home / "config.toml")]) == 0
    return made


def restore(file: Path, home: Path, *words: str) -> int:
    return main(["restore", str(file), "--config", str(home / "config.toml"), *words])


def test_on_an_empty_host_everything_is_as_it_was(home, backup, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    assert restore(backup, elsewhere) == 0
    assert (elsewhere / "config.toml").read_text() == CONFIG
    assert (elsewhere / "secrets" / "mqtt").read_text() == "hush"
    assert (elsewhere / "broker" / "mosquitto.db").read_bytes() == (
        home / "broker" / "mosquitto.db"
    ).read_bytes()
    assert count(elsewhere / "poller" / "journal.sqlite") == 1000
    assert count(elsewhere / "bridge" / "store.sqlite") == 7
    left = {path.relative_to(elsewhere).as_posix() for path in elsewhere.rglob("*") if path.is_file()}
    assert left == {
        "config.toml", "secrets/mqtt", "broker/mosquitto.db", "poller/journal.sqlite", "bridge/store.sqlite",
    }  # fmt: skip


def test_only_the_owner_may_read_a_backup_and_the_configuration_is_for_whom_it_was(home, tmp_path):
    (home / "secrets" / "mqtt").chmod(0o440)
    made, elsewhere = tmp_path / "made.tar.gz", tmp_path / "elsewhere"
    assert main(["backup", "-o", str(made), "--config", str(home / "config.toml")]) == 0
    restore(made, elsewhere)
    modes = {
        made: 0o600,
        elsewhere / "config.toml": (home / "config.toml").stat().st_mode & 0o777,
        elsewhere / "secrets" / "mqtt": 0o440,
        elsewhere / "poller" / "journal.sqlite": 0o600,
    }
    assert {path: path.stat().st_mode & 0o777 for path in modes} == modes


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_what_root_puts_back_belongs_to_whom_it_belonged_or_to_whom_the_folder_belongs(home, tmp_path):
    """By name where there is one, else by number; and the backup to whom the folder of backups belongs."""
    nobody = pwd.getpwnam("nobody")
    os.chown(home / "config.toml", nobody.pw_uid, nobody.pw_gid)
    os.chown(home / "secrets" / "mqtt", 1883, 1884)
    (home / "backups").mkdir()
    os.chown(home / "backups", 1234, 1235)
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "poller").mkdir(parents=True)
    os.chown(elsewhere / "poller", 10001, 10002)
    os.chown(elsewhere, 1000, 1001)
    assert main(["backup", "--config", str(home / "config.toml")]) == 0
    (made,) = (home / "backups").iterdir()
    restore(made, elsewhere)
    owners = {
        made: (1234, 1235),
        elsewhere / "config.toml": (nobody.pw_uid, nobody.pw_gid),
        elsewhere / "secrets" / "mqtt": (1883, 1884),
        elsewhere / "poller" / "journal.sqlite": (10001, 10002),
        elsewhere / "secrets": (1000, 1001),
    }
    assert {path: (path.stat().st_uid, path.stat().st_gid) for path in owners} == owners
    with gzip.open(made) as packed, tarfile.open(fileobj=packed) as tar:
        listing = json.load(tar.extractfile("files.json"))
    assert listing["config/config.toml"]["rights"]["user"] == "nobody"
    assert listing["config/secrets/mqtt"]["rights"]["user"] == "1883"


def test_nothing_is_overwritten_without_being_told_and_nothing_is_deleted(home, backup, capsys):
    assert restore(backup, home) == 1
    said = capsys.readouterr().err
    assert "config.toml" not in said, "what is there as it was is in nobody's way"
    assert "nothing was restored. --force moves what is there aside" in said
    (home / "config.toml").write_text(CONFIG + "# changed\n")
    assert restore(backup, home) == 1
    assert f"{home / 'config.toml'}, " in capsys.readouterr().err
    assert restore(backup, home, "--force") == 0
    assert (home / "config.toml").read_text() == CONFIG
    assert (home / "config.toml.before-restore-1").read_text() == CONFIG + "# changed\n"
    assert not (home / "secrets" / "mqtt.before-restore-1").exists()
    assert (home / "poller" / "journal.sqlite-wal.before-restore-1").exists(), "a log of another database"
    assert count(home / "poller" / "journal.sqlite") == 1000


def test_nothing_is_put_back_under_a_program_that_runs(home, backup, capsys):
    """Not with --force either: it would go on writing into what was moved aside."""
    journal = home / "poller" / "journal.sqlite"
    script = (
        "import sqlite3, sys; one = sqlite3.connect(sys.argv[1]); one.execute('SELECT * FROM state'); "
        "print('open', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(journal)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout.readline() == "open\n"
        before = files_of(home)
        assert restore(backup, home, "--force") == 1
        assert f"{journal}: a program has it open; stop the programs first" in capsys.readouterr().err
        assert files_of(home) == before
        program.stdin.close()
        program.wait(10)
    assert restore(backup, home, "--force") == 0


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_backup_that_was_cut_anywhere_is_refused_and_nothing_is_changed(backup, tmp_path, capsys):
    whole = backup.read_bytes()
    cut, elsewhere = tmp_path / "cut.tar.gz", tmp_path / "elsewhere"
    for length in [*range(0, len(whole), len(whole) // 15), *range(len(whole) - 12, len(whole))]:
        cut.write_bytes(whole[:length])
        assert restore(cut, elsewhere) == 1, f"{length} of {len(whole)} bytes"
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"{cut}: ")
    assert not elsewhere.exists()


def test_a_changed_byte_is_noticed(backup, tmp_path):
    whole = bytearray(gzip.decompress(backup.read_bytes()))
    whole[whole.index(b"hush")] ^= 1
    (changed := tmp_path / "changed.tar.gz").write_bytes(gzip.compress(bytes(whole)))
    assert restore(changed, tmp_path / "elsewhere") == 1
    assert not (tmp_path / "elsewhere").exists()


def tar_of(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for member, data in members:
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def link(name: str, target: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.SYMTYPE, target
    return member


FIRST = (tarfile.TarInfo("heating-backup.json"), b'{"format": 1, "version": "0.1.0", "made": "2026-11-26"}')


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ([(tarfile.TarInfo("photo.jpg"), b"")], "this is no backup of heating"),
        ([(tarfile.TarInfo("heating-backup.json"), b"{}")], "this is no backup of heating"),
        (
            [(tarfile.TarInfo("heating-backup.json"), FIRST[1].replace(b"1,", b"2,", 1))],
            "expected a backup of format 1, got 2",
        ),
        ([FIRST, (tarfile.TarInfo("config/../../.ssh/authorized_keys"), b"x")], "does not know"),
        ([FIRST, (tarfile.TarInfo("/etc/passwd"), b"x")], "does not know"),
        ([FIRST, (tarfile.TarInfo("journal/../x"), b"x")], "does not know"),
        ([FIRST, (tarfile.TarInfo("future/thing"), b"x")], "does not know"),
        ([FIRST, (link("config/config.toml", "/etc/passwd"), b"")], "is no file"),
        ([FIRST, (tarfile.TarInfo("config/config.toml"), b"")], "it is cut off"),
    ],
)
def test_what_is_foreign_is_refused_in_one_line(members, says, tmp_path, capsys):
    file = tar_of(tmp_path / "foreign.tar.gz", *members)
    assert restore(file, tmp_path / "elsewhere") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{file}: ")
    assert says in line
    assert not (tmp_path / "elsewhere").exists()


def test_no_backup_at_all(tmp_path, capsys):
    (text := tmp_path / "text").write_text("hello")
    for file in (text, tmp_path / "none"):
        assert restore(file, tmp_path / "elsewhere") == 1
        assert capsys.readouterr().err.startswith(f"{file}: ")


def as_an_ordinary_user(*words: str) -> subprocess.CompletedProcess[str]:
    """`heating` as a program that may read only what the modes of files let it, also where root runs the tests."""
    lessened = [needs("setpriv"), "--bounding-set", "-dac_override,-dac_read_search"]
    command = [*(lessened if os.geteuid() == 0 else []), sys.executable, "-m", "heating", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_backup_that_cannot_be_read_is_refused_in_one_line(backup, tmp_path):
    backup.chmod(0)
    elsewhere = tmp_path / "elsewhere" / "config.toml"
    for file, why in ((backup, "Permission denied"), (tmp_path, "Is a directory")):
        refused = as_an_ordinary_user("restore", str(file), "--config", str(elsewhere))
        assert (refused.returncode, refused.stderr) == (1, f"{file}: cannot be read: {why}\n")


def test_what_cannot_be_written_while_a_backup_is_checked_is_a_line_too(
    backup, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    assert restore(backup, tmp_path / "elsewhere") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{backup}: cannot be put back: ")


def test_a_folder_that_cannot_be_read_is_not_left_out_without_a_word(home, tmp_path):
    (closed := home / "secrets" / "receiver").mkdir()
    (closed / "token").write_text("hush")
    closed.chmod(0)
    made = tmp_path / "made.tar.gz"
    refused = as_an_ordinary_user("backup", "-o", str(made), "--config", str(home / "config.toml"))
    assert (refused.returncode, refused.stderr) == (1, f"{closed}: cannot be read: Permission denied\n")
    assert not made.exists()


def test_a_part_without_a_place_is_refused(tmp_path, capsys):
    (config := tmp_path / "c").write_text("")
    (file := tmp_path / "db").write_bytes(b"x")
    write_archive(
        tmp_path / "b.tar.gz", HEAD, [("config/config.toml", config), ("mosquitto/mosquitto.db", file)]
    )
    assert restore(tmp_path / "b.tar.gz", tmp_path / "elsewhere") == 1
    assert "[backup] names no place for mosquitto" in capsys.readouterr().err
    assert not (tmp_path / "elsewhere").exists()


def test_a_damaged_database_makes_no_backup(home, tmp_path, capsys):
    journal = home / "poller" / "journal.sqlite"
    for ending in ("-wal", "-shm"):
        journal.with_name(journal.name + ending).unlink()
    journal.write_bytes(b"SQLite format 3\0" + bytes(4000))
    made = tmp_path / "made.tar.gz"
    assert main(["backup", "-o", str(made), "--config", str(home / "config.toml")]) == 1
    assert "journal.sqlite" in capsys.readouterr().err
    assert not made.exists()
    assert not list(tmp_path.glob(".*")), "nothing unfinished is left"


def test_the_places_are_those_of_the_programs(home):
    places = read_settings(home / "config.toml", {"HEATING_POLLER__DATA": "elsewhere"}).places
    assert places["store"] == read_bridge_config(home / "config.toml", {}).store
    assert (
        places["journal"]
        == read_poller_config(home / "config.toml", {"HEATING_POLLER__DATA": "elsewhere"}).journal
    )


def test_a_copy_is_made_of_one_moment_however_often_its_program_writes(tmp_path):
    """Were it made in steps, the program would write between two of them, and the copy begin anew, for ever."""
    journal, copy = tmp_path / "journal.sqlite", tmp_path / "copy.sqlite"
    writing = database(journal, 1000)
    writing.execute(
        "CREATE TABLE large AS WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n LIMIT 60) SELECT zeroblob(1000000) FROM n"
    )
    ended = threading.Event()

    def write() -> None:
        with contextlib.closing(sqlite3.connect(journal, isolation_level=None, timeout=30)) as own:
            while not ended.is_set():
                own.execute("INSERT INTO state VALUES (-1)")

    writer = threading.Thread(target=write)
    copying = threading.Thread(target=copy_database, args=(journal, copy), daemon=True)
    writer.start()
    copying.start()
    copying.join(30)
    is_done = not copying.is_alive()
    ended.set()
    writer.join()
    copying.join()
    writing.close()
    assert is_done
    assert count(copy) >= 1000


def test_a_configuration_that_names_what_the_backup_lacks_is_put_back_all_the_same(home, tmp_path):
    """A certificate that the operating system brings, or a password that nobody wanted in a backup."""
    config = home / "config.toml"
    config.write_text(
        CONFIG.replace('also = ["secrets"]\n', "")
        + '[[remote_write]]\nurl = "http://localhost:9090/api/v1/write"\nusername = "me"\npassword_file = "secrets/mqtt"\n'
    )
    made = tmp_path / "made.tar.gz"
    assert main(["backup", "-o", str(made), "--config", str(config)]) == 0
    assert restore(made, tmp_path / "elsewhere") == 0
    assert count(tmp_path / "elsewhere" / "poller" / "journal.sqlite") == 1000


def test_the_store_is_taken_before_prometheus():
    """What is sent in between is then in both, and not in neither."""
    assert PARTS.index("store") < PARTS.index("prometheus")


def test_the_newest_of_days_weeks_and_months_stay():
    made = [name_backup(NOW - timedelta(days=day)) for day in range(500)]
    gone = choose_old([*made, "photo.jpg"])
    kept = [name for name in made if name not in gone]
    assert kept[:7] == made[:7]
    assert "photo.jpg" not in gone
    assert 15 <= len(kept) <= 7 + 4 + 12
    assert kept[-1].startswith("heating-202512"), "a year ago"
    # Night after night, as it really goes: what is left is the same as if all had been there.
    slowly: list[str] = []
    for name in reversed(made):
        slowly.append(name)
        old = choose_old(slowly)
        slowly = [one for one in slowly if one not in old]
    assert sorted(slowly) == sorted(kept)


def test_each_new_backup_lets_the_oldest_go(home):
    settings = read_settings(home / "config.toml", {})
    for day in range(12):
        take_backup(settings, None, NOW + timedelta(days=day), lambda: "")
    names = sorted(path.name for path in (home / "backups").iterdir())
    assert len(names) == 9
    assert names[-1] == name_backup(NOW + timedelta(days=11))
    with pytest.raises(CommandError, match="is there already"):
        take_backup(settings, None, NOW + timedelta(days=11), lambda: "")


def test_prometheus_is_backed_up_while_it_runs_and_put_back_on_an_empty_host(home, tmp_path):
    """Blocks of a month ago, and what has only just come and is in no block yet."""
    needs("promtool")
    house = SimpleHouse([(utc("2026-01-05T00:00"), utc("2026-01-06T00:00"))], step_s=300)
    served = tmp_path / "prometheus"
    served.mkdir()
    fill(served, house.lines())
    server = serve(served, "--web.enable-admin-api")
    config = home / "config.toml"
    try:
        config.write_text(
            CONFIG + f'prometheus_data = "{served / "data"}"\n'
            f'[[remote_write]]\nurl = "http://127.0.0.1:{server.port}/api/v1/write"\n'
        )
        before = everything(server.port)
        made = tmp_path / "made.tar.gz"
        assert main(["backup", "-o", str(made), "--config", str(config)]) == 0
        assert not list((served / "data" / "snapshots").iterdir()), "no snapshot is left behind"
    finally:
        server.kill()
    shutil.rmtree(served / "data")
    elsewhere = tmp_path / "elsewhere"
    assert restore(made, elsewhere) == 0
    again = serve(served)
    try:
        assert everything(again.port) == before
        assert len(before) == 4
        assert sum(map(len, before.values())) == 4 * 289
        # What the bridge sends once more is in a block already; what is new comes with it.
        meter = Series("meter_energy_total_kwh", (("device", "meter"),))
        (name,) = [name for name in before if meter.name in name]
        known = [Sample(meter, float(value), round(at * 1000)) for at, value in before[name][-5:]]
        at_s = before[name][-1][0] + 30
        assert send(again.port, [*known, Sample(meter, known[-1].value + 1, round(at_s * 1000))]) == 6
        after = everything(again.port, at_s)
        assert [float(value) for _, value in after.pop(name)] == [
            *(float(value) for _, value in before.pop(name)),
            known[-1].value + 1,
        ]
        assert after == before
    finally:
        again.stop()


def everything(port: int, at: float = utc("2026-01-06T00:00")) -> dict[str, list[list[float]]]:
    """Every sample of the house."""
    found = query(port, f'{{__name__=~"meter_.*|sensor_.*|heatpump_.*"}}[2d] @ {at}')
    return {json.dumps(one["metric"], sort_keys=True): one["values"] for one in found}


def test_prometheus_without_its_admin_api_says_what_to_do(home, tmp_path, capsys):
    (tmp_path / "data").mkdir()
    server = serve(tmp_path)
    try:
        config = home / "config.toml"
        config.write_text(
            CONFIG + f'prometheus_data = "{tmp_path / "data"}"\n'
            f'[[remote_write]]\nurl = "http://127.0.0.1:{server.port}/api/v1/write"\n'
        )
        assert main(["backup", "--config", str(config)]) == 1
        assert "--web.enable-admin-api" in capsys.readouterr().err
        assert not list((home / "backups").iterdir())
    finally:
        server.stop()


def test_a_restored_store_sends_what_it_had_not_sent_and_asks_only_for_what_is_missing(tmp_path):
    """The first two were sent before the backup, the next three after it: these go again, as they were."""
    original = Database(tmp_path / "store.sqlite")
    store, outbox = Store(original), Outbox(original, boot="boot 1")
    store.commit(ready(2), NOON_MS)
    send_all(outbox)
    store.commit([state(3), state(4), state(5), journal(("a", 1, 5))], NOON_MS)
    copy_database(tmp_path / "store.sqlite", tmp_path / "restored.sqlite")
    sent_after = send_all(outbox)
    original.close()
    restored = Database(tmp_path / "restored.sqlite")
    try:
        store, outbox = Store(restored), Outbox(restored, boot="boot 1")
        assert send_all(outbox) == sent_after, "the same times and values: whoever has them ignores them"
        assert len(sent_after) == 3
        # The poller's journal is a little younger than the store, and its new run is a new stream.
        store.commit([journal(("a", 1, 7), ("b", 1, 1)), info("b")], NOON_MS)
        assert store.wanted() == {METER: (("a", ((6, 7),)), ("b", ((1, 1),)))}
        group = [state(6), state(7), state(1, "b", time_ms=NOON_MS + 60_000)]
        assert store.commit(group, NOON_MS).stored == {METER: 3}
        assert [time_ms - NOON_MS for _, _, time_ms in send_all(outbox)] == [6000, 7000, 60_000]
    finally:
        restored.close()


def test_a_journal_that_is_copied_while_it_is_written_goes_on_in_a_new_stream(tmp_path):
    """With the filters' state, in which the offset of a replaced meter is."""
    clock = WallTime(offset_ms=RELEASED_MS, steady_since=0, is_trusted=True)
    taken = [Row(METER, float(second), {"power_total_kw": 1.5}) for second in range(1, 4)]
    (tmp_path / "restored").mkdir()
    running = Journal(tmp_path / "journal.sqlite", stream="a", boot="boot 1")
    running.commit(taken[:2], {METER: b"offset"}, clock)
    copy_database(tmp_path / "journal.sqlite", tmp_path / "restored" / "journal.sqlite")
    running.commit(taken[2:], {METER: b"later"}, clock)
    running.close()
    restored = Journal(tmp_path / "restored" / "journal.sqlite", stream="b", boot="boot 2")
    assert restored.kept()[METER].data == b"offset"
    restored.commit(taken[2:], {}, clock)
    assert restored.listed(METER) == (StreamRange("a", 1, 2), StreamRange("b", 1, 1))
    restored.close()


def send_all(outbox: Outbox) -> list[tuple[str, float, int]]:
    sent = []
    while (batch := outbox.begin(NOON_MS + 86_400_000, 0.0)) is not None:
        sent += [(one.series.name, one.value, one.timestamp_ms) for one in batch.samples]
        while (batch := outbox.settle_first(batch, 0.0)).pieces:
            pass
    return sent
