"""Topics and places in JSON as a rule writes them, with named parts: `zigbee2mqtt/{device}`, `ENERGY.{phase}.Power`.

Between braces stands the name of a part, which takes whatever is there; `*`
takes anything and gives it no name.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from poller.errors import PatternError

MOST_PLACES = 1000
"""More places than this no path has in one message."""

LONGEST_KEY = 200
LONGEST_TOPIC = 1000
"""Longer ones match nothing: with several parts in one level, matching takes long."""

Json = dict[str, "Json"] | list["Json"] | str | int | float | bool | None

_PART = re.compile(r"\{([a-z][a-z0-9_]*)\}|(\*)|([^{}*]+)")
_STEP = re.compile(r'"((?:[^"\\]|\\.)*)"|\[([^\[\]]*)\]|([^."\[\]]+)')


@dataclass(frozen=True, slots=True)
class TopicPattern:
    """Which topics a rule is for, and which of their parts have a name.

    >>> zigbee = TopicPattern.parse("zigbee2mqtt/{device}")
    >>> zigbee.topic_filter, zigbee.match("zigbee2mqtt/Bad"), zigbee.match("zigbee2mqtt/bridge/state")
    ('zigbee2mqtt/+', {'device': 'Bad'}, None)
    """

    text: str
    topic_filter: str
    parts: tuple[str, ...]
    _levels: tuple[re.Pattern[str], ...]

    @classmethod
    def parse(cls, text: str) -> "TopicPattern":
        """Read a pattern; a named part takes one level, or a piece of one.

        Raises:
            PatternError: It is none.
        """
        levels = text.split("/")
        if (
            not text
            or "\0" in text
            or text.startswith("$")
            or any("#" in level or level == "+" for level in levels)
        ):
            raise PatternError(f"expected topic levels with {{parts}} or *, got {text!r}")
        compiled, parts = _compile_all(levels)
        topic_filter = "/".join(level if _is_plain(level) else "+" for level in levels)
        return cls(text, topic_filter, parts, compiled)

    def match(self, topic: str) -> dict[str, str] | None:
        """The named parts of a topic; `None` when it is another one."""
        levels = topic.split("/") if len(topic) <= LONGEST_TOPIC else []
        if len(levels) != len(self._levels):
            return None
        found: dict[str, str] = {}
        for pattern, level in zip(self._levels, levels, strict=True):
            match = pattern.fullmatch(level)
            if match is None:
                return None
            found |= match.groupdict()
        return found


@dataclass(frozen=True, slots=True)
class Path:
    """A place in JSON, or several: names with dots between them, `[0]` in an array, `*` and `{part}` for any.

    >>> path = Path.parse("sensors[{n}].temp")
    >>> list(path.find({"sensors": [{"temp": 20.5}, {}, {"temp": 21}]}))
    [({'n': '0'}, 20.5), ({'n': '2'}, 21)]
    """

    text: str
    parts: tuple[str, ...]
    _steps: tuple[re.Pattern[str], ...]

    @classmethod
    def parse(cls, text: str) -> "Path":
        """Read a path; the empty one is the whole message. A name with dots or brackets stands in double quotes.

        Raises:
            PatternError: It is none.
        """
        steps, plain, at = [], [], 0
        while at < len(text):
            match = _STEP.match(text, at)
            if match is None or match[2] == "":
                raise PatternError(f'expected names with dots, [0] or "quotes" between them, got {text!r}')
            quoted = match[1] is not None
            steps.append(re.sub(r"\\(.)", r"\1", match[1]) if quoted else match[2] or match[3])
            plain.append(quoted)
            at = match.end()
            if text[at : at + 1] == ".":
                at += 1
                if at == len(text):
                    raise PatternError(f"expected a name after the last dot of {text!r}")
            elif at < len(text) and text[at] != "[":
                raise PatternError(f"expected a dot or a bracket after {text[:at]!r}")
        compiled, parts = _compile_all(steps, plain)
        return cls(text, parts, compiled)

    def find(self, document: Json) -> Iterator[tuple[dict[str, str], Json]]:
        """The values at the path, with the named parts of where each is; at most `MOST_PLACES`."""
        found: list[tuple[dict[str, str], Json]] = [({}, document)]
        for step in self._steps:
            found = [
                ({**parts, **match.groupdict()}, value)
                for parts, holder in found
                for key, value in _children(holder)
                if (match := step.fullmatch(key))
            ][:MOST_PLACES]
        yield from found


def fill(template: str, parts: Mapping[str, str]) -> str:
    """A template with its parts filled in.

    >>> fill("{room} {n}", {"room": "Bad", "n": "2"})
    'Bad 2'
    """
    return re.sub(r"\{([a-z][a-z0-9_]*)\}", lambda match: parts.get(match[1], ""), template)


def parts_of(template: str) -> tuple[str, ...]:
    """The parts that a template names."""
    return tuple(re.findall(r"\{([a-z][a-z0-9_]*)\}", template))


def _children(holder: Json) -> Iterator[tuple[str, Json]]:
    if isinstance(holder, dict):
        yield from ((key, value) for key, value in holder.items() if len(key) <= LONGEST_KEY)
    elif isinstance(holder, list):
        yield from ((str(place), value) for place, value in enumerate(holder))


def _is_plain(level: str) -> bool:
    return not any(char in level for char in "{}*")


def _compile_all(
    levels: Sequence[str], plain: Sequence[bool] | None = None
) -> tuple[tuple[re.Pattern[str], ...], tuple[str, ...]]:
    """The patterns of all levels, and the parts that they name, each once."""
    parts: list[str] = []
    compiled = []
    for place, level in enumerate(levels):
        if plain is not None and plain[place]:
            compiled.append(re.compile(re.escape(level)))
            continue
        pattern, at = "", 0
        while at < len(level):
            match = _PART.match(level, at)
            if match is None:
                raise PatternError(f"expected {{name}} with small letters, digits and '_', got {level!r}")
            if match[1]:
                parts.append(match[1])
                pattern += f"(?P<{match[1]}>.+)"
            else:
                pattern += ".*" if match[2] else re.escape(match[3])
            at = match.end()
        compiled.append(re.compile(pattern, re.DOTALL))
    if len(set(parts)) < len(parts):
        raise PatternError(f"expected each part once, got {', '.join(parts)}")
    return tuple(compiled), tuple(parts)
