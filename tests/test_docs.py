"""What the documentation says is so.

The pages are written by hand. Here they are held against the code: a table
that no longer fits fails, and the failure is the text to paste.
"""

import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from bridge.config import BridgeFile, RemoteWriteTable
from heating.__main__ import _parser, main
from heating.backup.contents import PARTS
from heating.backup.figure import HELP, NEWEST
from heating.backup.settings import BackupFile
from heating.backup.table import BackupTable
from heating.report.columns import columns
from heating.report.figures import Status
from heating.report.settings import ReportFile, ReportTable
from poller.config import PollerFile, read_config
from poller.decode import NoNumber, decode_number, decode_point
from poller.device import Device, describe_device
from poller.discovery import describe_to_home_assistant
from poller.errands import Result
from poller.filters import Reason
from poller.plan import plan_profile
from poller.points import Encoding
from poller.profile import (
    DefaultsTable,
    PointTable,
    ProfileTable,
    TextTable,
    load_profile,
    parse_profile,
    profile_names,
)
from poller.proxy.settings import ProxyTable, WritesTable
from poller.publish import Publisher
from poller.sources.shelly.tables import MeterTable, PumpTable, SensorTable, ShellyTable, SwitchTable
from readings.broker import Delivery, Message
from readings.discovery import DiscoveryTopics, encode_discovery
from readings.health import BRIDGE_HEALTH, POLLER_HEALTH, HealthMetric, Tally, decode_health
from readings.payload import (
    Replay,
    decode_info,
    decode_journal,
    decode_replay,
    decode_state,
    encode_journal,
    encode_replay,
    encode_state,
)
from readings.reading import DeviceState, Kind
from readings.release import VERSION
from readings.settings import load
from readings.topics import DeviceTopic, Leaf, Program, ProgramLeaf, Topics
from readings.vocabulary import VOCABULARY, Quantity

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
TOPICS = Topics("heating")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def page_name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def blocks(*languages: str) -> list[Block]:
    """Every fenced block of every page in one of these languages."""
    found = []
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        for match in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            line = text.count("\n", 0, match.start()) + 1
            found.append(Block(page_name(path), line, match[1], match[2]))
    return [block for block in found if block.language in languages]


