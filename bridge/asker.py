"""Asks pollers for the states that are wanted; what to ask, and when, `bridge.asking` decides."""

from contextlib import suppress

from bridge.arrival import Arrival, InfoCame, JournalCame, ProgramCame
from bridge.asking import Asking
from bridge.errors import StoreError
from bridge.store import Store
from readings.broker import Message, Session
from readings.health import Tally
from readings.payload import encode_replay
from readings.topics import Leaf, Program, Topics


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
            wanted, unlisted = self._store.wanted(), self._store.unlisted()
        except StoreError:
            return  # whoever writes the store reports its trouble; what is wanted stays so
        for device, request in self._asking.next(wanted, connection=self._session.connection, now=now):
            topic = self._topics.device(device, Leaf.REPLAY)
            self._session.publish(Message(topic, encode_replay(request), qos=0))
            self._tally.count("bridge_replays_asked_total", device=device.name)
        if gone := self._asking.gone({*wanted, *unlisted}, now=now):
            # An empty list of now: its poller said one when the device left, maybe while nobody was here to hear it.
            with suppress(StoreError):
                self._store.commit([JournalCame(device, ()) for device in gone], 0)
