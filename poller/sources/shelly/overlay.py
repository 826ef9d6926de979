"""The status of a device that tells it in pieces: what changes is laid over what is known."""

from collections.abc import Mapping
from typing import Any

from readings.reading import Value

EXACT_BELOW = 2**53
"""JSON's whole numbers are exact up to here; no quantity comes near."""


def lay_over(known: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """What is known after a change; a key that is `None` in it exists no more.

    >>> lay_over({"value": 20.4, "last_updated_ts": 60}, {"last_updated_ts": 120})
    {'value': 20.4, 'last_updated_ts': 120}
    >>> lay_over({"value": 20.4, "last_updated_ts": 60}, {"value": None})
    {'last_updated_ts': 60}
    """
    return {key: value for key, value in {**known, **change}.items() if value is not None}


def has(status: Mapping[str, Any], path: tuple[str, ...]) -> bool:
    """Whether a status names a value, and be it null.

    >>> has({"battery": {"percent": None}}, ("battery", "percent")), has({}, ("battery", "percent"))
    (True, False)
    """
    found: Any = status
    for key in path:
        if not isinstance(found, dict) or key not in found:
            return False
        found = found[key]
    return True


def number_at(status: Mapping[str, Any], path: tuple[str, ...]) -> Value:
    """The number at a place; on and off are 1 and 0, everything else is no value.

    >>> number_at({"output": True}, ("output",)), number_at({"n_current": None}, ("n_current",))
    (1, None)
    """
    found: Any = status
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    if isinstance(found, bool):
        return int(found)
    if isinstance(found, int):
        return found if abs(found) < EXACT_BELOW else None
    return found if isinstance(found, float) else None
