"""What a Shelly is asked, when, and what comes of answers that do not come."""

import json

import pytest

from poller.device import describe_device
from poller.errors import MessageError
from readings.payload import encode_info
from readings.reading import is_device_name
from tests.poller.shelly.house import PRO2, House, blu

LISTING = "Shelly.GetComponents"


def times_asked(house: House, seconds: int, method: str = LISTING) -> list[int]:
    found = []
    for second in range(seconds):
        house.now = float(second)
        found += [second for one in house.asks() if one["method"] == method]
    return found


def test_a_silent_gateway_is_asked_more_and_more_seldom():
    assert times_asked(House(), 1000) == [0, 10, 30, 70, 150, 310, 610, 910]


def test_one_that_has_gone_is_not_asked_and_asked_at_once_when_it_is_back():
    house = House()
    house.hears(f"{PRO2}/online", b"false")
    assert house.asks() == []
    house.now = 500
    house.hears(f"{PRO2}/online", b"true")
    assert [one["method"] for one in house.asks()] == [LISTING, "Shelly.GetStatus"]


def test_a_new_connection_asks_anew():
    house = House()
    house.lists(*blu(200, "00:00:5e:00:53:10", first=200))
    house.now = 60
    assert house.asks() == []
    assert [one["method"] for one in house.asks(connection=2)] == [LISTING, "Shelly.GetStatus"]


def test_an_answer_that_nobody_waits_for_says_nothing():
    """It may have waited at the broker since an earlier run."""
    house = House()
    listing = house.asks()[0]
    page = {"components": blu(200, "00:00:5e:00:53:10", first=200), "offset": 0, "total": 4}
    house.answers(listing["id"] + 7, page)
    house.now = 11
    house.asks()
    house.answers(listing["id"], page)
    assert house.names() == set()


def test_an_older_device_that_cannot_list_its_components_is_left_alone():
    house = House()
    for question in house.asks():
        if question["method"] == LISTING:
            error = {"id": question["id"], "error": {"code": 404, "message": "No handler"}}
            assert house.hears(f"{question['src']}/rpc", error) == []
    house.now = 3600
    assert LISTING not in [one["method"] for one in house.asks()]


def test_a_refusal_is_said():
    house = House()
    question = house.asks()[1]
    with pytest.raises(MessageError, match=f"{PRO2} refuses a request: no"):
        house.hears(f"{question['src']}/rpc", {"id": question["id"], "error": {"code": 401, "message": "no"}})


def test_a_change_of_its_setup_makes_it_asked_again():
    house = House()
    house.lists()
    house.now = 5
    event = {"component": "bthome", "event": "config_changed", "cfg_rev": 13}
    house.hears(f"{PRO2}/events/rpc", {"method": "NotifyEvent", "params": {"ts": 1.0, "events": [event]}})
    assert times_asked(house, 100)[0] == 30


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        (f"{PRO2}/online", b"perhaps"),
        (f"{PRO2}/events/rpc", b""),
        (f"{PRO2}/events/rpc", b"[]"),
        (f"{PRO2}/events/rpc", b'{"method":"NotifyStatus"}'),
        (f"{PRO2}/events/rpc", b'{"method":"NotifyStatus","params":[]}'),
        (f"{PRO2}/events/rpc", b'{"method":"Explode","params":{}}'),
        (f"{PRO2}/events/rpc", b"\xff\xfe"),
        (f"{PRO2}/events/rpc", b"[" * 100_000),
        (f"{PRO2}/status/switch:0", b"3"),
        ("heating-poller-house-sources-0/rpc", b'{"id":true}'),
        ("heating-poller-house-sources-0/rpc", b"{}"),
    ],
)
def test_what_is_no_message_of_a_shelly_is_refused(topic, payload):
    with pytest.raises(MessageError):
        House().hears(topic, payload)


@pytest.mark.parametrize(
    "component",
    [
        {"key": "bthomedevice:200"},
        {"key": "bthomedevice:200", "config": {"addr": "../../x", "name": "x"}},
        {"key": "bthomedevice:200", "config": {"addr": 7}},
        {"key": "../x", "config": {"addr": "00:00:5e:00:53:10"}},
        {"key": "bthomedevice:9999999999", "config": {"addr": "00:00:5e:00:53:10"}},
        7,
        None,
    ],
)
def test_a_component_that_cannot_be_is_passed_over(component):
    house = House()
    house.lists(component, *blu(200, "00:00:5e:00:53:10", first=200))
    assert house.names() == {"blu-00005e005310"}


@pytest.mark.parametrize("name", ["../../+/#", "a" * 1000, "\x00", "💥 <b>Küche</b>", "{device}"])
def test_a_hostile_name_is_harmless(name):
    house = House()
    payload = json.dumps(
        {"components": blu(200, "00:00:5e:00:53:10", first=200, name=name), "offset": 0, "total": 4}
    )
    question = house.asks()[0]
    house.hears(f"{question['src']}/rpc", b'{"id":%d,"result":%s}' % (question["id"], payload.encode()))
    (device,) = house.source.devices
    assert is_device_name(device.key.name)
    assert len(device.key.name) <= 64
    assert len(device.title) <= 60
    encode_info(describe_device(device, "house", "s1"))


@pytest.mark.parametrize("value", [True, "20", [], {}, 1e300, 10**30, "NaN", None])
def test_a_value_that_is_no_temperature_makes_no_reading(value):
    house = House()
    house.lists(*blu(200, "00:00:5e:00:53:10", first=200))
    house.now = 60
    readings = house.notified("bthomesensor:202", value=value, last_updated_ts=1_795_500_000)
    assert all(
        "temperature_celsius" not in one.fresh or one.fresh["temperature_celsius"] == 1 for one in readings
    )
