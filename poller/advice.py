"""What to try next, in one line, when a bus or a device cannot be reached."""

import errno

from poller.address import Address, SerialAddress

_NETWORK = {
    errno.ECONNREFUSED: "nothing listens there: is it the gateway's Modbus port? Its own page shows it, often 502 or 8899",
    errno.EHOSTUNREACH: "nobody has this address: is the gateway on, and in this network?",
    errno.ENETUNREACH: "there is no way to this address: is this machine in the gateway's network?",
    errno.ETIMEDOUT: "no answer: is the address right, the gateway on, and no firewall between?",
    errno.ECONNRESET: "the gateway ends the connection: it may serve only one program at a time",
}

_SERIAL = {
    errno.ENOENT: "there is no such port: is the adapter plugged in? `ls -l /dev/serial/by-id/` shows those that are",
    errno.EACCES: "no permission: `sudo usermod -aG dialout $USER`, then log in again",
    errno.EPERM: "no permission: `sudo usermod -aG dialout $USER`, then log in again",
    errno.EBUSY: "another program has it: stop that first; `fuser -v {path}` names it",
    errno.EAGAIN: "another program has it: stop that first; `fuser -v {path}` names it",
    errno.EIO: "the adapter does not work: unplug it and plug it in again",
    errno.ENXIO: "the adapter does not work: unplug it and plug it in again",
    errno.ENODEV: "the adapter does not work: unplug it and plug it in again",
    errno.ENOTTY: "it is no serial port; `ls -l /dev/serial/by-id/` shows those that are plugged in",
    errno.EISDIR: "it is a folder; `ls -l /dev/serial/by-id/` shows the ports that are plugged in",
}


def explain_no_connection(address: Address, error: OSError) -> str:
    """Why there is no connection, and what to try.

    >>> from poller.address import SerialAddress
    >>> explain_no_connection(SerialAddress("/dev/ttyUSB0"), PermissionError(errno.EACCES, "denied"))
    'no permission: `sudo usermod -aG dialout $USER`, then log in again'
    """
    if isinstance(address, SerialAddress):
        advice = _SERIAL.get(error.errno or 0)
        return advice.format(path=address.path) if advice else str(error)
    if isinstance(error, TimeoutError):
        return _NETWORK[errno.ETIMEDOUT]
    if error.errno is None:
        return f"{error}: is the name right? An IP address needs no name server"
    return _NETWORK.get(error.errno, str(error))
