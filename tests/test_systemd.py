"""The units as systemd reads them, what they may do, and what they are told."""

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from heating.backup.settings import read_settings
from heating.backup.table import BackupTable
from readings.service_manager import ALIVE, READY, STOPPING, ServiceManager
from tests.conftest import free_port, needs, wait_until

ROOT = Path(__file__).parent.parent
UNITS = sorted((ROOT / "systemd").glob("*.service"))


@pytest.fixture
def unit(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The unit with a Python that is there, since systemd looks."""
    unit = tmp_path / request.param.name
    unit.write_text(request.param.read_text().replace("/opt/heating/venv/bin/python", sys.executable))
    return unit


by_unit = pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.stem, indirect=True)


@by_unit
def test_systemd_finds_nothing_wrong(unit: Path):
    outcome = subprocess.run(
        [needs("systemd-analyze"), "verify", str(unit)], capture_output=True, text=True, check=False
    )
    assert (outcome.returncode, outcome.stdout + outcome.stderr) == (0, "")


@by_unit
def test_what_it_may_do_is_little(unit: Path):
    """systemd's own measure, from 0 to 10; an ordinary service has 9.6."""
    outcome = subprocess.run(
        [needs("systemd-analyze"), "security", "--offline=true", "--threshold=25", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stdout


def test_systemd_finds_nothing_wrong_with_the_night(tmp_path: Path):
    for name in ("heating-backup.timer", "heating-backup.service"):
        text = (ROOT / "systemd" / name).read_text()
        (tmp_path / name).write_text(text.replace("/opt/heating/venv/bin/python", sys.executable))
    timer = tmp_path / "heating-backup.timer"
    outcome = subprocess.run(
        [needs("systemd-analyze"), "verify", str(timer)], capture_output=True, text=True, check=False
    )
    assert (outcome.returncode, outcome.stdout + outcome.stderr) == (0, "")
    (night,) = re.findall(r"^OnCalendar=(.+)$", timer.read_text(), re.MULTILINE)
    assert night == f"*-*-* {BackupTable().at}", "the same time as in the containers"
    assert "Persistent=yes" in timer.read_text()


def test_the_command_looks_for_the_data_where_the_services_have_them():
    """For `heating backup` and `heating quarantine` by hand; systemd writes /var/lib as %S."""
    script = (ROOT / "systemd" / "install.sh").read_text()
    (command,) = re.findall(r"<<'END'\n(.*?)^END$", script, re.MULTILINE | re.DOTALL)
    said = set(re.findall(r"HEATING_\w+__DATA=\S+", command))
    units = "".join(unit.read_text() for unit in UNITS)
    assert said == {one.replace("%S", "/var/lib") for one in re.findall(r"HEATING_\w+__DATA=\S+", units)}
    assert len(said) == 2


def test_what_the_script_adds_to_a_configuration_can_be_read(tmp_path: Path):
    script = (ROOT / "systemd" / "install.sh").read_text()
    lines = re.findall(r"echo '(\w+ = .+)'$", script, re.MULTILINE)
    assert len(lines) == 4
    config = tmp_path / "config.toml"
    config.write_text((ROOT / "config.example.toml").read_text() + "\n[backup]\n" + "\n".join(lines))
    settings = read_settings(config, {})
    assert settings.folder == Path("/var/backups/heating")
    assert set(settings.places) == {"secrets", "store", "journal", "prometheus", "mosquitto"}
    (unit,) = (one.read_text() for one in UNITS if one.stem == "heating-backup")
    (can_write,) = re.findall(r"^ReadWritePaths=(.+)$", unit, re.MULTILINE)
    for place in (settings.folder, settings.places["prometheus"]):
        assert any(place.is_relative_to(one.removeprefix("-")) for one in can_write.split())


def test_the_brokers_limits_are_those_of_the_containers():
    def settings(file: str) -> dict[str, str]:
        return dict(re.findall(r"^(\w+) (\S+)$", (ROOT / file).read_text(), re.MULTILINE))

    ours, theirs = settings("systemd/mosquitto.conf"), settings("mosquitto/mosquitto.conf")
    # Where things are, and what Debian's own mosquitto.conf says beside it.
    for name in ("listener", "password_file", "acl_file"):
        del ours[name], theirs[name]
    for name in ("include_dir", "persistence", "persistence_location", "connection_messages"):
        del theirs[name]
    assert ours == theirs
    assert ours["allow_anonymous"] == "false"


def write_program(file: Path, text: str) -> None:
    file.parent.mkdir(exist_ok=True, parents=True)
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)


@pytest.mark.parametrize(
    ("has_pip", "made"), [("true", ""), ("false", "-m venv --clear"), (None, "-m venv --clear")]
)
def test_an_environment_of_an_older_python_is_made_anew(tmp_path: Path, has_pip: str | None, made: str):
    """A new Debian has a newer Python, which does not find what was installed for the older one."""
    (line,) = re.findall(r"^.* -m venv .*$", (ROOT / "systemd" / "install.sh").read_text(), re.MULTILINE)
    write_program(tmp_path / "python3", "echo $*")
    if has_pip is not None:
        write_program(tmp_path / "venv" / "bin" / "python", f'[ "$*" = "-m pip --version" ] && {has_pip}')
    line = line.replace("/opt/heating", str(tmp_path))
    outcome = subprocess.run(
        ["sh", "-euc", line],
        env={"python": f"{tmp_path}/python3"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert outcome.stdout == (f"{made} {tmp_path}/venv\n" if made else "")


@pytest.mark.parametrize(("has_pip", "stays"), [("true", True), ("false", False)])
def test_make_takes_away_what_it_made_for_an_older_python(tmp_path: Path, has_pip: str, stays: bool):
    write_program(tmp_path / ".venv" / "bin" / "python", has_pip)
    (tmp_path / ".venv" / ".demo").touch()
    command = [needs("make"), "--file", str(ROOT / "Makefile"), "help"]
    subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
    assert (tmp_path / ".venv").exists() == stays


def part_of_the_script(begins: str, ends: str) -> str:
    script = (ROOT / "systemd" / "install.sh").read_text()
    return script[script.index(begins) : script.index(ends)]


def test_what_root_makes_can_be_read_by_the_services_whatever_root_keeps_for_itself(tmp_path: Path):
    beginning = part_of_the_script("#!/bin/sh", "# --- the programs")
    write_program(tmp_path / "systemd" / "install.sh", f"{beginning}\numask")
    write_program(tmp_path / "bin" / "id", "echo 0")
    outcome = subprocess.run(
        ["sh", "-c", f"umask 077 && sh {tmp_path}/systemd/install.sh"],
        env={"PATH": f"{tmp_path}/bin:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert outcome.stdout == "0022\n"


OURS, THEIRS, BOTH = "heating.conf", "tls.conf", "heating.conf tls.conf"


@pytest.mark.parametrize(
    ("mqtt", "has_mosquitto", "conf_d", "set_up", "told"),
    [
        ('[mqtt]\nhost = "localhost"', True, "", True, ""),
        ('[mqtt]\nhost = "127.0.0.1"', True, OURS, True, ""),
        ("", True, "", True, ""),
        ("", True, BOTH, True, ""),
        ("", True, THEIRS, False, "mosquitto has settings already"),
        ('[mqtt]\nhost = "192.168.2.5"', True, "", False, "the broker is 192.168.2.5:1883"),
        ('[mqtt]\nhost = "192.168.2.5"', True, OURS, False, "the broker is 192.168.2.5:1883"),
        ("[mqtt]\nport = 1884", True, "", False, "the broker is localhost:1884"),
        ("", False, "", False, "mosquitto is not installed here"),
        ("[mqtt", True, OURS, None, "config.toml cannot be read"),
    ],
)
def test_this_machines_broker_is_set_up_only_where_the_configuration_names_it(
    tmp_path: Path, mqtt: str, has_mosquitto: bool, conf_d: str, set_up: bool | None, told: str
):
    """What an earlier run left, or that mosquitto is installed, does not overrule it."""
    part = part_of_the_script("# --- the broker", "# --- the backup")
    part = part.replace(" -o mosquitto", "").replace("/opt/heating/venv/bin/python", sys.executable)
    part = part.replace("/etc/", f"{tmp_path}/")
    (tmp_path / "heating" / "secrets" / "mosquitto").mkdir(parents=True)
    (tmp_path / "heating" / "secrets" / "mosquitto" / "passwords").touch()
    (tmp_path / "heating" / "config.toml").write_text(f"{mqtt}\n")
    (tmp_path / "mosquitto" / "conf.d").mkdir(parents=True)
    for name in conf_d.split():
        (tmp_path / "mosquitto" / "conf.d" / name).touch()
    told_before = []
    for program in ("poller", "bridge"):
        told_before.append(tmp_path / "systemd" / "system" / f"heating-{program}.service.d" / "broker.conf")
        told_before[-1].parent.mkdir(parents=True)
        told_before[-1].write_text("of an earlier run")
    if has_mosquitto:
        write_program(tmp_path / "bin" / "mosquitto", "true")
    for name in ("find", "grep", "install", "sed", "rm"):
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / name).symlink_to(needs(name))
    outcome = subprocess.run(
        ["/bin/sh", "-euc", f'say() {{ echo "$*"; }}\n{part}'],
        env={"PATH": f"{tmp_path}/bin"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert told in outcome.stdout
    assert bool(outcome.stdout) == bool(told)
    assert outcome.stderr == ""
    if set_up is None:
        assert all(one.read_text() == "of an earlier run" for one in told_before)
    else:
        assert [one.exists() and "HEATING_MQTT__HOST" in one.read_text() for one in told_before] == [
            set_up
        ] * 2
        assert [one.exists() for one in told_before] == [set_up] * 2


def test_the_script_is_one_that_a_shell_can_read():
    subprocess.run(["sh", "-n", str(ROOT / "systemd" / "install.sh")], check=True)


@pytest.fixture
def manager(tmp_path: Path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(20)
        yield listener


def test_a_manager_hears_what_it_is_told(manager: socket.socket):
    ServiceManager({"NOTIFY_SOCKET": manager.getsockname()}).tell(READY)
    assert manager.recv(100) == b"READY=1"


def test_an_abstract_name_is_understood():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0heating-{free_port()}")
        listener.settimeout(5)
        ServiceManager({"NOTIFY_SOCKET": "@" + listener.getsockname()[1:].decode()}).tell(ALIVE)
        assert listener.recv(100) == b"WATCHDOG=1"


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": "/nowhere/at/all"}])
def test_without_a_manager_nothing_happens(environ: dict[str, str]):
    ServiceManager(environ).tell(READY)


@pytest.mark.parametrize("program", ["poller", "bridge"])
def test_each_program_says_that_it_is_ready_goes_on_and_ends(
    program: str, manager: socket.socket, tmp_path: Path
):
    """Without a broker and without a device: it waits for neither."""
    config = tmp_path / "config.toml"
    config.write_text(f'[mqtt]\nhost = "127.0.0.1"\nport = {free_port()}\n[bridge]\nlisten = "127.0.0.1:0"\n')
    process = subprocess.Popen(
        [sys.executable, "-m", program, "--config", str(config)],
        cwd=ROOT,
        env={"NOTIFY_SOCKET": manager.getsockname(), "PATH": "/usr/bin:/bin"},
        stderr=subprocess.DEVNULL,
    )
    try:
        assert [manager.recv(100).decode() for _ in range(2)] == [READY, ALIVE]
        process.terminate()
        wait_until(lambda: manager.recv(100) == STOPPING.encode(), what="it says that it ends")
    finally:
        process.terminate()
        process.wait(10)
