"""Asks pollers for the states that are wanted; what to ask, and when, `bridge.asking` decides."""

from collections.abc import Iterable
from contextlib import suppress

from bridge.arrival import Arrival, InfoCame, JournalCame, ProgramCame
from bridge.asking import Asking
from bridge.errors import StoreError
from bridge.store import Store
from readings.broker import Message, Session
from readings.health import Tally
from readings.payload import encode_replay
from readings.reading import DeviceKey
from readings.topics import Leaf, Program, Topics

LOOK_EVERY_S = 10.0
"""How often to look for what nobody lists any more: that takes a look at every stream, and minutes to be true."""


class Asker:
    """Hears who is there, and asks. Used by the store's thread.

    Args:
        store: What is wanted.
        session: The connection to the broker.
        topics: The topic scheme.
        tally: The bridge's counts.
    """

    def __init__(self, store: Store, session: Session, *, topics: Topics, tally: Tally) -> None:
        self._store = store
        self._session = session
        self._topics = topics
        self._tally = tally
        self._asking = Asking()
        self._looked_s = float("-inf")

    def hear(self, arrival: Arrival) -> None:
        """A message that may say who reads what, and who is there."""
        match arrival:
            case InfoCame(device, info=info):
                self._asking.announce(device, info.poller)
            case JournalCame(device):
                self._asking.note_list(device)
            case ProgramCame(Program.POLLER, name, is_online):
                self._asking.set_online(name, online=is_online)
            case _:
                pass

    def attend(self, now: float) -> None:
        """Ask for what is due; call it after every group, and about once a second."""
        if not self._session.is_connected:
            return
        try:
            wanted = self._store.wanted()
        except StoreError:
            return  # whoever writes the store reports its trouble; what is wanted stays so
        for device, request in self._asking.next(wanted, connection=self._session.connection, now=now):
            topic = self._topics.device(device, Leaf.REPLAY)
            self._session.publish(Message(topic, encode_replay(request), qos=0))
            self._tally.count("bridge_replays_asked_total", device=device.name)
        if now - self._looked_s >= LOOK_EVERY_S:
            self._looked_s = now
            with suppress(StoreError):
                self._pass_over_gone(wanted, now)

    def _pass_over_gone(self, wanted: Iterable[DeviceKey], now: float) -> None:
        """As if their poller had said now that it has nothing of them; it takes lists back, and maybe nobody was here."""
        if gone := self._asking.gone({*wanted, *self._store.unlisted()}, now=now):
            self._store.commit([JournalCame(device, ()) for device in gone], 0)
