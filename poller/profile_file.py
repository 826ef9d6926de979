"""A profile's TOML file as it stands, read strictly, and the fields that it describes."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from poller.errors import ProfileError
from poller.points import Encoding, Field, Point, Rules, Sentinel, Table, WordOrder
from readings.payload import FieldKind
from readings.reading import Kind, is_field_name
from readings.validation import describe
from readings.vocabulary import VOCABULARY, Quantity

OWN_QUANTITY = ("unit", "kind", "description", "short", "decimals")
"""What a field says only of a quantity that the vocabulary lacks."""

_NUMBER = re.compile(r"0|-?[1-9][0-9]*")
_NOT_KILO = frozenset({"Wh", "MWh", "GWh", "varh", "Mvarh", "VAh", "MVAh"})


class PointTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One field as the TOML file has it. `None` is 'as `[defaults]` says'."""

    address: Annotated[int, msgspec.Meta(ge=0, le=65535)] | None = None
    table: Table | None = None
    encoding: Encoding | None = None
    word_order: WordOrder | None = None
    bit: Annotated[int, msgspec.Meta(ge=0, le=15)] | None = None
    scale: float | int = 1
    sentinels: tuple[Sentinel, ...] | None = None
    range: tuple[float, float] | None = None
    possible: tuple[float, float] | None = None
    live_when: str | None = None
    resolution: Annotated[float, msgspec.Meta(gt=0)] | None = None
    jump: Annotated[float, msgspec.Meta(gt=0)] | None = None
    low: Annotated[float, msgspec.Meta(gt=0)] | None = None
    max_power_kw: Annotated[float, msgspec.Meta(gt=0)] | None = None
    words: dict[str, str] = {}
    difference: tuple[str, str] | None = None
    raw_of: str | None = None
    paths: tuple[str, ...] = ()
    default: bool = True
    interval_s: Annotated[float, msgspec.Meta(gt=0)] | None = None
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


class BaseTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The number that a manual gives to the first register of each table."""

    coil: int = 0
    discrete: int = 0
    input: int = 0
    holding: int = 0


class ProfileTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A profile's TOML file as it stands."""

    title: str
    kind: Kind
    manufacturer: str
    model: str
    sources: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    status: Literal["known", "untested"] = "known"
    extends: str | None = None
    without: tuple[str, ...] = ()
    replaces: bool = False
    base: int | BaseTable = 0
    transport: Literal["modbus", "messages"] = "modbus"
    interval_s: Annotated[float, msgspec.Meta(gt=0)] = 30
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=10)] = 1
    keep_alive: bool = False
    max_registers: Annotated[int, msgspec.Meta(ge=1, le=125)] = 125
    multiple_of: Annotated[int, msgspec.Meta(ge=1, le=4)] = 1
    pause_ms: Annotated[int, msgspec.Meta(ge=0, le=5000)] = 0
    defaults: DefaultsTable = DefaultsTable()
    identity: dict[str, TextTable] = {}
    fields: Annotated[dict[str, Any], msgspec.Meta(min_length=1)]


def make_field(name: str, keys: Any, profile: ProfileTable) -> Field:
    """The field that a table under `[fields]` describes.

    Raises:
        ProfileError: The text begins with the field's name and key.
    """
    if not is_field_name(name):
        raise ProfileError(f"{name}: expected letters, digits and '_', and none of the reserved names")
    if not isinstance(keys, dict):
        raise ProfileError(f"{name}: expected its keys in braces, got {keys!r}")
    try:
        table = msgspec.convert(keys, PointTable)
    except msgspec.ValidationError as error:
        raise ProfileError(f"{name}.{describe(error)}") from error
    _check_origin(name, table, profile)
    _check_words(name, table.words)
    quantity = _quantity(name, table, profile.kind)
    point = None if table.address is None else _point(name, table, table.address, profile.defaults)
    rules = _rules(table, quantity.kind, point)
    if table.difference is None and table.raw_of is None:
        _check_rules(name, rules, point)
    return Field(
        quantity=quantity,
        rules=rules,
        point=point,
        difference=table.difference,
        raw_of=table.raw_of,
        words=table.words,
        paths=table.paths,
        scale=table.scale,
        default=table.default,
        interval_s=table.interval_s,
    )


def _check_origin(name: str, table: PointTable, profile: ProfileTable) -> None:
    origins = sum(origin is not None for origin in (table.address, table.difference, table.raw_of))
    if profile.transport == "modbus" and origins != 1:
        raise ProfileError(f"{name}: expected exactly one of address, difference, raw_of")
    if profile.transport == "messages" and origins != 0:
        raise ProfileError(f"{name}: expected no address, the device reports by itself")
    if profile.transport == "modbus" and table.paths:
        raise ProfileError(f"{name}.paths: expected an address, the device does not report by itself")
    if table.interval_s is not None and table.address is None:
        raise ProfileError(f"{name}.interval_s: expected it on a field with an address")


