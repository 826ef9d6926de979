"""The messages that the bridge is measured with: 20 meters of 15 fields."""

from collections.abc import Iterator

from bridge.arrival import interpret
from bridge.store import Store
from readings.broker import Message
from readings.payload import CONTRACT, FieldInfo, Info, StreamRange, encode_info, encode_journal, encode_state
from readings.reading import DeviceKey, DeviceState, Kind
from readings.topics import Leaf, Topics
from readings.vocabulary import VOCABULARY

TOPICS = Topics("heating")
FIELDS = tuple(VOCABULARY[Kind.METER])[:15]
STREAM = "b3nc4a11"
STEP_MS = 10
DEVICES = tuple(DeviceKey(Kind.METER, f"meter-{number:02}") for number in range(20))
INTERVAL_S = 600.0
"""Long enough for every state of a backlog to count as of now, so that `Latest` takes all of them in."""


def make_info(device: DeviceKey, fields: tuple[str, ...] = FIELDS) -> Info:
    """A device's announcement."""
    return Info(
        contract=CONTRACT,
        poller="poller",
        stream=STREAM,
        title=device.name,
        manufacturer="",
        model="",
        profile="",
        interval=INTERVAL_S,
        fields={
            name: FieldInfo(
                unit=VOCABULARY[Kind.METER][name].unit,
                description=VOCABULARY[Kind.METER][name].description,
                prefixes=("meter",),
                labels={"device": device.name},
            )
            for name in fields
        },
    )


def make_state(seq: int, begin_ms: int, fields: tuple[str, ...] = FIELDS) -> DeviceState:
    """The state of that number; its values differ from the ones before, as measured ones do."""
    values = {name: round(100 + place + (seq * 7919 % 10007) / 1000, 3) for place, name in enumerate(fields)}
    return DeviceState(begin_ms + seq * STEP_MS, STREAM, seq, values)


def messages(states: int, begin_ms: int) -> Iterator[Message]:
    """Announcements, lists, and then as many states, device by device in turn."""
    per_device = states // len(DEVICES)
    for device in DEVICES:
        yield Message(TOPICS.device(device, Leaf.INFO), encode_info(make_info(device)))
        listed = encode_journal([StreamRange(STREAM, 1, per_device)])
        yield Message(TOPICS.device(device, Leaf.JOURNAL), listed)
    topics = [TOPICS.device(device, Leaf.STATE) for device in DEVICES]
    for seq in range(1, per_device + 1):
        payload = encode_state(make_state(seq, begin_ms))
        yield from (Message(topic, payload) for topic in topics)


def fill(store: Store, states: int, begin_ms: int) -> None:
    """Put such a backlog into a store."""
    arrivals = [interpret(one.topic, one.payload, TOPICS) for one in messages(states, begin_ms)]
    for first in range(0, len(arrivals), 1000):
        store.commit(arrivals[first : first + 1000], begin_ms)
