"""Every mistake of a configuration, though each program that reads it stops at the first.

What is wrong in one place is taken out of the way, and the file is read
again, until it can be read. What follows from taking it away is no mistake.
"""

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from readings.environment import PREFIX
from readings.errors import SettingsError

MOST = 200
"""So often the file is read at most: no person makes more mistakes."""

STAND_IN = "mistake-"
"""How what stands in for something wrong begins."""

Read = Callable[[Path, Mapping[str, str], Mapping[str, Any]], object]
"""Reads a configuration with changes, as the programs' `read_config`."""

_PLACE = re.compile(r"([a-z_]+(?:\[\d+\])?(?:\.[\w-]+(?:\[\d+\])?)*): ", re.ASCII)
_ENTRY = re.compile(r"([a-z_]+)\[(\d+)\]")


def find_mistakes(path: Path, environ: Mapping[str, str], read: Read) -> Iterator[str]:
    """Each mistake as one line that names file, key and what was expected.

    Args:
        path: The configuration file.
        environ: The environment, whose variables override keys.
        read: How the program that it is for reads it.
    """
    environ = dict(environ)
    changes: dict[str, Any] = {}
    told: set[str] = set()
    for _ in range(MOST):
        try:
            read(path, environ, changes)
        except SettingsError as error:
            text = str(error)
        else:
            return
        variable = text.partition(":")[0]
        if variable in environ and variable.startswith(PREFIX):
            yield text
            del environ[variable]
            continue
        found = _PLACE.match(text.removeprefix(f"{path}: "))
        place = _in_the_file(found[1], changes) if found else ""
        # A list that lacks what was taken out of it is no mistake either.
        if place not in told and not any(
            one.rpartition("[")[0] == place for one in told if one.endswith("]")
        ):
            told.add(place)
            if STAND_IN not in text:  # else it only misses what was taken away
                yield f"{path}: {place}: {text.removeprefix(f'{path}: ')[found.end() :]}" if found else text
        if not _mend(path, place, changes):
            return


def _mend(path: Path, place: str, changes: dict[str, Any]) -> bool:
    """Take what is wrong there out of the way, and what has it where that is not enough; False when nothing helps."""
    stand_in = _stand_in(path, place)
    while place:
        if place not in changes:
            changes[place] = stand_in
            return True
        if changes[place] is not None:
            changes[place] = None
            return True
        # Its key is gone, and it is still missed: the table or the entry that should have it goes.
        place, stand_in = place.rpartition("." if "." in place else "[")[0], None
    return False


def _stand_in(path: Path, place: str) -> object:
    """Something right for a key that has to be there, so that the rest of its table is looked at too."""
    number = int(found[2]) if (found := _ENTRY.match(place)) else 0
    match re.sub(r"\[\d+\]", "", place):
        case "bus.connect":
            return f"tcp://{STAND_IN}{number}:502"
        case "bus.name" | "device.name" | "device.title":
            return f"{STAND_IN}{number}"
        case "device.unit":
            return max(1, 247 - number)
        case "device.bus":
            return _first_bus(path)
    return None


def _first_bus(path: Path) -> str | None:
    try:
        return str(tomllib.loads(path.read_text(encoding="utf-8"))["bus"][0]["name"])
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return None


def _in_the_file(place: str, changes: Mapping[str, Any]) -> str:
    """The place as the file counts it: entries that were left out count there.

    >>> _in_the_file("device[1].unit", {"device[0]": None, "bus[0]": None})
    'device[2].unit'
    """
    found = _ENTRY.match(place)
    if found is None:
        return place
    number = int(found[2])
    for gone in range(number + len(changes) + 1):
        if f"{found[1]}[{gone}]" in changes and changes[f"{found[1]}[{gone}]"] is None and gone <= number:
            number += 1
    return f"{found[1]}[{number}]{place[found.end() :]}"
