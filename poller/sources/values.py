"""What somebody else writes, as numbers and times of ours. A word that is no number and has none in the rule is not guessed at."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Literal

from poller.decimals import add, multiply
from poller.errors import MessageError, MessageTrouble
from poller.sources.patterns import Json
from readings.reading import Value

TimeFormat = Literal["iso", "s", "ms"]

LATEST_MS = 253_402_300_799_999
"""The end of the year 9999: what is later is no time."""

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_LONGEST_NUMBER = 40
_WHOLE_BELOW = 2**53
_NO_VALUE = frozenset({"nan"})
"""How C prints a number that is none, ESPHome among others."""
_WORDS = {"on": 1, "off": 0, "true": 1, "false": 0}

UNITS: Mapping[tuple[str, str], tuple[float, float]] = {
    ("W", "kW"): (0.001, 0),
    ("Wh", "kWh"): (0.001, 0),
    ("MWh", "kWh"): (1000, 0),
    ("VA", "kVA"): (0.001, 0),
    ("var", "kvar"): (0.001, 0),
    ("mA", "A"): (0.001, 0),
    ("mV", "V"): (0.001, 0),
    ("mbar", "bar"): (0.001, 0),
    ("kPa", "bar"): (0.01, 0),
    ("l/h", "L/min"): (1 / 60, 0),
    ("m³/h", "L/min"): (1000 / 60, 0),
    ("K", "°C"): (1, -273.15),
    ("°F", "°C"): (5 / 9, -160 / 9),
}
"""Factor and offset from a unit that others publish to one of the vocabulary's."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """From what stands in a message to a field's value: `words` first, else number x factor + offset.

    Attributes:
        words: Numbers for words, `true` and `false` among them; they are taken as they are. `None` is 'no value'.
        is_bit: Whether on, off, true and false are known by themselves.
    """

    words: Mapping[str, Value] = field(default_factory=dict)
    factor: float = 1
    offset: float = 0
    is_bit: bool = False

    def convert(self, raw: Json) -> Value:
        """The value; `None` is the source's own 'no value'.

        Raises:
            MessageError: It is neither a number nor a known word.

        >>> Conversion(words={"heat": 2}).convert("heat"), Conversion(factor=0.001).convert("1662")
        (2, 1.662)
        """
        word = _word(raw)
        if word in self.words:
            return self.words[word]
        if self.is_bit and word.lower() in _WORDS:
            return _WORDS[word.lower()]
        if raw is None or word.lower() in _NO_VALUE:
            return None
        number = _number(raw)
        if math.isnan(number):
            raise MessageError(
                f"expected a number or a word of the rule's, got {_shown(raw)}", MessageTrouble.VALUE
            )
        if math.isinf(number):
            return number
        try:
            return add(multiply(number, self.factor), self.offset)
        except OverflowError:
            return math.inf


@dataclass(frozen=True, slots=True)
class Clock:
    """How the times of a source are written.

    Attributes:
        zone: The time zone of times that name none; without it those are refused.
    """

    form: TimeFormat = "iso"
    zone: tzinfo | None = None

    def read(self, raw: Json, near_ms: int | None) -> int:
        """Milliseconds since 1970 UTC.

        Args:
            raw: What stands in the message.
            near_ms: When it came. An hour that the clocks go through twice is the one that is nearer.

        Raises:
            MessageError: It is no time, or nobody knows in which zone.

        >>> Clock("s").read(1795406706.5, None), Clock().read("2026-11-23T05:05:06+01:00", None)
        (1795406706500, 1795406706000)
        """
        if self.form == "iso":
            time_ms = self._read_iso(raw, near_ms)
        else:
            number = _number(raw)
            if not math.isfinite(number):
                raise MessageError(f"expected a time in {self.form}, got {_shown(raw)}", MessageTrouble.TIME)
            time_ms = round(number * 1000) if self.form == "s" and number < LATEST_MS else int(number)
        if not 0 < time_ms <= LATEST_MS:
            raise MessageError(f"expected a time in {self.form}, got {_shown(raw)}", MessageTrouble.TIME)
        return time_ms

    def _read_iso(self, raw: Json, near_ms: int | None) -> int:
        try:
            moment = datetime.fromisoformat(raw if isinstance(raw, str) else "")
            if moment.tzinfo is not None:
                return _since_1970(moment)
            if self.zone is None:
                raise MessageError(
                    f"expected a time with its zone, or `zone` in the rule, got {_shown(raw)}",
                    MessageTrouble.TIME,
                )
            first, second = (_since_1970(moment.replace(tzinfo=self.zone, fold=fold)) for fold in (0, 1))
        except (ValueError, OverflowError) as error:
            raise MessageError(
                f"expected a time in ISO 8601, got {_shown(raw)}", MessageTrouble.TIME
            ) from error
        return first if near_ms is None or abs(first - near_ms) <= abs(second - near_ms) else second


def _since_1970(moment: datetime) -> int:
    return (moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def _word(raw: Json) -> str:
    """How a value is named in a rule: booleans as JSON writes them."""
    if isinstance(raw, bool):
        return "true" if raw else "false"
    return raw.strip() if isinstance(raw, str) else str(raw) if isinstance(raw, int | float) else ""


def _number(raw: Json) -> int | float:
    """A number, also one that is written as text; NaN for everything else."""
    if isinstance(raw, str):
        text = raw.strip()
        if len(text) > _LONGEST_NUMBER or _NUMBER.fullmatch(text) is None:
            return math.nan
        raw = float(text)
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        return math.nan
    if isinstance(raw, int) and abs(raw) >= _WHOLE_BELOW:
        return float(raw) if abs(raw) < 10**300 else math.inf
    return raw


def _shown(raw: Json) -> str:
    text = repr(raw) if isinstance(raw, str | int | float | bool | None) else type(raw).__name__
    return text if len(text) <= 60 else f"{text[:60]}…"
