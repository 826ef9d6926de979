"""What the page says in each situation."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC
from html.parser import HTMLParser

import msgspec
import pytest

from bridge.cards import Moment
from bridge.faces import FACES
from bridge.latest import Latest
from bridge.page import render_page
from bridge.status import BridgeStatus, DeviceBacklog
from poller.device import Device, describe_device
from poller.profile import load_profile
from readings.health import Health, HealthSample
from readings.payload import FieldInfo
from readings.reading import DeviceKey, DeviceState, Kind, Value
from readings.topics import Program
from readings.vocabulary import VOCABULARY

NOON_MS = 1_795_435_500_000  # 2026-11-23T12:05Z
SENT = BridgeStatus(
    receiver="http://prometheus:9090/api/v1/write",
    last_answer="204 No Content",
    last_sent_ms=NOON_MS - 2000,
    store_bytes=3_400_000,
)
VOID = {"meta", "link", "br", "wbr"}


class Document(HTMLParser):
    """Parses a page strictly: every element is closed, in order, and ids are unique."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []
        assert len(self.ids) == len(set(self.ids))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._divide(tag)
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        self._divide(tag)

    def _divide(self, tag):
        """What stands in two blocks is two words, with or without a style."""
        if tag not in {"span", "b", "wbr"}:
            self.words.append(" ")

    def handle_data(self, data):
        if self.open and self.open[-1] not in {"style", "script"}:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).replace("\u202f", " ").replace("\xa0", " ").split())

    def count(self, tag: str, css: str = "") -> int:
        return sum(
            name == tag and css in ["", *(attrs.get("class") or "").split()] for name, attrs in self.tags
        )


class House:
    """A house at noon; the monotonic clock says 100000."""

    def __init__(self) -> None:
        self.latest = Latest()

    def add(
        self,
        profile: str,
        name: str,
        values: Mapping[str, Value] | None = None,
        *,
        title: str = "",
        held: frozenset[str] = frozenset(),
        ago_s: float = 4.0,
        seq: int = 1,
    ) -> DeviceKey:
        loaded = load_profile(profile)
        key = DeviceKey(loaded.kind, name)
        device = Device(
            key=key,
            title=title or name,
            profile=loaded,
            fields=loaded.choose((), ()),
            interval_s=loaded.interval_s,
        )
        self.latest.announce(key, describe_device(device, "poller", "s"))
        if values is not None:
            self.offer(key, values, held=held, ago_s=ago_s, seq=seq)
        return key

    def offer(self, key, values, *, held=frozenset(), ago_s=4.0, seq=1) -> None:
        at_ms = NOON_MS - round(ago_s * 1000)
        state = DeviceState(at_ms, "s", seq, values, held)
        self.latest.offer(key, state, retained=False, now_ms=at_ms, now=100_000 - ago_s)
        self.latest.availability(key, True)

    def page(self, status: BridgeStatus = SENT, title: str = "Heating") -> Document:
        return Document(
            render_page(
                self.latest.snapshot(100_000),
                self.latest.history(100_000),
                status,
                title=title,
                version="0.1.0",
                moment=Moment(NOON_MS, 100_000),
                zone=UTC,
            )
        )


def backlog(**numbers: int) -> BridgeStatus:
    return BridgeStatus(
        devices={DeviceKey(Kind.METER, "wp"): DeviceBacklog(**numbers)},
        receiver=SENT.receiver,
        last_answer="503 Service Unavailable",
        last_sent_ms=NOON_MS - 420_000,
        store_bytes=90_000,
    )


