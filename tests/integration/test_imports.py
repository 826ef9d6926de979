"""The two services' pages through the whole pipeline: own names, labels and, where known, times; the original's queries answer."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from bridge.config import read_config as read_bridge_config
from bridge.run import Bridge
from poller.config import read_config as read_poller_config
from poller.run import Poller
from simulator.exporters import HouseExporters, PageServer
from simulator.house_bus import SENSOR_LABELS, LiveHouse, house_gateway
from simulator.pages import HEAT_PUMP_HELP
from tests.conftest import Server, free_port, wait_until
from tests.integration.prometheus_api import query

CONFIG = """
[mqtt]
host = "127.0.0.1"
port = {mqtt}
{meter}
[[import]]
url = "{pump}"
interval = 5
[[import]]
url = "{sensors}"
interval = 5
[bridge]
listen = "127.0.0.1:{web}"
[[remote_write]]
url = "http://127.0.0.1:{prometheus}/api/v1/write"
"""

ON_THE_BUS = """
[[bus]]
name = "rs485"
connect = "tcp://127.0.0.1:{gateway}"
[[device]]
name = "meter"
bus = "rs485"
profile = "wago-879"
unit = 2
interval = 1
aliases = ["wago"]
"""

ON_A_PAGE = """
[[import]]
url = "{meter}"
interval = 5
"""

DASHBOARDS = (
    "wago_power_total_kw * 1000",
    "wago_frequency_hz",
    "wago_power_factor",
    "increase(wago_energy_total_kwh[1d])",
    "wago_power_L1_kw * 1000",
    "wago_power_L2_kw * 1000",
    "wago_power_L3_kw * 1000",
    "wago_energy_total_kwh",
    "increase(wago_energy_L1_kwh[1d])",
    "increase(wago_energy_L2_kwh[1d])",
    "increase(wago_energy_L3_kwh[1d])",
    'avg_over_time(sensor_temperature_celsius{sensor_name="temp_indoor"}[5m])',
    'sensor_temperature_celsius{sensor_name="temp_indoor"}',
    "avg_over_time(wago_energy_total_kwh[1m])",
    "avg_over_time(wago_power_total_kw[1m]) * 1000",
    "thermostat_switch_state{}",
    'avg_over_time(sensor_temperature_celsius{sensor_name="temp_outdoor"}[5m])',
    'sensor_temperature_celsius{sensor_name="temp_outdoor"}',
    "heatpump_flow_rate_lpm",
    'avg_over_time(sensor_temperature_celsius{sensor_name="temp_buffer"}[5m])+2.5',
    "heatpump_flow_temperature_celsius",
    "heatpump_return_temperature_celsius",
    "heatpump_target_temperature_celsius",
    'sensor_temperature_celsius{sensor_name="temp_buffer"}+2.5',
    "wago_energy_total_kwh - 60",
    'sensor_temperature_celsius{sensor_name="temp_outdoor"}-1',
    "avg_over_time(wago_energy_total_kwh[10m])",
    'avg_over_time(sensor_temperature_celsius{sensor_name="temp_outdoor"}[5m])-1',
    'avg_over_time(sensor_temperature_celsius{sensor_name="temp_buffer"}[5m])+2',
)
"""Every query of the original's three dashboards, as it stands there."""


@dataclass
class Home:
    """A house with the original programs, and this project beside them."""

    poller: Poller
    prometheus: int

    def unanswered(self) -> list[str]:
        return [one for one in DASHBOARDS if not query(self.prometheus, one)]


@pytest.fixture(params=[ON_THE_BUS, ON_A_PAGE], ids=["poller-owns-the-bus", "nothing-touched"])
def home(
    request: pytest.FixtureRequest, tmp_path: Path, mosquitto: Server, prometheus: Server
) -> Iterator[Home]:
    house = LiveHouse(start_s=time.time(), monotonic=time.monotonic, seed=3)
    pages = HouseExporters(house, time.time, renewed_every_s=2)
    gateway = house_gateway(house, baud=0, turnaround_s=0)
    gateway.start()
    config = tmp_path / "config.toml"
    with (
        PageServer(pages.meter) as meter,
        PageServer(pages.heat_pump) as pump,
        PageServer(pages.sensors) as sensors,
    ):
        text = CONFIG.format(
            mqtt=mosquitto.port,
            meter=request.param.format(gateway=gateway.address[1], meter=meter.url),
            pump=pump.url,
            sensors=sensors.url,
            web=free_port(),
            prometheus=prometheus.port,
        )
        config.write_text(text)
        bridge = Bridge(read_bridge_config(config, {}))
        poller = Poller(read_poller_config(config, {}), trust_at_once=True, on_hang=pytest.fail)
        bridge.start()
        poller.start()
        yield Home(poller, prometheus.port)
        poller.stop()
        bridge.stop()
    gateway.stop()


