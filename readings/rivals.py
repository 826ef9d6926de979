"""Two programs with one name: the broker lets one of them in and throws the other out, again and again.

MQTT does not tell a program why its connection ended. But each publishes its
health, retained, on every connection, and hears its own topic: what stands
there was said by itself or by a rival. A predecessor that has ended says
nothing new; a rival says something new before each of our connections.
"""

from readings.errors import PayloadError
from readings.health import decode_health

PROVEN = 3
"""So many connections in a row that find new words of another program: no restart of it looks like that."""


def name_instance(start_ms: int, token: str) -> str:
    """Names one run of a program; later ones come later in order.

    >>> name_instance(1_795_406_706_123, "5f")
    '1795406706123-5f'
    """
    return f"{start_ms:013d}-{token}"


class Rivals:
    """Hears what stands under this program's name.

    Args:
        instance: This run of the program.
    """

    def __init__(self, instance: str) -> None:
        self._instance = instance
        self._heard = b""
        self._found_on = self._in_a_row = 0

    def hear(self, payload: bytes, connection: int) -> bool:
        """Whether another program has our name, is at work, and was there before us: then we are to end.

        Args:
            payload: What stands under our name.
            connection: The number of the connection that it came on.
        """
        try:
            rival = decode_health(payload).instance
        except PayloadError:
            return False
        if rival in {"", self._instance} or payload == self._heard:
            return False
        self._heard = payload
        if connection != self._found_on:
            self._in_a_row = self._in_a_row + 1 if connection == self._found_on + 1 else 1
            self._found_on = connection
        return self._in_a_row >= PROVEN and self._instance > rival
