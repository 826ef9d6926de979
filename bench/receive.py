"""`python -m bench.receive PORT CLIENT MESSAGES FOLDER`: the bridge's receiving half works off a backlog.

The real session, subscriber, store and latest values, put together as
`bridge.run` does it; no sender, no page.
"""

import random
import sys
import threading
import time
from pathlib import Path

from bench.backlog import TOPICS
from bench.drained import Stopwatch
from bridge.database import Database
from bridge.inbox import Inbox
from bridge.latest import Latest
from bridge.pruning import Limits, Pruning
from bridge.run import wall_ms
from bridge.store import Store
from bridge.subscribe import Subscriber, subscriptions
from readings.broker import Delivery, Session
from readings.health import BRIDGE_HEALTH, Tally
from readings.settings import MqttSettings


def main() -> None:
    """Receive until as many messages are stored and acknowledged."""
    port, client, left, folder = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])
    done = threading.Event()
    database = Database(folder / "store.sqlite")
    inbox = Inbox()
    session = Session(
        MqttSettings(host="127.0.0.1", port=port),
        client_id=client,
        clean=False,
        subscriptions=subscriptions(TOPICS),
        on_message=inbox.put,
        jitter=random.random,
    )

    def acknowledge(delivery: Delivery) -> None:
        nonlocal left
        session.acknowledge(delivery)
        left -= 1
        if not left:
            done.set()

    subscriber = Subscriber(
        inbox,
        Store(database),
        Pruning(database, Limits(age_ms=6 * 86_400_000, bytes=500_000_000), boot=""),
        topics=TOPICS,
        audience=Latest(),
        acknowledge=acknowledge,
        on_stored=lambda: None,
        tally=Tally(BRIDGE_HEALTH),
        wall_ms=wall_ms,
        monotonic=time.monotonic,
    )
    watch = Stopwatch()
    threading.Thread(target=subscriber.run, daemon=True).start()
    with session:
        done.wait()
        watch.print()
        inbox.close()


if __name__ == "__main__":
    main()
