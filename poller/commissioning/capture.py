"""A capture: registers as a device answered them, and what they mean. It holds a profile against a device's display."""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import msgspec

from poller.decode import Decoded, decode_point, decode_text
from poller.errors import CaptureError, DecodeError, ProfileError
from poller.points import Point, Table
from poller.profile import Profile
from readings.validation import describe

Word = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Meaning = int | float | str
"""A number, a text, or why there is no number: "sentinel", "not_a_number", "full_scale"."""


class CapturedBlock(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A row of registers as one answer brought them; the address counts from 0."""

    table: Table
    address: Annotated[int, msgspec.Meta(ge=0, le=65535)]
    words: Annotated[tuple[Word, ...], msgspec.Meta(min_length=1)]


class Capture(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A capture's TOML file.

    Attributes:
        profile: The device model that it is of.
        block: What the device answered.
        values: What its display showed then, by field.
        texts: The same of the texts about the device.
    """

    profile: str
    block: Annotated[tuple[CapturedBlock, ...], msgspec.Meta(min_length=1)]
    values: dict[str, Meaning] = {}
    texts: dict[str, str] = {}

    @property
    def expected(self) -> dict[str, Meaning]:
        """Whatever it says a meaning of."""
        return {**self.texts, **self.values}


@dataclass(frozen=True, slots=True)
class Held:
    """A point of a profile and what a capture holds there; without words it holds nothing there.

    Attributes:
        meaning: What the profile makes of the words.
        expected: What the capture says; `None` where it says nothing.
    """

    point: Point
    words: tuple[int, ...]
    meaning: Meaning | None
    expected: Meaning | None

    @property
    def is_right(self) -> bool:
        """Whether the profile makes of it what the display showed, as far as that is known."""
        return self.expected is None or self.meaning == self.expected


def parse_capture(where: str, text: str) -> Capture:
    """Read a capture's TOML text; `where` is its name for people.

    Raises:
        CaptureError: One line that names the file, the key and what was expected.
    """
    try:
        return msgspec.convert(tomllib.loads(text), Capture)
    except tomllib.TOMLDecodeError as error:
        raise CaptureError(f"{where}: {error}") from error
    except msgspec.ValidationError as error:
        raise CaptureError(f"{where}: {describe(error)}") from error


def hold(profile: Profile, capture: Capture) -> Iterator[Held]:
    """What a profile makes of a capture: every point that is in it, and every one that it says a meaning of.

    Raises:
        ProfileError: The capture says a meaning of what the profile has no address of.
    """
    fields = {name: one.point for name, one in profile.fields.items() if one.point is not None}
    points = {**profile.identity, **fields}
    for name in capture.expected:
        if name not in points:
            raise ProfileError(f"{name!r} is nothing that profile {profile.name} has an address of")
    for name, point in points.items():
        words = _find(point, capture)
        if words or name in capture.expected:
            yield Held(point, words, _decode(point, words), capture.expected.get(name))


def _find(point: Point, capture: Capture) -> tuple[int, ...]:
    for block in capture.block:
        start = point.address - block.address
        if block.table is point.table and 0 <= start <= len(block.words) - point.registers:
            return block.words[start : start + point.registers]
    return ()


def _decode(point: Point, words: tuple[int, ...]) -> Meaning | None:
    if not words:
        return None
    try:
        meaning: Decoded | str = (
            decode_text(point, words) if point.encoding.is_text else decode_point(point, words)
        )
    except DecodeError as error:
        return str(error)
    return meaning
