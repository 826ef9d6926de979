"""From the bus into the store: messages are acknowledged when they are safe, and not before."""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol

from bridge.arrival import (
    Arrival,
    AvailabilityCame,
    HealthCame,
    InfoCame,
    InfoGone,
    JournalCame,
    Nothing,
    ProgramCame,
    RefusedMessage,
    StateCame,
    interpret,
)
from bridge.asker import Asker
from bridge.errors import StoreError
from bridge.inbox import Inbox
from bridge.pruning import Pruning
from bridge.store import Store
from readings.broker import Delivery
from readings.health import Health, Tally
from readings.payload import Info
from readings.reading import DeviceKey, DeviceState
from readings.topics import Leaf, Program, ProgramLeaf, Topics

_log = logging.getLogger(__name__)

QUIET_S = 0.02
"""A burst is over when nothing came for so long; many brokers wait for acknowledgements after 20 messages."""

MANY = 10
"""A burst of so many is committed at its end; a trickle is collected."""

COLLECT_S = 0.5
"""A trickle is collected for so long, for the sake of the disk."""

LONGEST_S = 1.0
"""No message waits longer for its commit."""

MOST_IN_GROUP = 1000
PRUNE_EVERY_S = 300.0
"""What was sent stays ten minutes anyway, and removing much at once costs the disk less than often a little."""

PRUNE_EVERY_STATES = 10_000
"""So many may come in between: a few megabytes, when a poller answers for days."""

PRUNE_STEPS = 50
"""Before messages have their turn again; that many steps remove as much as may come in between."""

ATTEND_EVERY_S = 1.0
SAY_EVERY_S = 60.0
"""How often a refused message is worth a line in the log."""


class Audience(Protocol):
    """Who shows the latest values."""

    def announce(self, key: DeviceKey, info: Info) -> None:
        """A device's info came."""

    def withdraw(self, key: DeviceKey) -> None:
        """A device's info was taken back."""

    def offer(self, key: DeviceKey, state: DeviceState, *, retained: bool, now_ms: int, now: float) -> None:
        """A `state` message came."""

    def availability(self, key: DeviceKey, online: bool) -> None:  # noqa: FBT001 - the message is this one word
        """A device's availability came."""

    def poller_gone(self, name: str) -> None:
        """A poller's last will came."""

    def poller_back(self, name: str) -> None:
        """A poller is there (again)."""

    def health(self, program: Program, name: str, health: Health) -> None:
        """A program reported of itself."""


def subscriptions(topics: Topics) -> tuple[tuple[str, int], ...]:
    """What the bridge listens to, with QoS."""
    devices = topics.every_device(Leaf.INFO, Leaf.AVAILABILITY, Leaf.JOURNAL, Leaf.STATE, Leaf.HISTORY)
    pollers = topics.every_program(Program.POLLER, ProgramLeaf.AVAILABILITY, ProgramLeaf.HEALTH)
    return tuple((topic, 1) for topic in (*devices, *pollers))


def is_due(messages: int, *, age_s: float, quiet_s: float, since_commit_s: float) -> bool:
    """Whether a group is to be committed now.

    Args:
        messages: How many it holds.
        age_s: How long its first one waits.
        quiet_s: How long nothing came.
        since_commit_s: How long ago the last commit was.
    """
    if messages >= MOST_IN_GROUP or age_s >= LONGEST_S:
        return True
    return quiet_s >= QUIET_S and (messages >= MANY or since_commit_s >= COLLECT_S)


