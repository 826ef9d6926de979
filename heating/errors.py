"""The errors of the commands."""


class CommandError(Exception):
    """A command cannot do what it was asked for; the text is one line that says what to try."""
