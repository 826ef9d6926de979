"""What a device model's TOML file says: a map from field to register, and what is plausible there.

A device is data. This module reads that data strictly and knows nothing of
any device; `poller/profiles/` holds the devices.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import msgspec

from poller.errors import ProfileError
from poller.points import Encoding, Field, Point, Rules, Table, WordOrder
from poller.profile_file import DefaultsTable, PointTable, ProfileTable, TextTable, make_field
from poller.profile_merge import count_from_zero, extend
from readings.reading import Kind
from readings.validation import describe, find_unusable

__all__ = [
    "DefaultsTable", "Encoding", "Field", "Point", "PointTable", "Profile", "ProfileError", "ProfileTable", "Rules", "Table",
    "TextTable", "WordOrder", "load_profile", "parse_profile", "profile_names",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Profile:
    """One device model.

    Attributes:
        name: The file's name without `.toml`.
        sources: Where its addresses and scales are from.
        is_untested: Fewer than two sources agree, and nobody has said that it works.
        transport: `modbus`, or `messages` for what reports by itself.
        timeout_s: How long an answer may take on a bus.
        keep_alive: The device stops working when it is not polled.
        max_registers: The largest request that the device answers.
        multiple_of: It answers only requests for a multiple of so many registers.
        pause_ms: The least pause before a request to it.
        identity: Texts that are read once, `serial_number` among them.
    """

    name: str
    title: str
    kind: Kind
    manufacturer: str
    model: str
    sources: tuple[str, ...]
    is_untested: bool
    transport: Literal["modbus", "messages"]
    interval_s: float
    timeout_s: float
    keep_alive: bool
    max_registers: int
    multiple_of: int
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
    """Read a profile's TOML text, which may extend one that comes with the poller.

    Raises:
        ProfileError: The text names the file, the key and what was expected.
    """
    file = _File(name, f"{name}.toml", text, is_own=True)
    return _make(file, _read(file, None))


def profile_names(folder: Path | None = None) -> tuple[str, ...]:
    """The profiles that come with the poller, and those in a folder of the user's own.

    Raises:
        ProfileError: There is no such folder.
    """
    return tuple(sorted({*_shipped(), *_owned(folder)}))


def load_profile(name: str, folder: Path | None = None) -> Profile:
    """A profile that comes with the poller, or lies in a folder of the user's own.

    Raises:
        ProfileError: There is none of that name, its file or one that it extends is wrong, there is no such
            folder, or the user's has the name of another without saying that it takes its place.
    """
    file = _find(name, folder)
    if file is None:
        raise ProfileError(f"no profile {name!r}: expected one of {', '.join(profile_names(folder))}")
    return _make(file, _read(file, folder))


@dataclass(frozen=True, slots=True)
class _File:
    """A profile's file: `where` is its name for people."""

    name: str
    where: str
    text: str
    is_own: bool


def _shipped() -> tuple[str, ...]:
    files = resources.files("poller.profiles").iterdir()
    return tuple(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))


def _owned(folder: Path | None) -> tuple[str, ...]:
    if folder is None:
        return ()
    if not folder.is_dir():
        raise ProfileError(f"expected a folder with profiles, there is none at {folder}")
    return tuple(file.stem for file in folder.glob("*.toml"))


def _find(name: str, folder: Path | None) -> _File | None:
    if folder is not None and name in _owned(folder):
        path = folder / f"{name}.toml"
        try:
            return _File(name, str(path), path.read_text(encoding="utf-8"), is_own=True)
        except (OSError, UnicodeDecodeError) as error:
            raise ProfileError(f"{path}: cannot be read: {error}") from error
    if name not in _shipped():
        return None
    text = (resources.files("poller.profiles") / f"{name}.toml").read_text(encoding="utf-8")
    return _File(name, f"{name}.toml", text, is_own=False)


def _read(file: _File, folder: Path | None, below: tuple[_File, ...] = ()) -> dict[str, Any]:
    """A file's tables over those of the file that it extends."""
    try:
        tables = tomllib.loads(file.text)
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(f"{file.where}: {error}") from error
    if mistake := next(find_unusable(tables), None):
        raise ProfileError(f"{file.where}: {mistake}")
    if folder is not None and file.is_own and file.name in _shipped() and tables.get("replaces") is not True:
        raise ProfileError(
            f"{file.where}: a profile {file.name!r} comes with the program; "
            "expected another file name, or `replaces = true` to take its place"
        )
    other = tables.get("extends")
    if not isinstance(other, str):
        return _count(file, tables, {})
    # A file that takes the place of a shipped one may extend that one; what comes along stays as it is.
    base = _find(other, folder if file.is_own and other != file.name else None)
    if base is None:
        raise ProfileError(
            f"{file.where}: extends: no profile {other!r}, expected one of {', '.join(profile_names(folder))}"
        )
    if base in below or base == file:
        raise ProfileError(f"{file.where}: extends: {other!r} is made of this file itself")
    inherited = _read(base, folder, (*below, file))
    known = _make(base, inherited).fields  # what is wrong there is said with that file's name
    if unknown := [name for name in _texts(tables.get("without")) if name not in known]:
        raise ProfileError(f"{file.where}: without: {unknown[0]!r} is not a field of {other}")
    return extend(inherited, _count(file, tables, inherited))


def _count(file: _File, tables: dict[str, Any], inherited: dict[str, Any]) -> dict[str, Any]:
    try:
        return count_from_zero(tables, inherited)
    except ProfileError as error:
        raise ProfileError(f"{file.where}: {error}") from error


def _texts(names: Any) -> list[str]:
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def _make(file: _File, tables: dict[str, Any]) -> Profile:
    try:
        table = msgspec.convert(tables, ProfileTable)
    except msgspec.ValidationError as error:
        raise ProfileError(f"{file.where}: {describe(error)}") from error
    try:
        fields = {key: make_field(key, keys, table) for key, keys in table.fields.items()}
        _check_references(fields)
    except ProfileError as error:
        raise ProfileError(f"{file.where}: fields.{error}") from error
    return Profile(
        name=file.name,
        title=table.title,
        kind=table.kind,
        manufacturer=table.manufacturer,
        model=table.model,
        sources=table.sources,
        is_untested=table.status == "untested",
        transport=table.transport,
        interval_s=table.interval_s,
        timeout_s=table.timeout_s,
        keep_alive=table.keep_alive,
        max_registers=table.max_registers,
        multiple_of=table.multiple_of,
        pause_ms=table.pause_ms,
        identity={
            key: Point(key, one.table, one.address, one.registers, Encoding(one.encoding))
            for key, one in table.identity.items()
        },
        fields=fields,
    )


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
