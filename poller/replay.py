"""What was asked for and is not sent again yet; decided here, sent by `poller.publish`."""

from collections import deque

from readings.payload import Replay
from readings.reading import DeviceKey

MOST_REQUESTS = 400
"""Of one device: two consumers that ask for 200 states one by one. More are passed over; they ask again."""


class Requests:
    """The requests of all devices, answered in turn so that none waits for another's long history.

    >>> from readings.reading import Kind
    >>> a, b = DeviceKey(Kind.METER, "a"), DeviceKey(Kind.METER, "b")
    >>> requests = Requests()
    >>> requests.add(a, Replay("s1", 1, 7)), requests.add(b, Replay("s1", 1, 2))
    (True, True)
    >>> [(key.name, part.first, part.last) for key, part in iter(lambda: requests.take(5), None)]
    [('a', 1, 5), ('b', 1, 2), ('a', 6, 7)]
    """

    def __init__(self) -> None:
        self._by_device: dict[DeviceKey, deque[Replay]] = {}

    def __bool__(self) -> bool:
        return bool(self._by_device)

    def add(self, key: DeviceKey, request: Replay) -> bool:
        """Remember a request; False when it waits already, or too many do."""
        waiting = self._by_device.setdefault(key, deque())
        if request in waiting or len(waiting) >= MOST_REQUESTS:
            return False
        waiting.append(request)
        return True

    def take(self, most: int) -> tuple[DeviceKey, Replay] | None:
        """The next part of at most so many states; then it is another device's turn."""
        if not self._by_device:
            return None
        key = next(iter(self._by_device))
        waiting = self._by_device.pop(key)
        request = waiting.popleft()
        last = min(request.last, request.first + most - 1)
        if last < request.last:
            waiting.appendleft(Replay(request.stream, last + 1, request.last))
        if waiting:
            self._by_device[key] = waiting
        return key, Replay(request.stream, request.first, last)

    def clear(self) -> None:
        """Nobody waits for an answer any more."""
        self._by_device.clear()
