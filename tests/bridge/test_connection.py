"""TLS, authentication and their files, against the strict receiver."""

import base64
import os
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bridge.remote_write.connection import Connection, ReceiverSettings
from bridge.remote_write.encode import Encoder
from bridge.remote_write.outcome import Misconfigured, RetryAfter, Sent
from bridge.sample import Sample, Series
from readings.errors import SettingsError
from tests.bridge.receiver import Answer, Receiver
from tests.bridge.states import NOON_MS
from tests.conftest import needs

BODY = Encoder({}).encode([Sample(Series("m"), 1.0, NOON_MS)])


@pytest.fixture
def connection() -> Iterator[Callable[..., Connection]]:
    made: list[Connection] = []

    def make(url: str, **settings: object) -> Connection:
        made.append(Connection(ReceiverSettings(url, **settings), lambda: NOON_MS / 1000))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def receiver():
    with Receiver().running() as receiver:
        yield receiver


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


# TLS


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Path:
    """A folder with two throw-away authorities; the first signed a certificate for 127.0.0.1."""
    openssl = needs("openssl")
    folder = tmp_path_factory.mktemp("tls")

    def run(*arguments: str) -> None:
        subprocess.run([openssl, *arguments], cwd=folder, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    for name in ("ca", "other"):
        run(
            "req",
            "-x509",
            *key,
            "-keyout",
            f"{name}.key",
            "-out",
            f"{name}.pem",
            "-days",
            "2",
            "-subj",
            f"/CN={name}",
        )
    run("req", *key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=receiver")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    run(
        "x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "2", "-extfile", "names",
        "-out", "server.pem",
    )  # fmt: skip
    return folder


@pytest.fixture
def tls_receiver(authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / "server.pem", authority / "server.key")
    with Receiver(context=context).running() as receiver:
        yield receiver


def test_tls_with_an_authority_of_one_s_own(connection, authority, tls_receiver):
    assert connection(tls_receiver.url, ca=str(authority / "ca.pem")).post(BODY, 5) == Sent()
    assert len(tls_receiver.kept) == 1


@pytest.mark.parametrize("ca", ["other.pem", None])
def test_a_certificate_that_is_not_trusted_is_a_fault_of_the_configuration(
    connection, authority, tls_receiver, ca
):
    outcome = connection(tls_receiver.url, ca=ca and str(authority / ca)).post(BODY, 5)
    assert isinstance(outcome, Misconfigured)
    assert "certificate is not trusted" in outcome.reason
    assert not tls_receiver.bodies


def test_an_authority_that_is_replaced_counts_from_the_next_connection_on(
    connection, authority, tls_receiver, tmp_path
):
    ca = tmp_path / "ca.pem"
    ca.write_bytes((authority / "other.pem").read_bytes())
    one = connection(tls_receiver.url, ca=str(ca))
    assert isinstance(one.post(BODY, 5), Misconfigured)
    ca.write_bytes((authority / "ca.pem").read_bytes())
    assert one.post(BODY, 5) == Sent()


# Authentication


@pytest.mark.parametrize(
    ("settings", "sent"),
    [
        ({}, None),
        ({"username": "me"}, basic("me", "")),
        ({"username": "me", "password": "pässword"}, basic("me", "pässword")),
        ({"bearer_token": "abc"}, "Bearer abc"),
    ],
)
def test_the_header_is(connection, receiver, settings, sent):
    assert connection(receiver.url, **settings).post(BODY, 5) == Sent()
    assert receiver.authorizations == {sent}


@pytest.mark.parametrize(
    ("key", "more", "header"),
    [
        ("password_file", {"username": "me"}, lambda secret: basic("me", secret)),
        ("bearer_token_file", {}, lambda secret: f"Bearer {secret}"),
    ],
)
def test_a_secret_s_file_is_read_again_when_it_changes(connection, receiver, tmp_path, key, more, header):
    file = tmp_path / "secret"
    file.write_text("old\n")
    one = connection(receiver.url, **more, **{key: file})
    one.post(BODY, 5)
    file.write_text("newer\n")
    one.post(BODY, 5)
    assert receiver.authorizations == {header("old"), header("newer")}


def test_a_secret_that_is_refused_is_read_again_even_if_its_file_looks_the_same(
    connection, receiver, tmp_path
):
    """A change within the clock's step, of the same length: the answer 401 tells what the file's date does not."""
    file = tmp_path / "token"
    file.write_text("old")
    status = file.stat()
    one = connection(receiver.url, bearer_token_file=file)
    one.post(BODY, 5)
    with file.open("r+") as same:
        same.write("new")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    receiver.gate = lambda headers: None if headers["Authorization"] == "Bearer new" else Answer(401)
    assert one.post(BODY, 5) == Sent()


def test_a_wrong_secret_is_tried_once_a_time(connection, receiver, tmp_path):
    (tmp_path / "token").write_text("wrong")
    tries = []
    receiver.gate = lambda headers: tries.append(headers) or Answer(401)
    assert isinstance(
        connection(receiver.url, bearer_token_file=tmp_path / "token").post(BODY, 5), Misconfigured
    )
    assert len(tries) == 1


def test_a_file_that_is_away_for_a_moment_changes_nothing(connection, receiver, tmp_path, caplog):
    file = tmp_path / "token"
    file.write_text("abc")
    one = connection(receiver.url, bearer_token_file=file)
    one.post(BODY, 5)
    file.unlink()
    for _ in range(3):
        assert one.post(BODY, 5) == Sent()
    assert receiver.authorizations == {"Bearer abc"}
    assert [record.message for record in caplog.records if "stays what it was" in record.message][1:] == []


@pytest.mark.parametrize("text", ["", "\n", "two\nlines", "\x00"])
def test_a_file_that_holds_no_secret_is_said_at_the_start(connection, tmp_path, text):
    (tmp_path / "token").write_text(text)
    with pytest.raises(SettingsError, match="expected one line"):
        connection("http://127.0.0.1:1/", bearer_token_file=tmp_path / "token")


# Faults of the configuration


@pytest.mark.parametrize("status", [301, 302, 307, 401, 403, 404, 405, 407, 415])
def test_redirects_and_refusals_at_the_door_are_faults_of_the_configuration(connection, receiver, status):
    """A redirect is not followed: it would carry the password to another address."""
    receiver.script = lambda *_: Answer(status, {"Location": "http://127.0.0.1:1/elsewhere"})
    outcome = connection(receiver.url).post(BODY, 5)
    assert isinstance(outcome, Misconfigured)
    assert outcome.reason.startswith(str(status))


def test_a_receiver_that_hangs_up_may_have_the_samples(connection, receiver):
    receiver.script = lambda *_: Answer(hangs_up=True)
    outcome = connection(receiver.url).post(BODY, 5)
    assert isinstance(outcome, RetryAfter)
    assert outcome.is_open
    assert outcome.is_failure
