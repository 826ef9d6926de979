"""The web server over a real socket."""

import gzip
import http.client
import socket
import threading

import pytest

from bridge import web as web_module
from bridge.errors import ListenError
from bridge.latest import Latest
from bridge.status import BridgeStatus
from bridge.web import MAX_CONNECTIONS, PATIENCE_S, SILENT_S, Web
from readings.health import BRIDGE_HEALTH, Tally
from tests.conftest import free_port, wait_until


class Bridge:
    def __init__(self, port: int = 0) -> None:
        self.status = BridgeStatus()
        self.now = 0.0
        self.tally = Tally(BRIDGE_HEALTH)
        self.tally.set("bridge_store_bytes", 5)
        self.web = Web(
            ("127.0.0.1", port),
            latest=Latest(),
            status=lambda: self.status,
            tally=self.tally,
            wall_ms=lambda: 1_795_435_500_000,
            monotonic=lambda: self.now,
            version="0.1.0",
            title="Heating",
        )

    def ask(self, path: str, method: str = "GET", **headers: str):
        connection = http.client.HTTPConnection("127.0.0.1", self.web.port, timeout=5)
        connection.request(
            method, path, headers={name.replace("_", "-"): text for name, text in headers.items()}
        )
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer, body

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.web.port), timeout=5)


@pytest.fixture(scope="module")
def running():
    bridge = Bridge()
    with bridge.web:
        yield bridge


@pytest.fixture
def bridge(running):
    running.status = BridgeStatus()
    running.now = 0.0
    yield running
    wait_until(lambda: not running.web._server._open, what="every connection is over")


@pytest.mark.parametrize(
    ("path", "status", "content_type", "words"),
    [
        ("/", 200, "text/html; charset=utf-8", b"Waiting for the first reading"),
        ("/?from=bookmark", 200, "text/html; charset=utf-8", b"<!DOCTYPE html>"),
        ("/metrics", 200, "text/plain; version=0.0.4; charset=utf-8", b"\nbridge_store_bytes 5.0\n"),
        ("/-/healthy", 200, "text/plain; charset=utf-8", b"The bridge runs.\n"),
        ("/-/ready", 200, "text/plain; charset=utf-8", b"Ready.\n"),
        ("/favicon.ico", 404, "text/plain; charset=utf-8", b"see / and /metrics"),
        ("/metrics/", 404, "text/plain; charset=utf-8", b"see / and /metrics"),
        ("http://bridge/-/healthy", 200, "text/plain; charset=utf-8", b"The bridge runs.\n"),
        ("//[", 404, "text/plain; charset=utf-8", b"see / and /metrics"),
    ],
)
def test_what_is_where(bridge, path, status, content_type, words):
    answer, body = bridge.ask(path)
    assert (answer.status, answer.headers["Content-Type"]) == (status, content_type)
    assert words in body


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        ({"broker_trouble": "cannot reach localhost:1883"}, b"Not ready: cannot reach localhost:1883\n"),
        ({"store_trouble": "No space left on device"}, b"Not ready: No space left on device\n"),
    ],
)
def test_it_is_ready_while_broker_and_store_are(bridge, trouble, words):
    bridge.status = BridgeStatus(**trouble)
    answer, body = bridge.ask("/-/ready")
    assert (answer.status, body) == (503, words)
    assert bridge.ask("/-/healthy")[0].status == 200


@pytest.mark.parametrize("path", ["/", "/metrics", "/-/ready", "/none"])
def test_head_is_get_without_the_body(bridge, path):
    get, body = bridge.ask(path)
    head, nothing = bridge.ask(path, "HEAD")
    assert nothing == b""
    assert (head.status, head.headers["Content-Length"]) == (get.status, str(len(body)))
    with bridge.connect() as client:
        client.sendall(f"HEAD {path} HTTP/1.0\r\n\r\n".encode())
        assert client.makefile("rb").read().endswith(b"\r\n\r\n")


def test_nothing_can_be_changed(bridge):
    assert bridge.ask("/", "POST")[0].status == 501


def test_it_compresses_where_asked(bridge):
    plain = bridge.ask("/metrics")[1]
    answer, body = bridge.ask("/metrics", Accept_Encoding="br, gzip;q=0.8")
    assert answer.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(body) == plain


def test_it_speaks_openmetrics_where_asked(bridge):
    answer, body = bridge.ask("/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


@pytest.mark.parametrize("path", ["/", "/metrics", "/none"])
def test_the_browser_may_load_nothing_from_elsewhere(bridge, path):
    headers = bridge.ask(path)[0].headers
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Server"] == "heating-bridge"


def test_it_says_which_address_it_cannot_have(bridge):
    second = Bridge(bridge.web.port)
    with pytest.raises(ListenError, match=f"cannot listen on 127.0.0.1:{bridge.web.port}: .*in use"):
        second.web.start()


def test_it_listens_where_it_is_told():
    port = free_port()
    bridge = Bridge(port)
    assert bridge.web.port == port
    with bridge.web:
        assert bridge.ask("/-/healthy")[0].status == 200
    with pytest.raises(ConnectionRefusedError):
        bridge.ask("/-/healthy")


def test_clients_that_say_nothing_are_few_and_not_for_long(bridge):
    silent = [bridge.connect() for _ in range(MAX_CONNECTIONS)]
    wait_until(lambda: len(bridge.web._server._open) == MAX_CONNECTIONS)
    with bridge.connect() as refused:
        assert refused.recv(1) == b""
    bridge.now = PATIENCE_S
    for one in silent:
        assert one.recv(1) == b""
        one.close()
    wait_until(lambda: not bridge.web._server._open)
    assert bridge.ask("/-/healthy")[0].status == 200


def test_a_client_that_is_silent_is_cut_off_by_its_socket(monkeypatch, bridge):
    assert web_module._Handler.timeout == SILENT_S
    monkeypatch.setattr(web_module._Handler, "timeout", 0.05)
    with bridge.connect() as silent:
        assert silent.recv(1) == b""


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
        b"GET /\xff\x00 HTTP/1.1\r\n\r\n",
        b"\r\n" * 9,
        b"GET http://[ HTTP/1.0\r\n\r\n",
    ],
)
def test_a_broken_client_does_no_harm(bridge, sent, caplog):
    with bridge.connect() as client:
        client.sendall(sent)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    wait_until(lambda: not bridge.web._server._open)
    assert bridge.ask("/-/healthy")[0].status == 200
    assert [one for one in caplog.records if one.levelname not in {"DEBUG", "INFO"}] == []


def test_a_mistake_of_its_own_is_logged_and_ends_one_request_only(bridge, caplog):
    bridge.status = None
    with pytest.raises(http.client.RemoteDisconnected):
        bridge.ask("/")
    assert "a request failed" in caplog.text
    assert bridge.ask("/-/healthy")[0].status == 200


def test_it_stops_while_somebody_is_connected():
    bridge = Bridge()
    bridge.web.start()
    with bridge.connect() as client:
        wait_until(lambda: len(bridge.web._server._open) == 1)
        bridge.web.stop()
        assert client.recv(1) == b""
    wait_until(lambda: not any("process_request" in one.name for one in threading.enumerate()))
