"""The shipped prometheus.yml: valid, and it takes nothing but health from the bridge."""

import json
import re
import shutil
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Server, free_port, needs, wait_until

CONFIG = Path(__file__).parent.parent / "prometheus" / "prometheus.yml"

PAGE = b"""\
meter_power_total_kw{device="meter"} 1.2
wago_power_total_kw{device="meter"} 1.2
sensor_temperature_celsius{sensor_name="temp_indoor"} 21.5
bridge_broker_connected{bridge="bridge"} 1
poller_device_up{poller="poller",device="meter"} 1
python_info 1
"""


class Page(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *_):
        pass


@pytest.fixture
def page() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.prometheus
def test_promtool_finds_nothing_wrong():
    promtool = needs("promtool")
    outcome = subprocess.run(
        [promtool, "check", "config", str(CONFIG)], capture_output=True, text=True, check=False
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


@pytest.mark.prometheus
def test_readings_are_not_scraped_beside_those_that_are_pushed(page: str, tmp_path: Path):
    program = needs("prometheus")
    shipped = CONFIG.read_text()
    config = tmp_path / "prometheus.yml"
    config.write_text(
        shipped.replace("bridge:9100", page).replace("scrape_interval: 30s", "scrape_interval: 1s")
    )
    port = free_port()
    server = Server(
        [
            program,
            f"--config.file={config}",
            f"--storage.tsdb.path={tmp_path}/data",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        port,
        tmp_path / "log",
    )
    server.start()
    try:
        wait_until(lambda: names(port), within_s=20, what="the first scrape")
        ours = {name for name in names(port) if name != "up" and not name.startswith("scrape_")}
    finally:
        server.stop()
    assert ours == {"bridge_broker_connected", "poller_device_up"}


@pytest.mark.prometheus
def test_what_a_person_adds_is_found_beside_what_an_update_changes(tmp_path: Path):
    """The rule and the Alertmanager of docs/alerts.md."""
    page = (CONFIG.parent.parent / "docs" / "alerts.md").read_text()
    (rules,) = re.findall(r"^```yaml\n(groups:\n.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (targets,) = re.findall(r"^```yaml\n(- targets:.*?)^```$", page, re.MULTILINE | re.DOTALL)
    shutil.copytree(CONFIG.parent, tmp_path / "prometheus")
    own = tmp_path / "prometheus" / "own"
    (own / "rules").mkdir(exist_ok=True)
    (own / "rules" / "mine.yml").write_text(rules)
    (own / "alertmanagers.yml").write_text(targets)
    port = free_port()
    command = [
        needs("prometheus"),
        f"--config.file={tmp_path}/prometheus/prometheus.yml",
        f"--storage.tsdb.path={tmp_path}/data",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    server = Server(command, port, tmp_path / "log")
    server.start()
    try:
        wait_until(lambda: ask(port, "alertmanagers"), within_s=20, what="it is ready")
        loaded = {Path(group["file"]).name: group["rules"] for group in ask(port, "rules")["groups"]}
        assert loaded.keys() == {"heating.yml", "mine.yml"}
        assert [rule["name"] for rule in loaded["mine.yml"]] == ["WaterPressureLowHere"]
        wait_until(
            lambda: (
                ask(port, "alertmanagers")["activeAlertmanagers"]
                == [{"url": "http://alertmanager:9093/api/v2/alerts"}]
            ),
            within_s=20,
            what="it knows the Alertmanager",
        )
    finally:
        server.stop()


def names(port: int) -> list[str]:
    return list(ask(port, "label/__name__/values"))


def ask(port: int, what: str) -> Any:
    """What its API answers; nothing before it is ready."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/{what}", timeout=5) as answer:
            return json.load(answer)["data"]
    except urllib.error.HTTPError:  # it listens before it is ready
        return []
