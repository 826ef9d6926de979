"""The errors of the poller."""


class PollerError(Exception):
    """Base of every error that this package raises."""


class ProfileError(PollerError):
    """A profile is wrong; the text is one line naming file, key and what was expected."""


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


class MessageError(PollerError):
    """What somebody else published is not what its source makes readings of; the text says why."""


class FilterStateError(PollerError):
    """What the filters of an earlier run kept cannot be read."""
