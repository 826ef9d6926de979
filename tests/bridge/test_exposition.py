"""The text of /metrics, to the letter."""

import msgspec
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from bridge.exposition import make_registry, render_metrics
from bridge.latest import Latest
from readings.health import BRIDGE_HEALTH, Health, HealthSample, Tally
from readings.payload import FieldInfo, Info
from readings.reading import DeviceKey, DeviceState, Kind
from readings.topics import Program

POWER = FieldInfo(
    unit="kW",
    kind="power",
    description="Total active power, export negative",
    prefixes=("meter", "wago"),
    labels={"device": "wp"},
)
ENERGY = FieldInfo(
    unit="kWh", kind="energy", description="Active energy", prefixes=("meter",), labels={"device": "wp"}
)


def info(fields, title="Meter", poller="cellar"):
    return Info(
        contract=1,
        poller=poller,
        stream="s",
        title=title,
        manufacturer="",
        model="",
        profile="",
        interval=10,
        fields=fields,
    )


def expose(devices, *, now=0.0, pollers=(), gone=(), tally=None, accept=""):
    """The text of /metrics for devices given as (kind, name, fields, values)."""
    latest = Latest()
    for kind, name, fields, values in devices:
        key = DeviceKey(kind, name)
        latest.announce(key, info(fields))
        latest.offer(key, DeviceState(1000, "s", 1, values), retained=False, now_ms=1000, now=0.0)
    for name, metrics in pollers:
        latest.health(Program.POLLER, name, Health(name=name, version="1", metrics=metrics))
    for name in gone:
        latest.poller_gone(name)
    registry = make_registry(latest, tally or Tally(BRIDGE_HEALTH), lambda: now)
    body, content_type = render_metrics(registry, accept)
    return body.decode(), content_type


METER = (
    Kind.METER,
    "wp",
    {"power_total_kw": POWER, "energy_total_kwh": ENERGY},
    {"power_total_kw": -0.046, "energy_total_kwh": 12345.67},
)


def test_the_whole_text():
    tally = Tally(BRIDGE_HEALTH)
    tally.count("bridge_states_stored_total", 3, device="wp")
    tally.set("bridge_broker_connected", 1)
    sensor = {"device_id": "201", "sensor_name": 'Wohn"zimmer\\\n🔥'}
    text, content_type = expose(
        [
            METER,
            (
                Kind.METER,
                "garage",
                {
                    "power_total_kw": FieldInfo(
                        description="Other words", prefixes=("meter",), labels={"device": "garage"}
                    )
                },
                {"power_total_kw": 1_500_000},
            ),
            (
                Kind.SENSOR,
                "temp",
                {
                    "temperature_celsius": FieldInfo(
                        unit="°C",
                        description='Line one\nback\\slash "quoted"',
                        prefixes=("sensor",),
                        labels=sensor,
                    )
                },
                {"temperature_celsius": 21.5},
            ),
        ],
        tally=tally,
        pollers=[
            (
                "cellar",
                {
                    "poller_requests_total": [HealthSample({"bus": "rs485"}, 42)],
                    "poller_journal_rows": [HealthSample({}, 7)],
                },
            ),
            ("attic", {"poller_requests_total": [HealthSample({"bus": "tcp"}, 1)]}),
        ],
    )
    assert content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert text == (
        "# HELP meter_energy_total_kwh Active energy (kWh)\n"
        "# TYPE meter_energy_total_kwh gauge\n"
        'meter_energy_total_kwh{device="wp"} 12345.67\n'
        "# HELP meter_power_total_kw Other words\n"
        "# TYPE meter_power_total_kw gauge\n"
        'meter_power_total_kw{device="garage"} 1.5e+06\n'
        'meter_power_total_kw{device="wp"} -0.046\n'
        '# HELP sensor_temperature_celsius Line one\\nback\\\\slash "quoted" (°C)\n'
        "# TYPE sensor_temperature_celsius gauge\n"
        'sensor_temperature_celsius{device_id="201",sensor_name="Wohn\\"zimmer\\\\\\n🔥"} 21.5\n'
        "# HELP wago_power_total_kw Total active power, export negative (kW)\n"
        "# TYPE wago_power_total_kw gauge\n"
        'wago_power_total_kw{device="wp"} -0.046\n'
        "# HELP bridge_states_stored_total States committed to the store\n"
        "# TYPE bridge_states_stored_total counter\n"
        'bridge_states_stored_total{device="wp"} 3.0\n'
        "# HELP bridge_broker_connected Whether the bridge is connected to the broker (0 or 1)\n"
        "# TYPE bridge_broker_connected gauge\n"
        "bridge_broker_connected 1.0\n"
        "# HELP poller_requests_total Modbus requests sent\n"
        "# TYPE poller_requests_total counter\n"
        'poller_requests_total{bus="tcp",poller="attic"} 1.0\n'
        'poller_requests_total{bus="rs485",poller="cellar"} 42.0\n'
        "# HELP poller_journal_rows States in the journal\n"
        "# TYPE poller_journal_rows gauge\n"
        'poller_journal_rows{poller="cellar"} 7.0\n'
    )


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text; version=1.0.0"])
def test_a_parser_reads_it_back(accept):
    tally = Tally(BRIDGE_HEALTH)
    tally.count("bridge_samples_sent_total", 5)
    text, content_type = expose([METER], tally=tally, accept=accept)
    assert content_type.startswith(accept.partition(";")[0])
    parse = parse_openmetrics if accept else parse_text
    samples = {(one.name, one.value) for family in parse(text) for one in family.samples}
    assert samples == {
        ("meter_energy_total_kwh", 12345.67),
        ("meter_power_total_kw", -0.046),
        ("wago_power_total_kw", -0.046),
        ("bridge_samples_sent_total", 5.0),
    }
    assert not any(one.timestamp for family in parse(text) for one in family.samples)


