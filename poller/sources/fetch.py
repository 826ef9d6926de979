"""The page of another program over HTTP, in bounded time and size."""

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import SplitResult, urljoin, urlsplit

from poller.errors import PageError, PageTrouble
from poller.sources.exposition import LARGEST_BYTES
from readings.settings import is_http_url

MOST_REDIRECTS = 5

# http.client itself asks for what is not packed, and what is not packed cannot be a bomb.
_HEADERS = {
    "Accept": "text/plain;version=0.0.4, text/plain;q=0.5",
    "User-Agent": "heating",
    "Connection": "close",
}

_REDIRECTS = frozenset({301, 302, 303, 307, 308})


def is_page_url(text: str) -> bool:
    """Whether this is the address of a page: http or https, a host, no password.

    >>> is_page_url("http://iot-api:8000/metrics"), is_page_url("iot-api:8000"), is_page_url("file:///etc/passwd")
    (True, False, False)
    """
    return is_http_url(text) and "@" not in urlsplit(text).netloc


def fetch_page(url: str, timeout_s: float) -> bytes:
    """Read a page, following redirects.

    Args:
        url: Its address.
        timeout_s: Seconds that all of it may take once there is a connection, whatever the server does. Each of
            its addresses may take as long to be connected to, and its name as long to be looked up as the system lets it.

    Raises:
        PageError: It could not be read, with its reason.
    """
    deadline = time.monotonic() + timeout_s
    for _ in range(MOST_REDIRECTS + 1):
        answer = _get(urlsplit(url), deadline)
        if isinstance(answer, bytes):
            return answer
        url = _follow(url, answer)
    raise PageError(PageTrouble.REDIRECTS, f"it redirects more than {MOST_REDIRECTS} times")


def _follow(url: str, location: str) -> str:
    try:
        target = urljoin(url, location)
    except ValueError:
        target = ""
    if not is_page_url(target):
        raise PageError(PageTrouble.REDIRECTS, "it redirects to something that is no page")
    return target


def _get(url: SplitResult, deadline: float) -> bytes | str:
    """The page, or where it is instead."""
    left_s = deadline - time.monotonic()
    if left_s <= 0:
        raise PageError(PageTrouble.TIMEOUT, "no answer in time")
    connection = _connection(url, left_s)
    cut = threading.Event()
    try:
        connection.connect()
        with _cutting(connection.sock, deadline, cut):
            path = (url.path or "/") + (f"?{url.query}" if url.query else "")
            connection.request("GET", path, headers=_HEADERS)
            with connection.getresponse() as response:
                answer = _read(response)
    except (OSError, http.client.HTTPException, ValueError) as error:
        # ValueError: a length or a header that is none, in the words of the parsers below http.client.
        if cut.is_set() or isinstance(error, TimeoutError):
            raise PageError(PageTrouble.TIMEOUT, "no answer in time") from error
        said = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
        raise PageError(PageTrouble.UNREACHABLE, said[:100]) from error
    finally:
        connection.close()
    if cut.is_set():
        # A page without a length seems to end where it was cut.
        raise PageError(PageTrouble.TIMEOUT, "no whole answer in time")
    return answer


def _connection(url: SplitResult, timeout_s: float) -> http.client.HTTPConnection:
    host = url.hostname or ""
    if url.scheme == "https":
        return http.client.HTTPSConnection(
            host, url.port, timeout=timeout_s, context=ssl.create_default_context()
        )
    return http.client.HTTPConnection(host, url.port, timeout=timeout_s)


@contextmanager
def _cutting(sock: socket.socket, deadline: float, done: threading.Event) -> Iterator[None]:
    """Cut the connection at the deadline: a socket's own timeout begins anew with every byte."""

    def cut() -> None:
        done.set()
        # It may have just ended by itself. Past TLS, whose shutdown would take the session from under the reader.
        with suppress(OSError):
            socket.socket.shutdown(sock, socket.SHUT_RDWR)

    timer = threading.Timer(max(0.0, deadline - time.monotonic()), cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _read(answer: http.client.HTTPResponse) -> bytes | str:
    location = answer.getheader("Location")
    if answer.status in _REDIRECTS and location:
        return location
    if answer.status != 200:
        raise PageError(PageTrouble.STATUS, f"it answers {answer.status} {answer.reason[:100]}")
    if (answer.getheader("Content-Encoding") or "identity").lower() != "identity":
        raise PageError(PageTrouble.COMPRESSED, "its answer is packed, which was not asked for")
    body = answer.read(LARGEST_BYTES + 1)
    if len(body) > LARGEST_BYTES:
        raise PageError(PageTrouble.TOO_LARGE, f"it has more than {LARGEST_BYTES} bytes")
    if answer.length:
        raise PageError(PageTrouble.CUT_OFF, f"{answer.length} bytes of it did not come")
    return body
