"""The shipped mosquitto.conf, in a real broker."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Server, free_port, needs

CONFIG = Path(__file__).parent.parent / "mosquitto" / "mosquitto.conf"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Server]:
    program = needs("mosquitto")
    port = free_port()
    text = CONFIG.read_text().replace("listener 1883", f"listener {port} 127.0.0.1")
    config = tmp_path / "mosquitto.conf"
    config.write_text(text.replace("/mosquitto/data/", f"{tmp_path}/") + "user root\n")
    server = Server([program, "-c", str(config)], port, tmp_path / "log")
    server.start()
    yield server
    server.stop()


@pytest.mark.mosquitto
def test_what_a_subscriber_missed_waits_for_it_over_a_restart_of_the_broker(broker: Server):
    """More than mosquitto would keep by itself, which is 1000 messages."""
    where = ["-h", "127.0.0.1", "-p", str(broker.port), "-q", "1", "-t", "heating/meter/meter/state"]
    session = [needs("mosquitto_sub"), *where, "-i", "bridge", "--disable-clean-session"]
    subprocess.run([*session, "-E"], check=True, timeout=20)

    sent = [f"state {number}" for number in range(3000)]
    subprocess.run(
        [needs("mosquitto_pub"), *where, "-l"], input="\n".join(sent), text=True, check=True, timeout=20
    )
    broker.stop()
    broker.start()

    got = subprocess.run(
        [*session, "-C", "3000", "-W", "15"], capture_output=True, text=True, check=True, timeout=20
    )
    assert got.stdout.splitlines() == sent
