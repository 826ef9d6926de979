"""Who we are to the receiver; secrets in files are read again when they change."""

import base64
import logging
from collections.abc import Mapping
from pathlib import Path

from readings.errors import SettingsError

_log = logging.getLogger(__name__)


class Secret:
    """A secret that somebody may change while the program runs: the text of a file.

    Raises:
        SettingsError: The file cannot be read now, or is no secret. Later that
            is a line in the log, and the secret stays what it was.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, ...] = ()
        self._text = self._read()

    def text(self, *, anew: bool = False) -> str:
        """What the file holds; `anew` reads it even if it looks the same."""
        try:
            status = self._path.stat()
            seen = (status.st_mtime_ns, status.st_size, status.st_ino)
            if anew or seen != self._seen:
                self._text, self._seen = self._read(), seen
        except (OSError, SettingsError) as error:
            if self._seen:
                self._seen = ()
                _log.warning("%s; the secret stays what it was", error)
        return self._text

    def _read(self) -> str:
        try:
            text = self._path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{self._path}: cannot be read: {error}") from error
        if not text or not text.isprintable():
            raise SettingsError(f"{self._path}: expected one line of text")
        return text


class Credentials:
    """What goes into the header Authorization.

    Args:
        username: For basic authentication, with `password`.
        bearer_token: For bearer authentication.

    Either secret is a text or a `Secret`.
    """

    def __init__(
        self,
        *,
        username: str | None = None,
        password: str | Secret = "",
        bearer_token: str | Secret | None = None,
    ) -> None:
        self._username = username
        self._password = password
        self._bearer_token = bearer_token

    def headers(self, *, anew: bool = False) -> Mapping[str, str]:
        """The header, where there is one.

        >>> Credentials(username="me", password="secret").headers()
        {'Authorization': 'Basic bWU6c2VjcmV0'}
        """
        if self._bearer_token is not None:
            # Headers are bytes; http.client takes them as Latin-1.
            token = _text(self._bearer_token, anew=anew).encode().decode("latin-1")
            return {"Authorization": f"Bearer {token}"}
        if self._username is not None:
            pair = f"{self._username}:{_text(self._password, anew=anew)}".encode()
            return {"Authorization": f"Basic {base64.b64encode(pair).decode('ascii')}"}
        return {}


def _text(secret: str | Secret, *, anew: bool) -> str:
    return secret if isinstance(secret, str) else secret.text(anew=anew)
