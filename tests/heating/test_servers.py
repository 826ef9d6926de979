"""The servers of the demo."""

import queue
import socket
import subprocess

import pytest

from heating import servers
from heating.servers import ServerError, free_port, start_broker
from readings.broker import Delivery, Message, Session
from readings.settings import MqttSettings
from tests.conftest import free_port as any_port
from tests.conftest import wait_until


def test_a_port_that_somebody_holds_is_passed_over():
    with socket.create_server(("127.0.0.1", 0)) as holder:
        held = holder.getsockname()[1]
        assert free_port(held) > held


@pytest.mark.parametrize("host", ["192.0.2.1", "::1"])
def test_an_address_that_is_not_ours_is_no_matter_of_ports(host):
    with pytest.raises(ServerError, match=f"^cannot listen on {host}: "):
        free_port(9100, host)


def test_a_server_that_ends_at_once_says_why(tmp_path):
    with pytest.raises(ServerError, match="ended at once: no such thing"):
        servers._start("thing", ["sh", "-c", "echo no such thing; exit 1"], tmp_path, any_port())


def test_the_embedded_broker_holds_what_the_contract_needs(tmp_path):
    """Retained messages, last will, QoS 1 across a reconnect, an announcement of 200 kB."""
    pytest.importorskip("iotcore", reason="the embedded broker has no wheel for this machine")
    inbox: queue.Queue[Delivery] = queue.Queue()
    back: queue.Queue[Delivery] = queue.Queue()
    broker = start_broker(tmp_path, any_port(), mosquitto=None)
    settings = MqttSettings(host="127.0.0.1", port=broker.port)

    def reader() -> Session:
        return Session(
            settings,
            client_id="reader",
            clean=False,
            subscriptions=[("t/#", 1)],
            on_message=inbox.put,
            jitter=lambda: 0.0,
        )

    try:
        writer = Session(
            settings,
            client_id="w",
            clean=True,
            will=Message("t/will", b"offline", retain=True),
            subscriptions=[("t/info", 0)],
            on_message=back.put,
            jitter=lambda: 0.0,
        )
        writer.start()
        wait_until(lambda: writer.is_connected)
        writer.publish(Message("t/info", b"x" * 200_000, retain=True))
        back.get(timeout=5)  # the broker has it
        with reader() as first:
            got = inbox.get(timeout=5)
            assert (got.retained, len(got.payload)) == (True, 200_000)
            first.acknowledge(got)
        writer.publish(Message("t/state", b"while away"))
        with reader() as second:
            while (got := inbox.get(timeout=5)).topic != "t/state":
                second.acknowledge(got)
            second.acknowledge(got)
            client = writer._client
            assert client is not None
            client.socket().close()
            while inbox.get(timeout=5).payload != b"offline":
                pass
        writer.stop()
    finally:
        broker.stop()
    assert isinstance(broker.process, subprocess.Popen)
    assert broker.process.poll() is not None


def test_the_embedded_broker_keeps_whoever_acknowledges_in_the_order_of_arrival(tmp_path):
    """It ends the connection of whoever does not; the first message is the last to be safe."""
    pytest.importorskip("iotcore", reason="the embedded broker has no wheel for this machine")
    inbox: queue.Queue[Delivery] = queue.Queue()
    broker = start_broker(tmp_path, any_port(), mosquitto=None)
    settings = MqttSettings(host="127.0.0.1", port=broker.port)
    try:
        with (
            Session(
                settings,
                client_id="reader",
                clean=True,
                subscriptions=[("t", 1)],
                on_message=inbox.put,
                jitter=lambda: 0.0,
            ) as reader,
            Session(settings, client_id="w", clean=True, jitter=lambda: 0.0) as writer,
        ):
            wait_until(lambda: reader.is_connected and writer.is_connected)
            for payload in (b"1", b"2", b"3"):
                writer.publish(Message("t", payload))
            for delivery in reversed([inbox.get(timeout=5) for _ in range(3)]):
                reader.acknowledge(delivery)
            writer.publish(Message("t", b"4"))
            assert (inbox.get(timeout=5).payload, reader.connection) == (b"4", 1)
    finally:
        broker.stop()
