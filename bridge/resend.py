"""Samples that somebody wants out of quarantine: sent again, beside the batches and never in their way."""

from collections.abc import Callable, Sequence

from bridge.batch import AHEAD_MS
from bridge.quarantine import Quarantine, Quarantined
from bridge.remote_write.outcome import Outcome, Refused, Sent, TooLarge
from bridge.sample import Sample


def resend(
    due: Sequence[Quarantined],
    quarantine: Quarantine,
    send: Callable[[Sequence[Sample]], Outcome | None],
    now_ms: int,
) -> int:
    """Send them, and take those that pass out of quarantine.

    What is refused once more stays there with the new reason; what nobody
    knows the outcome of is sent again in the next round.

    Args:
        due: What to send.
        quarantine: Where it is.
        send: Sends samples as one request, once; None when it did not.
        now_ms: The wall clock; what is ahead of it must not go out, whoever wants it.

    Returns:
        How many the receiver took.

    Raises:
        StoreError: The quarantine cannot be changed.
    """
    sent = 0
    for one in due:
        if one.sample.timestamp_ms > now_ms + AHEAD_MS:
            quarantine.keep(one, "it lies ahead of the bridge's clock")
    waiting = [[one for one in due if one.sample.timestamp_ms <= now_ms + AHEAD_MS]]
    while waiting:
        group = waiting.pop(0)
        if not group:
            continue
        match send([one.sample for one in group]):
            case Sent():
                quarantine.drop([one.id for one in group])
                sent += len(group)
            case Refused() | TooLarge() if len(group) > 1:
                middle = len(group) // 2
                waiting[:0] = [group[:middle], group[middle:]]
            case Refused(reason) | TooLarge(reason):
                quarantine.keep(group[0], reason)
            case _:
                break
    return sent
