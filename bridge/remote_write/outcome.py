"""What a receiver's answer means for the samples that it was sent; decided here and nowhere else."""

from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

LONGEST_RETRY_AFTER_S = 3600.0
"""A receiver that asks for more is asked again after this."""

_SHOWN = 300

_REPEATS = (
    "out of order sample",
    "duplicate sample",
    "err-mimir-sample-out-of-order",
    "err-mimir-sample-duplicate-timestamp",
)
"""How Prometheus and its kin, and Mimir, say that they have a sample already, or a later one of its series."""


@dataclass(frozen=True, slots=True)
class Sent:
    """The receiver has the samples."""


@dataclass(frozen=True, slots=True)
class RetryAfter:
    """The same request may pass later.

    Attributes:
        reason: For people.
        seconds: How long the receiver asked to be left alone, where it did.
        is_open: The receiver may have the samples all the same.
        is_failure: It tried, and failed: that may be for what is in the request.
    """

    reason: str
    seconds: float | None = None
    is_open: bool = False
    is_failure: bool = False


@dataclass(frozen=True, slots=True)
class Misconfigured:
    """Somebody must change a configuration; until then no request can pass."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """This request will never pass as it is.

    Attributes:
        reason: What the receiver said.
        is_repeat: It says that it has one of these samples, or a later one of its series.
        is_open: An earlier try of the request may have been taken, so that it may have them all.
    """

    reason: str
    is_repeat: bool = False
    is_open: bool = False


@dataclass(frozen=True, slots=True)
class TooLarge:
    """The same samples may pass in smaller requests.

    Attributes:
        reason: What the receiver said.
        is_open: An earlier try of the request may have been taken.
    """

    reason: str
    is_open: bool = False


@dataclass(frozen=True, slots=True)
class Poison:
    """This request fails for ever at a receiver that takes others: its samples are to blame.

    Attributes:
        reason: What the receiver said.
        is_open: A try of the request may have been taken all the same.
    """

    reason: str
    is_open: bool = False


Outcome = Sent | RetryAfter | Misconfigured | Refused | TooLarge

_CONFIGURATION = {
    401: "the receiver does not accept the user name, password or token",
    403: "the receiver does not allow this user to write",
    404: "there is no remote-write receiver at this address (is it switched on?)",
    405: "this address takes no writes",
    407: "a proxy wants a password",
    415: "the receiver does not understand remote write 1.0",
}


def judge(status: int, headers: Mapping[str, str], body: bytes, now_s: float) -> Outcome:
    """Decide what an answer means.

    Args:
        status: The status code.
        headers: With names in small letters.
        body: As much of it as was read.
        now_s: Seconds since 1970, to count from to a date in Retry-After.

    >>> judge(204, {}, b"", 0.0)
    Sent()
    >>> judge(503, {"retry-after": "7"}, b"", 0.0)
    RetryAfter(reason='503', seconds=7.0, is_open=False, is_failure=True)
    """
    whole = " ".join(body.decode("utf-8", "replace").split())
    text = whole[:_SHOWN]
    said = f"{status}: {text}" if text else str(status)
    if 200 <= status < 300:
        return Sent()
    if 300 <= status < 400:
        return Misconfigured(f"{said} (it points to {headers.get('location', 'another address')})")
    if status in _CONFIGURATION:
        return Misconfigured(f"{said} ({_CONFIGURATION[status]})")
    if status in {408, 429} or status >= 500 or status < 200:
        # 429 and 503 say that the request was turned away at the door; behind others it may have been taken.
        seconds = retry_after(headers.get("retry-after", ""), now_s)
        return RetryAfter(said, seconds, is_open=status not in {429, 503}, is_failure=status != 429)
    if status == 413:
        return TooLarge(said)
    return Refused(said, is_repeat=any(one in whole for one in _REPEATS))


def retry_after(text: str, now_s: float) -> float | None:
    """The seconds that a Retry-After header asks for; None when there is none that can be read.

    >>> retry_after("Mon, 23 Nov 2026 04:05:16 GMT", 1_795_406_706.0)
    10.0
    """
    text = text.strip()
    if text.isascii() and text.isdigit():
        seconds = float(text)
    else:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - now_s
        except (ValueError, OverflowError):
            return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_S)
