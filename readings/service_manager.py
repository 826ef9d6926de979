"""What a program tells the service manager that started it: systemd's `sd_notify`, a datagram each.

It belongs to both programs as the settings do. Where nobody asked to be told,
nothing happens.
"""

import logging
import socket
from collections.abc import Mapping

_log = logging.getLogger(__name__)

READY = "READY=1"
ALIVE = "WATCHDOG=1"
"""Without this for a unit's `WatchdogSec` the manager ends the program and starts it again."""

STOPPING = "STOPPING=1"


class ServiceManager:
    """Tells whoever listens on the socket that the environment names.

    Args:
        environ: The environment, with `NOTIFY_SOCKET` where somebody wants to be told.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        # A name that begins with @ is one in Linux's abstract namespace.
        self._address = f"\0{address[1:]}" if address.startswith("@") else address

    def tell(self, state: str) -> None:
        """Say how the program is; a manager that cannot hear it costs a line in the debugging log."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                # A full socket must not hold up the one who watches over the program.
                sender.setblocking(False)  # noqa: FBT003  # socket's own signature
                sender.sendto(state.encode("ascii"), self._address)
        except OSError as error:
            _log.debug("the service manager was not told %s: %s", state, error)
