"""The real Home Assistant beside broker, poller and a simulated house: what a person there would see.

`make test-homeassistant` says which releases: their Python interpreters stand in HEATING_HOMEASSISTANT.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import pytest

from readings.broker import Delivery, Session
from readings.settings import MqttSettings
from simulator.house_bus import LiveHouse, house_gateway
from simulator.shelly import PREFIX as SHELLY
from simulator.shelly_mqtt import ShellyAtBroker
from tests.conftest import Server, free_port, wait_until

ROOT = Path(__file__).parents[2]
RELEASES = os.environ.get("HEATING_HOMEASSISTANT", "").split()
NO_VALUE = {"unknown", "unavailable", None}

SENSOR_S = 120.0
"""The simulated sensors report once a minute, and a poller that has just started may have to wait for them."""

CONFIG = """
[mqtt]
host = "127.0.0.1"
port = {mqtt_port}
keepalive = 5
[poller]
data = "poller"
[bridge]
data = "bridge"
listen = "127.0.0.1:{web_port}"
[homeassistant]
discovery = true
[[shelly]]
prefix = "{shelly}"
[[shelly.sensor]]
name = "temp_indoor"
title = "Living room"
address = "00:00:5e:00:53:11"
[[shelly.sensor]]
name = "temp_outdoor"
title = "Outdoors"
address = "00:00:5e:00:53:10"
[[shelly.thermostat]]
name = "room"
title = "Thermostat"
switch = 0
target = 21
current = "temp_indoor"
[[bus]]
name = "one"
connect = "tcp://127.0.0.1:{meter_port}"
baud = 0
turnaround_ms = 0
[[bus]]
name = "two"
connect = "tcp://127.0.0.1:{pump_port}"
baud = 0
turnaround_ms = 0
[[device]]
name = "meter"
title = "Zähler “Wärme” 🔥"
bus = "one"
profile = "wago-879"
unit = 2
interval = 2
fields = ["voltage_L1_v", "current_total_a", "tariff", "reactive_power_total_kvar", "apparent_power_total_kva"]
[[device]]
name = "heatpump"
title = "Heat pump"
bus = "two"
profile = "lg-r290"
unit = 7
interval = 2
fields = ["compressor_speed_hz", "control_method", "energy_state", "silent_mode_active", "auto_offset_kelvin"]
"""

CONCERNS_US = re.compile(
    r"(WARNING|ERROR|CRITICAL).*\[homeassistant\.(components\.(mqtt|sensor|binary_sensor|energy|recorder)"
    r"|helpers\.(?!frame)|core|util|exceptions)|heating/|mqtt"
)
"""Lines of Home Assistant's log that must not be there; what else it complains of is this machine's."""


OF_THE_KILLED_BROKER = "The connection was lost"


class HomeAssistant:
    """Home Assistant as a process, and the probe within it."""

    def __init__(self, python: str, folder: Path, mqtt_port: int) -> None:
        self._command = [python, "-m", "homeassistant", "-c", str(folder), "--skip-pip"]
        self._folder = folder
        self._socket = folder / "probe"
        self._process: subprocess.Popen[bytes] | None = None
        self.log = folder / "console.log"
        probe = folder / "custom_components/heating_probe"
        shutil.copytree(Path(__file__).parent / "probe", probe)
        (folder / "configuration.yaml").write_text(
            "homeassistant: {name: Test, unit_system: metric, time_zone: Europe/Berlin}\n"
            f"http: {{server_host: 127.0.0.1, server_port: {free_port()}}}\n"
            "recorder: {commit_interval: 1}\n"
            "energy:\n"
            "logger: {default: warning}\n"
            f"heating_probe: {{host: 127.0.0.1, port: {mqtt_port}, socket: {self._socket}}}\n"
        )

    def start(self) -> None:
        self._socket.unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        wait_until(self._answers, within_s=120, what=f"Home Assistant starts; its log: {self.log}")

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()[-5000:]
        return self._socket.exists() and isinstance(self.ask("entities"), dict)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)

    def ask(self, question: str, *arguments: object) -> Any:
        with socket.socket(socket.AF_UNIX) as line, line.makefile("rw") as file:
            line.settimeout(60)
            line.connect(str(self._socket))
            file.write(json.dumps([question, *arguments]) + "\n")
            file.flush()
            answer = json.loads(file.readline())
        assert not (isinstance(answer, dict) and "error" in answer), answer
        return answer

    def states(self, start: str = "") -> dict[str, str | None]:
        """States by unique id, of the entities that are switched on."""
        return {
            key: one["state"]
            for key, one in self.ask("entities").items()
            if key.startswith(start) and not one["disabled"]
        }

    def complaints(self) -> list[str]:
        lines = self.log.read_text(errors="replace").splitlines()
        return [
            one
            for one in lines
            if CONCERNS_US.search(one)
            and not any(word in one for word in ("heating_probe", OF_THE_KILLED_BROKER))
        ]


class Ear:
    """What was announced, and the newest state of each device."""

    def __init__(self, settings: MqttSettings) -> None:
        self.announced: dict[str, dict[str, Any]] = {}
        self.newest: dict[str, dict[str, Any]] = {}
        self.retained: dict[str, bytes] = {}
        self.session = Session(
            settings,
            client_id="ear",
            clean=True,
            subscriptions=[("heating/#", 0), ("homeassistant/#", 0)],
            on_message=self._hear,
            jitter=lambda: 0.0,
        )

    def _hear(self, heard: Delivery) -> None:
        self.retained[heard.topic] = heard.payload
        if heard.topic.endswith("/config"):
            self.announced[heard.topic] = json.loads(heard.payload or b'{"components":{}}')
        elif heard.topic.endswith("/state") and heard.payload:
            self.newest[heard.topic.removesuffix("/state")] = json.loads(heard.payload)

    def components(self) -> dict[str, dict[str, Any]]:
        return {
            one["unique_id"]: one
            for payload in self.announced.values()
            for one in payload["components"].values()
            if "unique_id" in one
        }


class Stage:
    """Everything, as one house."""

    def __init__(self, folder: Path, mosquitto: Server, python: str) -> None:
        self.mosquitto = mosquitto
        house = LiveHouse(start_s=time.time(), monotonic=time.monotonic)
        self.gateways = [house_gateway(house, baud=0, turnaround_s=0) for _ in range(2)]
        for one in self.gateways:
            one.start()
        self.config = folder / "config.toml"
        self.config.write_text(
            CONFIG.format(
                mqtt_port=mosquitto.port,
                web_port=free_port(),
                shelly=SHELLY,
                meter_port=self.gateways[0].address[1],
                pump_port=self.gateways[1].address[1],
            )
        )
        self.house = house
        self._log = folder / "programs.log"
        self._programs: dict[str, subprocess.Popen[bytes]] = {}
        settings = MqttSettings(host="127.0.0.1", port=mosquitto.port)
        self.ear = Ear(settings)
        self.shelly = ShellyAtBroker(house, settings)
        (folder / "ha").mkdir()
        self.ha = HomeAssistant(python, folder / "ha", mosquitto.port)

    def start_poller(self) -> None:
        self._start("poller", "tests.faults.poller_at_once", "--config", str(self.config))

    def start_bridge(self) -> None:
        self._start("bridge", "bridge", "--config", str(self.config))

    def _start(self, name: str, *command: str) -> None:
        with self._log.open("ab") as log:
            self._programs[name] = subprocess.Popen(
                [sys.executable, "-m", *command], cwd=ROOT, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    def end(self, name: str, number: signal.Signals) -> None:
        if name in self._programs:
            self._programs[name].send_signal(number)
            self._programs.pop(name).wait(10)

    def signal(self, name: str, number: signal.Signals) -> None:
        self._programs[name].send_signal(number)

    def lose_heat_pump(self) -> None:
        self.gateways[1].stop()

    def find_heat_pump(self) -> None:
        port = self.gateways[1].address[1]
        self.gateways[1] = house_gateway(self.house, port=port, baud=0, turnaround_s=0)
        self.gateways[1].start()

    def change(self, *changes: tuple[str, str]) -> None:
        text = self.config.read_text()
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        self.config.write_text(text)
        self.end("poller", signal.SIGTERM)
        self.start_poller()

    def close(self) -> None:
        self.ha.stop()
        for name in ("poller", "bridge"):
            self.end(name, signal.SIGTERM)
        for one in self.gateways:
            one.stop()


@pytest.fixture(params=RELEASES or ["no Home Assistant"])
def stage(request: pytest.FixtureRequest, tmp_path: Path, mosquitto: Server) -> Iterator[Stage]:
    if not RELEASES:
        pytest.skip(
            "HEATING_HOMEASSISTANT names no Python that has Home Assistant; make test-homeassistant does"
        )
    stage = Stage(tmp_path, mosquitto, request.param)
    with stage.ear.session, stage.shelly:
        yield stage
        stage.close()


def soon(condition: Callable[[], object], what: str, within_s: float = SENSOR_S) -> None:
    wait_until(lambda: condition() or time.sleep(0.3), within_s=within_s, what=what)


def soon_none(problems: Callable[[], Collection[str]], what: str, within_s: float = SENSOR_S) -> None:
    """Wait until there are no problems any more, and name those that are left."""
    deadline = time.monotonic() + within_s
    while found := problems():
        assert time.monotonic() < deadline, f"{what}: not within {within_s} s: {sorted(found)}"
        time.sleep(0.3)


def without_value(stage: Stage, start: str = "heating/") -> set[str]:
    return {key for key, state in stage.ha.states(start).items() if state in NO_VALUE}


def missing(stage: Stage) -> set[str]:
    """Entities that are announced and not there, or the other way round, or without a value."""
    announced = {key for key, one in stage.ear.components().items() if one.get("enabled_by_default", True)}
    return (stage.ha.states().keys() ^ announced) | without_value(stage)


def shown_as_published(stage: Stage, device: str) -> bool:
    """Whether each number of the device's newest state is the one that Home Assistant shows."""
    published = stage.ear.newest[device]
    states = stage.ha.states(device)
    found = []
    for key, state in states.items():
        value = published[key.rpartition("/")[2]]
        component = stage.ear.components()[key]
        if component["platform"] == "binary_sensor":
            found.append(state == ("on" if value else "off"))
        elif "options" in component:
            found.append(state in component["options"])
        elif component.get("device_class") != "timestamp":
            found.append(float(state or "nan") == value)
    return bool(found) and all(found)


