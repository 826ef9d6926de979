"""Reading whole ranges of a device's addresses, around those that it does not have."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from poller.blocks import BlockRead, RegisterBlock
from poller.commissioning.ask import Asker
from poller.commissioning.capture_text import Captured, Span
from poller.transport import ReadError

MAX_REGISTERS = 125
MAX_BITS = 2000


@dataclass(slots=True)
class Dump:
    """A dump under way: what was read so far is here whenever it ends.

    Args:
        asker: The bus.
        unit: Which device.
        max_registers: The longest request.
        multiple_of: The device answers only requests for a multiple of so many registers.
        timeout_s: How long an answer may take.
        on_step: Called with what is done, of how many addresses, and what is being read.

    Attributes:
        captured: What was read.
        refused: What the device does not have.
    """

    asker: Asker
    unit: int
    max_registers: int = MAX_REGISTERS
    multiple_of: int = 1
    timeout_s: float = 1.0
    on_step: Callable[[int, int, str], None] = lambda *_: None
    captured: list[Captured] = field(default_factory=list)
    refused: list[Span] = field(default_factory=list)

    def run(self, spans: Sequence[Span]) -> None:
        """Read all of these addresses; a request that is refused is cut in two until it is known what is not there.

        Raises:
            ReadError: The device does not answer.
        """
        total = sum(one.count for one in spans)
        pending = list(spans)
        while pending:
            span = pending.pop(0)
            limit = MAX_BITS if span.table.holds_bits else self.max_registers
            if span.count > limit:
                pending[:0] = _cut(span, limit)
                continue
            self.on_step(total - span.count - sum(one.count for one in pending), total, str(span))
            answer = self._ask(span)
            if isinstance(answer, BlockRead):
                self.captured.append(Captured(span.table, span.first, answer.words))
            elif span.count <= self._least(span):
                self._refuse(span)
            else:
                half = -(-span.count // (2 * self._least(span))) * self._least(span)
                pending[:0] = _cut(span, half)

    def _ask(self, span: Span) -> BlockRead | ReadError:
        block = RegisterBlock(span.table, span.first, span.count, ())
        answer = self.asker.ask(block, self.unit, self.timeout_s)
        if isinstance(answer, ReadError) and not answer.reason.shows_life:
            answer = self.asker.ask(block, self.unit, self.timeout_s)
        if isinstance(answer, ReadError) and not answer.reason.shows_life:
            raise answer
        return answer

    def _least(self, span: Span) -> int:
        return 1 if span.table.holds_bits else self.multiple_of

    def _refuse(self, span: Span) -> None:
        last = self.refused[-1] if self.refused else None
        if last is not None and last.table is span.table and last.last + 1 == span.first:
            self.refused[-1] = Span(span.table, last.first, span.last)
        else:
            self.refused.append(span)


def _cut(span: Span, size: int) -> list[Span]:
    """The span in pieces of this size."""
    return [
        Span(span.table, first, min(first + size - 1, span.last))
        for first in range(span.first, span.last + 1, size)
    ]