def code(path: Path) -> str:
    """All that a page shows as code."""
    text = path.read_text(encoding="utf-8")
    fenced = re.findall(r"^```\w*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))
    return "\n".join([*fenced, *inline])


def section(page: str, heading: str) -> str:
    """The text below a heading, up to the next one."""
    text = (ROOT / page).read_text(encoding="utf-8")
    match = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", text, re.MULTILINE | re.DOTALL)
    assert match, f"{page} has no heading {heading!r}"
    return match[1]


def table(page: str, heading: str, nth: int = 0) -> list[str]:
    """The rows of a table below a heading, the first one unless told otherwise, without its head."""
    tables = re.findall(r"(?:^\|.*\n)+", section(page, heading), re.MULTILINE)
    assert len(tables) > nth, f"{page} has no such table below {heading!r}"
    return tables[nth].splitlines()[2:]


def first_cells(page: str, heading: str) -> list[str]:
    return [row.split("|")[1].strip(" `") for row in table(page, heading)]


def row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


# Metrics


def quantity_rows(kind: Kind) -> list[str]:
    def cells(one: Quantity) -> tuple[str, ...]:
        return f"`{kind}_{one.name}`", one.unit or "-", one.kind, one.description

    return [row(*cells(one)) for one in VOCABULARY[kind].values()]


def health_rows(metrics: dict[str, HealthMetric]) -> list[str]:
    return [
        row(f"`{one.name}`", one.kind, ", ".join(f"`{label}`" for label in one.labels) or "-", one.help)
        for one in metrics.values()
    ]


@pytest.mark.parametrize(
    ("heading", "expected"),
    [
        ("Meters: `meter_*`", quantity_rows(Kind.METER)),
        ("Heat pumps: `heatpump_*`", quantity_rows(Kind.HEATPUMP)),
        ("Sensors: `sensor_*`", quantity_rows(Kind.SENSOR)),
        ("Thermostats: `thermostat_*`", quantity_rows(Kind.THERMOSTAT)),
        ("The poller: `poller_*`", health_rows(POLLER_HEALTH)),
        ("The bridge: `bridge_*`", health_rows(BRIDGE_HEALTH)),
        ("The backup: `backup_*`", health_rows({NEWEST: HealthMetric(NEWEST, "gauge", HELP)})),
    ],
)
def test_every_metric_is_documented_as_the_code_has_it(heading, expected):
    assert table("docs/metrics.md", heading) == expected, "paste this:\n" + "\n".join(expected)


def test_every_reason_to_refuse_a_reading_is_explained():
    assert first_cells("docs/metrics.md", "Why a reading was not accepted") == list(Reason)


@pytest.mark.parametrize("path", PAGES, ids=page_name)
def test_a_metric_that_a_page_names_exists(path):
    known = {f"{kind}_{name}" for kind, rows in VOCABULARY.items() for name in rows}
    known |= {f"wago_{name}" for name in VOCABULARY[Kind.METER]}
    known |= POLLER_HEALTH.keys() | BRIDGE_HEALTH.keys() | {NEWEST}
    labels = {"sensor_id", "sensor_name"}
    prefixes = "meter|wago|heatpump|sensor|thermostat|poller|bridge|backup"
    named = set(re.findall(rf"(?<!/)\b(?:{prefixes})_\w*\w\b(?![*.])", path.read_text(encoding="utf-8")))
    # A network and a volume of containers, and a quantity that the page's own rule describes.
    others = {"heatpump_dashboard_default", "heatpump_dashboard_prometheus_data", "sensor_pressure_hpa"}
    assert named - labels - others <= known


def test_the_page_for_the_originals_users_has_every_name_that_they_had():
    page = (ROOT / "docs/from-the-original.md").read_text(encoding="utf-8")
    meter = load_profile("wago-879").choose()
    for name in meter.keys() - {"energy_total_raw_kwh"}:
        assert f"`wago_{name}`" in page


# MQTT


def test_the_topic_table_is_the_topic_scheme():
    devices = [f"heating/<kind>/<device>/{leaf}" for leaf in Leaf]
    programs = [f"heating/{program}/<name>/{leaf}" for program in Program for leaf in ProgramLeaf]
    assert first_cells("docs/mqtt.md", "The topics") == devices + programs
    for topic in devices + programs:
        TOPICS.parse(topic.replace("<kind>", "meter").replace("<device>", "wp").replace("<name>", "main"))


class Listener:
    """A broker that keeps what it is given."""

    is_connected = True
    connection = 1

    def __init__(self) -> None:
        self.said: list[Message] = []

    def publish(self, message: Message) -> bool:
        self.said.append(message)
        return True


def test_the_poller_publishes_as_the_topic_table_says():
    """Retained or not, and at which QoS: what a poller with the example configuration really says."""
    settings = read_config(ROOT / "config.example.toml", {})
    broker = Listener()
    publisher = Publisher(
        broker,
        TOPICS,
        settings.name,
        settings.devices,
        stream="k3f9",
        ranges=lambda _: (),
        states=lambda *_: [DeviceState(0, "k3f9", 1, {})],
        tally=Tally(POLLER_HEALTH),
    )
    for device in settings.devices:
        publisher.send(device.key, DeviceState(None, "k3f9", None, {}))
    publisher.attend(0.0)
    replay = TOPICS.device(settings.devices[0].key, Leaf.REPLAY)
    publisher.hear(Delivery(replay, encode_replay(Replay("k3f9", 1, 1)), False, 1, 0, 0))
    publisher.attend(0.0)
    said = [*broker.said, *publisher.farewell()]
    written = {}
    for line in table("docs/mqtt.md", "The topics"):
        topic, retained, qos, _ = (cell.strip(" `") for cell in line.strip("|").split("|"))
        written[topic.split("/")[1], topic.split("/")[-1]] = (retained == "yes", int(qos))
    kinds = {kind.value: "<kind>" for kind in Kind}
    for message in said:
        _, first, _, last = message.topic.split("/")
        assert written[kinds.get(first, first), last] == (message.retain, message.qos), message.topic
    assert {message.topic.split("/")[-1] for message in said} == {
        "state", "availability", "info", "journal", "health", "history"
    }  # fmt: skip


def messages() -> Iterator[tuple[str, str, bytes]]:
    """Every message that a page shows, as `mosquitto_sub -v` does: the topic, then the payload."""
    for block in blocks("text", "json"):
        for match in re.finditer(
            r"^(heating/\S+)\s+(.+?)(?=^heating/|\Z)", block.text, re.MULTILINE | re.DOTALL
        ):
            yield str(block), match[1], match[2].strip().encode()


@pytest.mark.parametrize(("at", "topic", "payload"), [pytest.param(*one, id=one[0]) for one in messages()])
def test_a_message_that_a_page_shows_can_be_read(at, topic, payload):
    parsed = TOPICS.parse(topic)
    match parsed.leaf:
        case Leaf.STATE | Leaf.HISTORY:
            assert encode_state(decode_state(payload)) == payload
        case Leaf.INFO:
            decode_info(payload)
        case Leaf.JOURNAL:
            assert encode_journal(decode_journal(payload)) == payload
        case Leaf.REPLAY:
            assert encode_replay(decode_replay(payload)) == payload
        case ProgramLeaf.HEALTH:
            decode_health(payload)
        case Leaf.AVAILABILITY | ProgramLeaf.AVAILABILITY:
            assert payload in {b"online", b"offline"}


def test_the_pages_show_one_message_of_every_sort():
    shown = {TOPICS.parse(topic).leaf for _, topic, _ in messages()}
    assert shown == {*Leaf, *ProgramLeaf} - {Leaf.HISTORY}


def test_the_shown_messages_are_those_of_the_example_configuration():
    """Its devices, all their fields, announced as they are announced."""
    devices = {one.key: one for one in read_config(ROOT / "config.example.toml", {}).devices}
    for at, topic, payload in messages():
        parsed = TOPICS.parse(topic)
        if not isinstance(parsed, DeviceTopic) or parsed.key not in devices:
            continue
        if parsed.leaf is Leaf.STATE:
            assert list(decode_state(payload).values) == list(devices[parsed.key].fields), at
        if parsed.leaf is Leaf.INFO:
            info = decode_info(payload)
            announced = describe_device(devices[parsed.key], info.poller, info.stream)
            shown = {name: announced.fields[name] for name in info.fields}
            assert info == msgspec.structs.replace(announced, fields=shown), at


def test_the_shown_discovery_is_that_of_the_example_configuration():
    (shown,) = (block.text for block in blocks("text") if block.text.startswith("homeassistant/device/"))
    topic, _, payload = shown.partition("\n")
    told = json.loads(payload)
    device = read_config(ROOT / "config.example.toml", {}).devices[0]
    discovery = DiscoveryTopics("homeassistant", TOPICS)
    assert topic == discovery.config(device.key.kind, device.key.name)
    whole = json.loads(encode_discovery(describe_to_home_assistant(device, "poller", discovery)))
    whole["components"] = {key: whole["components"][key] for key in told["components"]}
    assert told == whole


def entity_rows(device: Device) -> list[str]:
    """What Home Assistant shows of a device: names, classes, units."""
    discovery = describe_to_home_assistant(device, "poller", DiscoveryTopics("homeassistant", TOPICS))
    return [
        row(
            one.name,
            one.device_class or ("on / off" if one.platform == "binary_sensor" else "-"),
            ", ".join(one.options) or one.unit_of_measurement or "-",
            "" if one.enabled_by_default else "off",
        )
        for one in discovery.components.values()
    ]


@pytest.mark.parametrize(("number", "heading"), [(0, "A WAGO 879 meter"), (1, "An LG R290 heat pump")])
def test_what_home_assistant_shows_is_listed(number, heading):
    expected = entity_rows(read_config(ROOT / "config.example.toml", {}).devices[number])
    assert table("docs/home-assistant.md", heading) == expected, "paste this:\n" + "\n".join(expected)


def test_a_field_that_an_example_reads_exists():
    named = {name for path in PAGES for name in re.findall(r"value_json\.(\w+)", path.read_text("utf-8"))}
    fields = {name for rows in VOCABULARY.values() for name in rows}
    assert named
    assert named <= fields | {"time", "stream", "seq", "held"}


# Profiles and configuration


@pytest.mark.parametrize(
    ("heading", "form"),
    [
        ("The keys of the file", ProfileTable),
        ("The keys of `[defaults]`", DefaultsTable),
        ("The keys of `[identity]`", TextTable),
        ("The keys of a field", PointTable),
    ],
)
def test_every_key_of_a_profile_is_explained(heading, form):
    explained = first_cells("docs/profiles.md", heading)
    assert sorted(explained) == sorted(one.encode_name for one in msgspec.structs.fields(form))


def test_every_key_of_a_receiver_is_explained():
    explained = first_cells("docs/remote-write.md", "The keys of `[[remote_write]]`")
    assert explained == [one.encode_name for one in msgspec.structs.fields(RemoteWriteTable)]


def profile_row(name: str) -> str:
    """A profile's line: what a poll of its default fields costs on a line of 9600 baud, too."""
    one = load_profile(name)
    cost = ["-", "-"]
    if one.transport == "modbus":
        plan = plan_profile(one)
        cost = [str(len(plan.blocks)), f"{plan.poll_s * 1000:.0f}"]
    status = " (untested)" if one.is_untested else ""
    shown = f"{one.manufacturer} {one.model}{status}"
    fields = [str(len(one.choose())), str(len(one.fields))]
    return row(f"`{name}`", shown, one.kind, f"{one.interval_s:g}", *fields, *cost)


@pytest.mark.parametrize(
    ("heading", "form"),
    [("The keys of `[bus.proxy]`", ProxyTable), ("The keys of `[[bus.proxy.writes]]`", WritesTable)],
)
def test_every_key_of_the_proxy_is_explained(heading, form):
    assert first_cells("docs/proxy.md", heading) == [one.encode_name for one in msgspec.structs.fields(form)]


def test_every_key_of_the_report_is_explained():
    keys = [one.encode_name for one in msgspec.structs.fields(ReportTable)]
    assert sorted(first_cells("docs/reports.md", "The keys of `[report]`")) == sorted(keys)


def test_every_key_and_part_of_a_backup_is_explained():
    keys = [one.encode_name for one in msgspec.structs.fields(BackupTable)]
    assert first_cells("docs/backup.md", "The keys of `[backup]`") == keys
    assert first_cells("docs/backup.md", "What is in it") == list(PARTS)


def test_every_column_and_status_of_the_report_is_explained():
    page = section("docs/reports.md", "The columns")
    for column in [*columns(is_daily=True), *columns(is_daily=False)]:
        assert f"`{column.name}`" in page
    rows = table("docs/reports.md", "The columns", nth=1)
    assert [row.split("|")[1].strip(" `") for row in rows] == list(Status)


def test_everything_that_becomes_of_another_programs_request_is_explained():
    rows = table("docs/proxy.md", "What the exceptions mean", nth=1)
    assert {row.split("|")[1].strip(" `") for row in rows} == set(Result)


@pytest.mark.parametrize("form", [ShellyTable, SensorTable, SwitchTable, PumpTable, MeterTable])
def test_every_key_of_a_shelly_is_explained(form):
    page = (ROOT / "docs" / "shelly.md").read_text(encoding="utf-8")
    for one in msgspec.structs.fields(form):
        assert re.search(
            rf"`{one.encode_name}`|^{one.encode_name} = |shelly\.{one.encode_name}\]", page, re.MULTILINE
        ), one.name


def test_the_profiles_that_are_there_are_listed():
    expected = [profile_row(name) for name in profile_names()]
    assert table("docs/profiles.md", "The profiles that are there") == expected, "\n".join(expected)


def words(cell: str) -> list[int]:
    return [int(word, 16) for word in cell.split()]


def test_the_worked_examples_of_word_order_are_right():
    for line in table("docs/profiles.md", "What you need from the manual", nth=1):
        registers, encoding, order, value = (cell.strip() for cell in line.strip("|").split("|"))
        assert decode_number(words(registers), Encoding(encoding), order) == float(value), line


def test_the_example_profile_reads_what_the_page_says():
    heading = "An example from start to end"
    shown = [one.text for one in blocks("toml") if one.text in section("docs/profiles.md", heading)]
    points = {name: one.point for name, one in parse_profile("example", shown[0]).fields.items()}
    lines = table("docs/profiles.md", heading)
    for line in lines:
        address, registers, field, value = (cell.strip(" `") for cell in line.strip("|").split("|"))
        assert points[field].address == int(address)
        expected = NoNumber.SENTINEL if value == "no value" else float(value)
        assert decode_point(points[field], words(registers)) == expected, line
    assert len(lines) > len(points)
    capture = tomllib.loads(shown[1])
    (block,), ((field, value),) = capture["block"], capture["values"].items()
    assert (points[field].table, points[field].address) == (block["table"], block["address"])
    assert decode_point(points[field], block["words"]) == value


def test_the_example_is_held_against_its_capture_as_the_page_shows(tmp_path, capsys):
    heading = "An example from start to end"
    own, capture = [one.text for one in blocks("toml") if one.text in section("docs/profiles.md", heading)]
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "example-em100.toml").write_text(own, encoding="utf-8")
    (tmp_path / "em100.toml").write_text(capture, encoding="utf-8")
    (tmp_path / "config.toml").write_text('[poller]\nprofiles = "profiles"\n', encoding="utf-8")
    ask = ["profiles", "example-em100", "--config", str(tmp_path / "config.toml")]
    assert main([*ask, "--capture", str(tmp_path / "em100.toml")]) == 0
    (shown,) = [one.text for one in blocks("text") if "as the display showed them" in one.text]
    assert capsys.readouterr().out == shown


