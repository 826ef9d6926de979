"""The whole pipeline against the real servers: what the devices answered is in Prometheus, at its time."""

import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from bridge.config import read_config as read_bridge_config
from bridge.run import Bridge
from heating.demo import CONFIG, put_in_place
from heating.simulated import SimulatedHouse
from poller.config import read_config as read_poller_config
from poller.run import Poller
from readings.payload import decode_state
from simulator.bus import Exchange
from simulator.house_bus import METER_UNIT
from tests.conftest import Server, free_port, needs, wait_until
from tests.integration.prometheus_api import query, samples

POLLS = 8
DASHBOARD_QUERIES = (
    "wago_power_total_kw * 1000",
    "wago_frequency_hz",
    "wago_power_factor",
    "increase(wago_energy_total_kwh[1d])",
    "wago_energy_total_kwh - 60",
    "increase(wago_energy_L1_kwh[1d])",
    "avg_over_time(wago_power_total_kw[1m]) * 1000",
    'avg_over_time(sensor_temperature_celsius{sensor_name="temp_indoor"}[5m])',
    'sensor_temperature_celsius{sensor_name="temp_outdoor"} - 1',
    'sensor_temperature_celsius{sensor_name="temp_buffer"} + 2.5',
    "thermostat_switch_state{}",
    "heatpump_flow_rate_lpm",
    "heatpump_flow_temperature_celsius",
    "heatpump_return_temperature_celsius",
    "heatpump_target_temperature_celsius",
)
"""What the original's dashboards ask, as they ask it."""


class Running:
    """A whole pipeline around a simulated house that lives 10 times as fast as we do."""

    def __init__(self, folder: Path, mqtt_port: int, prometheus_port: int) -> None:
        self.prometheus_port = prometheus_port
        self.mqtt_port = mqtt_port
        self.journal = folder / "poller" / "journal.sqlite"
        self.house = SimulatedHouse(speed=10, seed=3)
        self.house.__enter__()
        own = put_in_place(
            folder,
            mqtt_port=mqtt_port,
            listen=f"127.0.0.1:{free_port()}",
            gateway_port=self.house.port,
            prometheus_port=prometheus_port,
        ) | {"device[0].interval": 1, "device[1].interval": 1}
        self.settings = read_poller_config(CONFIG, {}, own)
        self.bridge = Bridge(read_bridge_config(CONFIG, {}, own))
        self.poller = Poller(self.settings, trust_at_once=True, on_hang=pytest.fail)
        self.bridge.start()
        self.poller.start()
        self.shelly = self.house.shelly(mqtt_port)
        self.shelly.__enter__()

    def exchanges(self) -> tuple[Exchange, ...]:
        return self.house._gateway.exchanges

    def rows(self, device: str) -> list[tuple[int, dict[str, float | None]]]:
        """The journal's states of a device: time in milliseconds, and the fields that were measured."""
        with sqlite3.connect(self.journal) as connection:
            found = connection.execute(
                "SELECT time_ms, payload FROM state JOIN device ON device.id = state.device "
                "WHERE device.name = ? ORDER BY stream, seq",
                (device,),
            ).fetchall()
        connection.close()
        states = []
        for time_ms, payload in found:
            values = msgspec.json.decode(payload)
            held = values.pop("held")
            states.append((time_ms, {name: value for name, value in values.items() if name not in held}))
        return states

    def stop(self) -> None:
        self.poller.stop()
        self.shelly.__exit__(None, None, None)
        self.house.__exit__(None, None, None)


@pytest.fixture
def pipeline(tmp_path: Path, mosquitto: Server, prometheus: Server) -> Iterator[Running]:
    running = Running(tmp_path, mosquitto.port, prometheus.port)
    yield running
    running.stop()
    running.bridge.stop()


@pytest.mark.mosquitto
@pytest.mark.prometheus
def test_every_reading_is_in_prometheus_under_its_name_at_its_time(pipeline: Running):
    wait_until(
        lambda: pipeline.poller.tally.value("poller_states_journaled_total", device="meter") >= POLLS,
        within_s=40,
        what=f"{POLLS} polls in the journal",
    )
    pipeline.stop()
    wall_minus_monotonic = time.time() - time.monotonic()
    expected: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for device, prefixes in (("meter", ("meter", "wago")), ("heatpump", ("heatpump",))):
        for time_ms, fresh in pipeline.rows(device):
            for field, value in fresh.items():
                if value is not None:
                    for prefix in prefixes:
                        expected.setdefault((f"{prefix}_{field}", device), []).append((time_ms, value))
    fields = {
        (f"{prefix}_{field}", device.key.name)
        for device in pipeline.settings.devices
        for prefix in (device.key.kind, *device.aliases)
        for field in device.fields
    }
    assert expected.keys() == fields, pipeline.poller.tally.samples()["poller_readings_rejected_total"]

    def stored() -> dict[tuple[str, str], list[tuple[int, float]]]:
        return samples(pipeline.prometheus_port, '{__name__=~"(meter|wago|heatpump)_.*"}')

    wait_until(
        lambda: sum(map(len, stored().values())) >= sum(map(len, expected.values())),
        within_s=20,
        what="all samples",
    )
    assert stored() == expected

    # And from the other end: what the devices answered, as the registers had it.
    for exchange in pipeline.exchanges():
        assert exchange.fault is None
        device, prefix = ("meter", "meter") if exchange.unit == METER_UNIT else ("heatpump", "heatpump")
        took_place_ms = (exchange.taken_at + wall_minus_monotonic) * 1000
        for field, value in exchange.values.items():
            if "energy" in field or (f"{prefix}_{field}", device) not in expected:
                continue  # the first counts are candidates, and the blocks hold registers that nobody chose
            near = [
                got
                for at, got in expected[f"{prefix}_{field}", device]
                if -50 <= at - took_place_ms <= 1000 and got == pytest.approx(value, rel=1e-6)
            ]
            assert near, f"{field} = {value} at {took_place_ms:.0f}"

    answered = len(pipeline.rows("meter")) + len(pipeline.rows("heatpump"))
    tally = pipeline.poller.tally
    polls = [
        one.value
        for one in tally.samples()["poller_polls_total"]
        if one.labels["result"] in {"complete", "partial"}
    ]
    assert sum(polls) == answered, "journaled states = polls answered"
    assert "poller_states_dropped_total" not in tally.samples()


@pytest.mark.mosquitto
@pytest.mark.prometheus
def test_the_originals_queries_answer(pipeline: Running):
    def unanswered() -> list[str]:
        return [
            expression for expression in DASHBOARD_QUERIES if not query(pipeline.prometheus_port, expression)
        ]

    wait_until(lambda: not unanswered(), within_s=40, what="answers to the original's queries")
    (energy,) = query(pipeline.prometheus_port, "wago_energy_total_kwh")
    assert float(energy["value"][1]) > 12345


@pytest.mark.mosquitto
def test_a_state_is_one_readable_line_for_mosquitto_sub(pipeline: Running):
    program = needs("mosquitto_sub")
    command = [program, "-p", str(pipeline.mqtt_port), "-t", "heating/#", "-v", "-W", "4"]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
    assert all(line.startswith("heating/") for line in said), "one line per message"
    states = [line.split(" ", 1) for line in said if line.split(" ")[0].endswith("/meter/meter/state")]
    assert len(states) >= 2
    for _, payload in states:
        assert payload.startswith('{"time":"20')
        assert decode_state(payload.encode()).seq is not None
