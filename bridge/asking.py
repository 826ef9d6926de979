"""When to ask a poller for what is wanted, and for what; decided here, published by `bridge.asker`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from bridge.catchup import Wanted, left_of, oldest
from readings.payload import Replay
from readings.reading import DeviceKey

LISTEN_S = 5.0
"""After a connect: what lay at the broker comes by itself, and so do the lists."""

QUIET_S = 10.0
"""A request that brought nothing new for so long has failed."""

GONE_AFTER_S = 600.0
"""Of a device that is not listed for so long, though its poller is there, nothing will come; lists come every minute,
and nobody waits longer for a gap."""

LONGEST_REST_S = 300.0
MOST_AT_ONCE = 2
"""Devices that are asked at a time: what comes live must still find its way."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a device was last asked for.

    Attributes:
        left: How many of these were still wanted at the last look.
        at: When it was asked.
        moved: When something of it last came, or when it was asked.
        rest_s: How long after `moved` it may be asked again when nothing comes.
    """

    requests: tuple[Replay, ...]
    left: int
    at: float
    moved: float
    rest_s: float = QUIET_S

    def is_open(self, now: float) -> bool:
        """Whether answers are still expected."""
        return self.left > 0 and now - self.moved < QUIET_S

    def may_repeat(self, now: float) -> bool:
        """Whether the device may be asked anew."""
        return self.left == 0 or now - self.moved >= self.rest_s


class Asking:
    """Remembers who was asked for what, and says what to ask for next; the time comes in.

    Every time is of the monotonic clock, in seconds.
    """

    def __init__(self) -> None:
        self._connection = 0
        self._listens_until = 0.0
        self._pollers: dict[DeviceKey, str] = {}
        self._online: set[str] = set()
        self._begun: float | None = None
        self._heard: set[DeviceKey] = set()
        self._listed: dict[DeviceKey, float] = {}
        self._asked: dict[DeviceKey, Asked] = {}

    def announce(self, device: DeviceKey, poller: str) -> None:
        """Who reads a device."""
        self._pollers[device] = poller

    def note_list(self, device: DeviceKey) -> None:
        """A device's list came."""
        self._heard.add(device)

    def set_online(self, poller: str, *, online: bool) -> None:
        """A poller came or went; one that came is asked without the rest that its silence has earned."""
        if online:
            self._online.add(poller)
            self._begun = None
            self._forget(device for device, name in self._pollers.items() if name == poller)
        else:
            self._online.discard(poller)

    def next(
        self, wanted: Mapping[DeviceKey, Wanted], *, connection: int, now: float
    ) -> list[tuple[DeviceKey, Replay]]:
        """What to ask for now.

        Args:
            wanted: What is wanted, by device; devices of which nothing is wanted may be absent.
            connection: The number of the connection to the broker.
            now: The time.
        """
        if connection != self._connection:
            self._connection, self._listens_until = connection, now + LISTEN_S
            self._asked.clear()
            self._begun = None
        self._begun = now if self._begun is None else self._begun
        self._listed.update(dict.fromkeys(self._heard, now))
        self._heard.clear()
        self._look(wanted, now)
        if now < self._listens_until:
            return []
        free = MOST_AT_ONCE - sum(one.is_open(now) for one in self._asked.values())
        ready = sorted(
            (device for device in wanted if self._is_ready(device, now)),
            key=lambda device: (self._asked[device].at if device in self._asked else float("-inf"), device),
        )
        asks: list[tuple[DeviceKey, Replay]] = []
        for device in ready[: max(0, free)]:
            asks += ((device, request) for request in self._ask(device, wanted[device], now))
        return asks

    def gone(self, waiting: Iterable[DeviceKey], *, now: float) -> list[DeviceKey]:
        """Those of these devices, which wait for a list or for what it names, that nobody lists any more.

        Call it after `next`.
        """
        begun = now if self._begun is None else self._begun
        return [
            device
            for device in waiting
            if self._pollers.get(device, next(iter(self._online), None)) in self._online
            and now - max(begun, self._listed.get(device, begun)) >= GONE_AFTER_S
        ]

    def _look(self, wanted: Mapping[DeviceKey, Wanted], now: float) -> None:
        """See what came of what was asked for."""
        for device, asked in self._asked.items():
            left = left_of(asked.requests, wanted.get(device, ()))
            if left < asked.left:
                self._asked[device] = replace(asked, left=left, moved=now, rest_s=QUIET_S)

    def _is_ready(self, device: DeviceKey, now: float) -> bool:
        asked = self._asked.get(device)
        return self._pollers.get(device) in self._online and (asked is None or asked.may_repeat(now))

    def _ask(self, device: DeviceKey, wanted: Wanted, now: float) -> tuple[Replay, ...]:
        before = self._asked.get(device)
        # An earlier request that was answered has earned patience; one that was not costs more each time.
        rest_s = QUIET_S if before is None or before.left == 0 else min(before.rest_s * 2, LONGEST_REST_S)
        requests = oldest(wanted)
        self._asked[device] = Asked(requests, left_of(requests, wanted), now, now, rest_s)
        return requests

    def _forget(self, devices: Iterable[DeviceKey]) -> None:
        for device in list(devices):
            self._asked.pop(device, None)
