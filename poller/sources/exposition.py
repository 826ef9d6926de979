"""The page of a Prometheus exporter: from its bytes to samples.

The text format is read by prometheus-client's parser. It is laxer than
Prometheus' own and does not expect an enemy, so that what it gets is bounded
before, and what it gives is checked after.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from poller.errors import PageError, PageTrouble

LARGEST_BYTES = 1_000_000
"""A page that is larger is not read: an exporter of a house has some 10 kB."""

_LONGEST_LINE = 4000


@dataclass(frozen=True, slots=True)
class PageSample:
    """One line of a page.

    Attributes:
        time_ms: The line's own time, milliseconds since 1970 UTC; few exporters give one.
    """

    name: str
    labels: Mapping[str, str]
    value: float
    time_ms: int | None = None


def parse_page(body: bytes) -> Sequence[PageSample]:
    r"""The samples of a page, in its order.

    Raises:
        PageError: It is not in Prometheus' text format, in all its lines: one
            that is cut off in the middle of a number would show another number.

    >>> parse_page(b'up{job="a"} 1 1395066363000\n')
    [PageSample(name='up', labels={'job': 'a'}, value=1.0, time_ms=1395066363000)]
    """
    if len(body) > LARGEST_BYTES:
        raise PageError(PageTrouble.TOO_LARGE, f"it has more than {LARGEST_BYTES} bytes")
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise PageError(PageTrouble.NOT_METRICS, f"it is no UTF-8: {error.reason}") from error
    if not text.endswith("\n"):
        raise PageError(PageTrouble.NOT_METRICS, "its last line has no end")
    if any(len(line) > _LONGEST_LINE for line in text.split("\n")):
        raise PageError(PageTrouble.NOT_METRICS, f"a line has more than {_LONGEST_LINE} characters")
    try:
        return [
            PageSample(one.name, dict(one.labels), float(one.value), _time_ms(one.timestamp))
            for family in text_string_to_metric_families(text)
            for one in family.samples
        ]
    except (ValueError, IndexError, OverflowError) as error:
        # IndexError: how the parser meets labels that end where a name was to come.
        reason = f"not in Prometheus' text format: {str(error)[:100] or 'a line cannot be read'}"
        raise PageError(PageTrouble.NOT_METRICS, reason) from error


def _time_ms(seconds: object) -> int | None:
    """A line's time; the parser gives seconds, as a number of any size."""
    if seconds is None:
        return None
    if not isinstance(seconds, int | float) or not math.isfinite(seconds):
        raise ValueError(f"a time that is none: {seconds}")
    return round(seconds * 1000)
