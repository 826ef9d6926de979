"""Samples as the bytes of a remote-write 1.0 request.

Protobuf's own library makes the labels, once for each series. The samples are
put together here: an object for each of them costs ten times what its bytes do,
and a store that holds a week has millions.
"""

import struct
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from math import copysign
from operator import attrgetter
from types import MappingProxyType

import snappy

from bridge.remote_write.prometheus_pb2 import Label, TimeSeries
from bridge.sample import Sample, Series
from readings.release import VERSION

HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "Content-Encoding": "snappy",
        "Content-Type": "application/x-protobuf",
        "User-Agent": f"heating-bridge/{VERSION}",
        "X-Prometheus-Remote-Write-Version": "0.1.0",
    }
)
"""What the specification asks of every request."""

_MOST_SERIES = 20_000
"""Whose labels are remembered; a house has hundreds."""

_TIMESERIES = b"\x0a"
"""A field of a request: its number, and that a length follows. So with those below; the third are 8 bytes."""

_SAMPLE = b"\x12"
_VALUE = b"\x09"
_TIMESTAMP = b"\x10"

_time_of = attrgetter("timestamp_ms")


class Encoder:
    """Makes requests, and remembers how the labels of each series look in them.

    Args:
        constant: Labels that every series gets; its own labels win.
    """

    def __init__(self, constant: Mapping[str, str]) -> None:
        self._labels = _Labels(constant)

    def encode(self, samples: Iterable[Sample]) -> bytes:
        """The body of one request: each series once, its samples in the order of their times.

        Args:
            samples: At most as many as one request may hold.

        Returns:
            Protobuf in snappy's block format (receivers refuse the framed one).
        """
        by_labels: defaultdict[bytes, list[bytes]] = defaultdict(list)
        time_ms: int | None = None
        for one in sorted(samples, key=_time_of):
            if one.timestamp_ms != time_ms:
                time_ms = one.timestamp_ms
                pack, head, time = _frame(time_ms)
            own, value = by_labels[self._labels[one.series]], one.value
            if value or copysign(1, value) < 0:  # -0.0 is no zero to protobuf
                own.append(pack(head, value, time))
            else:
                own.append(_zero(time))
        parts: list[bytes] = []
        for labels, own in by_labels.items():
            series = labels + b"".join(own)
            parts += (_TIMESERIES, varint(len(series)), series)
        compressed: bytes = snappy.compress(b"".join(parts))
        return compressed


class _Labels(dict[Series, bytes]):
    """How the labels of each series look in a request; made when they are first asked for."""

    def __init__(self, constant: Mapping[str, str]) -> None:
        self._constant = constant

    def __missing__(self, series: Series) -> bytes:
        if len(self) >= _MOST_SERIES:
            self.clear()
        pairs = label_pairs(series, self._constant)
        made = TimeSeries(labels=[Label(name=name, value=value) for name, value in pairs])
        self[series] = made.SerializeToString()
        return self[series]


def label_pairs(series: Series, constant: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """A series' labels as they are sent: sorted by name, none twice, none empty.

    Receivers answer a name that stands there twice with 500, which looks like
    an outage; an empty value is the same as no label.

    >>> label_pairs(Series("up", (("device", "wp"), ("room", ""))), {"device": "x", "site": "home"})
    (('__name__', 'up'), ('device', 'wp'), ('site', 'home'))
    """
    labels = {**constant, **dict(series.labels), "__name__": series.name}
    return tuple(sorted((name, value) for name, value in labels.items() if name and value))


def varint(number: int) -> bytes:
    r"""A whole number as protobuf writes it; a negative one as its two's complement of 64 bits.

    >>> varint(300), len(varint(-1))
    (b'\xac\x02', 10)
    """
    number &= (1 << 64) - 1
    done = bytearray()
    while number > 0x7F:
        done.append(number & 0x7F | 0x80)
        number >>= 7
    done.append(number)
    return bytes(done)


def _frame(timestamp_ms: int) -> tuple[Callable[[bytes, float, bytes], bytes], bytes, bytes]:
    """What puts together a sample of that time, and what stands before and after its value."""
    # Protobuf leaves out what is zero, be it the value or the time.
    time = _TIMESTAMP + varint(timestamp_ms) if timestamp_ms else b""
    head = _SAMPLE + varint(len(_VALUE) + 8 + len(time)) + _VALUE
    return struct.Struct(f"<{len(head)}sd{len(time)}s").pack, head, time


def _zero(time: bytes) -> bytes:
    """A sample whose value is 0."""
    return _SAMPLE + varint(len(time)) + time
