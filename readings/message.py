"""A message on the bus, as it goes out and as it comes in."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Message:
    """Something to publish."""

    topic: str
    payload: bytes
    retain: bool = False
    qos: int = 1


@dataclass(frozen=True, slots=True)
class Delivery:
    """Something that the broker sent.

    Attributes:
        retained: It lay at the broker; it did not just happen.
        connection: The connection that it came on, counted from 1.
        packet: Its packet number there, for the acknowledgement; 0 at QoS 0.
    """

    topic: str
    payload: bytes
    retained: bool
    connection: int
    packet: int
    qos: int
