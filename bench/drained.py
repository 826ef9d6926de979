"""What a process that worked off a backlog says of itself."""

import time

import msgspec

from bench.processes import memory_mib


class Drained(msgspec.Struct, frozen=True):
    """Wall and CPU seconds, and the most memory that it had."""

    seconds: float
    cpu_s: float
    peak_mib: float


class Stopwatch:
    """Both clocks, from now on."""

    def __init__(self) -> None:
        self._began = time.monotonic(), time.process_time()

    def read(self) -> Drained:
        """What was used since then."""
        seconds, cpu_s = time.monotonic() - self._began[0], time.process_time() - self._began[1]
        return Drained(seconds, cpu_s, memory_mib("self", "VmHWM"))

    def print(self) -> None:
        """The same, for the process that started this one."""
        print(msgspec.json.encode(self.read()).decode())
