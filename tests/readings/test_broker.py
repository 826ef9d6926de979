"""The session against the real mosquitto."""

import gc
import queue
import socket
import weakref

import msgspec
import pytest
from paho.mqtt import client as mqtt

from readings.broker import MAX_QUEUED, Delivery, Message, Session
from readings.settings import MqttSettings
from tests.conftest import Server, free_port, wait_until


def session(settings: MqttSettings, client_id: str, **rest) -> Session:
    return Session(settings, client_id=client_id, jitter=lambda: 0.0, **{"clean": True, **rest})


@pytest.fixture
def inbox() -> queue.Queue[Delivery]:
    return queue.Queue()


def test_a_message_arrives(mqtt_settings, inbox, caplog):
    caplog.set_level("INFO")
    with (
        session(mqtt_settings, "b", subscriptions=[("arrives/#", 1)], on_message=inbox.put) as reader,
        session(mqtt_settings, "a") as writer,
    ):
        wait_until(lambda: reader.is_connected and writer.is_connected)
        writer.publish(Message("arrives/here", b"1", retain=True))
        got = inbox.get(timeout=5)
        assert (got.topic, got.payload, got.qos, got.connection) == ("arrives/here", b"1", 1, 1)
    assert caplog.messages == [f"broker: connected to {mqtt_settings.host}:{mqtt_settings.port}"] * 2


def test_a_password_in_a_file_is_read_at_every_connection(mosquitto: Server, mqtt_settings, tmp_path):
    """A poller may start before somebody makes it: it polls, and connects when the file is there."""
    file = tmp_path / "password"
    settings = msgspec.structs.replace(mqtt_settings, username="me", password_file=str(file))
    with session(settings, "late") as late:
        wait_until(lambda: late.trouble.startswith("mqtt.password_file: cannot be read: "))
        file.write_text("made by now\n")
        wait_until(lambda: late.is_connected)


def test_the_sockets_of_a_connection_are_closed_when_it_ends(mqtt_settings, monkeypatch):
    """And not when somebody collects what nobody needs: a broker that is away for a night makes hundreds of them."""
    made = []

    class Watched(mqtt.Client):
        def __init__(self, *arguments, **rest) -> None:
            super().__init__(*arguments, **rest)
            made.append(weakref.ref(self))

    monkeypatch.setattr(mqtt, "Client", Watched)
    gc.disable()
    try:
        with session(mqtt_settings, "one") as one:
            wait_until(lambda: one.is_connected)
        assert [ref() for ref in made] == [None]
    finally:
        gc.enable()


def test_nothing_is_taken_without_a_connection():
    with session(MqttSettings(host="127.0.0.1", port=free_port()), "nobody") as lonely:
        wait_until(lambda: "cannot reach" in lonely.trouble)
        assert not lonely.publish(Message("t", b""))


def test_an_unacknowledged_message_comes_again_on_the_next_connection_only(
    mosquitto: Server, mqtt_settings, inbox
):
    durable = {"subscriptions": [("again", 1)], "on_message": inbox.put, "clean": False}
    with session(mqtt_settings, "a") as writer:
        with session(mqtt_settings, "durable", **durable):
            wait_until(lambda: writer.is_connected)
            writer.publish(Message("again", b"unacknowledged", retain=True))
            first = inbox.get(timeout=5)
        with session(mqtt_settings, "durable", **durable) as second_life:
            second = inbox.get(timeout=5)
            assert second.payload == first.payload
            second_life.acknowledge(second)
            writer.publish(Message("again", b"next"))
            while (got := inbox.get(timeout=5)).payload != b"next":
                second_life.acknowledge(got)
            second_life.acknowledge(got)
    with session(mqtt_settings, "durable", **durable):
        assert inbox.get(timeout=5).retained, "only the retained message is left to deliver"
        assert inbox.empty()


def test_it_comes_back_after_the_broker_was_killed(mosquitto: Server, mqtt_settings):
    connections: list[int] = []
    lost: list[bool] = []
    with session(
        mqtt_settings, "phoenix", on_connect=connections.append, on_disconnect=lambda: lost.append(True)
    ) as phoenix:
        wait_until(lambda: connections == [1])
        mosquitto.kill()
        wait_until(lambda: lost == [True])
        assert not phoenix.is_connected
        mosquitto.start()
        wait_until(lambda: connections == [1, 2])


def test_what_was_not_sent_dies_with_its_connection(mosquitto: Server, mqtt_settings, inbox):
    """paho alone would send it again on the next connection, late and out of order."""
    with session(mqtt_settings, "writer") as writer:
        wait_until(lambda: writer.is_connected)
        process = mosquitto.process
        assert process is not None
        process.send_signal(19)  # SIGSTOP: the socket is open, nobody reads
        assert writer.publish(Message("late", b"old", retain=True))
        mosquitto.kill()
        mosquitto.start()
        wait_until(lambda: writer.connection == 2)
        writer.publish(Message("late", b"new", retain=True))
        with session(mqtt_settings, "reader", subscriptions=[("late", 1)], on_message=inbox.put):
            assert inbox.get(timeout=5).payload == b"new"
            assert inbox.empty()