def test_the_rules_that_the_page_suggests_are_enough():
    """For whole numbers as they are, for floats with a resolution."""
    for line in table("docs/profiles.md", "What to write for which quantity"):
        field, unit, rules = (cell.strip(" `") for cell in line.strip("|").split("|"))
        kind = Kind.METER if field in VOCABULARY[Kind.METER] else Kind.HEATPUMP
        assert VOCABULARY[kind][field].unit == unit
        head = f'title = "T"\nkind = "{kind}"\nmanufacturer = "M"\nmodel = "X"\nsources = ["a manual"]\n[fields]\n'
        if "live_when" in rules:
            head += "voltage_L1_v = { address = 9, range = [0, 300] }\n"
        for encoding in ('"int32", scale = 0.001', '"float32", resolution = 0.001'):
            known = parse_profile("t", f"{head}{field} = {{ address = 0, encoding = {encoding}, {rules} }}")
            low = known.fields[field].rules
            assert low.range[0] > 0 or low.low or low.kind == "energy", (
                "an answer of zeros waits for a second"
            )


def test_the_encodings_that_the_page_names_exist_and_take_so_many_registers():
    named = set()
    for line in table("docs/profiles.md", "What you need from the manual", nth=2):
        _, registers, encoding = (cell.strip() for cell in line.strip("|").split("|"))
        one = Encoding(re.findall(r'"(\w+)"', encoding)[0])
        assert one.is_text or one.registers == int(registers)
        named.add(one)
    assert named == set(Encoding) - {Encoding.HEX}


