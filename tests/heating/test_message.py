"""`heating message`: a rule is tried on a message before it counts."""

import io
import re
from pathlib import Path

import pytest

from heating.__main__ import main

PAGE = Path(__file__).parent.parent.parent / "docs" / "other-publishers.md"


@pytest.fixture
def config(tmp_path: Path) -> str:
    """The page's first rule."""
    (first, *_) = re.findall(
        r"^```toml\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    path = tmp_path / "config.toml"
    path.write_text(first)
    return str(path)


def test_it_says_what_the_page_shows(config, capsys):
    message = '{"temperature":22.75,"humidity":130}'
    assert main(["message", "--config", config, "zigbee2mqtt/hall", message]) == 0
    said = capsys.readouterr().out
    text = PAGE.read_text(encoding="utf-8")
    assert f"zigbee2mqtt/hall '{message}'\n```" in text
    assert f"```text\n{said}```" in text


def test_a_message_may_come_from_the_standard_input_and_have_no_value(config, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"battery":null}')))
    assert main(["message", "--config", config, "zigbee2mqtt/hall", "-"]) == 0
    assert "  battery_percent has no value\n" in capsys.readouterr().out


def test_what_is_refused_says_why(config, capsys):
    assert main(["message", "--config", config, "zigbee2mqtt/hall", '{"temperature":"warm"}']) == 1
    said = capsys.readouterr()
    assert said.out.startswith("rule zigbee: refused (value): temperature_celsius: expected a number")
    assert said.err == "none of 1 rules makes a reading of it\n"


def test_what_no_rule_hears_says_so(config, capsys):
    assert main(["message", "--config", config, "tele/x/SENSOR", "{}"]) == 1
    assert "none of 1 rules" in capsys.readouterr().err
