"""The shipped mosquitto.conf, acl and start.sh, in a real broker: who may do what, and what is kept for whom."""

import os
import random
import re
import subprocess
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from heating.passwords import MQTT_USERS, make_passwords, read_password
from poller.config import PollerSettings
from poller.run import Poller
from poller.sources.shelly.tables import ShellyTable, read_shelly
from readings.broker import Delivery, Message, Session
from readings.settings import MqttSettings
from simulator.house_bus import LiveHouse
from simulator.shelly import PREFIX as SHELLY
from simulator.shelly_mqtt import ShellyAtBroker
from tests.conftest import Server, free_port, needs, wait_until

MOSQUITTO = Path(__file__).parent.parent / "mosquitto"

pytestmark = pytest.mark.mosquitto


@dataclass
class Broker:
    """The broker as its container has it, its folders elsewhere.

    Attributes:
        server: Its process, on the port that only the stack's own programs reach.
        published: The port for everybody else.
    """

    folder: Path
    server: Server
    published: int

    @property
    def own(self) -> Path:
        """What a person drops files into."""
        return self.folder / "own"

    def settings(self, user: str, port: int | None = None, ca: str | None = None) -> MqttSettings:
        password = read_password(self.folder / "secrets", user)
        return MqttSettings(
            host="localhost", port=port or self.server.port, username=user, password=password, ca=ca
        )


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    needs("mosquitto")
    inside, published = free_port(), free_port()
    for name in ("run", "data", "own", "config"):
        (tmp_path / name).mkdir()
    chance = random.Random(1)
    make_passwords(
        tmp_path / "secrets", renew=(), choose=chance.choice, draw_salt=lambda: chance.randbytes(12)
    )

    def here(text: str) -> str:
        """Its folders and ports, and no change of the user where root runs the test."""
        for name, place in (
            ("/run/mosquitto", tmp_path / "run"),
            ("/mosquitto/own", tmp_path / "own"),
            ("/mosquitto/data", tmp_path / "data"),
            ("/mosquitto/config", tmp_path / "config"),
            ("/secrets", tmp_path / "secrets" / "mosquitto"),
        ):
            text = re.sub(rf"(?<![\w/]){name}\b", str(place), text)
        return text.replace("1884", str(inside)).replace("listener 1883", f"listener {published}")

    (tmp_path / "config" / "mosquitto.conf").write_text(
        here((MOSQUITTO / "mosquitto.conf").read_text()) + "user root\n"
    )
    (tmp_path / "config" / "acl").write_text((MOSQUITTO / "acl").read_text())
    (script := tmp_path / "start.sh").write_text(here((MOSQUITTO / "start.sh").read_text()))
    server = Server(["sh", str(script)], inside, tmp_path / "log")
    yield Broker(tmp_path, server, published)
    server.stop()


