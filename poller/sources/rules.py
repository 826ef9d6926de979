"""Rules: what any publisher says becomes readings, as the configuration describes it.

A rule is one family of devices: which topics it hears, which part of them names the
device, and where in a message each field is. What a message says of a field goes
through the filters like any other reading.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import msgspec

from poller.assemble import Report, Stamped
from poller.device import Device
from poller.errors import MessageError, MessageTrouble
from poller.names import make_device_name
from poller.points import Field
from poller.profile import Profile
from poller.sources.heard import LARGEST_BYTES, Heard
from poller.sources.patterns import Json, Path, TopicPattern, fill
from poller.sources.values import Clock, Conversion
from readings.reading import DeviceKey, Value

MOST_DEVICES = 2000
"""One rule makes no more: whoever may publish decides how many there are."""

_LONGEST_NAME = 200
_DAY_MS = 86_400_000
_FORGOTTEN_DAYS = 30


@dataclass(frozen=True, slots=True)
class FieldRule:
    """Where a field is in a message, and what makes it a number of ours.

    Attributes:
        topic: The topics that bring it.
        path: Where in the message; the whole message where that is plain text.
    """

    field: Field
    topic: TopicPattern
    path: Path
    is_text: bool
    conversion: Conversion


@dataclass(frozen=True, slots=True)
class Rule:
    """`[[rule]]`, read and checked.

    Attributes:
        profile: Who makes the devices and what is believable; the fields are the rule's own.
        ignore: Topics that look like the rule's and are not.
        each: Where in a message its devices are; the empty path is the message itself.
        parts: Named parts whose text stands in the message, inside what `each` finds.
        where: What must stand in a message, by path; else it is refused.
        device: Made of the parts: which device it is, in the publisher's words.
        names: Device names by those words.
        titles: What people call them, by those words.
        labels: The series' labels, made of the parts; `{name}` is the device's name.
        time: Where the time is and how it is written; `None` where messages have none.
    """

    name: str
    profile: Profile
    fields: Mapping[str, FieldRule]
    silence_s: float
    device: str
    title: str
    each: Path
    ignore: tuple[TopicPattern, ...] = ()
    parts: Mapping[str, Path] = field(default_factory=dict)
    where: tuple[tuple[Path, Json], ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    titles: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    time: tuple[Path, Clock] | None = None


class _Memory(msgspec.Struct, frozen=True, array_like=True):
    """A device for the next run: the parts that name it, its fields so far, and when it was last heard.

    Attributes:
        day: Days since 1970; 0 while nobody knew the time.
    """

    parts: dict[str, str]
    fields: list[str]
    day: int


@dataclass(slots=True)
class _Known:
    """A device that was heard."""

    device: Device
    parts: Mapping[str, str]
    day: int


class RuleSource:
    """Makes reports of messages as one rule says; a source of messages."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._known: dict[str, _Known] = {}
        self.name = f"rule {rule.name}"
        self.filters = tuple(dict.fromkeys(one.topic.topic_filter for one in rule.fields.values()))
        self._names: dict[TopicPattern, list[str]] = {}
        for name, one in rule.fields.items():
            self._names.setdefault(one.topic, []).append(name)

    @property
    def devices(self) -> Sequence[Device]:
        """Those that were heard so far, also in earlier runs."""
        return [one.device for one in self._known.values()]

    def restore(self, memory: bytes) -> None:
        """Know the devices of an earlier run, as far as the rule still makes them.

        What was not heard for a month before the last message of all is forgotten.
        """
        try:
            memories = msgspec.json.decode(memory, type=list[_Memory])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise MessageError(str(error), MessageTrouble.MEMORY) from error
        newest = max((one.day for one in memories), default=0)
        for one in memories:
            fields = [name for name in one.fields if name in self._rule.fields]
            is_old = 0 < one.day < newest - _FORGOTTEN_DAYS
            if fields and not is_old:
                # The configuration may have changed: what cannot be called so any more is another device now.
                with suppress(MessageError):
                    self._meet(one.parts, fields, one.day)

    def keep(self) -> bytes | None:
        """The devices for the next run."""
        if not self._known:
            return None
        return msgspec.json.encode(
            [_Memory(dict(one.parts), sorted(one.device.fields), one.day) for one in self._known.values()]
        )

    def ask(self, now: float, connection: int) -> tuple[()]:  # noqa: ARG002  # other sources ask
        """Nothing: a rule only listens."""
        return ()

    def hear(self, heard: Heard) -> Iterator[tuple[Device, Report]]:
        """The devices of a message, each with what it says.

        Raises:
            MessageError: It is not what the rule expects; what was given before that holds.
        """
        if any(one.match(heard.topic) is not None for one in self._rule.ignore):
            return
        for pattern, names in self._names.items():
            topic_parts = pattern.match(heard.topic)
            if topic_parts is not None:
                yield from self._read(heard, topic_parts, names)

    def _read(
        self, heard: Heard, topic_parts: Mapping[str, str], names: Sequence[str]
    ) -> Iterator[tuple[Device, Report]]:
        document = _decode(heard.payload, is_text=self._rule.fields[names[0]].is_text)
        problems: list[MessageError] = []
        found = [
            (parts, element, values)
            for parts, element in self._rule.each.find(document)
            if (values := self._values(element, names, problems))
        ]
        if found or problems:
            # Only here: what has none of the fields is another device's message, and no mistake.
            self._check(document)
        for each_parts, element, values in found:
            try:
                parts = {**topic_parts, **each_parts, **self._value_parts(element)}
                time_ms = self._time(element, document, heard.wall_ms)
                yield (
                    self._meet(parts, values, (heard.wall_ms or 0) // _DAY_MS),
                    Report(values, time_ms=time_ms),
                )
            except MessageError as error:
                problems.append(error)
        if problems:
            raise problems[0]

    def _check(self, document: Json) -> None:
        for path, expected in self._rule.where:
            if not any(_is_same(found, expected) for _, found in path.find(document)):
                raise MessageError(f"expected {path.text} to be {expected!r}", MessageTrouble.WHERE)

    def _values(
        self, element: Json, names: Sequence[str], problems: list[MessageError]
    ) -> dict[str, Value | Stamped]:
        """The fields that are there; what one of them says wrong takes nothing from the others."""
        values: dict[str, Value | Stamped] = {}
        for name in names:
            rule = self._rule.fields[name]
            found = [value for _, value in rule.path.find(element)]
            if len(found) > 1:
                problems.append(
                    MessageError(f"{rule.path.text} is there {len(found)} times", MessageTrouble.AMBIGUOUS)
                )
            elif found:
                try:
                    values[name] = rule.conversion.convert(found[0])
                except MessageError as error:
                    problems.append(MessageError(f"{name}: {error}", error.reason))
        return values

    def _value_parts(self, element: Json) -> dict[str, str]:
        parts = {}
        for name, path in self._rule.parts.items():
            found = [value for _, value in path.find(element)]
            if len(found) != 1 or not isinstance(found[0], str | int) or isinstance(found[0], bool):
                raise MessageError(f"expected a name at {path.text}", MessageTrouble.PART)
            parts[name] = str(found[0])
        return parts

    def _time(self, element: Json, document: Json, near_ms: int | None) -> int | None:
        """The time beside the values, else the message's."""
        if self._rule.time is None:
            return None
        path, clock = self._rule.time
        found = [value for _, value in path.find(element)] or [value for _, value in path.find(document)]
        if len(found) != 1:
            raise MessageError(f"expected a time at {path.text}", MessageTrouble.TIME)
        return clock.read(found[0], near_ms)

    def _meet(self, parts: Mapping[str, str], fields: Iterable[str], day: int) -> Device:
        """The device of these parts, with the fields that it has shown so far."""
        called = fill(self._rule.device, parts)
        known = self._known.get(called)
        if known is None:
            known = _Known(self._make(called, parts), parts, day)
            self._known[called] = known
        new = {name for name in fields if name not in known.device.fields}
        if new:
            shown = {
                name: one.field
                for name, one in self._rule.fields.items()
                if name in known.device.fields or name in new
            }
            known.device = replace(known.device, fields=shown)
        known.day = max(known.day, day)
        return known.device

    def _make(self, called: str, parts: Mapping[str, str]) -> Device:
        rule = self._rule
        if not called.strip() or len(called) > _LONGEST_NAME:
            raise MessageError(f"expected a name of at most {_LONGEST_NAME} characters", MessageTrouble.NAME)
        if len(self._known) >= MOST_DEVICES:
            raise MessageError(
                f"{called!r}: a rule makes at most {MOST_DEVICES} devices", MessageTrouble.LIMIT
            )
        name = rule.names.get(called) or make_device_name(called)
        is_another_s = called not in rule.names and name in rule.names.values()
        if is_another_s or any(one.device.key.name == name for one in self._known.values()):
            raise MessageError(f"{called!r} would be {name} like another one", MessageTrouble.NAME)
        labels = {label: fill(text, {**parts, "name": name}) for label, text in rule.labels.items()}
        return Device(
            key=DeviceKey(rule.profile.kind, name),
            title=rule.titles.get(called) or fill(rule.title, parts) or called,
            profile=rule.profile,
            fields={},
            interval_s=rule.silence_s / 2,
            labels={label: text for label, text in labels.items() if text},
            origin=self.name,
        )


def _decode(payload: bytes, *, is_text: bool) -> Json:
    if len(payload) > LARGEST_BYTES:
        raise MessageError(f"it has more than {LARGEST_BYTES} bytes", MessageTrouble.TOO_LARGE)
    try:
        if is_text:
            return payload.decode()
        document: Json = msgspec.json.decode(payload)
    except UnicodeDecodeError as error:
        raise MessageError(f"it is no UTF-8: {error.reason}", MessageTrouble.NOT_TEXT) from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise MessageError(str(error), MessageTrouble.NOT_JSON) from error
    return document


def _is_same(found: Json, expected: Json) -> bool:
    """Whether two values are one; Python takes True for 1."""
    return found == expected and isinstance(found, bool) is isinstance(expected, bool)
