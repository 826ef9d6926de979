"""What a device model's TOML file says: a map from field to register, and what is plausible there.

A device is data. This module reads that data strictly and knows nothing of
any device; `poller/profiles/` holds the devices.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from importlib import resources
from typing import Annotated, Any, Literal

import msgspec

from poller.errors import ProfileError
from readings.payload import FieldKind
from readings.reading import Kind, is_field_name
from readings.settings import describe
from readings.vocabulary import VOCABULARY, Quantity


class Table(StrEnum):
    """Modbus' four tables. Addresses count from zero in each."""

    COIL = "coil"
    DISCRETE = "discrete"
    INPUT = "input"
    HOLDING = "holding"

    @property
    def holds_bits(self) -> bool:
        """Whether one address is one bit, not a 16-bit register."""
        return self in {Table.COIL, Table.DISCRETE}


class Encoding(StrEnum):
    """How a point's registers make a value."""

    INT16 = "int16"
    UINT16 = "uint16"
    INT32 = "int32"
    UINT32 = "uint32"
    INT64 = "int64"
    UINT64 = "uint64"
    FLOAT32 = "float32"
    FLOAT64 = "float64"
    BIT = "bit"
    STRING = "string"
    HEX = "hex"

    @property
    def registers(self) -> int | None:
        """How many registers a value takes; `None` where the point says it (text)."""
        if self in {Encoding.STRING, Encoding.HEX}:
            return None
        return {"16": 1, "32": 2, "64": 4}.get(self.value[-2:], 1)


WordOrder = Literal["big", "little"]
"""Which register of a wider value comes first: the high one is "big"."""

Sentinel = int | Literal["nan", "ones"]
"""A raw value that means 'no value': a number, NaN, or all bits one."""


class PointTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One field as the TOML file has it. `None` is 'as `[defaults]` says'."""

    address: Annotated[int, msgspec.Meta(ge=0, le=65535)] | None = None
    table: Table | None = None
    encoding: Encoding | None = None
    word_order: WordOrder | None = None
    registers: Annotated[int, msgspec.Meta(ge=1, le=64)] | None = None
    bit: Annotated[int, msgspec.Meta(ge=0, le=15)] | None = None
    scale: float | int = 1
    sentinels: tuple[Sentinel, ...] | None = None
    range: tuple[float, float] | None = None
    possible: tuple[float, float] | None = None
    live_when: str | None = None
    resolution: Annotated[float, msgspec.Meta(ge=0)] = 0
    jump: Annotated[float, msgspec.Meta(gt=0)] | None = None
    low: Annotated[float, msgspec.Meta(ge=0)] | None = None
    max_power_kw: Annotated[float, msgspec.Meta(gt=0)] | None = None
    words: dict[str, str] = {}
    difference: tuple[str, str] | None = None
    raw_of: str | None = None
    default: bool = True
    unit: str | None = None
    kind: FieldKind | None = None
    description: str | None = None
    short: str | None = None
    decimals: Annotated[int, msgspec.Meta(ge=0, le=6)] | None = None


class DefaultsTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a field has unless it says otherwise."""

    table: Table = Table.HOLDING
    encoding: Encoding = Encoding.UINT16
    word_order: WordOrder = "big"
    sentinels: tuple[Sentinel, ...] = ()


class TextTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Registers that hold text about the device, read once: serial number, version."""

    address: Annotated[int, msgspec.Meta(ge=0, le=65535)]
    registers: Annotated[int, msgspec.Meta(ge=1, le=64)]
    table: Table = Table.HOLDING
    encoding: Literal["string", "hex"] = "hex"


class ProfileTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A profile's TOML file as it stands."""

    title: str
    kind: Kind
    manufacturer: str
    model: str
    sources: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    transport: Literal["modbus", "messages"] = "modbus"
    interval_s: Annotated[float, msgspec.Meta(gt=0)] = 30
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=10)] = 1
    keep_alive: bool = False
    max_registers: Annotated[int, msgspec.Meta(ge=1, le=125)] = 125
    pause_ms: Annotated[int, msgspec.Meta(ge=0, le=5000)] = 0
    defaults: DefaultsTable = DefaultsTable()
    identity: dict[str, TextTable] = {}
    fields: Annotated[dict[str, dict[str, Any]], msgspec.Meta(min_length=1)]