@pytest.mark.parametrize(
    ("status", "tone", "words"),
    [
        (SENT, "good", "Complete: every reading is in Prometheus Nothing waits, nothing is missing."),
        (
            backlog(waiting=2, oldest_waiting_ms=NOON_MS - 3000),
            "good",
            "Complete: every reading is in Prometheus The newest 2 are on their way.",
        ),
        (
            backlog(waiting=23, oldest_waiting_ms=NOON_MS - 420_000),
            "wait",
            "23 readings wait for Prometheus since 11:58 They are safe here; the oldest is 7 min old."
            " Prometheus last said: 503 Service Unavailable.",
        ),
        (
            backlog(waiting=1, missing=1, oldest_waiting_ms=NOON_MS - 90_000_000),
            "wait",
            "1 reading waits for Prometheus since 22 Nov, 11:05",
        ),
        (
            backlog(missing=812),
            "wait",
            "812 readings have not arrived yet The bridge asks for them while the poller is online",
        ),
        (backlog(given_up=3), "wait", "Complete but for 3 readings The poller no longer has them"),
        (
            replace(SENT, dropped=150),
            "wait",
            "Complete but for 150 readings Since its start the bridge had to drop them unsent",
        ),
        (
            replace(SENT, too_old=1),
            "wait",
            "Complete but for 1 value Since its start the bridge had to leave them out: Prometheus takes none so old",
        ),
        (backlog(quarantined=2), "wait", "Complete but for 2 refused values Prometheus does not take them"),
        (
            backlog(waiting=2, parked=2, oldest_waiting_ms=NOON_MS - 420_000),
            "wait",
            "2 readings wait for Prometheus since 11:58 They are safe here; the oldest is 7 min old."
            " Prometheus last said: 503 Service Unavailable. 2 lie ahead of this clock",
        ),
        (
            backlog(waiting=2, parked=2, oldest_waiting_ms=NOON_MS + 3_600_000),
            "wait",
            "2 readings wait for Prometheus They are safe here."
            " Prometheus last said: 503 Service Unavailable. 2 lie ahead of this clock: is it right",
        ),
        (
            backlog(waiting=9, parked=2, oldest_waiting_ms=NOON_MS - 3000),
            "wait",
            "9 readings wait for Prometheus since 12:04 They are safe here; the oldest is 3 s old.",
        ),
        (backlog(unreadable=5), "bad", "5 readings need a newer bridge"),
        (
            BridgeStatus(receiver="http://x", broker_trouble="cannot reach localhost:1883: refused"),
            "bad",
            "No connection to the broker No reading can arrive (cannot reach localhost:1883: refused).",
        ),
        (
            BridgeStatus(receiver="http://x", store_trouble="No space left on device"),
            "bad",
            "Readings cannot be stored here No space left on device.",
        ),
        (BridgeStatus(), "idle", "Readings are shown, not sent"),
    ],
)
def test_the_first_words_say_whether_the_data_is_complete(status, tone, words):
    house = House()
    house.add("wago-879", "wp", {"power_total_kw": 0.046})
    page = house.page(status)
    assert words in page.text
    assert page.count("section", tone) == 1


def test_without_any_device_it_says_what_it_waits_for():
    page = House().page()
    assert "Waiting for the first reading No poller has announced a device yet." in page.text
    assert "they appear here by themselves" in page.text


def test_a_device_shows_its_large_figure_and_what_is_on():
    house = House()
    house.add(
        "wago-879", "wp", {"power_total_kw": 1.2345, "energy_total_kwh": 12345.678, "power_L1_kw": -0.0462}
    )
    house.add(
        "lg-r290",
        "hp",
        {
            "flow_temperature_celsius": 34.25,
            "operating_mode": 2,
            "compressor_running": 1,
            "defrost_active": 0,
        },
    )
    text = house.page().text
    assert "Power 1.23 kW" in text
    assert "Energy 12 345.68 kWh" in text
    assert "Power L1 \u221246 W" in text
    assert "Flow 34.2 °C" in text
    assert "heating Compressor on Defrost off" in text
    assert "online · 4 s ago" in text
    assert "Total active" not in text  # the help is for machines


def test_every_value_is_listed_with_its_metrics():
    house = House()
    house.add("wago-879", "wp", {"power_total_kw": 1.2345, "tariff": None})
    page = house.page()
    assert "Power meter_power_total_kw 1.234 kW" in page.text
    assert "Frequency meter_frequency_hz no value" in page.text
    assert page.count("details") == 1


def test_a_held_value_says_how_old_it_is():
    house = House()
    key = house.add("wago-879", "wp", {"power_total_kw": 1.0, "power_factor": 0.93}, ago_s=40)
    house.offer(key, {"power_total_kw": 2.0, "power_factor": 0.93}, held=frozenset({"power_factor"}), seq=2)
    page = house.page()
    assert "Power factor 0.930 · 40 s old" in page.text
    assert "Power 2.00 kW Energy" in page.text


