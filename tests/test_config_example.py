"""config.example.toml as it is shipped: both programs read it, and a stranger finds what he must change."""

from pathlib import Path

from bridge.config import read_config as read_bridge_config
from poller.config import read_config as read_poller_config
from readings.reading import DeviceKey, Kind

EXAMPLE = Path(__file__).parent.parent / "config.example.toml"


def test_the_poller_reads_it():
    settings = read_poller_config(EXAMPLE, {})
    (bus,) = settings.buses
    assert (str(bus.address), bus.baud) == ("tcp://192.168.2.10:8899", 9600)
    meter, heatpump = settings.devices
    assert (meter.key, meter.unit, meter.interval_s) == (DeviceKey(Kind.METER, "meter"), 2, 30)
    assert (heatpump.key, heatpump.unit, heatpump.interval_s) == (DeviceKey(Kind.HEATPUMP, "heatpump"), 7, 10)
    assert meter.aliases == ("wago",)


def test_the_bridge_reads_it():
    settings = read_bridge_config(EXAMPLE, {})
    assert settings.receiver is not None
    assert settings.receiver.url == "http://localhost:9090/api/v1/write"


def test_two_lines_are_marked_for_change():
    marked = [line.split(" =")[0] for line in EXAMPLE.read_text().splitlines() if "# (!)" in line]
    assert marked == ["host", "connect"]


def test_containers_override_hosts_and_folders():
    """What compose.yaml sets."""
    poller = read_poller_config(
        EXAMPLE,
        {
            "HEATING_MQTT__HOST": "mosquitto",
            "HEATING_BUS__0__CONNECT": "tcp://simulator:5020",
            "HEATING_POLLER__DATA": "/data",
        },
    )
    assert poller.mqtt.host == "mosquitto"
    assert str(poller.buses[0].address) == "tcp://simulator:5020"
    assert poller.journal == Path("/data/journal.sqlite")

    bridge = read_bridge_config(
        EXAMPLE,
        {
            "HEATING_MQTT__HOST": "mosquitto",
            "HEATING_BRIDGE__DATA": "/data",
            "HEATING_BRIDGE__LISTEN": "0.0.0.0:9100",
            "HEATING_REMOTE_WRITE__0__URL": "http://prometheus:9090/api/v1/write",
        },
    )
    assert bridge.store == Path("/data/store.sqlite")
    assert bridge.receiver is not None
    assert bridge.receiver.url == "http://prometheus:9090/api/v1/write"
