"""What is wrong in a TOML file, as 'key: expected …'."""

import math
import re
from collections.abc import Iterator

import msgspec


def describe(error: msgspec.ValidationError) -> str:
    """Turn a validation error into 'key: expected …'.

    >>> describe(msgspec.ValidationError("Expected `int` <= 65535 - at `$.bus[0].port`"))
    'bus[0].port: expected `int` <= 65535'
    >>> describe(msgspec.ValidationError("Object contains unknown field `hots` - at `$.mqtt`"))
    'mqtt.hots: unknown key'
    """
    message, _, place = str(error).partition(" - at `")
    place = re.sub(r"^(key in )?\$\.?", "", place.removesuffix("`"))
    if unknown := re.fullmatch(r"Object contains unknown field `(.*)`", message):
        return f"{place}{'.' if place else ''}{unknown[1]}: unknown key"
    if missing := re.fullmatch(r"Object missing required field `(.*)`", message):
        return f"{place}{'.' if place else ''}{missing[1]}: expected a value, it is missing"
    return f"{place}: {message[0].lower()}{message[1:]}" if place else message[0].lower() + message[1:]


def find_unusable(value: object, place: str = "") -> Iterator[str]:
    r"""What TOML allows and nothing here can do with, as 'key: expected …'.

    No name of a file or a host has a zero byte, and no quantity is infinite or no number.

    >>> list(find_unusable({"bus": [{"connect": "tcp://\0"}], "poller": {"journal_days": float("inf")}}))
    ['bus[0].connect: expected text without a zero byte', 'poller.journal_days: expected a finite number, got inf']
    """
    if isinstance(value, dict):
        for key, one in value.items():
            yield from find_unusable(one, f"{place}.{key}" if place else key)
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from find_unusable(one, f"{place}[{number}]")
    elif isinstance(value, str) and "\0" in value:
        yield f"{place}: expected text without a zero byte"
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{place}: expected a finite number, got {value}"
