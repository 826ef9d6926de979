"""How old the newest backup is, told to whom the readings are sent, so that an alert can see it."""

import time
from collections.abc import Iterable
from datetime import datetime

from bridge.remote_write.connection import Connection, ReceiverSettings
from bridge.remote_write.encode import Encoder
from bridge.remote_write.outcome import Sent
from bridge.sample import Sample, Series
from heating.backup.rotation import find_backups

NEWEST = "backup_newest_timestamp_seconds"
HELP = "When the newest backup was made, seconds since 1970; 0 while there is none. Told after each try"

TIMEOUT_S = 30.0


def tell_newest(receiver: ReceiverSettings, names: Iterable[str], now: datetime) -> str:
    """Send the figure once.

    Args:
        receiver: `[[remote_write]]`.
        names: What is in the folder of backups.
        now: The time of the sample.

    Returns:
        What went wrong; nothing when it was taken.
    """
    newest = max((made.timestamp() for made in find_backups(names).values()), default=0.0)
    sample = Sample(Series(NEWEST), newest, round(now.timestamp() * 1000))
    connection = Connection(receiver, time.time)
    try:
        outcome = connection.post(Encoder(receiver.labels).encode([sample]), TIMEOUT_S)
    finally:
        connection.close()
    return "" if isinstance(outcome, Sent) else f"{receiver.shown} did not take {NEWEST}: {outcome.reason}"