def test_a_value_that_was_held_from_the_start_is_marked_too():
    house = House()
    house.add("wago-879", "wp", {"power_total_kw": 1.0}, held=frozenset({"power_total_kw"}))
    assert "Power 1.00 kW · held" in house.page().text


@pytest.mark.parametrize(
    ("code", "words"), [(0, "Water pump on"), (21, "Water pump on Error on Error code 21")]
)
def test_an_error_stands_out_and_no_error_is_no_news(code, words):
    house = House()
    house.add(
        "lg-r290",
        "hp",
        {
            "flow_temperature_celsius": 30,
            "water_pump_running": 1,
            "error_active": int(code > 0),
            "error_code": code,
        },
    )
    page = house.page()
    assert f"{words} Return" in page.text
    assert page.count("li", "alarm") == (2 if code else 0)


def test_an_absent_device_says_why():
    house = House()
    silent = house.add("wago-879", "silent", {"power_total_kw": 1.0}, ago_s=3600)
    house.add("wago-879", "never")
    lost = house.add("lg-r290", "lost", {"flow_temperature_celsius": None})
    house.latest.availability(lost, False)
    ahead = house.add("thermostat", "ahead")
    house.latest.offer(
        ahead,
        DeviceState(NOON_MS + 7_200_000, "s", 1, {"switch_state": 1}),
        retained=False,
        now_ms=NOON_MS,
        now=0,
    )
    house.latest.offer(
        DeviceKey(Kind.SENSOR, "who"), DeviceState(1, "s", 1, {"a": 1}), retained=False, now_ms=1, now=0
    )
    newer = house.add("shelly-blu-ht", "newer")
    info = next(one.info for one in house.latest.snapshot(0).devices if one.key == newer)
    assert info is not None
    house.latest.announce(newer, msgspec.structs.replace(info, contract=2))
    house.latest.availability(silent, True)
    text = house.page().text
    for words in (
        "silent No reading for 60 min.",
        "never No reading yet.",
        "offline lost It does not answer.",
        "ahead Its readings are dated 2 h ahead: check the clocks of poller and bridge.",
        "who Readings come, but no poller has said yet what they are.",
        "newer It speaks contract 2, which this bridge does not know yet.",
        "No device gives readings now",
    ):
        assert words in text


def test_complete_names_the_devices_that_say_nothing():
    house = House()
    house.add("wago-879", "wp", {"power_total_kw": 1.0})
    for name in ("a", "b", "c", "d", "e"):
        house.add("shelly-blu-ht", name)
    assert "Prometheus No readings now from a, b, c and 2 more." in house.page().text


def test_a_poller_that_left_is_named_at_its_devices_and_below():
    house = House()
    house.add("wago-879", "wp", {"power_total_kw": 1.0})
    house.latest.poller_gone("poller")
    started = {
        "poller_start_time_seconds": [HealthSample({}, NOON_MS / 1000 - 7200)],
        "poller_journal_rows": [HealthSample({}, 0)],
        "poller_journal_failures_total": [HealthSample({}, 0)],
    }
    house.latest.health(Program.POLLER, "poller", Health(name="poller", version="0.1.0", metrics=started))
    text = house.page().text
    assert "poller offline wp The poller that reads it is not connected." in text
    assert "Poller offline Version 0.1.0 0 readings in its journal Broker" in text


def test_what_the_parts_of_the_way_say():
    house = House()
    house.latest.poller_back("poller")
    metrics = {
        "poller_start_time_seconds": [HealthSample({}, NOON_MS / 1000 - 7200)],
        "poller_clock_trusted": [HealthSample({}, 0)],
        "poller_readings_rejected_total": [
            HealthSample({"device": "a"}, 10),
            HealthSample({"device": "b"}, 2),
            HealthSample({"device": "b", "reason": "first"}, 8),
        ],
        "poller_journal_rows": [HealthSample({}, 1e400)],
    }
    house.latest.health(Program.POLLER, "poller", Health(name="poller", version="0.1.0", metrics=metrics))
    text = house.page(backlog(waiting=20, missing=3, oldest_waiting_ms=NOON_MS - 600_000)).text
    for words in (
        "Version 0.1.0, runs for 2 h",
        "Its clock is not trusted yet",
        "12 readings held back or rejected as implausible",
        "Broker connected",
        "90 kB meter/wp: 20 wait, 3 not here yet, the oldest of 10 min ago",
        "Prometheus readings wait Last sent 7 min ago Last answer: 503 Service Unavailable",
        "/metrics /-/healthy /-/ready",
    ):
        assert words in text


