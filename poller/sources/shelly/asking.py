"""What a Shelly is asked, and when: which components it has, and how those stand that may rest for hours."""

from collections.abc import Iterator

from poller.sources.shelly.components import Page
from poller.sources.shelly.frames import request
from readings.message import Message

LISTING = "Shelly.GetComponents"
STATUS = "Shelly.GetStatus"

ANSWERS_WITHIN_S = 10.0
FIRST_PAUSE_S = 10.0
LONGEST_PAUSE_S = 300.0
"""Between two questions that nobody answers; a device on a battery sleeps for hours."""

LIST_EVERY_S = 6 * 3600.0
STATUS_EVERY_S = 60.0
SOON_S = 30.0
"""The least time between two listings: what makes us ask may come with every message."""


class Asking:
    """The questions to one device.

    Args:
        prefix: Its topic prefix.
        signature: Where its answers go, without `/rpc`.
    """

    def __init__(self, prefix: str, signature: str) -> None:
        self.signature = signature
        self._prefix = prefix
        self._is_often = False
        self._connection = 0
        self._is_online = True
        self._number = 0
        self._open: dict[int, tuple[str, float]] = {}
        self._listed = Page()
        self._next_offset: int | None = None
        self._list_due = self._status_due = self._asked_at = self._status_asked_at = 0.0
        self._pause_s = FIRST_PAUSE_S

    def due(self, now: float, connection: int) -> Iterator[Message]:
        """What to ask now."""
        if connection != self._connection:
            self._connection = connection
            self._open.clear()
            self._want_all(now)
        self._open = {number: one for number, one in self._open.items() if now - one[1] < ANSWERS_WITHIN_S}
        if not self._is_online:
            return
        if self._next_offset is not None:
            offset, self._next_offset = self._next_offset, None
            yield self._ask(now, LISTING, offset)
        elif now >= self._list_due and not self._is_open(LISTING):
            self._list_due, self._asked_at = now + self._pause_s, now
            self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)
            self._listed = Page()
            yield self._ask(now, LISTING, 0)
        if now >= self._status_due and not self._is_open(STATUS):
            self._status_asked_at = now
            self._status_due = now + (STATUS_EVERY_S if self._is_often else LIST_EVERY_S)
            yield self._ask(now, STATUS)

    def note_presence(self, now: float, *, is_online: bool) -> None:
        """It has come, perhaps after a restart and with other components; or it has gone."""
        self._is_online = is_online
        if is_online:
            self._want_all(now)

    def ask_often(self) -> None:
        """Ask for its status once a minute from now on, not only when it or the poller has come."""
        if not self._is_often:
            self._is_often = True
            self._status_due = min(self._status_due, self._status_asked_at + STATUS_EVERY_S)

    def want_components(self, now: float) -> None:
        """Something was set up differently."""
        self._list_due = min(self._list_due, max(now, self._asked_at + SOON_S))

    def want_components_soon(self) -> None:
        """It speaks of a component that it had not listed."""
        self.want_components(self._asked_at + SOON_S)

    def expects(self, number: int) -> bool:
        """Whether this is the answer to an open question."""
        return number in self._open

    def is_listing(self, number: int) -> bool:
        """Whether the question was for its components."""
        return self._open[number][0] == LISTING

    def note_answer(self, number: int) -> None:
        """An answer came."""
        self._open.pop(number)

    def note_refusal(self, number: int, now: float) -> None:
        """It does not answer this: an older device has no such components."""
        method, _ = self._open.pop(number)
        if method == LISTING:
            self._list_due = now + LIST_EVERY_S
        else:
            self._status_due = now + LIST_EVERY_S

    def note_page(self, number: int, page: Page, now: float) -> Page | None:
        """A page of its components came; all pages as one when it was the last."""
        self._open.pop(number)
        self._listed = self._listed.joined_by(page)
        self._next_offset = page.next_offset
        if page.next_offset is not None:
            return None
        self._list_due, self._pause_s = now + LIST_EVERY_S, FIRST_PAUSE_S
        return self._listed

    def _want_all(self, now: float) -> None:
        self._list_due = self._status_due = now
        self._pause_s = FIRST_PAUSE_S
        self._next_offset = None

    def _is_open(self, method: str) -> bool:
        return any(one[0] == method for one in self._open.values())

    def _ask(self, now: float, method: str, offset: int | None = None) -> Message:
        # Not from 1: an answer that waited at the broker must not be taken for one of this run.
        self._number = max(self._number + 1, int(now * 1000) % (1 << 30))
        self._open[self._number] = (method, now)
        if method == LISTING:
            params = {"offset": offset, "dynamic_only": True, "include": ["config", "status"]}
            return request(self._prefix, self.signature, self._number, method, **params)
        return request(self._prefix, self.signature, self._number, method)
