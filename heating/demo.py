"""`heating demo`: the whole pipeline around a simulated heating house."""

import contextlib
import random
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from bridge.config import read_config as read_bridge_config
from bridge.errors import BridgeError
from bridge.run import Bridge
from heating.servers import Server, ServerError, find_program, free_port, start_broker, start_prometheus
from heating.simulated import SimulatedHouse
from heating.terminal import Terminal
from poller.config import read_config as read_poller_config
from poller.run import Poller
from readings.broker import Delivery, Session
from readings.errors import PayloadError, TopicError
from readings.payload import Info, decode_info, decode_state
from readings.reading import DeviceKey
from readings.settings import MqttSettings
from readings.topics import DeviceTopic, Leaf, Topics


@dataclass(frozen=True, slots=True)
class Options:
    """What `heating demo` was asked for.

    Attributes:
        listen: The address of the page; 0.0.0.0 shows it to the home network.
        speed: How much faster than real the house lives.
        seconds: When to end by itself; `None` waits for Ctrl-C.
    """

    mqtt_port: int = 1883
    web_port: int = 9100
    prometheus_port: int = 9090
    listen: str = "127.0.0.1"
    speed: float = 1.0
    seed: int = 1
    seconds: float | None = None

    @property
    def page_host(self) -> str:
        """Where this machine itself finds the page.

        >>> Options(listen="0.0.0.0").page_host, Options(listen="192.0.2.7").page_host
        ('127.0.0.1', '192.0.2.7')
        """
        return "127.0.0.1" if self.listen == "0.0.0.0" else self.listen  # noqa: S104  # compared, not bound


CONFIG = Path(__file__).with_name("demo.toml")


def put_in_place(
    folder: Path, *, mqtt_port: int, listen: str, gateway_port: int, prometheus_port: int | None
) -> dict[str, Any]:
    """What stands in `CONFIG` instead of its own addresses; nothing is sent where there is no Prometheus."""
    own: dict[str, Any] = {
        "mqtt.port": mqtt_port,
        "poller.data": str(folder / "poller"),
        "bridge.data": str(folder / "bridge"),
        "bridge.listen": listen,
        "bus[0].connect": f"tcp://127.0.0.1:{gateway_port}",
    }
    if prometheus_port is None:
        return own | {"remote_write": None}
    return own | {"remote_write[0].url": f"http://127.0.0.1:{prometheus_port}/api/v1/write"}


def run_demo(options: Options, terminal: Terminal, make_poller: Callable[..., Poller] = Poller) -> int:
    """Start everything, show the readings, and stop it again on Ctrl-C or when nobody reads them any more.

    Args:
        options: What was asked for.
        terminal: Where the readings are shown.
        make_poller: Makes the poller.

    Returns:
        The exit code: 1 when a server could not be started, or a part has ended by itself.
    """
    stop = threading.Event()
    troubles: list[str] = []

    def end(trouble: str) -> None:
        troubles.append(trouble)
        stop.set()

    terminal.tell_when_gone(stop.set)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="heating-demo-")))
        try:
            footer = _start_all(options, folder, terminal, stack, end, make_poller=make_poller)
        except (ServerError, BridgeError) as error:
            terminal.line(f"The demo cannot start: {error}")
            return 1
        terminal.keep_below(footer)
        stop.wait(options.seconds)
        terminal.line(f"The demo ends: {troubles[0]}" if troubles else "Stopping ...")
    terminal.close()
    return 1 if troubles else 0


def _start_all(
    options: Options,
    folder: Path,
    terminal: Terminal,
    stack: contextlib.ExitStack,
    end: Callable[[str], None],
    *,
    make_poller: Callable[..., Poller],
) -> tuple[str, ...]:
    """Start the parts, each before those that need it; the stack stops them the other way round."""
    mqtt_port = _port(options.mqtt_port, "MQTT", terminal)
    web_port = _port(options.web_port, "The page", terminal, options.listen)
    house = stack.enter_context(SimulatedHouse(speed=options.speed, seed=options.seed))
    broker = _keep(start_broker(folder, mqtt_port, find_program("mosquitto")), stack)
    prometheus = None
    if program := find_program("prometheus"):
        prometheus_port = _port(options.prometheus_port, "Prometheus", terminal)
        prometheus = _keep(
            start_prometheus(folder, prometheus_port, program, f"{options.page_host}:{web_port}"), stack
        )
    own = put_in_place(
        folder,
        mqtt_port=mqtt_port,
        listen=f"{options.listen}:{web_port}",
        gateway_port=house.port,
        prometheus_port=prometheus.port if prometheus else None,
    )
    bridge = Bridge(read_bridge_config(CONFIG, {}, own), on_failure=lambda: end("the bridge has failed"))
    bridge.start()
    stack.callback(bridge.stop)
    poller = make_poller(
        read_poller_config(CONFIG, {}, own),
        trust_at_once=True,
        # Not the end of the process: servers and folder want to be cleared away.
        on_hang=end,
    )
    poller.start()
    stack.enter_context(house.shelly(mqtt_port))
    stack.callback(poller.stop)
    stack.enter_context(_watch(mqtt_port, terminal))
    return _footer(options, broker, prometheus, web_port, house.port)


def _port(wanted: int, what: str, terminal: Terminal, host: str = "127.0.0.1") -> int:
    port = free_port(wanted, host)
    if port != wanted:
        terminal.line(f"{what}: port {wanted} is taken on this machine, using {port}")
    return port


def _keep(server: Server, stack: contextlib.ExitStack) -> Server:
    stack.callback(server.stop)
    return server


def _footer(
    options: Options, broker: Server, prometheus: Server | None, web_port: int, gateway_port: int
) -> tuple[str, ...]:
    return (
        "",
        f"  Page        http://{options.page_host}:{web_port}/        /metrics beside it",
        f"  MQTT        127.0.0.1:{broker.port} ({broker.name})   mosquitto_sub -p {broker.port} -t 'heating/#' -v",
        f"  Prometheus  http://127.0.0.1:{prometheus.port}/"
        if prometheus
        else "  Prometheus  is not installed here; /metrics shows what it would get",
        f"  Modbus      127.0.0.1:{gateway_port}, meter unit 2, heat pump unit 7",
        "  Ctrl-C stops all of it.",
    )


@contextlib.contextmanager
def _watch(mqtt_port: int, terminal: Terminal) -> Iterator[None]:
    """Show every state as it comes over MQTT, like any other consumer would get it."""
    topics = Topics("heating")
    infos: dict[DeviceKey, Info] = {}

    def show(delivery: Delivery) -> None:
        try:
            topic = topics.parse(delivery.topic)
            if not isinstance(topic, DeviceTopic):
                return
            if topic.leaf is Leaf.INFO:
                infos[topic.key] = decode_info(delivery.payload)
            elif not delivery.retained:
                terminal.reading(
                    topic.key,
                    decode_state(delivery.payload),
                    infos.get(topic.key),
                    datetime.now().astimezone(),
                )
        except (TopicError, PayloadError) as error:
            terminal.line(f"{delivery.topic}: {error}")
        finally:
            session.acknowledge(delivery)

    session = Session(
        MqttSettings(host="127.0.0.1", port=mqtt_port),
        client_id=f"heating-demo-{time.monotonic_ns()}",
        clean=True,
        subscriptions=[(topic, 1) for topic in topics.every_device(Leaf.STATE, Leaf.INFO)],
        on_message=show,
        jitter=random.random,
    )
    with session:
        yield