@dataclass(frozen=True, slots=True)
class Point:
    """Where one value is in a device and how its registers make it.

    value = raw * scale. `bit` picks one bit of a register (0 is the lowest).
    """

    name: str
    table: Table
    address: int
    registers: int
    encoding: Encoding
    word_order: WordOrder = "big"
    scale: float | int = 1
    sentinels: tuple[Sentinel, ...] = ()
    bit: int | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """What the filters know of a field. Units are the field's own.

    Attributes:
        kind: How the field behaves.
        range: Lowest and highest believable value; outside is rejected.
        possible: Outside it, the whole block that it came in is suspect...
        live_when: ...unless this field, a voltage of the same poll, is near zero.
        resolution: A value that is not 0 but smaller in magnitude is garbage.
        low: A power below it (in kW) is believed only when it comes twice.
        jump: A larger step from the last accepted value must be confirmed.
        max_power_kw: The power that an energy count can follow.
    """

    kind: FieldKind
    range: tuple[float, float] | None = None
    possible: tuple[float, float] | None = None
    live_when: str | None = None
    resolution: float = 0
    low: float | None = None
    jump: float | None = None
    max_power_kw: float | None = None


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a profile: its meaning, its rules, and where it comes from.

    Exactly one of `point`, `difference` and `raw_of` is set for a Modbus
    device; none for a source that reports by itself.

    Attributes:
        difference: The field is the first minus the second of these.
        raw_of: The field is the unfiltered register of this energy count.
        default: Whether it is read when the configuration does not choose.
    """

    quantity: Quantity
    rules: Rules
    point: Point | None = None
    difference: tuple[str, str] | None = None
    raw_of: str | None = None
    words: Mapping[str, str] = field(default_factory=dict)
    default: bool = True


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

        What a chosen field is derived from or judged by is read as well.

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
            for name in (*(one.difference or ()), *filter(None, (one.raw_of,))):
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
        fields = {key: _field(key, _point_table(key, point), table) for key, point in table.fields.items()}
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


def _point_table(name: str, table: dict[str, Any]) -> PointTable:
    try:
        return msgspec.convert(table, PointTable)
    except msgspec.ValidationError as error:
        raise ProfileError(f"{name}.{describe(error)}") from error


def _field(name: str, table: PointTable, profile: ProfileTable) -> Field:
    if not is_field_name(name):
        raise ProfileError(f"{name}: expected letters, digits and '_', and none of the reserved names")
    quantity = _quantity(name, table, profile.kind)
    from_registers = table.address is not None
    origins = from_registers + (table.difference is not None) + (table.raw_of is not None)
    if origins != (1 if profile.transport == "modbus" else 0):
        expected = (
            "exactly one of address, difference, raw_of" if profile.transport == "modbus" else "no address"
        )
        raise ProfileError(f"{name}: expected {expected}")
    if quantity.kind == "energy" and from_registers and table.max_power_kw is None:
        raise ProfileError(f"{name}.max_power_kw: expected the power in kW that this count can follow")
    for bounds, key in ((table.range, "range"), (table.possible, "possible")):
        if bounds is not None and not bounds[0] < bounds[1]:
            raise ProfileError(f"{name}.{key}: expected [lowest, highest], got {list(bounds)}")
    return Field(
        quantity=quantity,
        rules=Rules(
            kind=quantity.kind,
            range=table.range,
            possible=table.possible,
            live_when=table.live_when,
            resolution=table.resolution,
            low=table.low,
            jump=table.jump,
            max_power_kw=table.max_power_kw,
        ),
        point=_point(name, table, profile.defaults) if from_registers else None,
        difference=table.difference,
        raw_of=table.raw_of,
        words=table.words,
        default=table.default,
    )


def _quantity(name: str, table: PointTable, kind: Kind) -> Quantity:
    """The vocabulary's row, or one that the profile gives for a quantity of its own."""
    known = VOCABULARY[kind].get(name)
    if known is None:
        if table.description is None or table.unit is None:
            raise ProfileError(
                f"{name}: not in the vocabulary of a {kind}; expected a unit and a description here"
            )
        return Quantity(
            name,
            table.short or name.replace("_", " ").capitalize(),
            table.description,
            table.unit,
            table.kind or "measurement",
            table.decimals or 0,
        )
    if table.unit is not None or table.kind is not None:
        raise ProfileError(f"{name}: unit and kind come from the vocabulary; expected neither here")
    return known


def _point(name: str, table: PointTable, defaults: DefaultsTable) -> Point:
    assert table.address is not None  # noqa: S101  # the caller has looked
    where = table.table or defaults.table
    encoding = Encoding.BIT if where.holds_bits else (table.encoding or defaults.encoding)
    registers = encoding.registers or table.registers
    if registers is None:
        raise ProfileError(f"{name}.registers: expected how many registers the text takes")
    if encoding is Encoding.BIT and not where.holds_bits and table.bit is None:
        raise ProfileError(f"{name}.bit: expected which bit of the register, 0 is the lowest")
    if table.address + registers > 65536:
        raise ProfileError(f"{name}.address: expected the value to end below 65536")
    return Point(
        name=name,
        table=where,
        address=table.address,
        registers=registers,
        encoding=encoding,
        word_order=table.word_order or defaults.word_order,
        scale=table.scale,
        sentinels=defaults.sentinels if table.sentinels is None else table.sentinels,
        bit=table.bit,
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
