"""What was read a moment ago, and may answer who asks for the same."""

from collections import deque

from poller.blocks import BlockRead, RegisterBlock

MAX_AGE_S = 1.0
"""An answer from memory is younger than this."""

MAX_READS = 64
"""So many reads of a device are remembered; a serial line does not manage as many in a second."""


class RecentReads:
    """The newest reads of every unit, whoever asked for them.

    >>> from poller.points import Table
    >>> memory = RecentReads()
    >>> memory.keep(2, BlockRead(RegisterBlock(Table.HOLDING, 100, 3, ()), (7, 8, 9), read_at=50.0))
    >>> memory.find(2, RegisterBlock(Table.HOLDING, 101, 2, ()), now=50.9)
    (8, 9)
    >>> memory.find(2, RegisterBlock(Table.HOLDING, 101, 2, ()), now=51.0)
    """

    def __init__(self) -> None:
        self._reads: dict[int, deque[BlockRead]] = {}

    def keep(self, unit: int, read: BlockRead) -> None:
        """Remember an answer."""
        self._reads.setdefault(unit, deque(maxlen=MAX_READS)).appendleft(read)

    def forget(self, unit: int) -> None:
        """The device may hold something else now."""
        self._reads.pop(unit, None)

    def find(self, unit: int, block: RegisterBlock, now: float) -> tuple[int, ...] | None:
        """The values of these addresses, where one read brought all of them less than `MAX_AGE_S` ago."""
        for read in self._reads.get(unit, ()):
            if now - read.read_at >= MAX_AGE_S:
                return None
            start = block.address - read.block.address
            if read.block.table is block.table and 0 <= start <= read.block.count - block.count:
                return read.words[start : start + block.count]
        return None
