"""The errors of the bridge."""


class BridgeError(Exception):
    """Base of every error that this package raises."""


class StoreError(BridgeError):
    """The store cannot be read or written."""


class ListenError(BridgeError):
    """The web server cannot have its address."""
