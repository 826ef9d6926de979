"""The connection to the receiver: one, kept alive, asked one thing at a time."""

import http.client
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

from bridge.remote_write.credentials import Credentials, Secret
from bridge.remote_write.encode import HEADERS
from bridge.remote_write.outcome import Misconfigured, Outcome, RetryAfter, judge
from bridge.remote_write.window import find_late_window, find_newest_ms

CONNECT_TIMEOUT_S = 2.0
"""A host that is away answers nothing: only who is soon done with one try notices soon that it is back."""

_READ_BYTES = 65536
"""Of an answer; a receiver has no reason to say more."""

_WRITE_PATH = "/api/v1/write"
_CONFIG_PATH = "/api/v1/status/config"
_FIGURES_PATH = "/api/v1/status/tsdb"


@dataclass(frozen=True, slots=True)
class ReceiverSettings:
    """`[[remote_write]]`: where the samples go.

    Attributes:
        labels: Constant labels that every series gets.
        password_file: A file with the password; it is read again when it changes.
        bearer_token_file: The same for the token.
        ca: A file with the certificate authority to trust instead of the system's.
        metadata: Whether to tell what the metrics are.
    """

    url: str
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    password_file: Path | None = None
    bearer_token: str | None = field(default=None, repr=False)
    bearer_token_file: Path | None = None
    ca: str | None = None
    metadata: bool = True

    @property
    def shown(self) -> str:
        """The address for people, without what may be secret.

        >>> ReceiverSettings("https://me:secret@example.org/push?key=secret").shown
        'https://example.org/push'
        """
        url = urlsplit(self.url)
        return url._replace(netloc=url.netloc.rpartition("@")[2], query="").geturl()


class Connection:
    """Posts requests to one receiver.

    Args:
        settings: Where it is.
        now_s: The wall clock in seconds, for dates in Retry-After.
    """

    def __init__(self, settings: ReceiverSettings, now_s: Callable[[], float]) -> None:
        self._url = urlsplit(settings.url)
        self._now_s = now_s
        self._ca = settings.ca
        self._credentials = _credentials(settings)
        self._http: http.client.HTTPConnection | None = None

    def post(self, body: bytes, timeout_s: float) -> Outcome:
        """Send one request and say what became of it."""
        headers = self._credentials.headers()
        outcome, status = self._post(body, headers, timeout_s)
        if status == 401 and (changed := self._credentials.headers(anew=True)) != headers:
            outcome, _ = self._post(body, changed, timeout_s)
        return outcome

    def _post(self, body: bytes, headers: Mapping[str, str], timeout_s: float) -> tuple[Outcome, int]:
        path = self._url.path or "/"
        if self._url.query:
            path += f"?{self._url.query}"
        try:
            connection = self._connected(timeout_s)
        except ssl.SSLCertVerificationError as error:
            self.close()
            return Misconfigured(f"its certificate is not trusted: {error.verify_message}"), 0
        except (OSError, http.client.HTTPException) as error:
            self.close()
            return RetryAfter(f"cannot reach it: {_text(error)}"), 0
        try:
            connection.request("POST", path, body, {**HEADERS, **headers})
            answer = connection.getresponse()
            said = answer.read(_READ_BYTES)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            return RetryAfter(f"no answer: {_text(error)}", is_open=True, is_failure=True), 0
        if not answer.isclosed():
            self.close()
        named = {name.lower(): value for name, value in answer.getheaders()}
        return judge(answer.status, named, said, self._now_s()), answer.status

    def late_window(self, timeout_s: float) -> str | None:
        """How late a sample may be, as Prometheus' configuration says ("14d"); empty for not at all.

        None when the receiver cannot be asked: it is another program, or does not show it.
        """
        said = self._get(_CONFIG_PATH, timeout_s)
        return None if said is None else find_late_window(said)

    def newest_ms(self, timeout_s: float) -> int | None:
        """The time of the newest sample that a Prometheus has; None when it cannot be asked."""
        said = self._get(_FIGURES_PATH, timeout_s)
        return None if said is None else find_newest_ms(said)

    def _get(self, path: str, timeout_s: float) -> bytes | None:
        """What a Prometheus says of itself."""
        if not self._url.path.endswith(_WRITE_PATH):
            return None
        try:
            connection = self._connected(timeout_s)
            connection.request(
                "GET",
                self._url.path.removesuffix(_WRITE_PATH) + path,
                headers=dict(self._credentials.headers()),
            )
            answer = connection.getresponse()
            said = answer.read(_READ_BYTES * 16)
        except (OSError, http.client.HTTPException):
            self.close()
            return None
        if not answer.isclosed():
            self.close()
        return said if answer.status == 200 else None

    def close(self) -> None:
        """End the connection; the next request makes a new one."""
        if self._http is not None:
            self._http.close()
            self._http = None

    def _connected(self, timeout_s: float) -> http.client.HTTPConnection:
        if self._http is None or self._http.sock is None:
            self._http = self._connect(timeout_s)
        self._http.sock.settimeout(timeout_s)
        return self._http

    def _connect(self, timeout_s: float) -> http.client.HTTPConnection:
        host, port = self._url.hostname or "", self._url.port
        # Made anew for each connection: the file of the authority may have changed.
        tls = ssl.create_default_context(cafile=self._ca) if self._url.scheme == "https" else None
        connection = (
            http.client.HTTPConnection(host, port)
            if tls is None
            else http.client.HTTPSConnection(host, port, context=tls)
        )
        connected = socket.create_connection((connection.host, connection.port), CONNECT_TIMEOUT_S)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connected.settimeout(timeout_s)
        connection.sock = connected if tls is None else tls.wrap_socket(connected, server_hostname=host)
        return connection


def _credentials(settings: ReceiverSettings) -> Credentials:
    password, token = settings.password_file, settings.bearer_token_file
    return Credentials(
        username=settings.username,
        password=(settings.password or "") if password is None else Secret(password),
        bearer_token=settings.bearer_token if token is None else Secret(token),
    )


def _text(error: Exception) -> str:
    return str(error) or type(error).__name__
