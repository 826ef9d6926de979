"""From `[[rule]]` in the configuration file to a rule that is checked."""

from collections.abc import Iterable, Mapping
from pathlib import Path as FilePath
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from poller.errors import PatternError, ProfileError
from poller.points import Field
from poller.profile import Profile, ProfileTable, load_profile
from poller.profile_file import OWN_QUANTITY, PointTable, make_field
from poller.sources.patterns import Path, TopicPattern, parts_of
from poller.sources.rule_tables import FieldRuleTable, RuleTable, TimeTable
from poller.sources.rules import FieldRule, Rule
from poller.sources.values import UNITS, Clock, Conversion
from readings.errors import SettingsError
from readings.reading import Kind, Value
from readings.vocabulary import VOCABULARY

PROFILES: Mapping[Kind, str] = {
    Kind.METER: "any-meter",
    Kind.HEATPUMP: "any-heat-pump",
    Kind.SENSOR: "any-sensor",
    Kind.THERMOSTAT: "thermostat",
}
"""What is believable of a device of which nothing else is known."""

SENSOR_LABELS: Mapping[str, str] = {
    "device_id": "{called}",
    "gateway_id": "{rule}",
    "sensor_id": "{called}",
    "sensor_name": "{name}",
}
"""Sensors have these four labels, whoever brings them."""


def read_rule(table: RuleTable, place: str, folder: FilePath | None = None) -> Rule:
    """What the table means.

    Args:
        table: The table.
        place: What it is called in a message about a mistake.
        folder: The user's own profiles.

    Raises:
        SettingsError: The text names the key and what was expected.
    """
    profile = _profile(table, place, folder)
    fields = {
        name: _field_rule(
            name, FieldRuleTable(path=one) if isinstance(one, str) else one, table, profile, place
        )
        for name, one in table.fields.items()
    }
    each = _path(table.each, f"{place}.each")
    parts = {name: _path(path, f"{place}.parts.{name}") for name, path in table.parts.items()}
    _check_payloads(fields.values(), table, place)
    _check_parts(table, fields.values(), each, place)
    if len(set(table.names.values())) < len(table.names):
        raise SettingsError(f"{place}.names: expected a name of its own for each")
    return Rule(
        name=table.name,
        profile=profile,
        fields=fields,
        silence_s=table.silence,
        device=table.device,
        title=table.title,
        each=each,
        ignore=tuple(_topic(one, f"{place}.ignore") for one in table.ignore),
        parts=parts,
        where=tuple((_path(path, f"{place}.where"), value) for path, value in table.where.items()),
        names=table.names,
        titles=table.titles,
        labels=_labels(table),
        time=_time(table.time, place),
    )


def _profile(table: RuleTable, place: str, folder: FilePath | None) -> Profile:
    try:
        profile = load_profile(table.profile or PROFILES[table.kind], folder)
    except ProfileError as error:
        raise SettingsError(f"{place}.profile: {error}") from error
    if profile.transport != "messages" or profile.kind is not table.kind:
        raise SettingsError(
            f"{place}.profile: expected a {table.kind} that reports by itself, got {profile.name!r}"
        )
    return profile


def _field_rule(name: str, table: FieldRuleTable, rule: RuleTable, profile: Profile, place: str) -> FieldRule:
    key = f"{place}.fields.{name}"
    if not (table.topic or rule.topic):
        raise SettingsError(f"{place}.topic: expected a topic, or one for each field")
    field = _field(name, table, profile, key)
    factor, offset = _unit(table, field, key)
    return FieldRule(
        field=field,
        topic=_topic(table.topic or rule.topic, f"{key}.topic" if table.topic else f"{place}.topic"),
        path=_path(table.path, f"{key}.path"),
        is_text=(table.payload or rule.payload) == "text",
        conversion=Conversion(
            words={word: _word(value) for word, value in table.map.items()},
            factor=factor,
            offset=offset,
            is_bit=field.quantity.kind == "bit",
        ),
    )


