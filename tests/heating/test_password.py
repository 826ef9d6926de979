"""The passwords that a deployment makes for itself."""

import random
import re
import stat
from pathlib import Path

import pytest

from heating.__main__ import main
from heating.passwords import MQTT_USERS, NAMES, PasswordError, make_passwords, read_password


def make(folder: Path, *, seed: int = 1, renew: tuple[str, ...] = ()) -> list[str]:
    chance = random.Random(seed)
    return make_passwords(folder, renew=renew, choose=chance.choice, draw_salt=lambda: chance.randbytes(12))


def tree(folder: Path) -> dict[str, str]:
    return {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()}


def test_each_is_made_once_and_is_like_no_other(tmp_path):
    assert make(tmp_path) == list(NAMES)
    passwords = {name: read_password(tmp_path, name) for name in NAMES}
    assert len(set(passwords.values())) == len(NAMES)
    assert all(re.fullmatch(r"([a-z2-9]{5}-){3}[a-z2-9]{5}", one) for one in passwords.values())
    assert make(tmp_path, seed=2) == []
    assert {name: read_password(tmp_path, name) for name in NAMES} == passwords


def test_every_reader_finds_its_own_and_the_broker_hashes_alone(tmp_path):
    make(tmp_path)
    files = tree(tmp_path)
    for reader in ("poller", "bridge"):
        assert files[f"{reader}/mqtt"] == files[f"all/{reader}"]
    assert files["grafana/admin"] == files["all/grafana"]
    assert files["devices/mqtt"] == files["all/devices"]
    assert re.findall(r"^(\w+):\$7\$1000\$", files["mosquitto/passwords"], re.MULTILINE) == list(MQTT_USERS)
    for name in NAMES:
        assert files[f"all/{name}"].strip() not in files["mosquitto/passwords"]


def test_only_its_owner_reads_the_folder_of_all(tmp_path):
    make(tmp_path)
    assert stat.S_IMODE((tmp_path / "all").stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "all").iterdir()} == {0o600}


def test_one_can_be_made_anew(tmp_path):
    make(tmp_path)
    before = tree(tmp_path)
    assert make(tmp_path, seed=2, renew=("viewer",)) == ["viewer"]
    after = tree(tmp_path)
    changed = {name for name in before if name.startswith("all/") and before[name] != after[name]}
    assert changed == {"all/viewer"}
    assert after["mosquitto/viewer"] == after["all/viewer"]


def test_what_a_power_cut_left_is_written_over(tmp_path):
    make(tmp_path)
    (tmp_path / "all" / ".viewer.new").write_text("half")
    (tmp_path / "all" / "viewer").unlink()
    assert make(tmp_path, seed=2) == ["viewer"]
    assert not list(tmp_path.rglob(".*"))


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PasswordError, match="file: cannot be written: "):
        make(tmp_path / "file")


def test_the_command_makes_them_and_prints_one_without_saying_it_before(tmp_path, capsys):
    assert main(["password", "--make", "--folder", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"made: {', '.join(NAMES)}\n"
    assert main(["password", "grafana", "--folder", str(tmp_path)]) == 0
    assert capsys.readouterr().out.strip() == read_password(tmp_path, "grafana")


def test_the_environment_says_where_they_are(tmp_path, capsys, monkeypatch):
    make(tmp_path)
    monkeypatch.setenv("HEATING_SECRETS", str(tmp_path))
    assert main(["password", "viewer"]) == 0
    assert capsys.readouterr().out.strip() == read_password(tmp_path, "viewer")


def test_without_a_name_the_names_are_listed(capsys):
    assert main(["password"]) == 0
    assert capsys.readouterr().out.split() == list(NAMES)


def test_one_that_was_never_made_is_one_line(tmp_path, capsys):
    assert main(["password", "grafana", "--folder", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"{tmp_path}/all/grafana: cannot be read: No such file or directory\n"