@pytest.mark.parametrize("block", blocks("toml"), ids=str)
def test_toml_that_a_page_shows_is_accepted(block):
    tables = tomllib.loads(block.text)
    if "fields" in tables:
        parse_profile("shown", block.text)
    elif "values" in tables:
        pass  # a capture: the test of the example profile reads it
    else:
        msgspec.convert(tables, PollerFile)
        msgspec.convert(tables, BridgeFile)
        msgspec.convert(tables, ReportFile)
        msgspec.convert(tables, BackupFile)


@pytest.mark.parametrize("path", PAGES, ids=page_name)
def test_a_variable_that_a_page_names_overrides_a_key(path, tmp_path):
    """The value may be refused for what it is; an unknown key would be refused for its name."""
    config = ROOT / "config.example.toml"
    (secret := tmp_path / "secret").write_text("1", encoding="utf-8")
    for name in set(re.findall(r"\bHEATING_[A-Z0-9_]+__[A-Z0-9_]+\b", path.read_text(encoding="utf-8"))):
        form = BridgeFile if name.startswith(("HEATING_BRIDGE", "HEATING_REMOTE_WRITE")) else PollerFile
        variables = {name: str(secret) if name.endswith("_FILE") else "1"}
        load(config, form, {"HEATING_MQTT__USERNAME": "a password wants one", **variables})


