"""The passwords of a deployment: made once, each put where its reader finds it and nobody else.

Chance is passed in; what writes to the disk is `make_passwords` alone.
"""

import base64
import hashlib
import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

MQTT_USERS = ("poller", "bridge", "homeassistant", "viewer", "devices")
"""Who may connect to the broker; mosquitto/acl says what each may do there."""

NAMES = (*MQTT_USERS, "grafana")
"""Every password; Grafana's is that of its user admin."""

EVERYTHING = "all"
"""The folder that holds every password by its name; beside it is one folder for each reader."""

_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"
"""Without those that look like another one: a person may have to type it."""

_GROUPS, _GROUP = 4, 5

_ITERATIONS = 1000
"""Slowness is for passwords that can be guessed; these are random, and a Raspberry Pi checks one at each connection."""


class PasswordError(Exception):
    """A password cannot be had; the text is one line for a person."""


def draw_password(choose: Callable[[str], str]) -> str:
    """A password of 99 bits.

    Args:
        choose: Draws one letter of a text.

    >>> draw_password(lambda letters: letters[0])
    'aaaaa-aaaaa-aaaaa-aaaaa'
    """
    return "-".join("".join(choose(_LETTERS) for _ in range(_GROUP)) for _ in range(_GROUPS))


def hash_for_mosquitto(password: str, salt: bytes) -> str:
    """What stands behind the user's name in mosquitto's password file: PBKDF2 with SHA-512, its kind 7.

    >>> hash_for_mosquitto("secret", b"twelve bytes")[:26]
    '$7$1000$dHdlbHZlIGJ5dGVz$P'
    """
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _ITERATIONS)
    encoded = (base64.b64encode(part).decode("ascii") for part in (salt, digest))
    return f"$7${_ITERATIONS}${'$'.join(encoded)}"


def share(passwords: dict[str, str], draw_salt: Callable[[], bytes]) -> Iterator[tuple[str, str]]:
    """What goes to whom: the file, relative to the folder of all secrets, and its text.

    >>> [name for name, _ in share(dict.fromkeys(NAMES, "secret"), lambda: b"twelve bytes")]
    ['mosquitto/passwords', 'mosquitto/viewer', 'poller/mqtt', 'bridge/mqtt', 'grafana/admin', 'devices/mqtt']
    """
    hashes = (f"{user}:{hash_for_mosquitto(passwords[user], draw_salt())}\n" for user in MQTT_USERS)
    yield "mosquitto/passwords", "".join(hashes)
    yield "mosquitto/viewer", passwords["viewer"]
    yield "poller/mqtt", passwords["poller"]
    yield "bridge/mqtt", passwords["bridge"]
    yield "grafana/admin", passwords["grafana"]
    # For the Shelly of the simulated house; a real one is told by a person.
    yield "devices/mqtt", passwords["devices"]


def make_passwords(
    folder: Path,
    *,
    renew: Collection[str],
    choose: Callable[[str], str],
    draw_salt: Callable[[], bytes],
) -> list[str]:
    """Make the passwords that are missing, and give every reader its own.

    Args:
        folder: Where the folders are.
        renew: Those to make anew even if they are there.
        choose: Draws one letter of a text.
        draw_salt: Draws the salt of a hash.

    Returns:
        The names of those that were made.

    Raises:
        PasswordError: The folder cannot be written.
    """
    made, passwords = [], {}
    try:
        (folder / EVERYTHING).mkdir(mode=0o700, exist_ok=True, parents=True)
        for name in NAMES:
            file = folder / EVERYTHING / name
            if name in renew or not file.exists():
                _write(file, draw_password(choose), mode=0o600)
                made.append(name)
            passwords[name] = file.read_text(encoding="utf-8").strip()
        for name, text in share(passwords, draw_salt):
            file = folder / name
            file.parent.mkdir(exist_ok=True)
            # Its reader is another user; nobody else is let into the folder.
            _write(file, text, mode=0o444)
    except OSError as error:
        raise PasswordError(f"{folder}: cannot be written: {error}") from error
    return made


def read_password(folder: Path, name: str) -> str:
    """A password that was made.

    Raises:
        PasswordError: It is not there.
    """
    file = folder / EVERYTHING / name
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise PasswordError(f"{file}: cannot be read: {error.strerror}") from error


def _write(file: Path, text: str, *, mode: int) -> None:
    """Write all of it or nothing, whatever happens to the power."""
    new = file.with_name(f".{file.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
        out.write(text if text.endswith("\n") else f"{text}\n")
        out.flush()
        os.fchmod(out.fileno(), mode)
        os.fsync(out.fileno())
    new.replace(file)
