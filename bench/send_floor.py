"""`python -m bench.send_floor FOLDER URL SAMPLES`: the least that empties a store: nothing is judged or written down."""

import http.client
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from bench.backlog import DEVICES, FIELDS, make_info
from bench.drained import Stopwatch
from bench.processes import BenchError
from bridge.batch import MAX_SAMPLES
from bridge.remote_write.encode import HEADERS, Encoder
from bridge.sample import Sample, name_fields


def _samples(store: Path) -> Iterator[Sample]:
    names = {device.name: name_fields(make_info(device)) for device in DEVICES}
    with sqlite3.connect(store) as connection:
        rows = connection.execute(
            "SELECT device.name, time_ms, payload FROM state"
            " JOIN stream ON stream.id = state.stream JOIN device ON device.id = stream.device ORDER BY arrival"
        )
        for device, time_ms, payload in rows:
            values = msgspec.json.decode(payload)
            for field in FIELDS:
                for series in names[device][field]:
                    yield Sample(series, values[field], time_ms)


def main() -> None:
    """Send all of it."""
    folder, url, expected = Path(sys.argv[1]), urlsplit(sys.argv[2]), int(sys.argv[3])
    connection, encoder = http.client.HTTPConnection(url.netloc), Encoder({})
    watch = Stopwatch()
    sent = 0
    request: list[Sample] = []

    def post() -> None:
        connection.request("POST", url.path, encoder.encode(request), dict(HEADERS))
        connection.getresponse().read()
        request.clear()

    for sample in _samples(folder / "store.sqlite"):
        request.append(sample)
        sent += 1
        if len(request) == MAX_SAMPLES:
            post()
    if request:
        post()
    if sent != expected:
        raise BenchError(f"the store holds {sent} samples instead of {expected}")
    watch.print()


if __name__ == "__main__":
    main()
