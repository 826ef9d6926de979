"""The pages about other programs' readings: their rules, messages and samples are run; their tables are the code's."""

import re
import tomllib

import msgspec
import pytest

from poller.config import read_config
from poller.errors import MessageTrouble, PageTrouble
from poller.sources.exporter import MOST_DEVICES as MOST_ON_A_PAGE
from poller.sources.exposition import LARGEST_BYTES as LARGEST_PAGE
from poller.sources.heard import LARGEST_BYTES, Heard
from poller.sources.imported import LONGEST_WAIT_S
from poller.sources.imports import DEFAULT_PROFILES, ImportTable
from poller.sources.rule_file import read_rule
from poller.sources.rule_tables import FieldRuleTable, RuleTable, TimeTable
from poller.sources.rules import MOST_DEVICES, RuleSource
from poller.sources.values import UNITS
from tests.test_docs import ROOT, first_cells, section, table

PAGE = "docs/other-publishers.md"
EXAMPLES = ("The shortest rule", "Zigbee2MQTT", "Tasmota", "ESPHome")


def shown(heading: str, language: str) -> str:
    """The one block of a language below a heading."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", section(PAGE, heading), re.MULTILINE | re.DOTALL)
    return found


def sources(heading: str) -> list[RuleSource]:
    tables = tomllib.loads(shown(heading, "toml"))["rule"]
    return [RuleSource(read_rule(msgspec.convert(one, RuleTable), "rule")) for one in tables]


def samples(heading: str) -> list[str]:
    """What the messages of an example make, in the order in which they come."""
    made = []
    known = sources(heading)
    for line in shown(heading, "mqtt").splitlines():
        # A topic may have spaces; a payload here begins with what no topic has after a space.
        topic, payload = re.fullmatch(r"(\S.*?) (\{.*|[\d.]+|nan)", line).groups()
        heard = Heard(topic, payload.encode(), retained=False, is_live=True, at=5.0, wall_ms=None)
        for source in known:
            for device, report in source.hear(heard):
                labels = ",".join(f'{name}="{text}"' for name, text in device.series_labels.items())
                for field, value in report.values.items():
                    if value is not None:
                        time = f" {report.time_ms}" if report.time_ms else ""
                        made.append(f"{device.key.kind}_{field}{{{labels}}} {value}{time}")
    return made


@pytest.mark.parametrize("heading", EXAMPLES)
def test_the_messages_of_an_example_make_the_samples_beside_it(heading):
    made = samples(heading)
    assert made == shown(heading, "prometheus").splitlines(), "paste this:\n" + "\n".join(made)


def test_the_page_names_the_id_that_a_name_with_umlauts_gets():
    (source, *_) = sources("Zigbee2MQTT")
    source._rule.names.clear()
    list(
        source.hear(
            Heard(
                "zigbee2mqtt/Büro Süd",
                b'{"temperature":1,"last_seen":"2026-11-27T09:41:41Z"}',
                False,
                True,
                5.0,
                None,
            )
        )
    )
    assert f'"Büro Süd" is `{source.devices[0].key.name}`' in section(PAGE, "What you can rely on")


@pytest.mark.parametrize(
    ("heading", "form"),
    [
        ("The keys of `[[rule]]`", RuleTable),
        ("The keys of a field", FieldRuleTable),
        ("The keys of `time`", TimeTable),
    ],
)
def test_every_key_of_a_rule_is_explained(heading, form):
    explained = [key for cell in first_cells(PAGE, heading) for key in cell.replace("`", "").split(", ")]
    assert sorted(explained) == sorted(one.encode_name for one in msgspec.structs.fields(form))


def test_every_unit_that_is_converted_is_listed():
    rows = [tuple(cell.strip(" `") for cell in line.strip("|").split("|")) for line in table(PAGE, "Units")]
    assert rows == list(UNITS)


def test_every_reason_to_refuse_a_message_is_explained():
    assert first_cells(PAGE, "Why a message was refused") == list(MessageTrouble)
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    assert f"more than {LARGEST_BYTES:,} bytes" in text
    assert f"at most {MOST_DEVICES:,} devices" in text


# What already runs

SYSTEM = "docs/existing-system.md"


def test_every_key_of_an_import_is_explained():
    assert first_cells(SYSTEM, "The keys of `[[import]]`") == [
        one.encode_name for one in msgspec.structs.fields(ImportTable)
    ]
    (row,) = [line for line in table(SYSTEM, "The keys of `[[import]]`") if line.startswith("| `profiles`")]
    assert re.findall(r"`([\w-]+)`", row)[1:] == list(DEFAULT_PROFILES)


def test_every_way_in_which_a_page_cannot_be_read_is_explained():
    assert first_cells(SYSTEM, "When a page cannot be read") == ["read", *PageTrouble]
    assert f"more than {LARGEST_PAGE:,} bytes" in section(SYSTEM, "When a page cannot be read")
    assert f"more than {MOST_ON_A_PAGE:,} devices" in section(SYSTEM, "When a page cannot be read")
    assert f"within {LONGEST_WAIT_S:.0f} s" in section(SYSTEM, "When a page cannot be read")


def test_the_first_look_reads_three_pages_and_touches_no_bus(tmp_path):
    (first, *_) = re.findall(
        r"^```toml\n(.*?)^```$", section(SYSTEM, "First look, and change nothing"), re.MULTILINE | re.DOTALL
    )
    config = tmp_path / "config.toml"
    config.write_text(first)
    settings = read_config(config, {})
    assert len(settings.imports) == 3
    assert not settings.buses
    assert not settings.devices
