"""The errors of the contract."""


class ReadingsError(Exception):
    """Base of every error that this package raises."""


class PayloadError(ReadingsError):
    """A message's payload is not what the contract says; the text names the place."""


class TopicError(ReadingsError):
    """A name cannot be part of a topic, or a topic is not one of ours."""


class SettingsError(ReadingsError):
    """The configuration is wrong; the text is one line naming file, key and what was expected."""
