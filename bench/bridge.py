"""The bridge's receiving half against the least that paho and msgspec can do, through a real broker."""

import tempfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from bench.backlog import DEVICES, TOPICS, messages
from bench.drained import Drained
from bench.processes import BenchError, broker, run_child
from bench.table import Table, ratios, spread
from bridge.subscribe import subscriptions
from readings.broker import Message

OURS, FLOOR = "bridge", "floor"


def measure(*, is_quick: bool) -> Table:
    """Let both work off the same backlog, in turns."""
    states, rounds = (200, 1) if is_quick else (20_000, 5)
    found: dict[str, list[Drained]] = {OURS: [], FLOOR: []}
    payload = 0
    for number in range(rounds):
        with tempfile.TemporaryDirectory() as folder, broker(Path(folder)) as port:
            for client in (OURS, FLOOR):
                _subscribe(port, client)
            backlog = list(messages(states, time.time_ns() // 1_000_000))
            payload = len(backlog[-1].payload)
            _publish(port, backlog)
            for client in (OURS, FLOOR) if number % 2 else (FLOOR, OURS):
                module = "bench.receive" if client == OURS else "bench.receive_floor"
                found[client].append(run_child(module, Drained, port, client, len(backlog), folder))
    total = states + 2 * len(DEVICES)
    cpu_s = {name: [one.cpu_s / total * 100_000 for one in runs] for name, runs in found.items()}
    rate = {name: [total / one.seconds for one in runs] for name, runs in found.items()}
    peak = {name: [one.peak_mib for one in runs] for name, runs in found.items()}
    return Table(
        "Bridge: working off a backlog",
        "python -m bench bridge",
        ("measure", "bridge", "floor", "bridge / floor", "unit"),
        tuple(
            (what, spread(one[OURS], digits), spread(one[FLOOR], digits), spread(ratios(*one.values())), unit)
            for what, one, digits, unit in (
                ("CPU time", cpu_s, 2, "s per 100,000 messages"),
                ("rate", rate, 0, "messages/s"),
                ("peak memory", peak, 1, "MiB"),
            )
        ),
        f"{states:,} states of {len(DEVICES)} topics x 15 fields ({payload} bytes) wait at mosquitto, QoS 1; the bridge"
        f" takes them into store and latest values and acknowledges, the floor is paho + msgspec, decode and count."
        f" {rounds} rounds in turns.",
    )


def _subscribe(port: int, client_id: str) -> None:
    """Make the broker keep what comes for this client."""
    done = threading.Event()
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=False)
    client.on_subscribe = lambda *_: done.set()
    client.connect("127.0.0.1", port)
    client.subscribe(list(subscriptions(TOPICS)))
    client.loop_start()
    if not done.wait(10):
        raise BenchError("the broker does not answer a subscription")
    client.disconnect()
    client.loop_stop()


def _publish(port: int, backlog: Iterable[Message]) -> None:
    """Hand over everything at QoS 1, and wait until the broker has it."""
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.max_inflight_messages_set(1000)
    client.connect("127.0.0.1", port)
    client.loop_start()
    sent = [client.publish(one.topic, one.payload, qos=1) for one in backlog]
    for one in sent:
        one.wait_for_publish(60)
    client.disconnect()
    client.loop_stop()
