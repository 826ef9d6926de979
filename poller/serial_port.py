"""A serial port as a connection. The only module that knows pyserial.

pyserial waits by select, so a port that was unplugged shows at once: it is
ready to be read and has nothing to give.
"""

import select
import termios

import serial

from poller.address import SerialAddress

SEND_WITHIN_S = 1.0
"""A request has 8 bytes, which even 300 baud send in that time; a port that takes them later is stuck."""


class SerialConnection:
    """An open port."""

    def __init__(self, port: serial.Serial) -> None:
        self._port = port

    def send(self, data: bytes, within_s: float) -> None:  # noqa: ARG002  # a network needs it
        """Send all of it.

        Raises:
            OSError: The port is lost.
        """
        self._port.write(data)

    def receive(self, within_s: float) -> bytes:
        """What has come, or comes within this time; 0 does not wait. Nothing is `b""`.

        Raises:
            OSError: The port is lost.
        """
        # pyserial's own timeout is fixed when it opens: a change would configure the port anew each time.
        ready, _, _ = select.select([self._port], [], [], within_s)
        return bytes(self._port.read(4096)) if ready else b""

    def close(self) -> None:
        """Give the port back."""
        self._port.close()


class SerialConnector:
    """Opens a serial port, for this program alone."""

    def __init__(self, address: SerialAddress) -> None:
        self._address = address

    def __call__(self, within_s: float) -> SerialConnection:  # noqa: ARG002  # opening a port does not wait
        """Open the port; what came before is thrown away.

        Raises:
            OSError: It is not there, not permitted, another program's, or cannot be set like this.
        """
        one = self._address
        try:
            port = serial.Serial(
                one.path,
                baudrate=one.baud,
                bytesize=serial.EIGHTBITS,
                parity=one.parity,
                stopbits=one.stop_bits,
                timeout=0,
                write_timeout=SEND_WITHIN_S,
                exclusive=True,
            )
        except (termios.error, ValueError) as error:
            # What the driver refuses, and a speed that it does not have.
            raise OSError(f"cannot be set to {one.baud} baud, parity {one.parity}: {error}") from error
        return SerialConnection(port)