class Subscriber:
    """Takes messages from the inbox into the store, shows them, and acknowledges them.

    Args:
        inbox: What came.
        store: Where states go; None when nobody is to get them, so that there is nothing to keep.
        pruning: Keeps that store small.
        topics: The topic scheme.
        audience: Who shows the latest values.
        acknowledge: Tells the broker that a message is safe.
        on_stored: Called after each commit that brought something.
        tally: The bridge's counts.
        wall_ms: The wall clock.
        monotonic: The clock that counts from the boot, in seconds.
        asker: Asks for what is missing.
    """

    def __init__(
        self,
        inbox: Inbox,
        store: Store | None,
        pruning: Pruning | None,
        *,
        topics: Topics,
        audience: Audience,
        acknowledge: Callable[[Delivery], None],
        on_stored: Callable[[], None],
        tally: Tally,
        wall_ms: Callable[[], int],
        monotonic: Callable[[], float],
        asker: Asker | None = None,
    ) -> None:
        self._inbox = inbox
        self._store = store
        self._pruning = pruning
        self._topics = topics
        self._audience = audience
        self._acknowledge = acknowledge
        self._on_stored = on_stored
        self._tally = tally
        self._wall_ms = wall_ms
        self._monotonic = monotonic
        self._asker = asker
        self._said_refused_s = float("-inf")
        self._pruned_s = self._committed_s = float("-inf")
        self._since_pruned = 0
        self._is_pruned = True
        self.store_trouble = ""

    def run(self) -> None:
        """Take messages until the inbox is closed."""
        while not self._inbox.is_closed():
            self.work()

    def work(self) -> None:
        """One round: take what came into the store, and ask for what is missing."""
        self._prune()
        if group := self._collect():
            self._commit(group)
            self._inbox.free()
        if self._asker is not None:
            self._asker.attend(self._monotonic())

    def _collect(self) -> list[tuple[Delivery, Arrival]]:
        """Wait for a message and for what comes soon after it."""
        delivery = self._inbox.take(ATTEND_EVERY_S)
        group: list[tuple[Delivery, Arrival]] = []
        began_s = came_s = self._monotonic()
        while delivery is not None or (group and not self._inbox.is_closed()):
            now_s = self._monotonic()
            if delivery is not None:
                came_s = now_s
                group.append((delivery, self._receive(delivery)))
            if is_due(
                len(group),
                age_s=now_s - began_s,
                quiet_s=now_s - came_s,
                since_commit_s=now_s - self._committed_s,
            ):
                break
            delivery = self._inbox.take(QUIET_S)
        return group

    def _receive(self, delivery: Delivery) -> Arrival:
        """Understand a message, show it and count it; it is stored with its group."""
        arrival = interpret(delivery.topic, delivery.payload, self._topics, retained=delivery.retained)
        if self._asker is not None:
            self._asker.hear(arrival)
        kind = "refused"
        match arrival:
            case StateCame(device, state, _, is_live):
                kind = "state" if is_live else "history"
                if is_live:
                    self._audience.offer(
                        device,
                        state,
                        retained=delivery.retained,
                        now_ms=self._wall_ms(),
                        now=self._monotonic(),
                    )
            case InfoCame(device, _, _, info, _):
                kind = "info"
                self._audience.announce(device, info)
            case InfoGone(device):
                kind = "info"
                self._audience.withdraw(device)
            case JournalCame():
                kind = "journal"
            case AvailabilityCame(device, is_online):
                kind = "availability"
                self._audience.availability(device, is_online)
            case ProgramCame(Program.POLLER, name, is_online):
                kind = "availability"
                (self._audience.poller_back if is_online else self._audience.poller_gone)(name)
            case HealthCame(program, name, health):
                kind = "health"
                self._audience.health(program, name, health)
            case ProgramCame() | Nothing():
                kind = "other"
            case RefusedMessage():
                self._refuse(arrival)
        self._tally.count("bridge_messages_received_total", message=kind)
        return arrival

    def _commit(self, group: Sequence[tuple[Delivery, Arrival]]) -> None:
        """Store a group, then acknowledge it. What the disk refuses is not had, and is asked for again."""
        try:
            if self._store is not None:
                committed = self._store.commit([arrival for _, arrival in group], self._wall_ms())
                self._since_pruned += sum(committed.stored.values())
                for device, number in committed.stored.items():
                    self._tally.count("bridge_states_stored_total", by=number, device=device.name)
                for device, number in committed.repeated.items():
                    self._tally.count("bridge_states_repeated_total", by=number, device=device.name)
                self._on_stored()
            self._note_store("")
        except StoreError as error:
            self._tally.count("bridge_store_failures_total")
            self._note_store(str(error))
        self._committed_s = self._monotonic()
        for delivery, _ in group:
            self._acknowledge(delivery)

    def _prune(self) -> None:
        now_s = self._monotonic()
        if self._pruning is None or not (
            not self._is_pruned
            or now_s - self._pruned_s >= PRUNE_EVERY_S
            or self._since_pruned >= PRUNE_EVERY_STATES
        ):
            return
        # A disk that refuses it gets some minutes, too.
        self._pruned_s, self._since_pruned, self._is_pruned = now_s, 0, True
        dropped = Counter[tuple[DeviceKey, str]]()
        try:
            for _ in range(PRUNE_STEPS):
                pruned = self._pruning.run(now_ms=self._wall_ms(), now_s=now_s)
                dropped.update(pruned.dropped)
                if pruned.is_done:
                    break
            else:
                self._is_pruned = False
        except StoreError as error:
            self._note_store(str(error))
        for (device, reason), number in dropped.items():
            self._tally.count("bridge_states_dropped_total", by=number, device=device.name, reason=reason)
            _log.warning("%s: %s states dropped unsent: %s", device, number, reason)

    def _note_store(self, trouble: str) -> None:
        """Log a change of state once."""
        if trouble and not self.store_trouble:
            _log.error("nothing can be stored: %s", trouble)
        elif self.store_trouble and not trouble:
            _log.info("the store takes states again")
        self.store_trouble = trouble

    def _refuse(self, refused: RefusedMessage) -> None:
        reason = "payload" if refused.identity is None else "state"
        self._tally.count("bridge_messages_refused_total", reason=reason)
        now_s = self._monotonic()
        if now_s - self._said_refused_s >= SAY_EVERY_S:
            self._said_refused_s = now_s
            _log.warning("%s: refused: %s", refused.topic, refused.reason)
