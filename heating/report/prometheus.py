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
from heating.report.answer import (
    Stored,
    read_head,
    read_label_sets,
    read_names,
    read_points,
    read_refusal,
    read_snapshot,
    read_stored,
)
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

    def stored(self, selector: str, from_ms: int, until_ms: int) -> tuple[Stored, ...]:
        """Every sample of some series from one time on and before another, milliseconds since 1970 UTC.

        Releases differ in whether a range has its beginning, so it is asked for from a millisecond before.
        """
        words = {
            "query": f"{selector}[{until_ms - from_ms}ms]",
            "time": f"{(until_ms - 1) / 1000:.3f}",
        }
        return tuple(
            Stored(one.labels, points)
            for one in read_stored(self._ask("query", words))
            if (points := [point for point in one.points if from_ms <= point[0] < until_ms])
        )

    def label_sets(self, selector: str, from_ms: int, until_ms: int) -> tuple[Mapping[str, str], ...]:
        """The labels of the series that may have a sample in a span; what was deleted may still be among them."""
        return read_label_sets(
            self._ask(
                "series",
                {
                    "match[]": selector,
                    "start": f"{from_ms / 1000:.3f}",
                    "end": f"{until_ms / 1000:.3f}",
                },
            )
        )

    def head_ms(self) -> int:
        """From when on it has the samples in its memory, and not in blocks yet; milliseconds since 1970 UTC."""
        return read_head(self._ask("status/tsdb", {}))

    def delete(self, selector: str, from_ms: int, to_ms: int) -> None:
        """Delete the samples of some series, both ends included."""
        words = {
            "match[]": selector,
            "start": f"{from_ms / 1000:.3f}",
            "end": f"{to_ms / 1000:.3f}",
        }
        self._command("delete_series", words, "deletes nothing")

    def snapshot(self) -> str:
        """Have it make a snapshot of everything that it holds; gives the name of its folder."""
        return read_snapshot(self._command("snapshot", {}, "makes no snapshot"))

    def _command(self, what: str, words: Mapping[str, str], fails: str) -> bytes:
        try:
            return self._ask(f"admin/tsdb/{what}", words, method="POST")
        except CommandError as error:
            if "admin APIs disabled" in str(error):
                raise CommandError(
                    f"{self._shown} {fails}: start Prometheus with --web.enable-admin-api"
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
        if answer.status not in {200, 204}:
            reason = read_refusal(said) or f"status {answer.status}: is this a Prometheus?"
            raise CommandError(f"{self._shown} refuses the question: {reason}")
        return said
