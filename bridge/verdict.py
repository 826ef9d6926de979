"""One answer in words: is my data complete?"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Literal

from bridge.figures import show_age, show_clock, show_count, show_number
from bridge.status import BridgeStatus

Tone = Literal["good", "wait", "bad", "idle"]

ON_THE_WAY_MS = 15_000
"""A reading that waits no longer than this is on its way, not held up."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer, and one sentence more."""

    tone: Tone
    headline: str
    detail: str


def judge_completeness(
    status: BridgeStatus, *, known: int, absent: Sequence[str], now_ms: int, zone: tzinfo
) -> Verdict:
    """Say whether every reading is in Prometheus, and if not, what it waits for.

    Args:
        status: The bridge's view of itself.
        known: How many devices there are.
        absent: The titles of those that give no readings.
        now_ms: The wall clock.
        zone: The time zone of the times in the text.
    """
    if status.broker_trouble:
        return Verdict(
            "bad",
            "No connection to the broker",
            f"No reading can arrive ({status.broker_trouble}). The poller keeps them in its journal meanwhile.",
        )
    if status.store_trouble:
        return Verdict(
            "bad",
            "Readings cannot be stored here",
            f"{status.store_trouble}. The poller keeps them in its journal meanwhile.",
        )
    if status.unreadable:
        return Verdict(
            "bad",
            f"{show_count(status.unreadable, 'reading needs', 'readings need')} a newer bridge",
            "They speak a later version of the contract; they are kept, and sent once the bridge is updated.",
        )
    if not known:
        return Verdict("idle", "Waiting for the first reading", "No poller has announced a device yet.")
    if not status.receiver:
        return Verdict(
            "idle",
            "Readings are shown, not sent",
            "No [[remote_write]] is configured; whoever scrapes /metrics gets the latest values.",
        )
    return (
        _judge_backlog(status, now_ms, zone) or _judge_losses(status) or _judge_devices(status, known, absent)
    )


def _judge_backlog(status: BridgeStatus, now_ms: int, zone: tzinfo) -> Verdict | None:
    oldest = min(
        (one.oldest_waiting_ms for one in status.devices.values() if one.oldest_waiting_ms is not None),
        default=None,
    )
    missing = show_count(status.missing, "reading has", "readings have")
    if status.waiting and (oldest is None or status.parked or now_ms - oldest > ON_THE_WAY_MS):
        since, details = "", ["They are safe here."]
        if oldest is not None and oldest <= now_ms:
            since = f" since {show_clock(oldest, now_ms, zone)}"
            details = [f"They are safe here; the oldest is {show_age((now_ms - oldest) / 1000)} old."]
        if status.last_answer:
            details.append(f"Prometheus last said: {status.last_answer}.")
        if status.missing:
            details.append(f"{missing} not arrived here yet.")
        if status.parked:
            parked = show_count(status.parked, "lies", "lie")
            details.append(f"{parked} ahead of this clock: is it right, and the poller's?")
        waiting = show_count(status.waiting, "reading waits", "readings wait")
        return Verdict("wait", f"{waiting} for Prometheus{since}", " ".join(details))
    if status.missing:
        return Verdict(
            "wait",
            f"{missing} not arrived yet",
            "The bridge asks for them while the poller is online; what its journal no longer has is lost, and said so then.",
        )
    return None


def _judge_losses(status: BridgeStatus) -> Verdict | None:
    """What will not be in Prometheus, or not by itself."""
    for number, one, many, why in (
        (
            status.given_up,
            "reading",
            "readings",
            "The poller no longer has them: its journal was full or too old when the bridge came back,"
            " or a power cut took them.",
        ),
        (
            status.dropped,
            "reading",
            "readings",
            "Since its start the bridge had to drop them unsent: its store or its quarantine was full, or they had waited"
            " for too long.",
        ),
        (
            status.too_old,
            "value",
            "values",
            "Since its start the bridge had to leave them out: Prometheus takes none so old (out_of_order_time_window).",
        ),
        (
            status.quarantined,
            "refused value",
            "refused values",
            "Prometheus does not take them; 'heating quarantine list' says why.",
        ),
    ):
        if number:
            return Verdict("wait", f"Complete but for {show_count(number, one, many)}", why)
    return None


def _judge_devices(status: BridgeStatus, known: int, absent: Sequence[str]) -> Verdict:
    if len(absent) == known:
        return Verdict("idle", "No device gives readings now", "Everything that was read is in Prometheus.")
    if absent:
        more = f" and {len(absent) - 3} more" if len(absent) > 3 else ""
        detail = f"No readings now from {', '.join(absent[:3])}{more}."
    elif status.waiting == 1:
        detail = "The newest one is on its way."
    elif status.waiting:
        detail = f"The newest {show_number(status.waiting, 0)} are on their way."
    else:
        detail = "Nothing waits, nothing is missing."
    return Verdict("good", "Complete: every reading is in Prometheus", detail)
