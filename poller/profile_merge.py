"""What a profile's file takes over from the one that it extends, and addresses as a manual counts them."""

from collections.abc import Mapping
from typing import Any

from poller.errors import ProfileError

OWN = ("extends", "without", "replaces", "status", "base")
"""Keys that say something of one file alone, and are not taken over."""


def count_from_zero(tables: Mapping[str, Any], inherited: Mapping[str, Any]) -> dict[str, Any]:
    """The tables of a file with the addresses that go over the wire: its own numbers less that of the first (`base`).

    Args:
        tables: The file.
        inherited: What it takes over, which may say in which table a field is.

    Raises:
        ProfileError: The text begins with the key. An address is below the file's first one.

    >>> count_from_zero({"base": 30001, "fields": {"frequency_hz": {"address": 30013}}}, {})["fields"]
    {'frequency_hz': {'address': 12}}
    """
    counted = dict(tables)
    for group in ("identity", "fields"):
        if isinstance(tables.get(group), dict):
            default = _over(inherited.get("defaults"), tables.get("defaults")) if group == "fields" else {}
            before = inherited.get(group, {})
            counted[group] = {
                name: _shift(f"{group}.{name}", keys, tables.get("base"), [keys, before.get(name), default])
                for name, keys in tables[group].items()
            }
    return counted


def extend(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The tables of one file over those of another.

    A key counts that the file has itself. Of `[defaults]`, of each text and of each field it says
    only what differs; what the device lacks (`without`) is left out. Its sources stand before the
    other's, whose addresses it uses.

    >>> extend({"fields": {"power_kw": {"address": 1, "scale": 2}}}, {"fields": {"power_kw": {"scale": 3}}})
    {'fields': {'power_kw': {'address': 1, 'scale': 3}}}
    """
    merged = {key: value for key, value in base.items() if key not in OWN} | dict(own)
    if "defaults" in merged:
        merged["defaults"] = _over(base.get("defaults", {}), own.get("defaults", {}))
    for table in ("identity", "fields"):
        if table in merged:
            before, now = base.get(table, {}), own.get(table, {})
            merged[table] = _over(before, now)
            if isinstance(now, dict):
                merged[table] |= {name: _over(before.get(name, {}), keys) for name, keys in now.items()}
    if isinstance(own.get("without"), list) and isinstance(merged.get("fields"), dict):
        merged["fields"] = {
            name: keys for name, keys in merged["fields"].items() if name not in own["without"]
        }
    if isinstance(own.get("sources"), list):
        merged["sources"] = list(dict.fromkeys([*own["sources"], *base.get("sources", ())]))
    return merged


def _over(base: Any, own: Any) -> Any:
    """One table over another; what is none is left to whoever reads the whole."""
    if isinstance(base, dict) and isinstance(own, dict):
        return {**base, **own}
    return base if own is None else own


def _shift(place: str, keys: Any, base: Any, sayings: list[Any]) -> Any:
    """A point's keys with its address on the wire; `sayings` may name its table, the nearest first."""
    address = keys.get("address") if isinstance(keys, dict) else None
    tables = (one["table"] for one in sayings if isinstance(one, dict) and "table" in one)
    first = base.get(next(tables, "holding"), 0) if isinstance(base, dict) else base
    if not (isinstance(address, int) and isinstance(first, int)):
        return keys
    if address < first:
        raise ProfileError(
            f"{place}.address: expected {first} or more, where the file begins to count (base)"
        )
    return keys | {"address": address - first}
