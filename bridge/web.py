"""The bridge's own web server: the page, /metrics, and how it is.

One request per connection and one thread per request, few at a time and each
for a limited time: a client that is slow, silent or broken costs a thread for
a while and nothing else.
"""

import gzip
import logging
import socket
import socketserver
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from prometheus_client.exposition import gzip_accepted

from bridge.cards import Moment
from bridge.errors import ListenError
from bridge.exposition import make_registry, render_metrics
from bridge.latest import Latest
from bridge.page import POLICY, render_page
from bridge.status import BridgeStatus
from readings.health import Tally

_log = logging.getLogger(__name__)

MAX_CONNECTIONS = 32
SILENT_S = 10.0
"""A client that neither sends nor takes anything for so long is cut off."""

PATIENCE_S = 30.0
"""And so is one whose request is not over by then."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a request."""

    status: HTTPStatus
    body: bytes
    content_type: str = "text/plain; charset=utf-8"


class Web:
    """Serves the page and /metrics.

    Args:
        listen: Address and port; port 0 takes a free one.
        latest: The latest values.
        status: The bridge's view of itself at this moment.
        tally: The bridge's own counts.
        wall_ms: The wall clock.
        monotonic: The clock that decides what is silent.
        version: Of this program.
        title: The page's title.
    """

    def __init__(
        self,
        listen: tuple[str, int],
        *,
        latest: Latest,
        status: Callable[[], BridgeStatus],
        tally: Tally,
        wall_ms: Callable[[], int],
        monotonic: Callable[[], float],
        version: str,
        title: str,
    ) -> None:
        self._listen = listen
        self._latest = latest
        self._status = status
        self._registry = make_registry(latest, tally, monotonic)
        self._wall_ms = wall_ms
        self._monotonic = monotonic
        self._version = version
        self._title = title
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def port(self) -> int:
        """The port that it listens on, once it was started."""
        return self._listen[1] if self._server is None else int(self._server.server_address[1])

    def start(self) -> None:
        """Listen, and answer in the background.

        Raises:
            ListenError: The address cannot be had.
        """
        host, port = self._listen
        try:
            self._server = _Server(self._listen, self, self._monotonic)
        except OSError as error:
            raise ListenError(f"cannot listen on {host}:{port}: {error}") from error
        self._thread = threading.Thread(target=self._server.serve_forever, name="web", daemon=True)
        self._thread.start()
        _log.info("web: listening on %s:%s", host, self.port)

    def stop(self) -> None:
        """Stop listening; what is being answered is cut off."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            self._server.cut_off(older_than_s=0.0)

    def answer(self, path: str, accept: str) -> Answer:
        """What a request for this path gets."""
        match _place(path):
            case "/":
                return Answer(HTTPStatus.OK, self._page().encode(), "text/html; charset=utf-8")
            case "/metrics":
                return Answer(HTTPStatus.OK, *render_metrics(self._registry, accept))
            case "/-/healthy":
                return Answer(HTTPStatus.OK, b"The bridge runs.\n")
            case "/-/ready":
                status = self._status()
                if trouble := status.broker_trouble or status.store_trouble:
                    return Answer(HTTPStatus.SERVICE_UNAVAILABLE, f"Not ready: {trouble}\n".encode())
                return Answer(HTTPStatus.OK, b"Ready.\n")
        return Answer(HTTPStatus.NOT_FOUND, b"There is nothing here; see / and /metrics.\n")

    def _page(self) -> str:
        moment = Moment(self._wall_ms(), self._monotonic())
        return render_page(
            self._latest.snapshot(moment.now),
            self._latest.history(moment.now),
            self._status(),
            title=self._title,
            version=self._version,
            moment=moment,
            zone=datetime.now(UTC).astimezone().tzinfo or UTC,
        )


def _place(target: str) -> str:
    """The path of what was asked for, which may be a whole address; empty where that is none."""
    try:
        return urlsplit(target).path
    except ValueError:
        return ""


class _Server(ThreadingHTTPServer):
    """Accepts a bounded number of connections, and cuts off those that take too long."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = MAX_CONNECTIONS

    def __init__(self, listen: tuple[str, int], web: Web, monotonic: Callable[[], float]) -> None:
        self.web = web
        self._monotonic = monotonic
        self._open: dict[socket.socket, float] = {}
        self._lock = threading.Lock()
        self.address_family = socket.AF_INET6 if ":" in listen[0] else socket.AF_INET
        super().__init__(listen, _Handler)

    def server_bind(self) -> None:
        """Bind, without the look-up of the host's full name that http.server adds, which may take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002 - socketserver's signature
        """Take a connection while there are few."""
        with self._lock:
            if len(self._open) >= MAX_CONNECTIONS:
                return False
            self._open[request] = self._monotonic()
            return True

    def shutdown_request(self, request: Any) -> None:
        """A connection is over."""
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Called twice a second."""
        self.cut_off(older_than_s=PATIENCE_S)

    def cut_off(self, *, older_than_s: float) -> None:
        """End the connections that are older; their threads notice by themselves."""
        limit = self._monotonic() - older_than_s
        with self._lock:
            for request, since in self._open.items():
                if since <= limit:
                    with suppress(OSError):
                        request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - socketserver's signature
        """A client that went away is its own affair; anything else is a mistake here and is shown."""
        error = sys.exception()
        if isinstance(error, OSError):
            _log.debug("web: %s went away: %s", client_address, error)
        else:
            _log.error("web: a request failed", exc_info=error)


class _Handler(BaseHTTPRequestHandler):
    """Reads one request and writes its answer."""

    server: _Server
    timeout = SILENT_S

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        answer = self.server.web.answer(self.path, self.headers.get("Accept", ""))
        body = answer.body
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        if gzip_accepted(self.headers.get("Accept-Encoding", "")):
            # A fiftieth of the time of prometheus-client's level 9, for a body that is 1.4 times as large.
            body = gzip.compress(body, compresslevel=1)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def end_headers(self) -> None:
        for name, value in (
            ("Content-Security-Policy", POLICY),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
            ("Cache-Control", "no-store"),
            ("Vary", "Accept, Accept-Encoding"),
        ):
            self.send_header(name, value)
        super().end_headers()

    def version_string(self) -> str:
        return "heating-bridge"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
        _log.debug("web: %s %a", self.address_string(), format % args)
