"""The configuration file and the environment that overrides it."""

from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest

from readings.errors import SettingsError
from readings.settings import MqttSettings, load

CONFIG = """
[mqtt]
host = "broker"
port = 1884
username = "me"
password = "from the file"
[[bus]]
name = "one"
[[bus]]
name = "two"
"""


class Bus(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    baud: Annotated[int, msgspec.Meta(ge=0)] = 0
    units: tuple[int, ...] = ()


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    mqtt: MqttSettings = MqttSettings()
    bus: tuple[Bus, ...] = ()
    others: Any = None


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(CONFIG)
    return path


def test_the_file_alone(path):
    file = load(path, File, {"PATH": "/bin", "HEATING": "1", "HEATING_HOME": "no table, no key"})
    assert file.mqtt == MqttSettings(host="broker", port=1884, username="me", password="from the file")
    assert file.bus == (Bus("one"), Bus("two"))


@pytest.mark.parametrize(
    ("variable", "value", "read"),
    [
        ("HEATING_MQTT__HOST", "other", lambda file: file.mqtt.host == "other"),
        ("HEATING_MQTT__PORT", "8883", lambda file: file.mqtt.port == 8883),
        ("HEATING_MQTT__TLS", "true", lambda file: file.mqtt.tls is True),
        ("HEATING_MQTT__PASSWORD", "123", lambda file: file.mqtt.password == "123"),
        ("HEATING_MQTT__USERNAME", "", lambda file: file.mqtt.username == "me"),
        ("HEATING_OTHERS__0__NAME", "x", lambda file: file.others is None),
        ("HEATING_BUS__1__NAME", "deux", lambda file: [one.name for one in file.bus] == ["one", "deux"]),
        ("HEATING_BUS__0__BAUD", "9600", lambda file: file.bus[0].baud == 9600),
    ],
)
def test_a_variable_overrides_a_key(path, variable, value, read):
    assert read(load(path, File, {variable: value}))


def test_a_variable_gives_what_the_file_lacks(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text("")
    assert load(path, File, {"HEATING_MQTT__HOST": "other"}).mqtt.host == "other"


def test_a_secret_may_come_from_a_file(path, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("from its own file\n")
    read = load(path, File, {"HEATING_MQTT__HOST_FILE": str(secret)})
    assert read.mqtt.host == "from its own file"


@pytest.mark.parametrize(
    ("written", "variable"), [("password", "PASSWORD_FILE"), ("password_file", "PASSWORD")]
)
def test_a_variable_for_the_password_replaces_the_files_in_either_form(tmp_path, written, variable):
    (path := tmp_path / "config.toml").write_text(f'[mqtt]\nusername = "me"\n{written} = "of the file"')
    mqtt = load(path, File, {f"HEATING_MQTT__{variable}": "of the variable"}).mqtt
    assert {mqtt.password, mqtt.password_file} == {None, "of the variable"}


@pytest.mark.parametrize("key", ["password", "password_file"])
def test_a_password_needs_a_username(tmp_path, key):
    (path := tmp_path / "config.toml").write_text(f'[mqtt]\n{key} = "x"')
    with pytest.raises(SettingsError, match=f"{key}: expected a username beside it"):
        load(path, File, {})


def test_there_is_one_password(tmp_path):
    (path := tmp_path / "config.toml").write_text(
        '[mqtt]\nusername = "me"\npassword = "x"\npassword_file = "y"'
    )
    with pytest.raises(SettingsError, match="password_file: expected either this or password"):
        load(path, File, {})


def test_a_variable_for_a_list_of_tables_that_the_file_leaves_out_changes_nothing(tmp_path, caplog):
    """A deployment sets them all; what the file does not want it leaves out."""
    (path := tmp_path / "config.toml").write_text("")
    caplog.set_level("INFO")
    assert load(path, File, {"HEATING_BUS__0__NAME": "one"}).bus == ()
    assert caplog.messages == ["HEATING_BUS__0__NAME changes nothing: the file has no [[bus]]"]


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("HEATING_MQTT__HOTS", "x", "unknown key 'hots'"),
        ("HEATING_MQQT__HOST", "x", "unknown key 'mqqt'"),
        ("HEATING_MQTT__HOST__NAME", "x", "unknown key 'name'"),
        ("HEATING_MQTT__PORT", "http", "expected `int`, got 'http'"),
        ("HEATING_MQTT__PORT", "70000", "expected `int` <= 65535, got '70000'"),
        ("HEATING_MQTT__TLS", "perhaps", "expected `bool`, got 'perhaps'"),
        ("HEATING_BUS__2__NAME", "three", "expected an entry that is in the file, which has 2"),
        ("HEATING_BUS__X__NAME", "three", "expected the number of an entry from 0, got 'x'"),
        ("HEATING_BUS__²__NAME", "three", "expected the number of an entry from 0, got '²'"),
        ("HEATING_BUS__0__UNITS__0", "3", "expected an entry that is in the file, which has 0"),
        ("HEATING_BUS__0", "three", "expected `object`, got 'three'"),
        ("HEATING_BUS__NAME", "three", "expected the number of an entry from 0, got 'name'"),
        (
            "HEATING_MQTT__USERNAME_FILE",
            "/nowhere",
            "cannot be read: [Errno 2] No such file or directory: '/nowhere'",
        ),
        ("HEATING_MQTT__", "x", "unknown key ''"),
    ],
)
def test_a_variable_that_cannot_be_meant_is_named(path, variable, value, says):
    with pytest.raises(SettingsError) as error:
        load(path, File, {variable: value})
    assert str(error.value) == f"{variable}: {says}"


@pytest.mark.parametrize("variable", ["HEATING_MQTT__PASSWORD", "HEATING_MQTT__PORT_FILE"])
def test_a_secret_is_not_said(path, tmp_path, variable):
    (tmp_path / "secret").write_text("hunter2")

    class Strict(msgspec.Struct, frozen=True):
        password: Annotated[str, msgspec.Meta(max_length=1)] = ""
        port: int = 0

    class Form(msgspec.Struct):
        mqtt: Strict = Strict()

    value = str(tmp_path / "secret") if variable.endswith("_FILE") else "hunter2"
    with pytest.raises(SettingsError, match=f"^{variable}: expected") as error:
        load(path, Form, {variable: value})
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[mqtt]\nhots = 1", "mqtt.hots: unknown key"),
        ("[[bus]]\nbaud = 1", "bus[0].name: expected a value, it is missing"),
        ("[[bus]]\nname = 'a'\nbaud = -1", "bus[0].baud: expected `int` >= 0"),
        ("[[bus]]\nname = 'a'\nunits = [1, 'x']", "bus[0].units[1]: expected `int`, got `str`"),
        ("mqtt = 1", "mqtt: expected `object`, got `int`"),
        ("[mqtt]\nhost = ''", "mqtt.host: expected `str` of length >= 1"),
        ("[mqtt]\npassword = 'x'", "mqtt: password: expected a username beside it"),
        ("[mqtt]\nport = 0", "mqtt.port: expected `int` >= 1"),
        ('[[bus]]\nname = "a\\u0000b"', "bus[0].name: expected text without a zero byte"),
        ('[others]\ndata = "a\\u0000b"', "others.data: expected text without a zero byte"),
        ("[mqtt]\nkeepalive = 1", "mqtt.keepalive: expected `int` >= 5"),
        (
            "[mqtt]\nroot = ''",
            "mqtt: root '': expected topic levels without '+', '#', '$' and empty levels",
        ),
    ],
)
def test_a_mistake_in_the_file_is_one_line(tmp_path, text, says):
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(SettingsError) as error:
        load(path, File, {})
    assert str(error.value) == f"{path}: {says}"


@pytest.mark.parametrize(
    ("text", "variable"),
    [
        ("mqtt = 1", "HEATING_MQTT__HOST"),
        ("bus = {}", "HEATING_BUS__0__NAME"),
        ("bus = [1]", "HEATING_BUS__0__NAME"),
    ],
)
def test_a_variable_into_what_is_no_table(tmp_path, text, variable):
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(SettingsError) as error:
        load(path, File, {variable: "x"})
    assert str(error.value) == f"{variable}: expected the file to have a table there, or nothing"


def test_a_file_that_is_not_text(tmp_path):
    path = tmp_path / "config.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="cannot be read"):
        load(path, File, {})