def test_a_silent_device_is_not_there():
    assert expose([METER], now=30.0)[0] != ""
    assert expose([METER], now=30.1)[0] == ""


def test_of_two_devices_that_claim_one_series_the_first_stands():
    text, _ = expose(
        [(Kind.METER, name, *METER[2:3], {"power_total_kw": x}) for name, x in (("b", 2), ("a", 1))]
    )
    assert text.count('meter_power_total_kw{device="wp"} 1.0\n') == 1
    assert '"wp"} 2' not in text


def test_nobody_takes_the_bridges_own_names():
    field = FieldInfo(prefixes=("bridge",), labels={"device": "x"})
    text, _ = expose(
        [(Kind.METER, "x", {"store_bytes": field, "level": field}, {"store_bytes": 1, "level": 2})]
    )
    assert "bridge_store_bytes" not in text
    assert 'bridge_level{device="x"} 2.0' in text


@pytest.mark.parametrize(
    "metrics",
    [
        {"poller_from_the_future_total": [HealthSample({}, 1)]},
        {"poller_requests_total": [HealthSample({"bus": "a", "extra": "b"}, 1)]},
        {"poller_requests_total": [HealthSample({}, 1)]},
        {"bridge_store_bytes": [HealthSample({}, 1)]},
        {"poller_requests_total": []},
    ],
)
def test_what_a_poller_reports_beyond_the_contract_is_passed_over(metrics):
    assert expose([], pollers=[("cellar", metrics)])[0] == ""


def test_a_poller_that_left_says_nothing():
    report = ("cellar", {"poller_journal_rows": [HealthSample({}, 7)]})
    assert expose([], pollers=[report])[0] != ""
    assert expose([], pollers=[report], gone=["cellar"])[0] == ""


def test_help_is_the_fields_name_where_nobody_described_it():
    bare = msgspec.structs.replace(POWER, description="", unit="")
    text, _ = expose([(Kind.METER, "wp", {"power_total_kw": bare}, {"power_total_kw": 1})])
    assert "# HELP meter_power_total_kw power_total_kw\n" in text