def _field(name: str, table: FieldRuleTable, profile: Profile, key: str) -> Field:
    """The profile's field with what the rule says otherwise, or one that the rule describes."""
    given: dict[str, Any] = {
        one.name: value
        for one in msgspec.structs.fields(PointTable)
        if one.name != "unit" and (value := getattr(table, one.name, None))
    }
    known = profile.fields.get(name)
    if known is None:
        # An empty unit is one too: that of a number without any.
        quantity = {"unit": table.unit}
    else:
        quantity = {one: getattr(known.quantity, one) for one in OWN_QUANTITY}
        kept = {
            one: getattr(known.rules, one) for one in ("range", "resolution", "jump", "low", "max_power_kw")
        }
        given = {one: value for one, value in kept.items() if value} | {"words": dict(known.words)} | given
    if name not in VOCABULARY[profile.kind]:
        given = quantity | given
    form = ProfileTable(
        title="",
        kind=profile.kind,
        manufacturer="",
        model="",
        sources=("",),
        transport="messages",
        fields={name: given},
    )
    try:
        return make_field(name, given, form)
    except ProfileError as error:
        raise SettingsError(f"{key.removesuffix(name)}{error}") from error


def _unit(table: FieldRuleTable, field: Field, key: str) -> tuple[float, float]:
    """Factor and offset: the rule's, or what its unit asks for."""
    if table.factor == 0:
        raise SettingsError(f"{key}.factor: expected a number other than 0")
    is_given = table.factor != 1 or table.offset != 0
    if table.unit is None or table.unit == field.quantity.unit or is_given:
        return table.factor, table.offset
    known = UNITS.get((table.unit, field.quantity.unit))
    if known is None:
        raise SettingsError(
            f"{key}.unit: expected {field.quantity.unit or 'none'}, or a factor that makes it of {table.unit!r}"
        )
    return known


def _word(value: float | str) -> Value:
    return None if isinstance(value, str) else value


def _topic(text: str, key: str) -> TopicPattern:
    try:
        return TopicPattern.parse(text)
    except PatternError as error:
        raise SettingsError(f"{key}: {error}") from error


def _path(text: str, key: str) -> Path:
    try:
        return Path.parse(text)
    except PatternError as error:
        raise SettingsError(f"{key}: {error}") from error


def _time(table: str | TimeTable | None, place: str) -> tuple[Path, Clock] | None:
    if table is None:
        return None
    table = TimeTable(path=table) if isinstance(table, str) else table
    zone = None
    if table.zone is not None:
        try:
            zone = ZoneInfo(table.zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise SettingsError(
                f'{place}.time.zone: expected a time zone that this machine knows ("Europe/Berlin"), got {table.zone!r}'
            ) from error
    return _path(table.path, f"{place}.time.path"), Clock(table.format, zone)


def _labels(table: RuleTable) -> Mapping[str, str]:
    """The labels, in which {name}, {called} and {rule} are the device's name, its parts and the rule."""
    if table.kind is Kind.SENSOR:
        labels = {**SENSOR_LABELS, **table.labels}
    else:
        labels = {"device": "{name}", **table.labels} if table.labels else {}
    return {
        label: text.replace("{called}", table.device).replace("{rule}", table.name)
        for label, text in labels.items()
    }


def _check_payloads(fields: Iterable[FieldRule], table: RuleTable, place: str) -> None:
    forms: dict[str, bool] = {}
    for one in fields:
        if forms.setdefault(one.topic.text, one.is_text) is not one.is_text:
            raise SettingsError(f"{place}.fields: expected one payload for {one.topic.text}, json or text")
        if one.is_text and (one.path.text or table.each or table.parts or table.where or table.time):
            raise SettingsError(
                f"{place}.fields: expected no path, each, parts, where and time for a payload of plain text"
            )


def _check_parts(table: RuleTable, fields: Iterable[FieldRule], each: Path, place: str) -> None:
    """What the device is made of must be known whichever topic a message comes on."""
    inside = {*each.parts, *table.parts}
    for one in fields:
        if one.path.parts:
            raise SettingsError(
                f"{place}.fields: expected no {{part}} in the path {one.path.text!r}, but in `each`"
            )
        if twice := inside & set(one.topic.parts):
            raise SettingsError(
                f"{place}.topic: expected each part once, {min(twice)!r} is in the message too"
            )
        known = inside | set(one.topic.parts)
        for key, text in (("device", table.device), ("title", table.title)):
            if missing := set(parts_of(text)) - known:
                raise SettingsError(
                    f"{place}.{key}: expected parts of {one.topic.text!r} and the message, got {{{min(missing)}}}"
                )
        for text in table.labels.values():
            if missing := set(parts_of(text)) - known - {"name", "called", "rule"}:
                raise SettingsError(
                    f"{place}.labels: expected parts that the rule has, got {{{min(missing)}}}"
                )
