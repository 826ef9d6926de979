"""How the demo ends."""

import io
import signal
import tempfile

import pytest

from heating.demo import Options, run_demo
from heating.servers import find_program
from heating.terminal import Terminal
from poller.run import Poller
from tests.conftest import free_port


class HangingPoller(Poller):
    def find_hang(self) -> str | None:
        return "the disk hangs"


@pytest.fixture
def options(monkeypatch: pytest.MonkeyPatch) -> Options:
    if find_program("mosquitto") is None:
        pytest.importorskip("iotcore", reason="there is no broker on this machine")
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    return Options(mqtt_port=free_port(), web_port=free_port(), prometheus_port=free_port(), seconds=60)


def test_a_part_that_hangs_ends_the_demo_and_leaves_nothing_behind(tmp_path, monkeypatch, options):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    out = io.StringIO()
    assert run_demo(options, Terminal(out), HangingPoller) == 1
    assert "The demo ends: the disk hangs\n" in out.getvalue()
    assert list(tmp_path.iterdir()) == []
