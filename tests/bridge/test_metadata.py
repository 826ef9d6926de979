"""What the metrics are, told once a minute beside the samples."""

import time

import pytest

from bridge import explainer as explainer_module
from bridge.database import Database
from bridge.explainer import Explainer
from bridge.outbox import Outbox
from bridge.remote_write.connection import Connection, ReceiverSettings
from bridge.remote_write.metadata import MAX_FAMILIES, Family, encode_metadata, to_families
from bridge.store import Store
from readings.health import BRIDGE_HEALTH, Tally
from readings.payload import FieldInfo, Info
from tests.bridge.receiver import Answer, Receiver
from tests.bridge.states import METER, NOON_MS, PUMP, info, make_info, ready

POWER = FieldInfo(unit="kW", kind="power", description="Active power", prefixes=("meter", "wago"))


def explain(infos, connection, tally: Tally, *, is_quiet=lambda: False, monotonic=lambda: 0.0) -> Explainer:
    return Explainer(infos, connection, tally=tally, is_quiet=is_quiet, monotonic=monotonic)


def announce(**fields: FieldInfo) -> Info:
    return Info(
        contract=1,
        poller="p",
        stream="a",
        title="t",
        manufacturer="",
        model="",
        profile="",
        interval=5,
        fields=fields,
    )


@pytest.fixture
def receiver():
    with Receiver().running() as receiver:
        yield receiver


@pytest.fixture
def connection(receiver):
    connection = Connection(ReceiverSettings(receiver.url), lambda: NOON_MS / 1000)
    yield connection
    connection.close()


def test_every_metric_is_told_once():
    count = FieldInfo(unit="kWh", kind="energy", description="Energy", prefixes=("meter",))
    infos = [announce(power_kw=POWER), announce(power_kw=POWER, energy_kwh=count)]
    assert to_families(infos) == (
        Family("meter_energy_kwh", "Energy", "kWh"),
        Family("meter_power_kw", "Active power", "kW"),
        Family("wago_power_kw", "Active power", "kW"),
    )


def test_type_help_and_unit_arrive_in_a_request_of_their_own(receiver, connection):
    tally = Tally(BRIDGE_HEALTH)
    explain(lambda: [announce(power_kw=POWER)], connection, tally).send()
    (request,) = receiver.metadata
    one = request.metadata[0]
    assert (one.metric_family_name, one.help, one.unit) == ("meter_power_kw", "Active power", "kW")
    assert one.type == one.MetricType.GAUGE
    assert receiver.bodies == []
    assert tally.value("bridge_requests_total", outcome="metadata") == 1


def test_a_request_holds_at_most_2000_metrics(receiver, connection):
    fields = {f"f{number}": POWER for number in range(1500)}
    explain(lambda: [announce(**fields)], connection, Tally(BRIDGE_HEALTH)).send()
    assert [len(one.metadata) for one in receiver.metadata] == [MAX_FAMILIES, 1000]
    assert list(encode_metadata(())) == []


@pytest.mark.parametrize("status", [400, 404, 500])
def test_a_receiver_that_does_not_want_it_is_left_in_peace_until_the_next_minute(
    receiver, connection, status
):
    receiver.metadata_answer = Answer(status)
    tally = Tally(BRIDGE_HEALTH)
    fields = {f"f{number}": POWER for number in range(1500)}
    explain(lambda: [announce(**fields)], connection, tally).send()
    assert len(receiver.metadata) == 1
    assert tally.value("bridge_requests_total", outcome="metadata_failed") == 1


def test_it_is_silent_while_the_receiver_wants_to_be_left_alone(receiver, connection):
    """Whether it was told so itself, or whoever sends the samples; the samples do not wait for what it was told."""
    now_s, is_quiet = [0.0], True
    explainer = explain(
        lambda: [announce(power_kw=POWER)],
        connection,
        Tally(BRIDGE_HEALTH),
        is_quiet=lambda: is_quiet,
        monotonic=lambda: now_s[0],
    )
    explainer.send()
    assert receiver.metadata == []
    is_quiet = False
    receiver.metadata_answer = Answer(503, {"Retry-After": "100"})
    for at_s, told in ((0.0, 1), (60.0, 1), (120.0, 2)):
        now_s[0] = at_s
        explainer.send()
        assert len(receiver.metadata) == told


def test_the_newest_announcement_of_each_device_counts(tmp_path):
    database = Database(tmp_path / "store.sqlite")
    outbox = Outbox(database, boot="1")
    assert outbox.announced() == ()
    Store(database).commit([*ready(1), info("b"), *ready(1, "c", PUMP), info("d", contract=2)], NOON_MS)
    assert {one.stream for one in outbox.announced()} == {"b", "c"}
    assert make_info("b", METER) in outbox.announced()
    database.close()


def test_it_stops_at_once(monkeypatch, connection):
    monkeypatch.setattr(explainer_module, "EVERY_S", 3600.0)
    explainer = explain(list, connection, Tally(BRIDGE_HEALTH))
    explainer.stop()
    began_s = time.monotonic()
    explainer.run()
    assert time.monotonic() - began_s < 1
