"""The simulated line at a serial port: a pseudo-terminal, whose other end any Modbus RTU program opens."""

import contextlib
import os
import select
import threading
import time
import tty
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Self

from simulator.bus import Bus, Exchange
from simulator.faults import FaultPlan

LOOK_EVERY_S = 0.1


class SerialLine:
    """A port with devices on its line, from `start` to `stop`; it can be pulled out between.

    Args:
        bus: The line, with RTU framing.
        link: A symbolic link that always leads to the port, as /dev/serial/by-id does.
        seed: What the faults' probabilities are drawn with.
    """

    def __init__(self, bus: Bus, link: Path | None = None, *, seed: int = 0) -> None:
        self.bus = bus
        self.faults = FaultPlan(Random(seed).random)  # noqa: S311  # chances that can be repeated, no secret
        self.exchanges: list[Exchange] = []
        self._link = link
        self._ends: tuple[int, int] | None = None
        self._is_unplugged = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def path(self) -> str:
        """The port's device file."""
        if self._link is not None:
            return str(self._link)
        if self._ends is None:
            raise RuntimeError("the port is not plugged in")
        return os.ttyname(self._ends[1])

    def start(self) -> None:
        """Plug it in: a new device file, behind the same link."""
        # Both ends stay open here: without the other one a read would fail while no program has the port.
        ours, theirs = self._ends = os.openpty()
        tty.setraw(theirs)
        if self._link is not None:
            self._link.symlink_to(os.ttyname(theirs))
        self._is_unplugged.clear()
        self._thread = threading.Thread(target=self._serve, args=(ours,), name="serial line", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Pull it out: the device file goes, and whoever has it open notices."""
        self._is_unplugged.set()
        if self._thread is not None:
            self._thread.join(5)
        if self._link is not None:
            self._link.unlink(missing_ok=True)
        for end in self._ends or ():
            os.close(end)
        self._ends = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _serve(self, end: int) -> None:
        buffer = bytearray()
        while not self._is_unplugged.is_set():
            if not select.select([end], [], [], LOOK_EVERY_S)[0]:
                continue
            buffer += os.read(end, 4096)
            while request := self.bus.framing.take(buffer):
                if self._is_unplugged.wait(self.bus.request_seconds(request)):
                    return
                fault = self.faults.take(request.unit, self.bus.fields(request))
                reply = self.bus.reply(request, fault, time.monotonic())
                if self._is_unplugged.wait(reply.after_s):
                    return
                self.exchanges.append(reply.exchange)
                with contextlib.suppress(OSError):  # nobody has the port open any more
                    os.write(end, reply.exchange.sent)