def _rules(table: PointTable, kind: FieldKind, point: Point | None) -> Rules:
    """The rules as the file gives them, with those that follow from the field's nature.

    A whole number moves in steps of its scale; a bit is 0 or 1.
    """
    steps = point is not None and not point.encoding.is_float
    return Rules(
        kind=kind,
        range=(0, 1) if kind == "bit" and table.range is None else table.range,
        possible=table.possible,
        live_when=table.live_when,
        resolution=table.resolution or (abs(table.scale) if steps else 0),
        low=table.low,
        jump=table.jump,
        max_power_kw=table.max_power_kw,
    )


def _check_rules(name: str, rules: Rules, point: Point | None) -> None:
    """No program can know that 1e9 is wrong: every field says what is believable."""
    for bounds, key in ((rules.range, "range"), (rules.possible, "possible")):
        if bounds is not None and not bounds[0] < bounds[1]:
            raise ProfileError(f"{name}.{key}: expected [lowest, highest], got {list(bounds)}")
    if rules.range is None:
        raise ProfileError(f"{name}.range: expected the lowest and the highest believable value")
    if rules.resolution == 0 and rules.range[0] <= 0 <= rules.range[1] and _may_be_garbled(rules, point):
        raise ProfileError(f"{name}.resolution: expected the device's smallest step, garbage is smaller")
    if rules.kind == "energy" and rules.max_power_kw is None:
        raise ProfileError(f"{name}.max_power_kw: expected the power in kW that this count can follow")
    # A message that says 0 is no broken answer, and may be the last one for hours.
    if rules.kind == "power" and rules.low is None and point is not None:
        raise ProfileError(f"{name}.low: expected the power below which a reading must come twice")
    if rules.live_when is not None and rules.possible is None:
        raise ProfileError(f"{name}.live_when: expected `possible` beside it")


def _check_words(name: str, words: Mapping[str, str]) -> None:
    for number, word in words.items():
        if not _NUMBER.fullmatch(number) or not word.strip():
            raise ProfileError(
                f"{name}.words: expected whole numbers with a word each, got {number} = {word!r}"
            )


def _may_be_garbled(rules: Rules, point: Point | None) -> bool:
    return rules.kind in {"power", "energy"} if point is None else point.encoding.is_float


def _quantity(name: str, table: PointTable, kind: Kind) -> Quantity:
    """The vocabulary's row, or one that the profile gives for a quantity of its own."""
    known = VOCABULARY[kind].get(name)
    if known is None:
        if table.description is None or table.unit is None:
            raise ProfileError(
                f"{name}: not in the vocabulary of a {kind}; expected a unit and a description here"
            )
        if table.kind == "energy" and table.unit in _NOT_KILO:
            raise ProfileError(
                f"{name}.unit: expected k{table.unit.lstrip('kMG')}, which max_power_kw goes with, got {table.unit!r}"
            )
        return Quantity(
            name,
            table.short or name.replace("_", " ").capitalize(),
            table.description,
            table.unit,
            table.kind or "measurement",
            table.decimals or 0,
        )
    for key in OWN_QUANTITY:
        if getattr(table, key) is not None:
            raise ProfileError(f"{name}.{key}: comes from the vocabulary of a {kind}; expected none here")
    return known


def _point(name: str, table: PointTable, address: int, defaults: DefaultsTable) -> Point:
    where = table.table or defaults.table
    encoding = Encoding.BIT if where.holds_bits else (table.encoding or defaults.encoding)
    if encoding.registers is None:
        raise ProfileError(f"{name}.encoding: expected a number; texts stand under [identity]")
    if (encoding is Encoding.BIT and not where.holds_bits) != (table.bit is not None):
        raise ProfileError(f'{name}.bit: expected it with encoding = "bit", to say which; 0 is the lowest')
    if address + encoding.registers > 65536:
        raise ProfileError(f"{name}.address: expected the value to end below 65536")
    if table.scale == 0:
        raise ProfileError(f"{name}.scale: expected a number other than 0")
    return Point(
        name=name,
        table=where,
        address=address,
        registers=encoding.registers,
        encoding=encoding,
        word_order=table.word_order or defaults.word_order,
        scale=table.scale,
        sentinels=defaults.sentinels if table.sentinels is None else table.sentinels,
        bit=table.bit,
    )
