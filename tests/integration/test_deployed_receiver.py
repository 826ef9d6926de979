"""The very image of Prometheus that compose.yaml deploys, with the shipped configuration, takes what the bridge sends."""

import re
import time
from collections.abc import Iterator

import pytest

from bridge.remote_write.connection import Connection, ReceiverSettings
from bridge.remote_write.encode import Encoder
from bridge.remote_write.outcome import Sent
from bridge.sample import Sample, Series
from tests.conftest import wait_until
from tests.integration.prometheus_api import query
from tests.integration.stack import ROOT, needs_engine

HOUR_MS = 3_600_000


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Its port on this machine."""
    needs_engine()
    # What cleans up after a killed run is an image that not every place reaches.
    monkeypatch.setenv("TESTCONTAINERS_RYUK_DISABLED", "true")
    from testcontainers.core.container import DockerContainer  # noqa: PLC0415  # it reads the variable above

    (image,) = re.findall(r"image: (prom/prometheus:\S+)", (ROOT / "compose.yaml").read_text())
    container = (
        DockerContainer(image)
        .with_command(
            "--config.file=/etc/prometheus/prometheus.yml --storage.tsdb.path=/prometheus"
            " --web.enable-remote-write-receiver"
        )
        .with_volume_mapping(
            str(ROOT / "prometheus" / "prometheus.yml"), "/etc/prometheus/prometheus.yml", "ro"
        )
        .with_volume_mapping(str(ROOT / "prometheus" / "rules"), "/etc/prometheus/rules", "ro")
        .with_exposed_ports(9090)
    )
    with container:
        yield int(container.get_exposed_port(9090))


@pytest.mark.docker
def test_the_deployed_receiver_takes_late_readings_too(deployed: int):
    now_ms = time.time_ns() // 1_000_000
    power = Series("meter_power_total_kw", (("device", "meter"),))
    receiver = Connection(ReceiverSettings(f"http://127.0.0.1:{deployed}/api/v1/write"), time.time)
    encoder = Encoder({})
    try:
        wait_until(
            lambda: receiver.post(encoder.encode([Sample(power, 1.5, now_ms)]), 5) == Sent(),
            within_s=60,
            what="the receiver takes a sample",
        )
        assert receiver.post(encoder.encode([Sample(power, 0.5, now_ms - 30 * HOUR_MS)]), 5) == Sent()
    finally:
        receiver.close()
    (series,) = query(deployed, 'meter_power_total_kw{device="meter"}[2d]')
    assert [float(value) for _, value in series["values"]] == [0.5, 1.5]