HOSTILE = "</h3><script>alert(1)</script>\"'&amp;\x00\u202e\n🔥" + "x" * 300


def test_a_hostile_title_is_only_text():
    house = House()
    key = house.add("wago-879", "wp", {"power_total_kw": 1.5, "power_factor": 1}, title=HOSTILE)
    info = next(one.info for one in house.latest.snapshot(0).devices)
    assert info is not None
    field = FieldInfo(unit="<b>", description=HOSTILE, prefixes=("meter",), words={"1": HOSTILE})
    hostile = msgspec.structs.replace(
        info, manufacturer=HOSTILE, poller=HOSTILE, fields={"power_total_kw": field, "power_factor": field}
    )
    house.latest.announce(key, hostile)
    house.latest.health(Program.POLLER, HOSTILE, Health(name=HOSTILE, version=HOSTILE, metrics={}))
    trouble = BridgeStatus(receiver=HOSTILE, last_answer=HOSTILE, last_sent_ms=0, broker_trouble=HOSTILE)
    for status in (SENT, trouble):
        page = house.page(status, title=HOSTILE)
        assert page.count("script") == 1
        assert page.count("b") == 0
        assert "<script>alert(1)</script>" in page.text


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"water_level": 3, "my_flag": 1, "seen_timestamp": NOON_MS / 1000 - 180}, "water level 3 m"),
        ({"water_level": None, "my_flag": 0}, "my flag off"),
        ({"water_level": 1e300, "my_flag": -0.5}, "water level 1e+300 m"),
        ({"unknown": 1}, "None of its fields has a value now."),
    ],
)
def test_a_device_with_fields_of_its_own_shows_them(values, words):
    house = House()
    key = house.add("wago-879", "tank")
    info = next(one.info for one in house.latest.snapshot(0).devices)
    assert info is not None
    fields = {
        "water_level": FieldInfo(unit="m"),
        "my_flag": FieldInfo(kind="bit"),
        "seen_timestamp": FieldInfo(unit="s"),
    }
    house.latest.announce(key, msgspec.structs.replace(info, fields=fields))
    house.offer(key, values)
    assert words in house.page().text


def test_the_last_hours_are_drawn_with_what_the_axes_say():
    house = House()
    key = house.add("lg-r290", "hp")
    for minute in range(120):
        values = {
            "flow_temperature_celsius": 30 + minute / 20,
            "return_temperature_celsius": 28,
            "compressor_running": minute % 2,
        }
        house.offer(key, values, ago_s=(119 - minute) * 60, seq=minute + 1)
    page = house.page()
    assert "Flow Return Compressor 3 h ago 28.0 °C … 36.0 °C now" in page.text
    labels = [
        attrs.get("aria-label") for tag, attrs in page.tags if tag == "svg" and attrs.get("role") == "img"
    ]
    assert labels == [
        "Flow and Return, last 3 h: 28.0\xa0°C to 36.0\xa0°C",
        "When it was on, last 3 h: Compressor",
    ]


def test_a_line_that_is_alone_is_the_first():
    """The area below the second one has no colour of its own: it would be black."""
    house = House()
    house.add("lg-r290", "hp", {"return_temperature_celsius": 28, "compressor_running": 1})
    page = house.page()
    assert (page.count("path", "first"), page.count("path", "second")) == (2, 0)
    assert "30 min ago 28.0 °C now" in page.text, "one number where both ends read the same"


def test_every_field_of_a_face_is_in_the_vocabulary():
    assert set(FACES) == set(Kind)
    for kind, face in FACES.items():
        named = {face.lead, *face.figures, *face.flags, *face.lines} | ({face.strip} - {""})
        assert named <= VOCABULARY[kind].keys()


def test_the_document_is_for_everybody():
    page = House().page(title="Heizung")
    tags = dict(reversed(page.tags))
    assert tags["html"]["lang"] == "en"
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in [a for _, a in page.tags]
    assert page.count("h1") == page.count("main") == page.count("title") == 1
    assert not any("style" in attrs or any(name.startswith("on") for name in attrs) for _, attrs in page.tags)
    assert page.text.startswith("Heizung · Waiting for the first reading")
