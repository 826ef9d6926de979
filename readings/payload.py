"""How the contract's messages look as bytes.

Everything here takes bytes and gives frozen types, or the other way round;
nothing knows a socket or a clock.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec.json import Decoder

from readings.errors import PayloadError
from readings.reading import DeviceState, Value, is_field_name

_T = TypeVar("_T")

CONTRACT = 1
"""The version of the contract that this code speaks."""

ONLINE = b"online"
OFFLINE = b"offline"

MAX_REPLAY = 200
"""How many states one replay request may ask for."""

MAX_LISTED = 500
"""How many streams a journal list names, the newest ones."""

LARGEST_SEQ = 2**63 - 1
"""What a row of a journal or a store can hold; nobody counts so far."""

FieldKind = Literal["measurement", "power", "energy", "bit", "enum"]
"""How a field behaves: an `energy` count never falls, a `bit` is 0 or 1, an `enum`'s numbers have words."""


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_VALUES = frozenset({int, float, type(None)})
"""The types of a value, and nothing derived from them: Python's truths are numbers, JSON's are not."""

# `\Z`, because `$` takes a line's end behind the name as well.
Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9_-]+\Z")]
MetricName = Annotated[str, msgspec.Meta(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*\Z")]
LabelName = Annotated[str, msgspec.Meta(pattern=r"^(?!__)[a-zA-Z_][a-zA-Z0-9_]*\Z")]
Seq = Annotated[int, msgspec.Meta(ge=1, le=LARGEST_SEQ)]


class FieldInfo(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a consumer must know of one field to show or store it.

    Attributes:
        unit: As people write it ("kW", "°C"); empty for a number without one.
        prefixes: One series each: `meter` makes `meter_power_total_kw`.
        labels: The constant labels of those series.
        words: For an enum, what its numbers mean.
        interval: Seconds between two reads of it, where it is read more seldom than its device; 0 otherwise.
    """

    unit: str = ""
    kind: FieldKind = "measurement"
    description: str = ""
    prefixes: tuple[MetricName, ...] = ()
    labels: dict[LabelName, str] = {}
    words: dict[str, str] = {}
    interval: Annotated[float, msgspec.Meta(ge=0)] = 0


class Info(msgspec.Struct, frozen=True, kw_only=True):
    """What the poller announces of a device, retained.

    Attributes:
        contract: The version of the contract; a higher one than ours is kept but not understood.
        poller: The poller that reads the device.
        stream: The run of the poller that announced it. States of that stream
            are to be read with this info, whatever a later run announces.
        title: What people call the device, any text.
        interval: Seconds between two polls; for a source that reports by itself half its silence limit.
    """

    contract: int
    poller: str
    stream: str
    title: str
    manufacturer: str
    model: str
    profile: str
    interval: Annotated[float, msgspec.Meta(gt=0)]
    fields: dict[MetricName, FieldInfo]


class _AnyInfo(msgspec.Struct, frozen=True):
    """What the announcement of any contract says."""

    contract: int
    poller: str = ""
    stream: str = ""
    title: str = ""


class StreamRange(msgspec.Struct, frozen=True, array_like=True):
    """What the poller's journal holds of one stream: the states `first` to `last`, both included."""

    stream: str
    first: Seq
    last: Seq


class Replay(msgspec.Struct, frozen=True, rename={"first": "from", "last": "to"}):
    """A consumer's request for states of a device's journal, both ends included."""

    stream: str
    first: Seq
    last: Seq


_STATE = Decoder(dict[str, object])
_INFO = Decoder(Info)
_ANY_INFO = Decoder(_AnyInfo)
_JOURNAL = Decoder(tuple[StreamRange, ...])
_REPLAY = Decoder(Replay)


def format_time(time_ms: int) -> str:
    """A time as the contract writes it: UTC, milliseconds.

    >>> format_time(1_795_406_706_123)
    '2026-11-23T04:05:06.123Z'
    """
    whole = datetime.fromtimestamp(time_ms // 1000, UTC)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{time_ms % 1000:03d}Z"


def parse_time(text: str) -> int:
    """Milliseconds since 1970 UTC of an ISO 8601 time that names its offset.

    Raises:
        PayloadError: It is not a time, or says nothing of its time zone.

    >>> parse_time("2026-11-23T05:05:06.123+01:00")
    1795406706123
    """
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise PayloadError(f"time: expected an offset or 'Z', got {text!r}")
        since = moment.astimezone(UTC) - _EPOCH
    except (ValueError, OverflowError) as error:
        raise PayloadError(f"time: expected ISO 8601, got {text!r}") from error
    return (since.days * 86400 + since.seconds) * 1000 + since.microseconds // 1000


def encode_state(state: DeviceState) -> bytes:
    """One readable line: time first, then identity, fields and what is held.

    >>> encode_state(DeviceState(1_795_406_706_123, "k3f9", 8123, {"power_total_kw": 1.234, "tariff": None}))
    b'{"time":"2026-11-23T04:05:06.123Z","stream":"k3f9","seq":8123,"power_total_kw":1.234,"tariff":null,"held":[]}'
    """
    return msgspec.json.encode(
        {
            "time": None if state.time_ms is None else format_time(state.time_ms),
            "stream": state.stream,
            "seq": state.seq,
            **state.values,
            "held": sorted(state.held),
        }
    )


def decode_state(payload: bytes) -> DeviceState:
    """Read a state.

    Keys that cannot be a field, and values that are neither number nor null,
    belong to a later version of the contract and are passed over.

    Raises:
        PayloadError: It is not a state; the text names the key.
    """
    parts = _decode(payload, _STATE)
    time, stream, seq, held = (parts.pop(key, None) for key in ("time", "stream", "seq", "held"))
    if not isinstance(stream, str) or not stream:
        raise PayloadError(f"stream: expected a name, got {stream!r}")
    if seq is not None and (not isinstance(seq, int) or isinstance(seq, bool) or not 1 <= seq <= LARGEST_SEQ):
        raise PayloadError(f"seq: expected a whole number from 1 or null, got {seq!r}")
    if time is not None and not isinstance(time, str):
        raise PayloadError(f"time: expected text or null, got {time!r}")
    if held is not None and not (isinstance(held, list) and all(isinstance(name, str) for name in held)):
        raise PayloadError(f"held: expected a list of field names, got {held!r}")
    values: dict[str, Value] = {
        name: value  # type: ignore[misc]  # mypy does not follow the types in a tuple
        for name, value in parts.items()
        if type(value) in _VALUES
    }
    unfresh = frozenset(held or ())
    try:
        time_ms = None if time is None else parse_time(time)
        try:
            return DeviceState(time_ms, stream, seq, values, unfresh.intersection(values))
        except ValueError:
            # Only now is each name looked at, for such keys are rare and states come by the thousand.
            values = {name: value for name, value in values.items() if is_field_name(name)}
            return DeviceState(time_ms, stream, seq, values, unfresh.intersection(values))
    except (ValueError, OverflowError) as error:
        raise PayloadError(str(error)) from error


def encode_info(info: Info) -> bytes:
    """The announcement of a device."""
    return msgspec.json.encode(info)


def decode_info(payload: bytes) -> Info:
    """Read the announcement of a device.

    Of a higher contract only what every contract has is read: no fields, so
    that its states wait.

    Raises:
        PayloadError: It is not one; the text names the key.
    """
    any_info = _decode(payload, _ANY_INFO)
    if any_info.contract <= CONTRACT:
        return _decode(payload, _INFO)
    return Info(
        contract=any_info.contract,
        poller=any_info.poller,
        stream=any_info.stream,
        title=any_info.title,
        manufacturer="",
        model="",
        profile="",
        interval=30,
        fields={},
    )


def encode_journal(ranges: Iterable[StreamRange]) -> bytes:
    """The list of what the journal holds, oldest stream first, at most the newest `MAX_LISTED`.

    >>> encode_journal([StreamRange("k3f9", 1, 812)])
    b'[["k3f9",1,812]]'
    """
    return msgspec.json.encode(list(ranges)[-MAX_LISTED:])


def decode_journal(payload: bytes) -> tuple[StreamRange, ...]:
    """Read the list of what a journal holds.

    Raises:
        PayloadError: It is not such a list, it is longer than `MAX_LISTED`, or a range is empty.
    """
    ranges = _decode(payload, _JOURNAL)
    if len(ranges) > MAX_LISTED:  # whoever reads it works through all of it
        raise PayloadError(f"journal: expected at most {MAX_LISTED} streams, got {len(ranges)}")
    for one in ranges:
        if not one.stream or one.first > one.last:
            raise PayloadError(f"journal: expected [stream, first, last] with 1 <= first <= last, got {one}")
    return ranges


def encode_replay(request: Replay) -> bytes:
    """A request for states of the journal.

    >>> encode_replay(Replay("k3f9", 812, 830))
    b'{"stream":"k3f9","from":812,"to":830}'
    """
    return msgspec.json.encode(request)


def decode_replay(payload: bytes) -> Replay:
    """Read a request for states of the journal.

    Raises:
        PayloadError: It is not one, is empty, or asks for more than `MAX_REPLAY` states.
    """
    request = _decode(payload, _REPLAY)
    if request.first > request.last or request.last - request.first >= MAX_REPLAY:
        raise PayloadError(f"replay: expected 1 <= from <= to and at most {MAX_REPLAY} states, got {request}")
    return request


def _decode(payload: bytes, decoder: Decoder[_T]) -> _T:
    try:
        return decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PayloadError(str(error)) from error
