"""Environment variables that override keys of the configuration file.

`HEATING_<TABLE>__<KEY>` overrides a key (`HEATING_MQTT__HOST`,
`HEATING_BUS__0__CONNECT` for the first `[[bus]]`); with `_FILE` at its end it
names a file that holds the value, for secrets (where the table itself has a key
of that name, it sets that key). An empty variable changes nothing, and neither
does one for a `[[table]]` of which the file has none: a deployment may set them
all, and the file leaves out what it does not want.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

import msgspec

from readings.errors import SettingsError
from readings.validation import describe

_log = logging.getLogger(__name__)

PREFIX = "HEATING_"

SECRETS = frozenset({"password", "bearer_token"})
"""Keys whose value is never said."""


def override(tables: dict[str, Any], form: type[msgspec.Struct], environ: Mapping[str, str]) -> None:
    """Put what the environment says in the place of what the file says.

    Args:
        tables: The file, which is changed.
        form: What its tables are read into.
        environ: The environment.

    Raises:
        SettingsError: One line that names the variable and what was expected.
    """
    for name, value in sorted(environ.items()):
        if name.startswith(PREFIX) and "__" in name and value:
            _override_one(tables, form, name, value)


def only(environ: Mapping[str, str], prefixes: tuple[str, ...]) -> dict[str, str]:
    """The variables for some tables, for who reads no others: those for a table that is not read would be unknown keys.

    >>> only({"HEATING_REPORT__CA": "ca.pem", "HEATING_MQTT__HOST": "b"}, ("HEATING_REPORT__",))
    {'HEATING_REPORT__CA': 'ca.pem'}
    """
    return {name: value for name, value in environ.items() if name.startswith(prefixes)}


def _override_one(tables: dict[str, Any], form: type[msgspec.Struct], variable: str, value: str) -> None:
    path = variable.removeprefix(PREFIX).lower().split("__")
    is_secret = path[-1] in SECRETS
    if path[-1].endswith("_file") and not _is_key(form, path, variable):
        path[-1] = path[-1].removesuffix("_file")
        is_secret = True
        try:
            value = Path(value).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{variable}: cannot be read: {error}") from error
    kinds = _kinds(form, path, variable)
    target: Any = tables
    for step, following, kind in zip(path, [*path[1:], None], kinds, strict=True):
        if not isinstance(target, list if _is_number(step) else dict):
            raise SettingsError(f"{variable}: expected the file to have a table there, or nothing")
        key: Any = int(step) if isinstance(target, list) else step
        if isinstance(target, list) and key >= len(target):
            raise SettingsError(f"{variable}: expected an entry that is in the file, which has {len(target)}")
        if following is None:
            target[key] = _convert(value, kind, variable, is_secret=is_secret)
            if isinstance(target, dict):
                # The one says where the other is; the file's gives way to the variable.
                target.pop(f"{key}_file", None)
                if str(key).endswith("_file"):
                    target.pop(str(key).removesuffix("_file"), None)
        elif isinstance(target, list):
            target = target[key]
        elif target is tables and key not in tables and _is_number(following):
            _log.info("%s changes nothing: the file has no [[%s]]", variable, key)
            return
        else:
            target = target.setdefault(key, [] if _is_number(following) else {})


def _is_number(step: str) -> bool:
    return step.isascii() and step.isdecimal()


def _is_key(form: type[msgspec.Struct], path: list[str], variable: str) -> bool:
    """Whether the file has such a key: one that itself names a file is no way to say another one."""
    try:
        return _kinds(form, path, variable)[-1] is not Any
    except SettingsError:
        return False


def _kinds(form: type[msgspec.Struct], path: list[str], variable: str) -> list[Any]:
    """The type behind each step of an override's path."""
    kind: Any = form
    return [kind := _kind_of(kind, step, variable) for step in path]


def _kind_of(kind: Any, step: str, variable: str) -> Any:
    """The type behind one step of an override's path."""
    if get_origin(kind) in {tuple, list}:
        if _is_number(step):
            return get_args(kind)[0]
        raise SettingsError(f"{variable}: expected the number of an entry from 0, got {step!r}")
    for option in (kind, *get_args(kind)):
        if isinstance(option, type) and issubclass(option, msgspec.Struct):
            for one in msgspec.structs.fields(option):
                if one.encode_name == step:
                    return one.type
    if kind is Any:
        return Any
    raise SettingsError(f"{variable}: unknown key {step!r}")


def _convert(value: str, kind: Any, variable: str, *, is_secret: bool) -> Any:
    """An environment variable is text; numbers and booleans are read from it where they are expected."""
    try:
        return msgspec.to_builtins(msgspec.convert(value, kind, strict=False))
    except msgspec.ValidationError as error:
        expected = describe(error).removesuffix(", got `str`")
        raise SettingsError(f"{variable}: {expected}{'' if is_secret else f', got {value!r}'}") from error
