"""The house's Shelly at a broker: it comes, tells what changes, answers, and its last will says when it has gone."""

import secrets
import threading
import time
from types import TracebackType
from typing import Self

from readings.broker import Session
from readings.message import Delivery, Message
from readings.settings import MqttSettings
from simulator.house_bus import LiveHouse
from simulator.shelly import Shelly

LOOK_EVERY_S = 1.0


class ShellyAtBroker:
    """A Shelly from `with` to its end.

    Args:
        house: Where its sensors and its switch are.
        settings: The broker.
        shelly: The device itself.
        look_every_s: Seconds between two looks whether something has changed.
    """

    def __init__(
        self,
        house: LiveHouse,
        settings: MqttSettings,
        shelly: Shelly | None = None,
        *,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        self._house = house
        self._shelly = shelly or Shelly()
        self._look_every_s = look_every_s
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._session = Session(
            settings,
            client_id=self._shelly.prefix,
            clean=True,
            subscriptions=[(f"{self._shelly.prefix}/rpc", 1)],
            first_words=self._come,
            will=self._shelly.will,
            on_message=self._hear,
            jitter=lambda: secrets.randbelow(1000) / 1000,
        )
        self._thread = threading.Thread(target=self._run, name="shelly", daemon=True)

    def __enter__(self) -> Self:
        self._session.start()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join(5)
        self._session.stop([self._shelly.will])

    @property
    def prefix(self) -> str:
        """Its topic prefix."""
        return self._shelly.prefix

    def _come(self, _: int) -> list[Message]:
        with self._lock:
            return [self._shelly.hello()]

    def _hear(self, delivery: Delivery) -> None:
        now_s = time.time()
        with self._lock:
            answer = self._shelly.answer(
                delivery.payload, self._house.sensor_readings(now_s), is_on=self._is_on(), now_s=now_s
            )
        if answer is not None:
            self._session.publish(answer)
        self._session.acknowledge(delivery)

    def _run(self) -> None:
        while not self._stopping.wait(self._look_every_s):
            if not self._session.is_connected:
                continue
            now_s = time.time()
            with self._lock:
                changes = list(
                    self._shelly.changes(self._house.sensor_readings(now_s), is_on=self._is_on(), now_s=now_s)
                )
            for message in changes:
                self._session.publish(message)

    def _is_on(self) -> bool:
        return bool(self._house.thermostat_readings()["switch_state"])
