"""The errors of the poller."""

from enum import StrEnum


class PollerError(Exception):
    """Base of every error that this package raises."""


class ProfileError(PollerError):
    """A profile is wrong; the text is one line naming file, key and what was expected."""


class CaptureError(PollerError):
    """A capture is wrong; the text is one line naming file, key and what was expected."""


class AddressError(PollerError):
    """A text does not say where a bus is."""


class DecodeError(PollerError):
    """Registers cannot be what the profile says they are."""


class JournalError(PollerError):
    """The journal cannot be read or written."""


class RefusedDeviceError(PollerError):
    """A device is not taken in, because another one has its name or a series of it, or there are too many.

    Attributes:
        reason: `name`, `series` or `limit`.
    """

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class PatternError(PollerError):
    """A topic pattern or a path in JSON is written wrongly."""


class MessageTrouble(StrEnum):
    """Why a message of somebody else was refused, in part or as a whole."""

    UNEXPECTED = "unexpected"
    TOO_LARGE = "too_large"
    NOT_JSON = "not_json"
    NOT_TEXT = "not_text"
    WHERE = "where"
    """It lacks what the rule expects in each message."""
    VALUE = "value"
    """A field is neither a number nor a known word."""
    AMBIGUOUS = "ambiguous"
    """The place of a field is there more than once."""
    TIME = "time"
    """No time where it should be, or none that says when it was."""
    PART = "part"
    """The text that should name the device is not there."""
    NAME = "name"
    """A device cannot be called so."""
    LIMIT = "limit"
    """More devices than one rule may make."""
    MEMORY = "memory"
    """What an earlier run knew."""
    MISTAKE = "mistake"
    """One of this program."""


class MessageError(PollerError):
    """What somebody else published is not what its source makes readings of; the text says why."""

    def __init__(self, text: str, reason: MessageTrouble = MessageTrouble.UNEXPECTED) -> None:
        super().__init__(text)
        self.reason = reason


class FilterStateError(PollerError):
    """What the filters of an earlier run kept cannot be read."""


class PageTrouble(StrEnum):
    """Why the page of another program could not be read."""

    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    STATUS = "status"
    """The server answers that there is no such page, or that it cannot."""
    REDIRECTS = "redirects"
    COMPRESSED = "compressed"
    """Nobody asked for that."""
    TOO_LARGE = "too_large"
    CUT_OFF = "cut_off"
    """The connection ended before the page did."""
    NOT_METRICS = "not_metrics"
    NOTHING_KNOWN = "nothing_known"
    """Metrics, but none of the names that are looked for, or all of them 0 because the exporter has just started."""
    TOO_MANY = "too_many"
    """More devices than a page may show."""
    TWO_READERS = "two_readers"
    """It shows a heat pump or a meter that a bus of this poller has already."""
    MISTAKE = "mistake"
    """One of this program."""


class PageError(PollerError):
    """The page of another program could not be read."""

    def __init__(self, trouble: PageTrouble, text: str) -> None:
        super().__init__(text)
        self.trouble = trouble
