"""The page of another program over HTTP: whatever its server does, an answer in bounded time and size."""

import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from poller.errors import PageError, PageTrouble
from poller.sources.exposition import LARGEST_BYTES
from poller.sources.fetch import MOST_REDIRECTS, fetch_page, is_page_url
from simulator.exporters import PageServer
from tests.conftest import free_port

TIMEOUT_S = 5.0
BRIEF_S = 0.3

Answer = Callable[[socket.socket], None]


class RawServer:
    """Reads a request and answers as it is told, connection by connection; the last answer serves all others."""

    def __init__(self, *answers: Answer) -> None:
        self._answers = list(answers)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/metrics"
        self.requests: list[bytes] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                self.requests.append(connection.recv(65536))
                answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
                with suppress(OSError):  # the reader may have had enough
                    answer(connection)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)


@pytest.fixture
def serve() -> Iterator[Callable[..., RawServer]]:
    servers: list[RawServer] = []

    def start(*answers: Answer) -> RawServer:
        servers.append(RawServer(*answers))
        return servers[-1]

    yield start
    for one in servers:
        one.close()


def says(text: bytes) -> Answer:
    return lambda connection: connection.sendall(text)


def drips(text: bytes, piece: bytes) -> Answer:
    """A few bytes every 20 ms for ever: each comes long before a socket's own timeout."""

    def answer(connection: socket.socket) -> None:
        connection.sendall(text)
        for _ in range(500):
            connection.sendall(piece)
            time.sleep(0.02)

    return answer


def silence(connection: socket.socket) -> None:
    connection.settimeout(TIMEOUT_S)
    connection.recv(1)


