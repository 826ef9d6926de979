"""config.example.toml as it is shipped: both programs read it, and a stranger finds what he must change."""

from pathlib import Path

import pytest

from poller.config import read_config
from readings.reading import DeviceKey, Kind

EXAMPLE = Path(__file__).parent.parent / "config.example.toml"


def test_the_poller_reads_it():
    settings = read_config(EXAMPLE, {})
    (bus,) = settings.buses
    assert (bus.host, bus.port, bus.framing, bus.baud) == ("192.168.2.10", 8899, "socket", 9600)
    meter, heatpump = settings.devices
    assert (meter.key, meter.unit, meter.interval_s) == (DeviceKey(Kind.METER, "meter"), 2, 30)
    assert (heatpump.key, heatpump.unit, heatpump.interval_s) == (DeviceKey(Kind.HEATPUMP, "heatpump"), 7, 10)
    assert meter.aliases == ("wago",)


def test_the_bridge_reads_it():
    config = pytest.importorskip("bridge.config")
    settings = config.read_config(EXAMPLE, {})
    assert settings.receivers[0].url == "http://localhost:9090/api/v1/write"


def test_two_lines_are_marked_for_change():
    marked = [line.split(" =")[0] for line in EXAMPLE.read_text().splitlines() if "# (!)" in line]
    assert marked == ["host", "connect"]


def test_containers_override_hosts_and_folders():
    settings = read_config(
        EXAMPLE,
        {
            "HEATING_MQTT__HOST": "mosquitto",
            "HEATING_BUS__0__CONNECT": "tcp://simulator:5020",
            "HEATING_POLLER__DATA": "/data",
        },
    )
    assert settings.mqtt.host == "mosquitto"
    assert (settings.buses[0].host, settings.buses[0].port) == ("simulator", 5020)
    assert settings.journal == Path("/data/journal.sqlite")
