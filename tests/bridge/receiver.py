"""A strict receiver: takes remote write 1.0 to the letter, and answers as a test tells it."""

import math
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import snappy
from google.protobuf import unknown_fields

from bridge.remote_write.prometheus_pb2 import WriteRequest


@dataclass(frozen=True)
class Answer:
    """What the receiver says; it keeps the samples if the status is 2xx, or if told to."""

    status: int = 204
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    keeps: bool = False
    hangs_up: bool = False


Labels = tuple[tuple[str, str], ...]


def samples_of(body: bytes) -> dict[tuple[Labels, int], str]:
    """The samples of a request, as hexadecimal, after checking everything that 1.0 asks of it."""
    request = WriteRequest.FromString(snappy.uncompress(body))
    assert not (request.metadata and request.timeseries), "metadata goes in requests of its own"
    assert not unknown_fields.UnknownFieldSet(request), "nothing that 1.0 does not know"
    found: dict[tuple[Labels, int], str] = {}
    series: set[Labels] = set()
    for one in request.timeseries:
        labels = tuple((label.name, label.value) for label in one.labels)
        names = [name for name, _ in labels]
        assert names == sorted(set(names)), f"labels are sorted and none is there twice: {names}"
        assert "__name__" in names
        assert all(name and value for name, value in labels), "no label is empty"
        assert labels not in series, "a series stands in a request once"
        series.add(labels)
        times = [sample.timestamp for sample in one.samples]
        assert times == sorted(set(times)), "samples ascend"
        assert times, "a series has samples"
        found |= {(labels, sample.timestamp): sample.value.hex() for sample in one.samples}
        assert all(math.isfinite(sample.value) or math.isnan(sample.value) for sample in one.samples)
    return found


class Receiver:
    """Listens on a port of this machine, a free one unless told otherwise.

    `script` answers the request of that number (from 0, empty ones not
    counted) with that body; without it every request is taken. `gate` looks
    at the headers of every request before that.
    """

    def __init__(self, port: int = 0, context: ssl.SSLContext | None = None) -> None:
        self.bodies: list[bytes] = []
        self.metadata: list[WriteRequest] = []
        self.faults: list[str] = []
        self.kept: dict[tuple[Labels, int], str] = {}
        self.writes: list[tuple[Labels, int]] = []
        self.connections = 0
        self.empties = 0
        self.authorizations: set[str | None] = set()
        self.script: Callable[[int, bytes], Answer] = lambda _number, _body: Answer()
        self.gate: Callable[[dict[str, str]], Answer | None] = lambda _headers: None
        self.empty_answer = Answer()
        self.metadata_answer = Answer()
        self.config = b""
        self.figures = b""
        self._lock = threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                receiver.connections += 1

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                answer = receiver.take(dict(self.headers.items()), body)
                if answer.hangs_up:
                    self.close_connection = True
                    return
                self._say(answer)

            def do_GET(self) -> None:
                pages = {"/api/v1/status/config": receiver.config, "/api/v1/status/tsdb": receiver.figures}
                found = pages.get(self.path)
                self._say(Answer(200, body=found) if found else Answer(404))

            def _say(self, answer: Answer) -> None:
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        scheme = "http" if context is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_port}/api/v1/write"

    def take(self, headers: dict[str, str], body: bytes) -> Answer:
        with self._lock:
            try:
                samples = self._check(headers, body)
            except AssertionError as fault:
                self.faults.append(str(fault))
                return Answer(400, body=str(fault).encode())
            self.authorizations.add(headers.get("Authorization"))
            answer = self.gate(headers)
            if answer is not None:
                return answer
            request = WriteRequest.FromString(snappy.uncompress(body))
            if request.metadata:
                self.metadata.append(request)
                return self.metadata_answer
            if not samples:
                self.empties += 1
                return self.empty_answer
            self.bodies.append(body)
            answer = self.script(len(self.bodies) - 1, body)
            if 200 <= answer.status < 300 or answer.keeps:
                self.kept |= samples
                self.writes += samples
            return answer

    @contextmanager
    def running(self) -> Iterator["Receiver"]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join(5)
        assert not self.faults

    def _check(self, headers: dict[str, str], body: bytes) -> dict[tuple[Labels, int], str]:
        assert headers.get("Content-Encoding") == "snappy"
        assert headers.get("Content-Type") == "application/x-protobuf"
        assert headers.get("X-Prometheus-Remote-Write-Version") == "0.1.0"
        assert headers.get("User-Agent", "").startswith("heating-bridge/")
        samples = samples_of(body)
        assert len(samples) <= 2000
        return samples