# Links, commands, sizes


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as the usual renderers make them."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES, ids=page_name)
def test_every_link_leads_somewhere(path):
    for link in re.findall(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"", path.read_text(encoding="utf-8")):
        target, _, anchor = "".join(link).partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        file = (path.parent / target).resolve() if target else path
        assert file.exists(), f"{page_name(path)} links to {target}"
        if anchor:
            assert anchor in anchors(file), f"{page_name(path)} links to {target}#{anchor}"


@pytest.mark.parametrize("path", PAGES, ids=page_name)
def test_prose_is_wrapped(path):
    """At 120 columns or a word later; tables, code and what cannot be broken may be longer."""
    fence = r"^ *```.*?^ *```$"
    text = re.sub(
        fence, lambda one: "\n" * one[0].count("\n"), path.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL
    )
    for number, line in enumerate(text.splitlines(), 1):
        if not line.startswith(("|", "#", "<")):
            words = re.sub(r"\[[^\]]*\]\([^)]*\)|`[^`]*`", "x", line).split()
            assert len(line) <= 125 or len(words) == 1, f"{page_name(path)}:{number}"


@pytest.mark.parametrize("path", PAGES, ids=page_name)
def test_a_file_that_a_page_names_exists(path):
    rooms = "readings|poller|bridge|simulator|heating|tests|docs|mosquitto|prometheus|grafana"
    for name in re.findall(rf"`((?:{rooms})/[\w./-]*\w\.\w+)`", path.read_text(encoding="utf-8")):
        assert (ROOT / name).exists(), f"{page_name(path)} names {name}"


