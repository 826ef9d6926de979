"""The errors of the simulator."""


class SimulatorError(Exception):
    """Base of every error that this package raises."""


class IllegalAddressError(SimulatorError):
    """The device has no such register: Modbus exception 2."""


class EncodeError(SimulatorError):
    """A value does not go into its registers."""


class FramingError(SimulatorError):
    """A client sends what is not Modbus."""