@pytest.mark.homeassistant
@pytest.mark.timeout(900)
def test_a_person_sees_every_device_right_and_never_an_old_value(stage):
    stage.start_poller()
    stage.start_bridge()
    stage.ha.start()

    # All there, as announced, with the right values.
    soon_none(lambda: missing(stage), "every entity is there and has a value")
    registered = stage.ha.ask("entities")
    components = stage.ear.components()
    assert registered.keys() == components.keys()
    assert len(components) > 60
    for key, one in components.items():
        seen = registered[key]
        assert seen["name"] == one["name"], key
        assert seen["disabled"] is not one.get("enabled_by_default", True), key
        assert seen["category"] == one.get("entity_category"), key
        if not seen["disabled"]:
            assert seen["attributes"].get("unit_of_measurement") == one.get("unit_of_measurement"), key
            assert seen["attributes"].get("device_class") == one.get("device_class"), key
            assert seen["attributes"].get("state_class") == one.get("state_class"), key
            assert seen["attributes"].get("options", []) == one.get("options", []), key
            assert seen["precision"] == one.get("suggested_display_precision"), key
    for device in stage.ear.newest:
        soon(lambda device=device: shown_as_published(stage, device), f"{device} shows what was published")
    devices = stage.ha.ask("devices")
    assert devices.keys() == {one["device"]["identifiers"][0] for one in stage.ear.announced.values()}
    assert devices["heating/meter/meter"]["name"] == "Zähler “Wärme” 🔥"
    assert {key: one["via"] for key, one in devices.items()} == {
        key: None if key.split("/")[1] in {"poller", "bridge"} else "heating/poller/poller" for key in devices
    }
    assert stage.ha.states()["heating/bridge/bridge/data_complete"] == "on"

    # The Energy dashboard takes the meter.
    energy = registered["heating/meter/meter/energy_total_kwh"]["entity_id"]
    tries = iter(range(100))

    def issues() -> list[str]:
        stage.ha.ask("compile_statistics", next(tries))
        found = stage.ha.ask("validate_energy", energy)
        return [str(one) for part in (*found["energy_sources"], *found["device_consumption"]) for one in part]

    soon_none(issues, "the Energy dashboard has no objection", within_s=30)

    # What is off at first can be switched on.
    off = [key for key, one in registered.items() if one["disabled"]]
    assert off
    stage.ha.ask("enable", off)
    stage.ha.ask("reload")
    soon_none(lambda: without_value(stage), "what was switched on has a value")
    assert stage.ha.states().keys() == components.keys()

    # One device dies: it alone is unavailable, within two intervals and what a dead bus takes to notice.
    stage.lose_heat_pump()
    soon(
        lambda: set(stage.ha.states("heating/heatpump/").values()) == {"unavailable"},
        "the heat pump is unavailable",
        within_s=15,
    )
    assert not without_value(stage, "heating/meter/")
    stage.find_heat_pump()
    soon_none(lambda: without_value(stage), "the heat pump is back", within_s=30)

    # The poller dies: everything that it read is unavailable, and back without a restart of anything else.
    stage.end("poller", signal.SIGKILL)
    soon(
        lambda: (
            {state for key, state in stage.ha.states("heating/").items() if "/bridge/" not in key}
            == {"unavailable", "off"}
        ),
        "everything is unavailable",
        within_s=10,
    )
    assert stage.ha.states()["heating/poller/poller/connection"] == "off"

    # Home Assistant starts again meanwhile: the last values lie at the broker, and are not shown.
    stage.ha.stop()
    stage.ha.start()
    soon(lambda: stage.ha.states().keys() == components.keys(), "the entities are there")
    assert set(stage.ha.states("heating/meter/").values()) == {"unavailable"}
    stage.start_poller()
    soon_none(lambda: without_value(stage), "everything is back after the poller died")

    # The poller stands still, and says nothing: the broker misses it after one and a half times its keepalive.
    stage.signal("poller", signal.SIGSTOP)
    soon(
        lambda: set(stage.ha.states("heating/meter/").values()) == {"unavailable"},
        "the meter of a poller that stands still is unavailable",
        within_s=15,
    )
    stage.signal("poller", signal.SIGCONT)
    soon_none(lambda: without_value(stage), "everything is back after the poller stood still")

    # The poller ends in order.
    stage.end("poller", signal.SIGTERM)
    soon(
        lambda: set(stage.ha.states("heating/meter/").values()) == {"unavailable"},
        "the meter is unavailable",
        within_s=5,
    )
    stage.start_poller()
    soon_none(lambda: without_value(stage), "everything is back after the poller ended")

    # Home Assistant starts again.
    before = stage.ha.ask("entities")
    stage.ha.stop()
    stage.ha.start()
    soon_none(lambda: without_value(stage) | (stage.ha.states().keys() ^ components.keys()), "all back", 30)
    assert {key: one["entity_id"] for key, one in stage.ha.ask("entities").items()} == {
        key: one["entity_id"] for key, one in before.items()
    }

    # The broker starts again and has forgotten everything; not while Home Assistant says that it has started.
    soon(lambda: stage.ear.retained.get("homeassistant/status") == b"online", "Home Assistant has said so")
    stage.mosquitto.kill()
    for file in stage.mosquitto.log.parent.glob("*.db"):
        file.unlink()
    stage.mosquitto.start()
    soon_none(lambda: without_value(stage), "all back after the broker forgot everything")
    assert stage.ha.ask("entities").keys() == components.keys()

    # Renamed: the same device, the same entities. A field and a device leave, while the poller was off.
    stage.change(
        ('title = "Heat pump"', 'title = "Wärmepumpe"'),
        ('fields = ["compressor_speed_hz", ', "fields = ["),
    )
    soon(lambda: stage.ha.ask("devices")["heating/heatpump/heatpump"]["name"] == "Wärmepumpe", "renamed")
    gone = "heating/heatpump/heatpump/compressor_speed_hz"
    soon(lambda: gone not in stage.ha.ask("entities"), "the field has left")
    assert stage.ha.ask("entities").keys() == components.keys() - {gone}
    text = stage.config.read_text()
    stage.change((text[text.rindex("[[device]]") :], ""))
    soon(lambda: "heating/heatpump/heatpump" not in stage.ha.ask("devices"), "the device has left")
    soon(
        lambda: not stage.ear.retained["heating/heatpump/heatpump/info"], "its messages have left the broker"
    )
    assert not any(
        payload for topic, payload in stage.ear.retained.items() if topic.startswith("heating/heatpump/")
    )
    soon_none(lambda: without_value(stage), "the others are there")

    # Discovery is switched off: everything leaves.
    stage.end("bridge", signal.SIGTERM)
    stage.change(("discovery = true", "discovery = false"))
    stage.start_bridge()
    soon(lambda: not stage.ha.ask("entities") and not stage.ha.ask("devices"), "everything has left")

    assert stage.ha.complaints() == []