@pytest.mark.parametrize("path", PAGES, ids=page_name)
def test_a_test_that_a_page_names_exists(path):
    for file, name in re.findall(r"`(tests/[\w./-]+\.py)::(\w+)`", path.read_text(encoding="utf-8")):
        assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8"), f"{file}::{name}"


@pytest.mark.parametrize("path", PAGES, ids=page_name)
def test_make_has_the_targets_that_a_page_names(path):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z-]+)", code(path))) <= targets


def test_what_make_lists_is_no_file():
    """A folder of that name would be taken for the target, and nothing done."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (phony,) = re.findall(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    assert set(re.findall(r"^([a-z-]+):[^#\n]*## ", makefile, re.MULTILINE)) <= set(phony.split())


@pytest.mark.parametrize("path", PAGES, ids=page_name)
def test_the_command_line_takes_what_a_page_types(path):
    for command in re.findall(r"(?:^|python -m )heating ([a-z]+[^#\n]*)", code(path), re.MULTILINE):
        words = shlex.split(command.partition(" > ")[0])
        if len(words) > 1:
            _parser().parse_args(words)
        else:  # a command's name, without what it needs
            with pytest.raises(SystemExit, match="0"):
                _parser().parse_args([*words, "--help"])


def test_the_page_on_the_migration_has_every_option():
    options = re.findall(r"--[a-z]+", usage_of("migrate"))
    page = set(re.findall(r"`(--[a-z]+)`", "\n".join(table("docs/migration.md", "Look, then do it"))))
    assert page == set(options) - {"--help"}


def usage_of(command: str) -> str:
    (subparsers,) = [one for one in _parser()._actions if one.dest == "command"]
    return str(subparsers.choices[command].format_usage())


def test_the_services_that_a_page_names_are_those_of_the_stack():
    services = (ROOT / "compose.yaml").read_text(encoding="utf-8").partition("\nservices:\n")[2]
    names = re.findall(r"^  ([a-z]+):$", services.partition("\nnetworks:\n")[0], re.MULTILINE)
    assert first_cells("docs/with-docker.md", "With your devices") == [
        one for one in names if one != "simulator"
    ]


@pytest.mark.parametrize("path", PAGES, ids=page_name)
def test_the_files_that_change_the_stack_are_there(path):
    for line in re.findall(r"\bCOMPOSE_FILE=(\S+)", path.read_text(encoding="utf-8").replace("`", " ")):
        own = {"compose.override.yaml"}
        for name in set(line.split(":")) - own:
            assert (ROOT / name).is_file(), f"{page_name(path)} names {name}"


def services_of(text: str) -> dict[str, str]:
    """The services of a compose file, each with what it is told."""
    (told,) = re.findall(r"^services:\n(.*?)(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL)
    return dict(re.findall(r"^  (\w+):(.*?)(?=^  \w|\Z)", told, re.MULTILINE | re.DOTALL))


def test_beside_the_originals_stack_no_port_is_wanted_twice_and_the_receiver_is_that_of_the_configuration():
    page = section("docs/existing-system.md", "Beside the original's stack")
    (line,) = re.findall(r"^COMPOSE_FILE=(\S+)$", page, re.MULTILINE)
    (override,) = re.findall(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    ports: dict[str, str] = {}
    receivers: dict[str, str] = {}
    for name in line.split(":"):
        text = override if name == "compose.override.yaml" else (ROOT / name).read_text(encoding="utf-8")
        for service, told in services_of(text).items():
            if "profiles: [not-ours]" in told:
                ports.pop(service, None)
            for port in re.findall(r'ports: (?:!override )?\["(?:[\d.]+:)?(\d+):\d+"\]', told):
                ports[service] = port
            for receiver in re.findall(r"HEATING_REMOTE_WRITE__0__URL: (\S+)", told):
                receivers[service] = receiver
    assert ports.keys() == {"mosquitto", "bridge"}
    assert not set(ports.values()) & {"9090", "3000", "9100"}
    assert set(receivers.values()) == {'""'}, "what the stack sets would win over config.toml"
    assert "[[remote_write]]" in page


@pytest.mark.parametrize("block", blocks("sh", "python"), ids=str)
def test_whoever_connects_to_the_broker_has_a_name_or_is_told_that_none_is_needed(block):
    for line in block.text.splitlines():
        if re.match(r"mosquitto_(sub|pub)\b", line):
            assert re.search(r" -u \w+ -P |# .*without passwords", line), line
    if "paho" in block.text:
        assert "auth={" in block.text


def test_what_is_deleted_is_what_was_looked_at():
    heading = "Energy jumped, or a wrong value is in the database"
    page = section("docs/troubleshooting.md", heading)
    (minutes, until), (start, end) = (
        re.findall(pattern, page)[0]
        for pattern in (r"\[(\d+)m\]&time=([^']+)'", r"delete_series\?\S*&start=([^&]+)&end=([^']+)'")
    )
    looked = datetime.fromisoformat(until) - timedelta(minutes=int(minutes)), datetime.fromisoformat(until)
    assert looked == (datetime.fromisoformat(start), datetime.fromisoformat(end))


@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_python_that_a_page_shows_compiles(block):
    compile(block.text, str(block), "exec")


def test_the_days_for_which_a_shellys_messages_wait_are_what_the_broker_keeps():
    broker = (ROOT / "mosquitto" / "mosquitto.conf").read_text(encoding="utf-8")
    (kept,) = re.findall(r"^max_queued_messages (\d+)$", broker, re.MULTILINE)
    ((days, a_minute),) = re.findall(r"(\w+) days of four Bluetooth sensors, which make (\d+)", broker)
    assert int(kept) // int(a_minute) // 1440 == ["no", "one", "two", "three", "four"].index(days)
    page = (ROOT / "docs" / "shelly.md").read_text(encoding="utf-8")
    assert re.search(rf"keeps {int(kept):,} messages for it:\s{days} days of four\s+sensors", page)


def test_the_poll_that_is_measured_is_the_one_that_is_planned():
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    (measured,) = re.findall(r"11 values of a meter in (\d) requests", page)
    (planned,) = re.findall(r"^\| wago-879 +\| +11 \| +(\d) \|", page, re.MULTILINE)
    assert measured == planned


def test_the_changelog_begins_with_this_version():
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## ([\d.]+)", changes, re.MULTILINE)[1] == VERSION
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == VERSION


def test_the_architecture_stays_on_two_pages():
    assert len((ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").splitlines()) <= 110
