"""`heating demo` as a person runs it."""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.conftest import free_port, needs, wait_until

ORIGINAL_NAMES = [
    *(f"wago_{name}" for name in ("power_total_kw", "power_L1_kw", "power_L2_kw", "power_L3_kw")),
    *(f"wago_energy_{name}_kwh" for name in ("total", "L1", "L2", "L3")),
    "wago_frequency_hz",
    "wago_power_factor",
    *(f"heatpump_{name}_temperature_celsius" for name in ("flow", "return", "outdoor", "target")),
    *(
        f"heatpump_{name}"
        for name in (
            "power_state",
            "compressor_running",
            "water_pump_running",
            "operating_mode",
            "error_code",
            "flow_rate_lpm",
            "water_pressure_bar",
            "temperature_delta_celsius",
        )
    ),
    "sensor_temperature_celsius",
    "sensor_humidity_percent",
    "sensor_battery_percent",
    "sensor_last_seen_timestamp",
    "thermostat_switch_state",
    "thermostat_target_temperature_celsius",
    "thermostat_current_temperature_celsius",
]


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.read().decode()


def listens(url: str) -> bool:
    try:
        get(url)
    except OSError:
        return False
    return True


def children_of(pid: int) -> set[int]:
    found = set()
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name in parentheses may hold anything; the parent is the second field after it.
            parent = int(status.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it ended while we looked
        if parent == pid:
            found.add(int(status.parent.name))
    return found


def is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


@pytest.mark.mosquitto
@pytest.mark.prometheus
def test_the_demo_shows_everything_and_ends_with_ctrl_c(tmp_path):
    needs("mosquitto")
    needs("prometheus")
    mqtt, web, prometheus = free_port(), free_port(), free_port()
    out = tmp_path / "terminal"
    command = [sys.executable, "-m", "heating", "demo", "--speed", "10"]
    for name, port in (("mqtt", mqtt), ("web", web), ("prometheus", prometheus)):
        command += [f"--{name}-port", str(port)]
    started = time.monotonic()
    with out.open("wb") as terminal:
        demo = subprocess.Popen(command, stdout=terminal, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        page = f"http://127.0.0.1:{web}"
        wait_until(
            lambda: listens(page) and "Power" in out.read_text(),
            within_s=15,
            what="addresses and first readings",
        )

        def missing() -> list[str]:
            text = get(f"{page}/metrics")
            return [
                name for name in ORIGINAL_NAMES if not re.search(rf"^{name}(\{{.*\}})? ", text, re.MULTILINE)
            ]

        wait_until(
            lambda: not missing(), within_s=30 - (time.monotonic() - started), what="every original name"
        )
        text = get(f"{page}/metrics")
        for sensor in ("temp_indoor", "temp_outdoor", "temp_buffer"):
            assert re.search(
                rf'^sensor_temperature_celsius{{device_id="\d+",gateway_id="\w+-\w+",sensor_id="[0-9a-f:]+",'
                rf'sensor_name="{sensor}"}} ',
                text,
                re.MULTILINE,
            )
        assert "<svg" in get(page)
        wait_until(
            lambda: (
                '"result":[{' in get(f"http://127.0.0.1:{prometheus}/api/v1/query?query=wago_power_total_kw")
            ),
            within_s=20,
            what="power in Prometheus",
        )
        servers = children_of(demo.pid)
        assert len(servers) == 2, "broker and Prometheus"
        os.killpg(demo.pid, signal.SIGINT)
        assert demo.wait(15) == 0, out.read_text()
        assert not [pid for pid in servers if is_running(pid)]
        assert not listens(page)
        assert not listens(f"http://127.0.0.1:{prometheus}")
    finally:
        if demo.poll() is None:
            demo.kill()
    lines = out.read_text().splitlines()
    assert f"  Page        {page}/        /metrics beside it" in lines[:12]
    assert f"  Page        {page}/        /metrics beside it" in lines[-7:]
    assert "Traceback" not in out.read_text()
