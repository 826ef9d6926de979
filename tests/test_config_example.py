"""config.example.toml as it is shipped: both programs read it, and a stranger finds what he must change."""

import re
from pathlib import Path

import pytest

from bridge.config import read_config as read_bridge_config
from poller.config import read_config as read_poller_config
from poller.run import Poller
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


CONTAINERS = {
    "HEATING_MQTT__HOST": "mosquitto",
    "HEATING_MQTT__PORT": "1884",
    "HEATING_MQTT__USERNAME": "poller",
    "HEATING_MQTT__PASSWORD_FILE": "/secrets/poller/mqtt",
    "HEATING_POLLER__DATA": "/data",
    "HEATING_BUS__0__CONNECT": "",
    "HEATING_REMOTE_WRITE__0__URL": "http://prometheus:9090/api/v1/write",
}
"""What compose.yaml sets, whatever the file leaves out."""

METER = '[[bus]]\nname = "a"\nconnect = "tcp://gateway:502"\n[[device]]\nname = "m"\nbus = "a"\nprofile = "wago-879"\n'
SENSORS = (
    '[[shelly]]\nprefix = "shelly-hall"\n[[shelly.sensor]]\nname = "hall"\naddress = "00:00:5e:00:53:11"\n'
)
REMOTE_WRITE = '[[remote_write]]\nurl = "http://localhost:9090/api/v1/write"\n'


@pytest.mark.parametrize(
    ("text", "devices", "sensors", "is_sent"),
    [
        ("", 0, 0, False),
        (METER + REMOTE_WRITE, 1, 0, True),
        (METER, 1, 0, False),
        (SENSORS + REMOTE_WRITE, 0, 1, True),
        (SENSORS, 0, 1, False),
    ],
    ids=["nothing", "a meter", "a meter that is not sent", "sensors", "sensors for Home Assistant alone"],
)
def test_what_the_file_leaves_out_is_left_out_in_a_container_too(tmp_path, text, devices, sensors, is_sent):
    (file := tmp_path / "config.toml").write_text(text)
    poller = read_poller_config(file, CONTAINERS)
    assert (len(poller.devices), sum(len(one.sensors) for one in poller.shelly)) == (devices, sensors)
    Poller(poller)  # can be put together
    bridge = read_bridge_config(file, CONTAINERS)
    assert (bridge.receiver is not None) == is_sent
    if bridge.receiver is not None:
        assert bridge.receiver.url == "http://prometheus:9090/api/v1/write"


def test_the_environment_of_this_test_is_that_of_the_containers():
    compose = (EXAMPLE.parent / "compose.yaml").read_text()
    for name, value in CONTAINERS.items():
        assert re.search(rf'^ +{name}: "?({re.escape(value)}|\$.*)"?$', compose, re.MULTILINE), name
