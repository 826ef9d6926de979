"""One request after another on a bus of which nothing is known, without taking a late answer for the next one."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from poller.blocks import BlockRead, FailureReason, RegisterBlock
from poller.request import reading
from poller.transport import ReadError, Transport

RECONNECTS = 6
RECONNECT_AFTER_S = 0.5
LONGEST_REST_S = 10.0


class LostBusError(ReadError):
    """There is no connection, after several attempts."""


@dataclass(slots=True)
class Asker:
    """Asks, and waits for what hinders it only for the moment.

    Attributes:
        late: Units that have answered too late.
    """

    transport: Transport
    monotonic: Callable[[], float] = time.monotonic
    rest: Callable[[float], object] = time.sleep
    late: set[int] = field(default_factory=set)

    def ask(self, block: RegisterBlock, unit: int, timeout_s: float) -> BlockRead | ReadError:
        """One request, and what came of it.

        Raises:
            LostBusError: There is no connection.
        """
        clear_at = self.transport.clear_at(reading(unit, block))
        self.rest(min(max(clear_at - self.monotonic(), 0.0), LONGEST_REST_S))
        why = f"{block}: not connected"
        for _ in range(RECONNECTS):
            try:
                return self.transport.read(block, unit, timeout_s)
            except ReadError as error:
                if error.reason is not FailureReason.UNREACHABLE:
                    return error
                # One without a cause says that no attempt was made.
                why = str(error) if error.__cause__ else why
            finally:
                self.late |= self.transport.late_units() - {unit}
            self.rest(RECONNECT_AFTER_S)
        raise LostBusError(FailureReason.UNREACHABLE, why)
