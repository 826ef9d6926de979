"""The bridge's part of the configuration file."""

import re

import pytest

from bridge.config import read_config
from readings.errors import SettingsError


def read(tmp_path, text: str, **environ: str):
    path = tmp_path / "config.toml"
    path.write_text(text, encoding="utf-8")
    return read_config(path, environ)


RECEIVER = '[[remote_write]]\nurl = "http://prometheus:9090/api/v1/write"\n'


def test_an_empty_file_is_a_bridge_that_only_shows(tmp_path):
    settings = read(tmp_path, "")
    assert settings.receiver is None
    assert settings.listen == ("0.0.0.0", 9100)  # noqa: S104 - what the page is for
    assert settings.store == tmp_path / "data" / "store.sqlite"
    assert (settings.store_age_s, settings.store_bytes) == (6 * 86400, 500_000_000)


def test_everything_can_be_said(tmp_path):
    settings = read(
        tmp_path,
        '[bridge]\nname = "cellar"\ndata = "/var/lib/heating"\nlisten = "[::1]:9101"\nstore_days = 2\nstore_mb = 10\n'
        + RECEIVER
        + 'labels = {site = "home"}\nusername = "me"\npassword = "secret"\n'
        + "[[bus]]\nanything = 1\n[poller]\nanything = 2\n",
    )
    assert (settings.name, settings.listen) == ("cellar", ("::1", 9101))
    assert str(settings.store) == "/var/lib/heating/store.sqlite"
    receiver = settings.receiver
    assert receiver is not None
    assert receiver.labels == {"site": "home"}
    assert (receiver.username, receiver.password) == ("me", "secret")
    assert "secret" not in repr(receiver)


def test_secrets_come_from_files(tmp_path):
    (tmp_path / "token").write_text("abc\n")
    settings = read(tmp_path, RECEIVER, HEATING_REMOTE_WRITE__0__BEARER_TOKEN_FILE=str(tmp_path / "token"))
    assert settings.receiver is not None
    assert settings.receiver.bearer_token_file == tmp_path / "token", "so it is read again when it changes"


def test_files_of_secrets_lie_beside_the_configuration(tmp_path):
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "password").write_text("abc\n")
    settings = read(
        tmp_path, RECEIVER + 'username = "me"\npassword_file = "secrets/password"\nmetadata = false\n'
    )
    assert settings.receiver is not None
    assert settings.receiver.password_file == tmp_path / "secrets" / "password"
    assert settings.receiver.metadata is False


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[bridge]\nnam = 1", "bridge.nam: unknown key"),
        ("[mqtt]\nca = 'nowhere.pem'", "mqtt.ca: expected a file with certificates, got 'nowhere.pem'"),
        ("[brigde]\n", "brigde: unknown key"),
        ("[bridge]\nname = 'Ä'", "bridge.name: expected"),
        ('[bridge]\nname = "cellar\\n"', "bridge.name: expected"),
        (RECEIVER + 'labels = {"site\\n" = "home"}', "remote_write[0].labels"),
        ("[bridge]\nstore_mb = 0", "bridge.store_mb: expected"),
        ("[bridge]\nlisten = '9100'", "bridge.listen: expected ADDRESS:PORT, got '9100'"),
        ("[bridge]\nlisten = 'host:'", "bridge.listen: expected ADDRESS:PORT"),
        ("[bridge]\nlisten = 'host:70000'", "bridge.listen: expected ADDRESS:PORT"),
        ("[bridge]\nlisten = 'host:1/x'", "bridge.listen: expected ADDRESS:PORT"),
        ("[[remote_write]]\n", "remote_write[0].url: expected a value"),
        ("[[remote_write]]\nurl = 'prometheus:9090'", "remote_write[0].url: expected http://HOST:PORT/PATH"),
        ("[[remote_write]]\nurl = 'http://h:x/'", "remote_write[0].url: expected http://HOST:PORT/PATH"),
        (
            "[[remote_write]]\nurl = 'http://me:pw@h/'",
            "remote_write[0].url: expected username and password as",
        ),
        (RECEIVER + RECEIVER, "remote_write[1]: expected one [[remote_write]] at most"),
        (RECEIVER + "labels = {'a-b' = 'x'}", "remote_write[0].labels"),
        (RECEIVER + "labels = {'__name__' = 'x'}", "remote_write[0].labels"),
        (RECEIVER + "password = 'x'", "remote_write[0].username: expected one"),
        (RECEIVER + "username = 'x'\nbearer_token = 'y'", "remote_write[0].bearer_token: expected either"),
        (
            RECEIVER + "username = 'x'\nbearer_token_file = 'y'",
            "remote_write[0].bearer_token: expected either",
        ),
        (RECEIVER + "password_file = 'x'", "remote_write[0].username: expected one"),
        (
            RECEIVER + "username = 'x'\npassword = 'y'\npassword_file = 'z'",
            "remote_write[0].password_file: expected either this or password",
        ),
        (
            RECEIVER + "bearer_token = 'y'\nbearer_token_file = 'z'",
            "remote_write[0].bearer_token_file: expected either this or bearer_token",
        ),
        (RECEIVER + "username = 'x'\npassword_file = 'nowhere'", "remote_write[0].password_file: "),
        (RECEIVER + "bearer_token_file = 'config.toml'", "expected one line of text"),
        (RECEIVER + 'bearer_token = "a\\nb"', "remote_write[0].bearer_token: expected one line of text"),
        (RECEIVER + "metadata = 'no'", "remote_write[0].metadata: expected"),
        ("[[remote_write]]\nurl = 'http://h/ä'", "remote_write[0].url: expected http://HOST:PORT/PATH"),
        *(
            (f"[[remote_write]]\nurl = '{url}'", "remote_write[0].url: expected http://HOST:PORT/PATH")
            for url in (
                "http://h/p?x=ä",
                "http://h/p q",
                "http://h/p?x=a b",
                "http://a..b/p",
                f"http://{'a' * 64}.de/",
            )
        ),
        (RECEIVER + "ca = 'nowhere.pem'", "remote_write[0].ca: expected a file with certificates"),
        (RECEIVER + "ca = 'config.toml'", "remote_write[0].ca: expected a file with certificates"),
    ],
)
def test_a_mistake_is_one_line_that_names_file_and_key(tmp_path, text, said):
    with pytest.raises(SettingsError, match=re.escape(said)) as raised:
        read(tmp_path, text)
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith(str(tmp_path / "config.toml"))
