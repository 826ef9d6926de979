"""`[[rule]]` as it stands in the configuration file, read strictly."""

from typing import Annotated, Literal

import msgspec

from poller.sources.values import TimeFormat
from readings.payload import FieldKind, LabelName, Name
from readings.reading import Kind

PartName = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]*\Z")]


class TimeTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where a message has its time.

    Attributes:
        path: Where in the message.
        format: `iso` for ISO 8601, `s` or `ms` for a number since 1970.
        zone: The time zone of ISO times that name none ("Europe/Berlin").
    """

    path: str
    format: TimeFormat = "iso"
    zone: str | None = None


class FieldRuleTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One field of a rule. A text in its place is its `path`.

    Attributes:
        path: Where in the message; empty for the whole message.
        topic: Which topics bring it, where those are others than the rule's.
        payload: `text` for a message that is the value itself.
        map: Numbers for words; "none" is 'no value'.
        factor: What a number is multiplied by.
        offset: What is added then.
        unit: The unit in the message, or the field's own unit where the vocabulary has no such field.
    """

    path: str = ""
    topic: str = ""
    payload: Literal["json", "text"] | None = None
    map: dict[str, float | int | Literal["none"]] = {}
    factor: float = 1
    offset: float = 0
    unit: str | None = None
    range: tuple[float, float] | None = None
    resolution: Annotated[float, msgspec.Meta(gt=0)] | None = None
    jump: Annotated[float, msgspec.Meta(gt=0)] | None = None
    low: Annotated[float, msgspec.Meta(gt=0)] | None = None
    max_power_kw: Annotated[float, msgspec.Meta(gt=0)] | None = None
    words: dict[str, str] = {}
    kind: FieldKind | None = None
    description: str | None = None
    short: str | None = None
    decimals: Annotated[int, msgspec.Meta(ge=0, le=6)] | None = None


class RuleTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[[rule]]`: readings out of what another program publishes.

    Attributes:
        topic: Which topics, with named parts: `zigbee2mqtt/{device}`.
        ignore: Topics that look so and are something else.
        payload: `json`, or `text` for messages that are a value themselves.
        each: Where in a message its devices are, when it has several.
        parts: Named parts whose text stands in the message.
        where: What must stand in a message, by path: `{ TempUnit = "C" }`.
        device: The parts that make a device.
        title: What people call it; its parts unless said otherwise.
        labels: More labels of the series, made of the parts; `{name}` is the device's name.
        profile: What is believable, instead of the kind's own.
        silence: Seconds without a message after which a device is offline.
        names: Device names by what the parts say.
        titles: What people call them, by the same.
    """

    name: Name
    kind: Kind
    topic: str = ""
    ignore: tuple[str, ...] = ()
    payload: Literal["json", "text"] = "json"
    each: str = ""
    parts: dict[PartName, str] = {}
    where: dict[str, str | int | float | bool] = {}
    device: str = "{device}"
    title: str = ""
    labels: dict[LabelName, str] = {}
    profile: str = ""
    silence: Annotated[float, msgspec.Meta(ge=10, le=2_678_400)] = 900
    time: str | TimeTable | None = None
    names: dict[str, Name] = {}
    titles: dict[str, str] = {}
    fields: Annotated[dict[str, str | FieldRuleTable], msgspec.Meta(min_length=1)]
