"""Whatever is published where a Shelly would: readings that can be, or a refusal; nothing else."""

import math
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poller.errors import MessageError, MessageTrouble
from poller.sources.heard import LARGEST_BYTES
from poller.sources.shelly.source import ShellySource
from tests.poller.shelly.house import NOON_S, PRO2, SIGNATURE, House, blu

CONFIG = f"""
[[shelly]]
prefix = "{PRO2}"
[[shelly.sensor]]
name = "hall"
address = "00:00:5e:00:53:10"
[[shelly.thermostat]]
name = "room"
target = "number:200"
current = "hall"
[[shelly.meter]]
name = "house"
"""


def test_what_is_larger_than_any_shelly_says_is_not_read():
    """Read into objects it would take many times its size of memory."""
    frame = b'{"method":"NotifyStatus","params":{"x":[' + b"{}," * LARGEST_BYTES + b"{}]}}"
    with pytest.raises(MessageError) as caught:
        House(CONFIG).hears(f"{PRO2}/events/rpc", frame)
    assert caught.value.reason is MessageTrouble.TOO_LARGE


VALUE = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**30), 10**30), st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([20.4, 63, NOON_S, "on", "", "00:00:5e:00:53:10", 69]),
)  # fmt: skip
KEY = st.sampled_from(
    [
        "id", "value", "last_updated_ts", "rssi", "battery", "output", "tC", "rh", "total_act", "a_freq", "ts",
        "addr", "obj_id", "idx", "name", "key", "config", "status", "components", "offset", "total",
    ]
)  # fmt: skip
TABLE = st.dictionaries(KEY, st.one_of(VALUE, st.dictionaries(KEY, VALUE, max_size=4)), max_size=6)
COMPONENT = st.sampled_from(
    [
        "bthomesensor:202",
        "bthomedevice:200",
        "switch:0",
        "number:200",
        "em:0",
        "emdata:0",
        "temperature:0",
        "wifi",
        "ts",
        "x",
    ]
)
PARAMS = st.dictionaries(COMPONENT, st.one_of(TABLE, VALUE), max_size=4)
FRAME = st.fixed_dictionaries(
    {},
    optional={
        "method": st.sampled_from(["NotifyStatus", "NotifyFullStatus", "NotifyEvent", "x"]),
        "params": st.one_of(PARAMS, VALUE),
        "id": st.one_of(st.integers(0, 9), VALUE),
        "result": st.one_of(TABLE, PARAMS, VALUE),
        "error": st.one_of(TABLE, VALUE),
    },
)
TOPIC = st.sampled_from(
    [
        f"{PRO2}/events/rpc",
        f"{PRO2}/online",
        f"{SIGNATURE}/rpc",
        f"{PRO2}/status/bthomesensor:202",
        f"{PRO2}/status/x y",
    ]
)
MESSAGE = st.tuples(TOPIC, st.one_of(FRAME, TABLE, VALUE), st.booleans())


@settings(max_examples=60)
@given(st.lists(MESSAGE, max_size=12))
def test_whatever_is_published_makes_readings_that_can_be_or_is_refused(messages):
    house = House(CONFIG)
    house.lists(*blu(200, "00:00:5e:00:53:10", first=200))
    for topic, said, is_live in messages:
        house.now += 31
        asked = house.asks(connection=round(house.now))
        is_answer = isinstance(said, dict) and "result" in said and asked
        payload = {**said, "id": asked[0]["id"]} if is_answer else said
        with suppress(MessageError):
            for reading in house.hears(topic, payload, is_live=is_live):
                for name, value in reading.fresh.items():
                    low, high = house.device(reading.device).fields[name].rules.range
                    assert math.isfinite(value)
                    assert low <= value <= high, name
    kept = house.source.keep()
    again = ShellySource([], house.source._profiles, signature="x")
    again.restore(kept)
    house.restart()
    assert msgspec.json.decode(house.source.keep()) == msgspec.json.decode(kept)