def floods(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    for _ in range(10_000):
        connection.sendall(b"a 1\n" * 16_384)


def moved(to: str) -> Answer:
    return says(f"HTTP/1.1 307 Temporary Redirect\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode())


def trouble(url: str, timeout_s: float = TIMEOUT_S) -> PageTrouble:
    with pytest.raises(PageError) as caught:
        fetch_page(url, timeout_s)
    assert len(str(caught.value)) < 200
    return caught.value.trouble


def test_a_page_comes_and_a_redirect_is_followed():
    with PageServer(lambda: b"up 1\n") as server:
        assert server.url.endswith("/metrics")
        assert fetch_page(server.url, TIMEOUT_S) == b"up 1\n"
        assert fetch_page(server.url + "/", TIMEOUT_S) == b"up 1\n"


def test_it_asks_for_plain_text_that_is_not_packed(serve):
    server = serve(says(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nup 1\n"))
    assert fetch_page(server.url + "?x=1", TIMEOUT_S) == b"up 1\n"
    (request,) = server.requests
    lines = request.split(b"\r\n")
    assert lines[0] == b"GET /metrics?x=1 HTTP/1.1"
    assert b"Accept-Encoding: identity" in lines
    assert b"Accept: text/plain;version=0.0.4, text/plain;q=0.5" in lines


@pytest.mark.parametrize("to", ["/metrics/", "metrics/"])
def test_a_redirect_may_be_relative(serve, to):
    server = serve(moved(to), says(b"HTTP/1.1 200 OK\r\n\r\nup 1\n"))
    assert fetch_page(server.url, TIMEOUT_S) == b"up 1\n"
    assert server.requests[1].startswith(b"GET /metrics/ ")


@pytest.mark.parametrize(
    "to", ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://me:secret@127.0.0.1/", "http://[::1"]
)
def test_a_redirect_to_something_else_is_not_followed(serve, to):
    assert trouble(serve(moved(to)).url) is PageTrouble.REDIRECTS


def test_redirects_in_a_circle_end(serve):
    server = serve(moved("/metrics"))
    assert trouble(server.url) is PageTrouble.REDIRECTS
    assert len(server.requests) == MOST_REDIRECTS + 1


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (says(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"), PageTrouble.STATUS),
        (says(b"HTTP/1.1 503 Service Unavailable\r\n\r\nup 1\n"), PageTrouble.STATUS),
        (says(b"HTTP/1.1 307 Temporary Redirect\r\n\r\n"), PageTrouble.STATUS),
        (says(b"HTTP/1.1 204 No Content\r\n\r\n"), PageTrouble.STATUS),
        (says(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nup 1\n"), PageTrouble.CUT_OFF),
        (says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nup"), PageTrouble.UNREACHABLE),
        (says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), PageTrouble.UNREACHABLE),
        (says(b"HTTP/1.1 200 OK\r\nContent-Length: abc\r\n\r\nup"), None),
        (says(b"220 mail.example.org ESMTP\r\n"), PageTrouble.UNREACHABLE),
        (says(b"\0\xff" * 100), PageTrouble.UNREACHABLE),
        (says(b""), PageTrouble.UNREACHABLE),
        (says(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n"), PageTrouble.UNREACHABLE),
        (says(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n"), PageTrouble.UNREACHABLE),
        (floods, PageTrouble.TOO_LARGE),
        (
            says(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(b"a 1\n" * 10**6)),
            PageTrouble.COMPRESSED,
        ),
    ],
    ids=[
        "404", "503", "no-location", "204", "cut-off", "chunk-cut-off", "no-chunk", "no-length", "mail", "noise",
        "nothing", "many-headers", "long-header", "endless", "bomb",
    ],
)  # fmt: skip
def test_every_other_answer_has_its_reason(serve, answer, expected):
    url = serve(answer).url
    if expected is None:
        assert fetch_page(url, TIMEOUT_S) == b"up"
    else:
        assert trouble(url) is expected


def test_a_server_s_own_words_do_not_fill_the_log(serve):
    server = serve(says(b"HTTP/1.1 404 " + b"x" * 50_000 + b"\r\nContent-Length: 0\r\n\r\n"))
    with pytest.raises(PageError) as caught:
        fetch_page(server.url, TIMEOUT_S)
    assert len(str(caught.value)) < 200


def test_a_page_of_exactly_the_largest_size_is_read(serve):
    page = b"a 1\n" * (LARGEST_BYTES // 4)
    assert fetch_page(serve(says(b"HTTP/1.1 200 OK\r\n\r\n" + page)).url, TIMEOUT_S) == page


@pytest.mark.parametrize(
    "answer",
    [
        silence,
        drips(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"[:1]),
        drips(b"HTTP/1.1 200 OK\r\n\r\n", b"a"),
        drips(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"),
    ],
    ids=["silent", "headers", "body", "chunks"],
)
def test_a_server_that_never_comes_to_an_end_is_left_in_time(serve, answer):
    url = serve(answer).url
    began = time.monotonic()
    assert trouble(url, BRIEF_S) is PageTrouble.TIMEOUT
    assert time.monotonic() - began < TIMEOUT_S, "the deadline holds for all of it, not for each byte"


def test_nobody_there_is_unreachable():
    assert trouble(f"http://127.0.0.1:{free_port()}/metrics") is PageTrouble.UNREACHABLE
    assert trouble("http://name.invalid/metrics") is PageTrouble.UNREACHABLE


def test_what_is_no_tls_is_unreachable(serve):
    url = serve(says(b"HTTP/1.1 200 OK\r\n\r\n")).url.replace("http:", "https:")
    assert trouble(url) is PageTrouble.UNREACHABLE


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("http://iot-api:8000/metrics", True),
        ("http://lg_r290_service:8000/metrics", True),
        ("https://example.org/metrics?x=y", True),
        ("http://[::1]:8000/metrics", True),
        ("iot-api:8000/metrics", False),
        ("http:///metrics", False),
        ("http://host:99999/", False),
        ("http://host:0/", False),
        ("http://me@host/", False),
        ("http://ho st/", False),
        ("http://host/\r\nX: y", False),
        ("http://[::1/", False),
        ("ftp://host/", False),
        ("", False),
    ],
)
def test_which_addresses_are_pages(text, is_one):
    assert is_page_url(text) is is_one