def subscribe(broker: Broker, user: str, topic: str, *more: str) -> subprocess.CompletedProcess[str]:
    settings = broker.settings(user)
    return subprocess.run(
        [
            needs("mosquitto_sub"),
            *("-h", "127.0.0.1", "-p", str(settings.port), "-q", "1", "-t", topic),
            *("-u", user, "-P", str(settings.password), *more),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )


def test_what_a_subscriber_missed_waits_for_it_over_a_restart_of_the_broker(broker: Broker):
    """More than mosquitto would keep by itself, which is 1000 messages."""
    broker.server.start()
    topic = "heating/meter/meter/state"
    session = ("-i", "bridge", "--disable-clean-session")
    assert subscribe(broker, "bridge", topic, *session, "-E").returncode == 0
    sent = [f"state {number}" for number in range(3000)]
    poller = broker.settings("poller")
    subprocess.run(
        [
            needs("mosquitto_pub"),
            *("-h", "127.0.0.1", "-p", str(poller.port), "-q", "1", "-t", topic, "-l"),
            *("-u", "poller", "-P", str(poller.password)),
        ],
        input="\n".join(sent),
        text=True,
        check=True,
        timeout=20,
    )
    broker.server.stop()
    broker.server.start()
    got = subscribe(broker, "bridge", topic, *session, "-C", "3000", "-W", "15")
    assert got.stdout.splitlines() == sent


def test_a_message_that_would_fill_the_memory_is_not_passed_on(broker: Broker):
    broker.server.start()
    poller = broker.settings("poller")

    def publish(topic: str, payload: str) -> None:
        # With QoS 0 mosquitto_pub is not told what became of it.
        subprocess.run(
            [
                needs("mosquitto_pub"),
                *("-h", "127.0.0.1", "-p", str(poller.port), "-r", "-t", topic, "-s"),
                *("-u", "poller", "-P", str(poller.password)),
            ],
            input=payload,
            text=True,
            check=False,
            timeout=20,
        )

    for topic, payload in (("long", "9" * 9_000_000), ("endless", "9" * 11_000_000), ("last", "9")):
        publish(f"heating/meter/{topic}/state", payload)
    got = subscribe(broker, "bridge", "heating/meter/+/state", "-F", "%t %l", "--retained-only", "-W", "3")
    assert sorted(got.stdout.splitlines()) == [
        "heating/meter/last/state 1",
        "heating/meter/long/state 9000000",
    ]


@pytest.mark.parametrize(
    "who", [(), ("-u", "viewer"), ("-u", "viewer", "-P", ""), ("-u", "poller", "-P", "poller")]
)
def test_nobody_comes_in_without_a_password(broker: Broker, who: tuple[str, ...]):
    broker.server.start()
    for port in (broker.server.port, broker.published):
        refused = subprocess.run(
            [
                needs("mosquitto_sub"),
                "-h",
                "127.0.0.1",
                "-p",
                str(port),
                *who,
                "-t",
                "#",
                "-C",
                "1",
                "-W",
                "5",
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        )
        assert "not authorised" in refused.stderr, port


WRITES = {
    "heating/meter/wp/state": {"poller"},
    "heating/sensor/indoor/info": {"poller"},
    "heating/poller/poller/health": {"poller"},
    "heating/poller/poller/sources/marker": {"poller"},
    "heating/meter/wp/replay": {"poller", "bridge"},
    "heating/bridge/bridge/availability": {"bridge"},
    "homeassistant/device/heating_meter_wp/config": {"poller", "bridge", "homeassistant"},
    "homeassistant/status": {"poller", "bridge", "homeassistant"},
    "shellypro2-00005e005301/rpc": {"poller", "devices"},
    "heating-poller-poller-sources-0/rpc": {"poller", "devices"},
    "shellypro2-00005e005301/events/rpc": {"devices"},
    "shellypro2-00005e005301/status/bthomesensor:202": {"devices"},
    "shellypro2-00005e005301/online": {"devices"},
    "shellypro2-00005e005301/command/switch:0": set(),
    "zigbee2mqtt/living room": {"devices"},
    "tele/plug/SENSOR": {"devices"},
    "something/else": set(),
}
"""Who may say something there."""

READS = {
    "heating/meter/wp/state": {"poller", "bridge", "homeassistant", "viewer"},
    "heating/bridge/bridge/availability": {"poller", "bridge", "homeassistant", "viewer"},
    "homeassistant/status": {"poller", "bridge", "homeassistant", "viewer"},
    "shellypro2-00005e005301/events/rpc": {"poller"},
    "shellypro2-00005e005301/rpc": {"poller", "devices"},
    "shellypro2-00005e005301/command/switch:0": {"poller", "devices"},
    "zigbee2mqtt/living room": {"poller", "devices"},
    "something/else": {"poller"},
}
"""Who may hear what is said there; a user of its own says it."""

SEES_ALL = "user viewer\ntopic readwrite #\n"
"""For the test's sake, as rules of a person's own may have it."""

Heard = dict[str, set[tuple[str, str]]]
"""By user: topics, and who said something there."""


def try_everything(broker: Broker, topics: Collection[str], written: Collection[tuple[str, str]]) -> Heard:
    """What each user hears when each of them says something everywhere, and `written` is what should pass.

    Args:
        broker: With the viewer as somebody who hears and says everything, for the test's sake.
    """
    broker.server.start()
    heard: Heard = {user: set() for user in MQTT_USERS}

    def listen(user: str) -> Session:
        def hear(delivery: Delivery) -> None:
            heard[user].add((delivery.topic, delivery.payload.decode()))

        return Session(
            broker.settings(user),
            client_id=user,
            clean=True,
            subscriptions=[(topic, 0) for topic in topics],
            on_message=hear,
            jitter=lambda: 0.0,
        )

    sessions = {user: listen(user) for user in MQTT_USERS}
    for one in sessions.values():
        one.start()
    wait_until(lambda: all(one.is_connected for one in sessions.values()))

    def everybody_hears(word: str) -> bool:
        for topic in topics:
            sessions["viewer"].publish(Message(topic, word.encode(), qos=1))
        return all(any(said == word for _, said in one) for one in heard.values())

    # Connected is not yet subscribed.
    wait_until(lambda: everybody_hears("ready"))
    for user, one in sessions.items():
        for topic in topics:
            one.publish(Message(topic, user.encode(), qos=1))
    expected = set(written) | {(topic, "viewer") for topic in topics}
    wait_until(lambda: expected <= heard["viewer"], what="everything that is allowed arrives")
    wait_until(lambda: everybody_hears("end"))
    for one in sessions.values():
        one.stop()
    assert {one for one in heard["viewer"] if one[1] in MQTT_USERS} == expected
    return heard


def test_every_user_may_do_what_it_needs_and_nothing_else(broker: Broker):
    (broker.own / "acl").write_text(SEES_ALL)
    everything = sorted(WRITES.keys() | READS.keys())
    heard = try_everything(
        broker, everything, {(topic, user) for topic, users in WRITES.items() for user in users}
    )
    for topic, users in READS.items():
        for user in MQTT_USERS:
            may_hear = user in users or user == "viewer"
            assert ((topic, "viewer") in heard[user]) == may_hear, f"{user} hears {topic}"


def test_the_rules_that_the_page_has_for_zigbee2mqtt_and_tasmota_are_enough(broker: Broker):
    page = (MOSQUITTO.parent / "docs" / "home-assistant.md").read_text()
    (rules,) = re.findall(r"^```text\n(user homeassistant\n.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (broker.own / "acl").write_text(SEES_ALL + rules)
    writes = {
        "zigbee2mqtt/lamp": {"homeassistant", "devices"},
        "homeassistant/light/lamp/config": {"poller", "bridge", "homeassistant"},
        "tasmota/discovery/00005E005301/config": {"devices"},
        "tele/plug/SENSOR": {"devices"},
        "stat/plug/RESULT": {"devices"},
        "cmnd/plug/POWER": {"homeassistant"},
        "heating/meter/wp/state": {"poller"},
    }
    heard = try_everything(
        broker, writes, {(topic, user) for topic, users in writes.items() for user in users}
    )
    assert {topic for topic, said in heard["homeassistant"] if said == "viewer"} == writes.keys() - {
        "cmnd/plug/POWER"
    }
    assert ("cmnd/plug/POWER", "homeassistant") in heard["devices"]


@pytest.mark.parametrize(("is_told", "heard"), [(False, ["bridge"]), (True, ["viewer", "bridge"])])
def test_a_consumer_may_ask_for_states_with_the_rule_that_the_page_has_for_it(
    broker: Broker, is_told: bool, heard: list[str]
):
    page = (MOSQUITTO.parent / "docs" / "mqtt.md").read_text(encoding="utf-8")
    (rule,) = re.findall(r"^```text\n(user viewer\n.*?)^```$", page, re.MULTILINE | re.DOTALL)
    if is_told:
        (broker.own / "acl").write_text(rule)
    broker.server.start()
    topic = "heating/meter/meter/replay"
    session = ("-i", "poller", "--disable-clean-session")
    assert subscribe(broker, "poller", topic, *session, "-E").returncode == 0
    for user in ("viewer", "bridge"):
        settings = broker.settings(user)
        subprocess.run(
            [
                needs("mosquitto_pub"),
                *("-h", "127.0.0.1", "-p", str(settings.port), "-q", "1", "-t", topic, "-m", user),
                *("-u", user, "-P", str(settings.password)),
            ],
            check=True,
            timeout=20,
        )
    got = subscribe(broker, "poller", topic, *session, "-C", str(len(heard)), "-W", "10")
    assert got.stdout.splitlines() == heard


def make_certificate(folder: Path) -> None:
    subprocess.run(
        [
            needs("openssl"),
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-keyout", str(folder / "server.key"), "-out", str(folder / "server.crt"), "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
        ],
        check=True,
        capture_output=True,
    )


def test_with_a_certificate_the_published_port_speaks_tls_only(broker: Broker):
    make_certificate(broker.own)
    broker.server.start()
    ca = str(broker.own / "server.crt")
    with Session(
        broker.settings("viewer", broker.published, ca), client_id="tls", clean=True, jitter=lambda: 0.0
    ) as session:
        wait_until(lambda: session.is_connected)
    with Session(
        broker.settings("viewer", broker.published), client_id="plain", clean=True, jitter=lambda: 0.0
    ) as session:
        wait_until(lambda: "closes the connection without an answer; it may expect TLS" in session.trouble)


@pytest.mark.parametrize("left_out", ["server.crt", "server.key"])
def test_half_a_certificate_stops_the_start_with_one_line(broker: Broker, left_out: str):
    """Rather than speaking without TLS where somebody wanted it."""
    make_certificate(broker.own)
    (broker.own / left_out).unlink()
    ended = subprocess.run(broker.server.command, capture_output=True, text=True, check=False, timeout=20)
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"mosquitto/own/{left_out}: expected a file")


def test_the_start_leaves_nothing_for_others_to_read(broker: Broker):
    broker.server.start()
    for file in (broker.folder / "run").rglob("*"):
        assert file.stat().st_mode & 0o077 == 0, file
    assert os.access(broker.folder / "run" / "mosquitto_sub", os.R_OK)


def test_a_shelly_is_heard_and_answers_within_the_rules(broker: Broker, tmp_path: Path):
    """What the poller asks and a Shelly answers goes on topics where each of them may speak."""
    broker.server.start()
    settings = PollerSettings(
        mqtt=broker.settings("poller"),
        name="poller",
        journal=tmp_path / "journal.sqlite",
        journal_age_s=86400,
        journal_bytes=10**8,
        buses=(),
        devices=(),
        shelly=read_shelly((ShellyTable(prefix=SHELLY),)),
    )
    house = LiveHouse(start_s=1_795_400_000, monotonic=time.monotonic)
    poller = Poller(settings, trust_at_once=True)
    poller.start()
    try:
        with ShellyAtBroker(house, broker.settings("devices", broker.published)):
            wait_until(
                lambda: poller.tally.value("poller_states_journaled_total", device="blu-00005e005312") >= 1,
                within_s=20,
                what="a reading of the last sensor in its list",
            )
    finally:
        poller.stop()
