"""A field of a device model: where it is, what its registers mean, and what is plausible there."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from readings.payload import FieldKind
from readings.vocabulary import Quantity


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
    THOUSANDS = "thousands"
    """Two registers, of which the lower counts to 999: kWh and MWh."""
    BIT = "bit"
    STRING = "string"
    HEX = "hex"

    @property
    def registers(self) -> int | None:
        """How many registers a value takes; `None` where the point says it (text)."""
        if self.is_text:
            return None
        return {"16": 1, "32": 2, "64": 4, "ds": 2}.get(self.value[-2:], 1)

    @property
    def is_text(self) -> bool:
        """Whether it makes a text, not a number."""
        return self in {Encoding.STRING, Encoding.HEX}

    @property
    def is_float(self) -> bool:
        """Whether a garbled register can be any number of any size."""
        return self in {Encoding.FLOAT32, Encoding.FLOAT64}


WordOrder = Literal["big", "little"]
"""Which register of a wider value comes first: the high one is "big"."""

Sentinel = int | Literal["nan", "ones"]
"""A raw value that means 'no value': a number, NaN, or all bits one."""


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
        live_when: ...unless this field, a voltage that is read with it, is near zero and something in the block is not 0.
        resolution: The smallest step of the device; a value that is not 0 but smaller in magnitude is garbage.
        low: A smaller magnitude is believed only when it comes twice: 0 is what a broken answer shows.
        jump: A larger step from the last accepted value must be confirmed by the next reading.
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
        paths: Where it stands in what its device publishes, the first that is believable; for a Shelly
            `em.a_act_power` is a key of the component `em`.
        scale: The value is what stands there times this.
        default: Whether it is read when the configuration does not choose.
        interval_s: Seconds between two reads of it, where they are more than its device's.
    """

    quantity: Quantity
    rules: Rules
    point: Point | None = None
    difference: tuple[str, str] | None = None
    raw_of: str | None = None
    words: Mapping[str, str] = field(default_factory=dict)
    paths: tuple[str, ...] = ()
    scale: float | int = 1
    default: bool = True
    interval_s: float | None = None

    @property
    def sources(self) -> tuple[str, ...]:
        """The fields that a derived one is made of."""
        return self.difference or ((self.raw_of,) if self.raw_of is not None else ())