def test_the_will_is_published_when_the_program_dies_and_not_when_it_stops(mqtt_settings, inbox):
    will = Message("mortal/availability", b"offline", retain=True)
    with session(mqtt_settings, "reader", subscriptions=[("mortal/#", 1)], on_message=inbox.put) as reader:
        wait_until(lambda: reader.is_connected)
        mortal = session(mqtt_settings, "mortal", will=will)
        mortal.start()
        wait_until(lambda: mortal.is_connected)
        client = mortal._client
        assert client is not None
        client.socket().close()
        assert inbox.get(timeout=5).payload == b"offline"
        wait_until(lambda: mortal.connection == 2)
        mortal.stop(farewell=[Message("mortal/availability", b"stopped", retain=True)])
        assert inbox.get(timeout=5).payload == b"stopped"
        assert inbox.empty()


def test_programs_of_one_name_throw_each_other_out_ever_more_slowly(mqtt_settings):
    """A broker keeps the newest of them; without a growing wait that is a storm, each time with a greeting."""
    one, other = session(mqtt_settings, "twin"), session(mqtt_settings, "twin")
    waited: list[float] = []
    rest = one._stopping.wait
    one._stopping.wait = lambda seconds: (waited.append(seconds), rest(seconds))[1]
    with one, other:
        wait_until(lambda: len(waited) >= 3)
    assert one.connection >= 2, "the broker let it in"
    assert waited[:3] == [0.25, 0.5, 1.0]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_mistake_in_a_callback_costs_the_connection_and_not_the_session(mqtt_settings):
    """paho's thread dies of it without a word; the next connection has a thread of its own."""
    with (
        session(mqtt_settings, "clumsy", subscriptions=[("clumsy", 1)], on_message=lambda _: 1 / 0) as clumsy,
        session(mqtt_settings, "writer") as writer,
    ):
        wait_until(lambda: clumsy.is_connected and writer.is_connected)
        writer.publish(Message("clumsy", b"1", retain=True))
        wait_until(lambda: clumsy.connection >= 2)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_mistake_in_the_first_words_costs_the_connection_and_not_the_session(mqtt_settings):
    """Else a connection would live on that has no subscriptions, or was never greeted."""
    connections: list[int] = []

    def say(number: int) -> list[Message]:
        connections.append(number)
        return [] if number > 1 else [Message("no/+/topic", b"")]

    with session(mqtt_settings, "clumsy at first", first_words=say) as clumsy:
        wait_until(lambda: clumsy.is_connected and connections == [1, 2])


def test_the_thread_that_connects_outlives_a_mistake(mosquitto: Server, mqtt_settings, caplog):
    """Nobody watches it: without it the program would be offline until somebody starts it again."""
    with session(mqtt_settings, "clumsy", on_disconnect=lambda: 1 / 0) as clumsy:
        wait_until(lambda: clumsy.is_connected)
        mosquitto.kill()
        wait_until(lambda: "ZeroDivisionError" in clumsy.trouble)
        mosquitto.start()
        wait_until(lambda: clumsy.connection == 2)
        assert clumsy.trouble == ""
    assert "Traceback" in caplog.text, "so that it can be found"


def test_a_late_acknowledgement_acknowledges_nothing(mosquitto: Server, mqtt_settings, inbox):
    """A broker that has forgotten the session counts its packets anew: the same number is another message."""
    durable = {"subscriptions": [("late/#", 1)], "on_message": inbox.put, "clean": False}
    with session(mqtt_settings, "durable", **durable) as reader, session(mqtt_settings, "writer") as writer:
        wait_until(lambda: reader.is_connected and writer.is_connected)
        writer.publish(Message("late/one", b"1"))
        first = inbox.get(timeout=5)
        mosquitto.kill()
        mosquitto.start()
        wait_until(lambda: reader.connection == writer.connection == 2)
        writer.publish(Message("late/two", b"2"))
        second = inbox.get(timeout=5)
        assert (second.payload, second.packet) == (b"2", first.packet)
        reader.acknowledge(first)
        reader.publish(Message("late/marker", b"behind it on the same socket"))
        assert inbox.get(timeout=5).topic == "late/marker"
        client = reader._client
        assert client is not None
        client.socket().shutdown(socket.SHUT_RDWR)
        assert inbox.get(timeout=5).payload == b"2", "it comes again"


def test_what_waits_for_a_frozen_broker_is_bounded(mosquitto: Server, mqtt_settings):
    with session(mqtt_settings, "writer") as writer:
        wait_until(lambda: writer.is_connected)
        process = mosquitto.process
        assert process is not None
        process.send_signal(19)
        try:
            taken = sum(writer.publish(Message("many", b"")) for _ in range(MAX_QUEUED + 1000))
        finally:
            process.send_signal(18)
    assert MAX_QUEUED <= taken < MAX_QUEUED + 100, "some are under way besides"


# paho leaves the socket of a failed handshake to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_broker_that_speaks_no_tls_is_not_spoken_to_without(mqtt_settings):
    with session(msgspec.structs.replace(mqtt_settings, tls=True), "careful") as careful:
        wait_until(lambda: "cannot reach" in careful.trouble)
        assert careful.connection == 0
