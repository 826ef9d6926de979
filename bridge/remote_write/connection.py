"""The connection to the receiver: one, kept alive, asked one thing at a time."""

import base64
import http.client
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from urllib.parse import urlsplit

import msgspec

from bridge.remote_write.encode import HEADERS
from bridge.remote_write.outcome import Outcome, RetryAfter, judge

_READ_BYTES = 65536
"""Of an answer; a receiver has no reason to say more."""

_WRITE_PATH = "/api/v1/write"
_CONFIG_PATH = "/api/v1/status/config"


@dataclass(frozen=True, slots=True)
class ReceiverSettings:
    """`[[remote_write]]`: where the samples go.

    Attributes:
        labels: Constant labels that every series gets.
        ca: A file with the certificate authority to trust instead of the system's.
    """

    url: str
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    bearer_token: str | None = field(default=None, repr=False)
    ca: str | None = None

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
        self._headers = {**HEADERS, **_authorization(settings)}
        self._context = (
            ssl.create_default_context(cafile=settings.ca) if self._url.scheme == "https" else None
        )
        self._http: http.client.HTTPConnection | None = None

    def post(self, body: bytes, timeout_s: float) -> Outcome:
        """Send one request and say what became of it."""
        path = self._url.path or "/"
        if self._url.query:
            path += f"?{self._url.query}"
        try:
            connection = self._connected(timeout_s)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            return RetryAfter(f"cannot reach it: {_text(error)}")
        try:
            connection.request("POST", path, body, self._headers)
            answer = connection.getresponse()
            said = answer.read(_READ_BYTES)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            return RetryAfter(f"no answer: {_text(error)}", is_open=True)
        if not answer.isclosed():
            self.close()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        return judge(answer.status, headers, said, self._now_s())

    def late_window(self, timeout_s: float) -> str | None:
        """How late a sample may be, as Prometheus' configuration says ("14d"); empty for not at all.

        None when the receiver cannot be asked: it is another program, or does not show it.
        """
        path = self._url.path.removesuffix(_WRITE_PATH) + _CONFIG_PATH
        if not self._url.path.endswith(_WRITE_PATH):
            return None
        try:
            connection = self._connected(timeout_s)
            connection.request("GET", path, headers=self._headers)
            answer = connection.getresponse()
            said = answer.read(_READ_BYTES * 16)
        except (OSError, http.client.HTTPException):
            self.close()
            return None
        if not answer.isclosed():
            self.close()
        return find_late_window(said) if answer.status == 200 else None

    def close(self) -> None:
        """End the connection; the next request makes a new one."""
        if self._http is not None:
            self._http.close()
            self._http = None

    def _connected(self, timeout_s: float) -> http.client.HTTPConnection:
        if self._http is None:
            host, port = self._url.hostname or "", self._url.port
            if self._context is None:
                self._http = http.client.HTTPConnection(host, port, timeout=timeout_s)
            else:
                self._http = http.client.HTTPSConnection(host, port, timeout=timeout_s, context=self._context)
        if self._http.sock is None:
            self._http.timeout = timeout_s
            self._http.connect()
        else:
            self._http.sock.settimeout(timeout_s)
        return self._http


class _Config(msgspec.Struct):
    yaml: str


class _ConfigAnswer(msgspec.Struct):
    data: _Config


def find_late_window(answer: bytes) -> str | None:
    r"""Find the out-of-order window in Prometheus' own answer about its configuration.

    >>> find_late_window(rb'{"data": {"yaml": "storage:\n  tsdb:\n    out_of_order_time_window: 2w\n"}}')
    '2w'
    >>> find_late_window(b'{"data": {"yaml": "global: {}"}}')
    ''
    """
    try:
        yaml = msgspec.json.decode(answer, type=_ConfigAnswer).data.yaml
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    found = re.search(r"^\s*out_of_order_time_window:\s*(\w+)", yaml, re.MULTILINE)
    return "" if found is None or found[1] in {"0", "0s"} else found[1]


def _authorization(settings: ReceiverSettings) -> dict[str, str]:
    if settings.bearer_token is not None:
        return {"Authorization": f"Bearer {settings.bearer_token}"}
    if settings.username is not None:
        pair = f"{settings.username}:{settings.password or ''}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode('ascii')}"}
    return {}


def _text(error: Exception) -> str:
    return str(error) or type(error).__name__
