"""Between the session that hears others and the sources that make reports of it; used by the journal's thread."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import msgspec

from poller.assemble import Report
from poller.device import Device
from poller.errors import MessageError, MessageTrouble
from poller.listening import Incoming
from poller.sources import Heard, MessageSource
from poller.walltime import WallTime
from readings.broker import Message
from readings.health import Tally

_log = logging.getLogger(__name__)

PATIENCE_S = 300.0
"""So long the session waits for a trusted clock, and the messages at the broker. What has
waited there while nobody knew the time could not be told from what happens now."""

ASK_EVERY_S = 1.0
SAY_EVERY_S = 60.0
"""How often a message that is refused is worth a line in the log, for each source and reason."""

FILTERS = "/filters"
"""The memory of what the broker was asked for; no source has such a name."""


class Line(Protocol):
    """The session: `poller.listening.Listener`."""

    filters: tuple[str, ...]

    @property
    def is_started(self) -> bool:
        """Whether it listens, or tries to."""

    @property
    def connection(self) -> int:
        """The number of the current connection; 0 when there is none."""

    def start(self, earlier: Sequence[str]) -> None:
        """Begin to listen, and no more to what is asked for no longer."""

    def say(self, message: Message) -> bool:
        """Publish something."""

    def acknowledge(self, incoming: Incoming) -> None:
        """A message is done with."""


def is_for(topic_filter: str, topic: str) -> bool:
    """Whether a topic filter takes a topic.

    >>> is_for("shelly/+/events/#", "shelly/hall/events/rpc"), is_for("+", "$SYS"), is_for("a/#", "a")
    (True, False, True)
    """
    if topic.startswith("$") and not topic_filter.startswith("$"):
        return False
    wanted, levels = topic_filter.split("/"), topic.split("/")
    if wanted[-1] == "#":
        del wanted[-1]
        levels = levels[: len(wanted)]
    return len(wanted) == len(levels) and all(
        one in ("+", level) for one, level in zip(wanted, levels, strict=True)
    )


class Switchboard:
    """Knows which source a message is for, and what the sources know.

    Args:
        sources: What makes reports of messages.
        line: The session that hears them.
        tally: Where is counted what became of a message.
    """

    def __init__(self, sources: Sequence[MessageSource], line: Line, tally: Tally) -> None:
        self._sources = tuple(sources)
        self._line = line
        self._tally = tally
        self._written: dict[str, bytes] = {}
        self._earlier: tuple[str, ...] = ()
        self._has_news = False
        self._ask_due = 0.0
        self._has_said_that_it_waits = False
        self._say_due: dict[tuple[str, str], float] = {}

    def restore(self, memories: Mapping[str, bytes]) -> Iterator[Device]:
        """Let the sources begin with what they knew; give the devices that they speak for."""
        self._written = dict(memories)
        self._has_news = True
        self._earlier = _decode_filters(memories.get(FILTERS, b"[]"))
        for source in self._sources:
            if source.name in memories:
                try:
                    source.restore(memories[source.name])
                except MessageError as error:
                    _log.warning("%s: begins anew, what it knew cannot be read: %s", source.name, error)
            yield from source.devices

    def attend(self, now: float, *, waited_s: float, is_ready: bool) -> None:
        """Start the session as soon as what it brings can be dated; say what the sources ask for.

        Args:
            now: Seconds of the monotonic clock.
            waited_s: Since the start of the poller.
            is_ready: The clock is trusted and the journal is open.
        """
        if not self._line.is_started:
            if self._line.filters or self._earlier:
                self._begin(waited_s=waited_s, is_ready=is_ready)
            return
        connection = self._line.connection
        if not connection:
            return
        if self._earlier != self._line.filters:
            self._earlier = self._line.filters
            self._has_news = True
        if now >= self._ask_due:
            self._ask_due = now + ASK_EVERY_S
            for source in self._sources:
                for message in source.ask(now, connection):
                    self._line.say(message)

    def hear(self, incoming: Incoming, clock: WallTime) -> list[tuple[Device, Report]]:
        """What a message means; one that no source understands means nothing, and is counted."""
        delivery = incoming.delivery
        heard = Heard(
            delivery.topic,
            delivery.payload,
            delivery.retained,
            incoming.is_live,
            incoming.at,
            clock.at(incoming.at),
        )
        reports: list[tuple[Device, Report]] = []
        is_claimed = False
        for source in self._sources:
            if any(is_for(one, heard.topic) for one in source.filters):
                is_claimed = True
                reports += self._ask_source(source, heard)
        if not is_claimed:
            self._tally.count("poller_messages_heard_total", source="", result="unclaimed")
        return reports

    def acknowledge(self, incoming: Incoming) -> None:
        """What a message made is in the journal, or was refused by it."""
        self._line.acknowledge(incoming)

    def note_news(self) -> None:
        """A source knows more than was written last."""
        self._has_news = True

    def changes(self) -> dict[str, bytes | None]:
        """What is to be remembered otherwise than it was written last; `None` is to be forgotten."""
        if not self._has_news:
            return {}
        wanted = {one.name: content for one in self._sources if (content := one.keep()) is not None}
        if filters := sorted({*self._earlier, *self._line.filters}):
            wanted[FILTERS] = msgspec.json.encode(filters)
        changed: dict[str, bytes | None] = {
            name: content for name, content in wanted.items() if self._written.get(name) != content
        }
        return changed | dict.fromkeys(self._written.keys() - wanted.keys())

    def note_written(self, changes: Mapping[str, bytes | None]) -> None:
        """The journal has them."""
        self._has_news = False
        for name, content in changes.items():
            if content is None:
                del self._written[name]
            else:
                self._written[name] = content

    def _begin(self, *, waited_s: float, is_ready: bool) -> None:
        if is_ready or waited_s >= PATIENCE_S:
            self._line.start(self._earlier)
        elif not self._has_said_that_it_waits:
            self._has_said_that_it_waits = True
            _log.info(
                "messages of others wait at the broker until the clock is trusted, some minutes at most"
            )

    def _ask_source(self, source: MessageSource, heard: Heard) -> list[tuple[Device, Report]]:
        """What a source makes of a message; what it gave before it met something wrong holds."""
        reports: list[tuple[Device, Report]] = []
        result = "taken"
        try:
            for device, report in source.hear(heard):
                reports.append((device, report if heard.is_live else replace(report, is_live=False)))
        except MessageError as error:
            result = "refused"
            self._refuse(source, heard, error.reason, error)
        except Exception as error:  # noqa: BLE001  # the broker would bring the message again, to every next run
            result = "refused"
            self._refuse(source, heard, MessageTrouble.MISTAKE, error)
        self._has_news = self._has_news or bool(reports) or result == "taken"
        self._tally.count("poller_messages_heard_total", source=source.name, result=result)
        return reports

    def _refuse(self, source: MessageSource, heard: Heard, reason: MessageTrouble, error: Exception) -> None:
        self._tally.count("poller_messages_refused_total", source=source.name, reason=reason)
        if heard.at >= self._say_due.get((source.name, reason), heard.at):
            self._say_due[source.name, reason] = heard.at + SAY_EVERY_S
            is_mistake = not isinstance(error, MessageError)
            _log.warning(
                "%s: %r is not understood: %r" if is_mistake else "%s: %r: %s",
                source.name,
                heard.topic[:200],
                error,
                exc_info=error if is_mistake else None,
            )


def _decode_filters(memory: bytes) -> tuple[str, ...]:
    try:
        return tuple(msgspec.json.decode(memory, type=list[str]))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ()
