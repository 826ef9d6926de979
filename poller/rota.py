"""Which of a device's blocks a poll asks for: some are read in every poll, some in every n-th."""

from collections.abc import Iterable

from poller.blocks import RegisterBlock

EAGER_POLLS = 3
"""So many polls ask for everything once a device is there: a first count, or a jump, needs so many readings."""


class Rota:
    """The blocks of one device, and when each was answered last.

    A block that is read in every n-th poll has one turn in each run of n
    slots: the first poll that can. Where that fails, the next one asks again.

    Attributes:
        blocks: All of them.
    """

    def __init__(self, blocks: tuple[RegisterBlock, ...]) -> None:
        self.blocks = blocks
        self._eager = EAGER_POLLS
        self._answered_in: dict[RegisterBlock, int] = {}

    def due(self, slot: int) -> list[RegisterBlock]:
        """What the poll of a slot is to ask for."""
        return [one for one in self.blocks if self._eager or self._turn(one, slot) > self._last_turn(one)]

    def note_answer(self, block: RegisterBlock, slot: int) -> None:
        """A block was read in the poll of a slot, or refused for good."""
        self._answered_in[block] = slot

    def end_poll(self, *, is_read: bool) -> None:
        """A poll is over; where it brought nothing, the next ones ask for everything."""
        self._eager = max(0, self._eager - 1) if is_read else EAGER_POLLS

    def replace(self, old: RegisterBlock, new: Iterable[RegisterBlock]) -> None:
        """From now on ask for other blocks in the place of one."""
        place = self.blocks.index(old)
        self.blocks = (*self.blocks[:place], *new, *self.blocks[place + 1 :])

    def _turn(self, block: RegisterBlock, slot: int) -> int:
        return slot // block.every

    def _last_turn(self, block: RegisterBlock) -> int:
        return self._turn(block, self._answered_in[block]) if block in self._answered_in else -1
