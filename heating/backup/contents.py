"""What is in a backup: its head, its parts, and the list of its files with their checksums.

A backup is a tar file, compressed with gzip. Its first member says what it is, its
last one lists all others: one without the list was cut off.
"""

from collections.abc import Mapping

import msgspec

from heating.errors import CommandError

FORMAT = 1
"""Of backups; one of a higher format is refused."""

HEAD = "heating-backup.json"
LIST = "files.json"

PARTS = ("config", "secrets", "store", "journal", "prometheus", "mosquitto", "grafana")
"""The folders of a backup, in the order in which they are taken.

The store is taken before Prometheus: what the bridge sends in between is in both,
and sending it again changes nothing. The other way round it would be in neither.
"""

WHOLE_FOLDERS = frozenset({"config", "secrets", "prometheus"})
"""Parts that are many files; each other one is a single file."""


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The first member: `format` of the backup, `version` of the program and the time, UTC."""

    format: int
    version: str
    made: str


class Rights(msgspec.Struct, frozen=True):
    """Who may do what with a file: the bits of its mode; its user and group, by name or, without one, by number."""

    mode: int
    user: str
    group: str


class FileEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """A file: its size in bytes, the SHA-256 of what is in it, and of the configuration whose it was."""

    size: int
    sha256: str
    rights: Rights | None = None


Listing = Mapping[str, FileEntry]


def encode_head(head: Head) -> bytes:
    """The first member."""
    return msgspec.json.encode(head)


def decode_head(data: bytes, place: str) -> Head:
    """What the first member says.

    Raises:
        CommandError: It is no backup of ours, or of a later release.
    """
    try:
        head = msgspec.json.decode(data, type=Head)
    except msgspec.DecodeError as error:
        raise CommandError(f"{place}: this is no backup of heating") from error
    if head.format != FORMAT:
        raise CommandError(
            f"{place}: expected a backup of format {FORMAT}, got {head.format}, "
            f"made by version {head.version}: restore it with that release"
        )
    return head


def encode_listing(listing: Listing) -> bytes:
    """The last member."""
    return msgspec.json.encode(listing)


def decode_listing(data: bytes, place: str) -> Listing:
    """What the last member says.

    Raises:
        CommandError: It is no list.
    """
    try:
        return msgspec.json.decode(data, type=dict[str, FileEntry])
    except msgspec.DecodeError as error:
        raise CommandError(f"{place}: its list of files cannot be read") from error


def split_name(name: str, place: str) -> tuple[str, str]:
    """The part and the path within it of a member.

    Raises:
        CommandError: It would lie elsewhere, or belongs to no part that is known.

    >>> split_name("prometheus/01H/chunks/000001", "b.tar.gz")
    ('prometheus', '01H/chunks/000001')
    """
    part, _, rest = name.partition("/")
    is_plain = {"", ".", ".."}.isdisjoint(name.split("/")) and "\0" not in name and "\\" not in name
    is_known = part in WHOLE_FOLDERS or (part in PARTS and "/" not in rest)
    if not is_plain or not is_known or not rest:
        raise CommandError(f"{place}: holds {name!r}, which this release does not know: nothing was restored")
    return part, rest
