"""The Prometheus that is asked: one connection, one question at a time."""

import http.client
import ssl
import urllib.parse
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from bridge.remote_write.connection import ReceiverSettings
from bridge.remote_write.credentials import Credentials, Secret
from heating.errors import CommandError
from heating.report.answer import read_names, read_points, read_refusal, read_snapshot
from heating.report.measured import HALF_HOUR_S
from heating.report.queries import Piece

TIMEOUT_S = 120.0
"""A Raspberry Pi needs a while for a month of minutes."""


class Prometheus:
    """Questions to a Prometheus, or to what speaks as it does.

    Every question raises CommandError, whose text names the address and what to try.
    """

    def __init__(self, settings: ReceiverSettings) -> None:
        self._url = urllib.parse.urlsplit(settings.url)
        self._shown = settings.shown
        token = settings.bearer_token_file
        password = settings.password_file
        self._credentials = Credentials(
            username=settings.username,
            password=(settings.password or "") if password is None else Secret(password),
            bearer_token=settings.bearer_token if token is None else Secret(token),
        )
        self._http = self._connection(settings.ca)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._http.close()

    def points(self, query: str, piece: Piece) -> dict[int, float]:
        """The value at the end of each half hour that has one."""
        return read_points(
            self._ask(
                "query_range",
                {
                    "query": query,
                    "start": str(piece.first_s),
                    "end": str(piece.last_s),
                    "step": str(HALF_HOUR_S),
                },
            )
        )

    def names(self, metric: str, label: str, start_s: int, end_s: int) -> tuple[str, ...]:
        """Which values a label of a metric has in a span."""
        return read_names(
            self._ask(f"label/{label}/values", {"match[]": metric, "start": str(start_s), "end": str(end_s)})
        )

    def snapshot(self) -> str:
        """Have it make a snapshot of everything that it holds; gives the name of its folder."""
        try:
            return read_snapshot(self._ask("admin/tsdb/snapshot", {}, method="POST"))
        except CommandError as error:
            if "admin APIs disabled" in str(error):
                raise CommandError(
                    f"{self._shown} makes no snapshot: start Prometheus with --web.enable-admin-api"
                ) from error
            raise

    def _connection(self, ca: str | None) -> http.client.HTTPConnection:
        host, port = self._url.hostname or "", self._url.port
        if self._url.scheme == "https":
            context = ssl.create_default_context(cafile=ca)
            return http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=context)
        return http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)

    def _ask(self, what: str, words: Mapping[str, str], *, method: str = "GET") -> bytes:
        path = f"{self._url.path}/api/v1/{what}?{urllib.parse.urlencode(words)}"
        try:
            self._http.request(method, path, headers=dict(self._credentials.headers()))
            answer = self._http.getresponse()
            said = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._http.close()
            raise CommandError(
                f"no Prometheus answers at {self._shown}: {str(error) or type(error).__name__}; "
                "is it running? --prometheus names another one"
            ) from error
        if answer.status == 401:
            raise CommandError(
                f"{self._shown} wants a password: username and password_file in [report] or [[remote_write]]"
            )
        if answer.status == 503:
            raise CommandError(f"{self._shown} is only starting: try again in a minute")
        if answer.status != 200:
            reason = read_refusal(said) or f"status {answer.status}: is this a Prometheus?"
            raise CommandError(f"{self._shown} refuses the question: {reason}")
        return said
