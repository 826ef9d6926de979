"""What a Shelly publishes, and what it is asked: MQTT messages to events and back.

From Shelly's documentation (MQTT, RPC protocol, notifications):

- `<prefix>/online`: `true` or `false`, retained, also the last will.
- `<prefix>/events/rpc`: NotifyStatus holds what has changed, NotifyFullStatus everything.
- `<prefix>/status/<component>`: all of one component; off from the factory.
- `<prefix>/rpc`: a request; its answer comes on `<src>/rpc`, whatever `src` it named.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from poller.errors import MessageError, MessageTrouble
from poller.sources.heard import LARGEST_BYTES
from readings.message import Message

_COMPONENT = re.compile(r"[a-z][a-z0-9_]{0,30}(:[0-9]{1,5})?")
LATEST_S = 253_402_300_799
"""The end of the year 9999; what is later is no time."""


@dataclass(frozen=True, slots=True)
class Presence:
    """The device has come to the broker, or has gone."""

    is_online: bool


@dataclass(frozen=True, slots=True)
class Told:
    """The status of one component, or what has changed of it.

    Attributes:
        component: Its key, `switch:0`.
        status: What the device says of it; in a change, a key that exists no more is `None`.
        time_ms: When it says so, where it gives that, milliseconds since 1970 UTC.
        is_whole: All of the status, not only what has changed.
    """

    component: str
    status: Mapping[str, Any]
    time_ms: int | None = None
    is_whole: bool = False


@dataclass(frozen=True, slots=True)
class Changed:
    """Something was set up differently: what is known of the device's components may not be so any more."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for a request; `error` says why there is no result."""

    number: int
    result: Mapping[str, Any]
    error: str = ""


Event = Presence | Told | Changed | Answer


def filters(prefix: str, asker: str) -> tuple[str, ...]:
    """What to listen to for one device.

    Args:
        prefix: Its topic prefix.
        asker: How requests to it are signed.
    """
    return (f"{prefix}/online", f"{prefix}/events/rpc", f"{prefix}/status/+", f"{asker}/rpc")


def is_from(prefix: str, asker: str, topic: str) -> bool:
    """Whether a topic is one of those that `filters` asks for."""
    return topic in {f"{prefix}/online", f"{prefix}/events/rpc", f"{asker}/rpc"} or (
        topic.startswith(f"{prefix}/status/")
    )


def request(prefix: str, asker: str, number: int, method: str, **params: object) -> Message:
    """A request, which is worth nothing when it comes late: QoS 0.

    >>> request("shelly-1", "me", 7, "Switch.GetStatus", id=0).payload
    b'{"id":7,"src":"me","method":"Switch.GetStatus","params":{"id":0}}'
    """
    body = {"id": number, "src": asker, "method": method, **({"params": params} if params else {})}
    return Message(f"{prefix}/rpc", msgspec.json.encode(body), qos=0)


def read(prefix: str, topic: str, payload: bytes) -> Iterator[Event]:
    """What a message says, in its order; `topic` is one that `filters` asked for.

    Raises:
        MessageError: It is not what a Shelly publishes there.
    """
    if topic == f"{prefix}/online":
        yield _presence(payload)
    elif topic == f"{prefix}/events/rpc":
        yield from _notification(_json(payload))
    elif topic.startswith(f"{prefix}/status/"):
        component = topic.removeprefix(f"{prefix}/status/")
        if _COMPONENT.fullmatch(component):
            yield Told(component, _table(_json(payload), component), is_whole=True)
    else:
        yield _answer(_json(payload))


def time_of(value: object) -> int | None:
    """Milliseconds of Shelly's seconds since 1970, which are `null` while it does not know the time.

    >>> time_of(1757059829.08), time_of(None), time_of(True)
    (1757059829080, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= LATEST_S:
        return None
    return round(value * 1000)


def _presence(payload: bytes) -> Presence:
    if payload not in {b"true", b"false"}:
        raise MessageError(f"online: expected true or false, got {payload[:20]!r}")
    return Presence(payload == b"true")


def _notification(frame: Mapping[str, Any]) -> Iterator[Event]:
    method, params = frame.get("method"), _table(frame.get("params"), "params")
    if method in {"NotifyStatus", "NotifyFullStatus"}:
        time_ms = time_of(params.get("ts"))
        for component, status in params.items():
            if component != "ts" and isinstance(status, dict) and _COMPONENT.fullmatch(component):
                yield Told(component, status, time_ms, is_whole=method == "NotifyFullStatus")
    elif method == "NotifyEvent":
        events = params.get("events")
        named = (
            [one.get("event") for one in events if isinstance(one, dict)] if isinstance(events, list) else []
        )
        if any(one in {"config_changed", "component_added", "component_removed"} for one in named):
            yield Changed()
    else:
        raise MessageError(
            f"method: expected NotifyStatus, NotifyFullStatus or NotifyEvent, got {method!r:.40}"
        )


def _answer(frame: Mapping[str, Any]) -> Answer:
    number, error = frame.get("id"), frame.get("error")
    if isinstance(number, bool) or not isinstance(number, int):
        raise MessageError(f"id: expected the number of a request, got {number!r:.40}")
    if error is not None:
        text = error.get("message") if isinstance(error, dict) else error
        return Answer(number, {}, str(text or "it says no more")[:200])
    return Answer(number, _table(frame.get("result"), "result"))


def _json(payload: bytes) -> Mapping[str, Any]:
    if len(payload) > LARGEST_BYTES:
        raise MessageError(f"it has more than {LARGEST_BYTES} bytes", MessageTrouble.TOO_LARGE)
    try:
        return _table(msgspec.json.decode(payload), "message")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MessageError(f"expected JSON: {error}") from error


def _table(value: object, place: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise MessageError(f"{place}: expected an object, got {value!r:.40}")
    return value
