"""What a device model's TOML file says: a map from field to register, and what is plausible there.

A device is data. This module reads that data strictly and knows nothing of
any device; `poller/profiles/` holds the devices.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Literal

import msgspec

from poller.errors import ProfileError
from poller.points import Encoding, Field, Point, Rules, Table, WordOrder
from poller.profile_file import DefaultsTable, PointTable, ProfileTable, TextTable, make_field
from readings.reading import Kind
from readings.settings import describe

__all__ = [
    "DefaultsTable", "Encoding", "Field", "Point", "PointTable", "Profile", "ProfileTable", "Rules", "Table",
    "TextTable", "WordOrder", "load_profile", "parse_profile", "profile_names",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Profile:
    """One device model.

    Attributes:
        name: The file's name without `.toml`.
        sources: Where its addresses and scales are from.
        transport: `modbus`, or `messages` for what reports by itself.
        timeout_s: How long an answer may take on a bus.
        keep_alive: The device stops working when it is not polled.
        max_registers: The largest request that the device answers.
        pause_ms: The least pause before a request to it.
        identity: Texts that are read once, `serial_number` among them.
    """

    name: str
    title: str
    kind: Kind
    manufacturer: str
    model: str
    sources: tuple[str, ...]
    transport: Literal["modbus", "messages"]
    interval_s: float
    timeout_s: float
    keep_alive: bool
    max_registers: int
    pause_ms: int
    identity: Mapping[str, Point]
    fields: Mapping[str, Field]

    def choose(self, more: tuple[str, ...] = (), less: tuple[str, ...] = ()) -> Mapping[str, Field]:
        """The fields to read: the default ones, `more` of the others, none of `less`.

        What a chosen field is derived from is read as well.

        Raises:
            ProfileError: A name is not a field of this profile.
        """
        for name in (*more, *less):
            if name not in self.fields:
                raise ProfileError(
                    f"{name!r} is not a field of profile {self.name}: expected {_list(self.fields)}"
                )
        chosen = {
            name for name, one in self.fields.items() if (one.default or name in more) and name not in less
        }
        pending = list(chosen)
        while pending:
            one = self.fields[pending.pop()]
            for name in one.sources:
                if name not in chosen:
                    chosen.add(name)
                    pending.append(name)
        return {name: one for name, one in self.fields.items() if name in chosen}


def parse_profile(name: str, text: str) -> Profile:
    """Read a profile's TOML text.

    Raises:
        ProfileError: The text names the file, the key and what was expected.
    """
    try:
        table = msgspec.convert(tomllib.loads(text), ProfileTable)
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(f"{name}.toml: {error}") from error
    except msgspec.ValidationError as error:
        raise ProfileError(f"{name}.toml: {describe(error)}") from error
    try:
        fields = {key: make_field(key, keys, table) for key, keys in table.fields.items()}
        _check_references(fields)
    except ProfileError as error:
        raise ProfileError(f"{name}.toml: fields.{error}") from error
    return Profile(
        name=name,
        title=table.title,
        kind=table.kind,
        manufacturer=table.manufacturer,
        model=table.model,
        sources=table.sources,
        transport=table.transport,
        interval_s=table.interval_s,
        timeout_s=table.timeout_s,
        keep_alive=table.keep_alive,
        max_registers=table.max_registers,
        pause_ms=table.pause_ms,
        identity={
            key: Point(key, one.table, one.address, one.registers, Encoding(one.encoding))
            for key, one in table.identity.items()
        },
        fields=fields,
    )


def profile_names() -> tuple[str, ...]:
    """The profiles that come with the poller."""
    files = resources.files("poller.profiles").iterdir()
    return tuple(sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml")))


def load_profile(name: str) -> Profile:
    """One of the profiles that come with the poller.

    Raises:
        ProfileError: There is none of that name, or its file is wrong.
    """
    if name not in profile_names():
        raise ProfileError(f"no profile {name!r}: expected one of {', '.join(profile_names())}")
    text = (resources.files("poller.profiles") / f"{name}.toml").read_text(encoding="utf-8")
    return parse_profile(name, text)


def _check_references(fields: Mapping[str, Field]) -> None:
    for name, one in fields.items():
        named = {
            "difference": one.difference or (),
            "raw_of": (one.raw_of,),
            "live_when": (one.rules.live_when,),
        }
        for key, others in named.items():
            for other in filter(None, others):
                if other not in fields or fields[other].point is None:
                    raise ProfileError(f"{name}.{key}: expected a field with an address, got {other!r}")
        if one.raw_of is not None and fields[one.raw_of].quantity.kind != "energy":
            raise ProfileError(f"{name}.raw_of: expected an energy count, got {one.raw_of!r}")


def _list(names: Mapping[str, object]) -> str:
    return ", ".join(names)