@pytest.mark.mosquitto
@pytest.mark.prometheus
def test_the_two_pages_arrive_under_their_own_names_and_labels_and_the_dashboards_answer(home: Home):
    wait_until(lambda: not home.unanswered(), within_s=60, what="answers to the dashboards' queries")

    for name, labels in SENSOR_LABELS.items():
        (found,) = query(home.prometheus, f'sensor_temperature_celsius{{sensor_name="{name}"}}')
        assert {**found["metric"]} == {"__name__": "sensor_temperature_celsius", **labels}
    for field in HEAT_PUMP_HELP:
        (found,) = query(home.prometheus, f"heatpump_{field}")
        assert found["metric"] == {"__name__": f"heatpump_{field}", "device": "heatpump"}
    assert len(query(home.prometheus, '{__name__=~"thermostat_.*"}')) == 3
    (meter,) = query(home.prometheus, "wago_energy_total_kwh")
    assert meter["metric"] == {"__name__": "wago_energy_total_kwh", "device": "meter"}
    assert not query(home.prometheus, '{__name__=~"(python|process|api)_.*"}'), "only what is looked for"


@pytest.mark.mosquitto
@pytest.mark.prometheus
@pytest.mark.parametrize("home", [ON_THE_BUS], indirect=True, ids=["poller-owns-the-bus"])
def test_a_sensors_samples_have_the_time_at_which_the_page_says_it_was_seen(home: Home):
    def stored() -> list[tuple[float, str]]:
        result = query(home.prometheus, 'sensor_last_seen_timestamp{sensor_name="temp_indoor"}[1h]')
        return [tuple(one) for series in result for one in series["values"]]

    wait_until(lambda: len(stored()) >= 2, within_s=40, what="two times the sensor was seen")
    assert all(at == float(value) for at, value in stored())
    tally = home.poller.tally.samples()
    read = {
        one.labels["page"]: one.value
        for one in tally["poller_page_reads_total"]
        if one.labels["result"] == "read"
    }
    assert len(read) == 2
    assert all(count >= 2 for count in read.values())


@pytest.mark.mosquitto
def test_what_a_page_showed_is_known_in_the_next_run_while_the_page_is_away(
    tmp_path: Path, mosquitto: Server
):
    """Otherwise Home Assistant would be told at every start that the devices are gone."""
    config = tmp_path / "config.toml"

    def run(url: str) -> Poller:
        imported = f'[[import]]\nurl = "{url}"\ninterval = 5\n'
        config.write_text(f'[mqtt]\nhost = "127.0.0.1"\nport = {mosquitto.port}\n{imported}')
        poller = Poller(read_poller_config(config, {}), trust_at_once=True, on_hang=pytest.fail)
        poller.start()
        return poller

    house = LiveHouse(start_s=time.time(), monotonic=time.monotonic, seed=3)
    with PageServer(HouseExporters(house, time.time).sensors) as page:
        url = page.url
        poller = run(url)
        wait_until(lambda: poller.tally.value("poller_device_up", device="thermostat"), within_s=20)
        poller.stop()
    poller = run(url)
    wait_until(lambda: poller._publisher.is_complete, within_s=20)
    names = {key.name for key in poller._publisher._devices}
    poller.stop()
    assert names == {"temp_indoor", "temp_outdoor", "temp_buffer", "thermostat"}
    assert poller.tally.value("poller_device_up", device="thermostat") == 0


@pytest.mark.mosquitto
def test_a_page_that_stops_or_stands_still_makes_no_new_reading(tmp_path: Path, mosquitto: Server):
    """What has no time is lost after two intervals, what has one gets no new state while its time rests."""
    wall = [time.time()]
    house = LiveHouse(start_s=time.time(), monotonic=time.monotonic, seed=3)
    pages = HouseExporters(house, lambda: wall[0], renewed_every_s=1)
    config = tmp_path / "config.toml"
    with PageServer(pages.sensors) as page:
        config.write_text(
            f'[mqtt]\nhost = "127.0.0.1"\nport = {mosquitto.port}\n[[import]]\nurl = "{page.url}"\n'
        )
        settings = read_poller_config(config, {})
        brief = [replace(one, interval_s=0.5) for one in settings.imports]
        poller = Poller(replace(settings, imports=tuple(brief)), trust_at_once=True, on_hang=pytest.fail)
        poller.start()

        def states(name: str) -> float:
            return poller.tally.value("poller_states_journaled_total", device=name)

        wait_until(lambda: states("thermostat") >= 3, within_s=20, what="three looks at the page")
        assert states("temp_indoor") == 1, "its time rests, as the page does"
        wall[0] += 30
        wait_until(lambda: states("temp_indoor") == 2, within_s=20, what="the sensor was seen again")
    wait_until(
        lambda: poller.tally.value("poller_device_up", device="thermostat") == 0, within_s=20, what="lost"
    )
    assert poller.tally.value("poller_device_up", device="temp_indoor") == 1, "it may be silent for longer"
    poller.stop()
