"""What a message from the bus means for the bridge; every message means something, and be it a refusal."""

from dataclasses import dataclass
from typing import Annotated

import msgspec

from readings.errors import PayloadError, TopicError
from readings.health import Health, decode_health
from readings.payload import (
    OFFLINE,
    ONLINE,
    Info,
    StreamRange,
    decode_info,
    decode_journal,
    decode_state,
)
from readings.reading import DeviceKey, DeviceState
from readings.topics import DeviceTopic, Leaf, Program, ProgramLeaf, ProgramTopic, Topics

MAX_SEQ = 2**53
"""JSON's whole numbers are exact up to here; no stream comes near."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Which state it is: one content for ever."""

    device: DeviceKey
    stream: str
    seq: int


@dataclass(frozen=True, slots=True)
class StateCame:
    """A state, live (`state`) or sent again on request (`history`)."""

    device: DeviceKey
    state: DeviceState
    payload: bytes
    is_live: bool

    @property
    def identity(self) -> Identity | None:
        """Which state it is; None when nobody is to store it."""
        if self.state.seq is None or self.state.time_ms is None:
            return None
        return Identity(self.device, self.state.stream, self.state.seq)


@dataclass(frozen=True, slots=True)
class InfoCame:
    """A device was announced; in words of a later contract than ours it has no fields for us."""

    device: DeviceKey
    stream: str
    contract: int
    info: Info
    payload: bytes


@dataclass(frozen=True, slots=True)
class InfoGone:
    """A device's announcement was taken back: it is not there any more."""

    device: DeviceKey


@dataclass(frozen=True, slots=True)
class JournalCame:
    """The list of what the poller's journal holds of a device.

    Attributes:
        is_live: The poller said it just now; else it lay at the broker and may be an old one.
    """

    device: DeviceKey
    ranges: tuple[StreamRange, ...]
    is_live: bool = True


@dataclass(frozen=True, slots=True)
class AvailabilityCame:
    """A device can be read, or cannot."""

    device: DeviceKey
    is_online: bool


@dataclass(frozen=True, slots=True)
class ProgramCame:
    """A program came or went."""

    program: Program
    name: str
    is_online: bool


@dataclass(frozen=True, slots=True)
class HealthCame:
    """A program's report of itself."""

    program: Program
    name: str
    health: Health


@dataclass(frozen=True, slots=True)
class Nothing:
    """A retained message was taken back: an empty payload says so."""


@dataclass(frozen=True, slots=True)
class RefusedMessage:
    """Not what the contract says.

    Attributes:
        identity: Which state it would have been, where that can be read: it
            is not asked for again, for it would be the same.
    """

    topic: str
    reason: str
    payload: bytes = b""
    identity: Identity | None = None


Arrival = (
    StateCame
    | InfoCame
    | InfoGone
    | JournalCame
    | AvailabilityCame
    | ProgramCame
    | HealthCame
    | Nothing
    | RefusedMessage
)


def interpret(topic: str, payload: bytes, topics: Topics, *, retained: bool = False) -> Arrival:
    """Say what a message means.

    Args:
        topic: Where it came.
        payload: What it says.
        topics: The topic scheme.
        retained: It lay at the broker; it did not just happen.

    >>> interpret("heating/meter/wp/availability", b"online", Topics("heating"))
    AvailabilityCame(device=DeviceKey(kind=<Kind.METER: 'meter'>, name='wp'), is_online=True)
    >>> interpret("heating/meter/wp/state", b"{}", Topics("heating"))
    RefusedMessage(topic='heating/meter/wp/state', reason='stream: expected a name, got None', payload=b'{}', identity=None)
    """
    try:
        place = topics.parse(topic)
    except TopicError as error:
        return RefusedMessage(topic, str(error), payload)
    if not payload:
        if isinstance(place, DeviceTopic) and place.leaf is Leaf.INFO:
            return InfoGone(place.key)
        return Nothing()
    try:
        if isinstance(place, ProgramTopic):
            return _of_program(place, payload)
        return _of_device(place, payload, retained=retained)
    except PayloadError as error:
        return RefusedMessage(topic, str(error), payload, _identity(place, payload))


def _of_program(place: ProgramTopic, payload: bytes) -> Arrival:
    if place.leaf is ProgramLeaf.HEALTH:
        return HealthCame(place.program, place.name, decode_health(payload))
    return ProgramCame(place.program, place.name, _is_online(payload))


def _of_device(place: DeviceTopic, payload: bytes, *, retained: bool) -> Arrival:
    if place.leaf is Leaf.INFO:
        return _info(place.key, payload)
    if place.leaf is Leaf.JOURNAL:
        ranges = decode_journal(payload)
        if any(one.last > MAX_SEQ for one in ranges):
            raise PayloadError(f"journal: expected numbers up to {MAX_SEQ}")
        return JournalCame(place.key, ranges, is_live=not retained)
    if place.leaf is Leaf.AVAILABILITY:
        return AvailabilityCame(place.key, _is_online(payload))
    if place.leaf is Leaf.REPLAY:
        raise PayloadError("a request for states is for the poller")
    state = decode_state(payload)
    if state.seq is not None and state.seq > MAX_SEQ:
        raise PayloadError(f"seq: expected a number up to {MAX_SEQ}, got {state.seq}")
    return StateCame(place.key, state, payload, place.leaf is Leaf.STATE)


class _Announcement(msgspec.Struct):
    """What every version of the contract says in an `info`."""

    contract: Annotated[int, msgspec.Meta(ge=1, le=MAX_SEQ)]
    stream: Annotated[str, msgspec.Meta(min_length=1)]


def _info(device: DeviceKey, payload: bytes) -> InfoCame:
    try:
        head = msgspec.json.decode(payload, type=_Announcement)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PayloadError(str(error)) from error
    return InfoCame(device, head.stream, head.contract, decode_info(payload), payload)


def _is_online(payload: bytes) -> bool:
    if payload not in {ONLINE, OFFLINE}:
        raise PayloadError(f"availability: expected online or offline, got {payload[:40]!r}")
    return payload == ONLINE


class _Name(msgspec.Struct):
    """The part of a state that says which one it is."""

    stream: str
    seq: int


def _identity(place: DeviceTopic | ProgramTopic, payload: bytes) -> Identity | None:
    if not isinstance(place, DeviceTopic) or place.leaf not in {Leaf.STATE, Leaf.HISTORY}:
        return None
    try:
        name = msgspec.json.decode(payload, type=_Name)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return Identity(place.key, name.stream, name.seq) if name.stream and 1 <= name.seq <= MAX_SEQ else None
