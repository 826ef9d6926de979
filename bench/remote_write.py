"""From states to remote write: encoding against protobuf written by hand, and emptying a store on disk."""

import struct
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import snappy

from bench.backlog import DEVICES, FIELDS, fill, make_info, make_state
from bench.drained import Drained
from bench.processes import BenchError, run_child
from bench.sink import sink
from bench.table import Table, ratios, spread
from bridge.batch import MAX_SAMPLES
from bridge.database import Database
from bridge.remote_write.encode import encode, label_pairs
from bridge.remote_write.prometheus_pb2 import WriteRequest
from bridge.sample import Sample, Series, to_samples
from bridge.store import Store


def measure(*, is_quick: bool) -> Table:
    """Encode in turns with the floor, then drain."""
    rounds, requests, states = (1, 1, 100) if is_quick else (9, 50, 10_000)
    now_ms = time.time_ns() // 1_000_000
    per_device = MAX_SAMPLES // len(FIELDS) // len(DEVICES) + 1
    infos = [make_info(device) for device in DEVICES]
    taken = [make_state(seq, now_ms) for seq in range(1, per_device + 1)]

    def name() -> list[Sample]:
        return [sample for info in infos for state in taken for sample in to_samples(state, info, None)]

    samples = name()[:MAX_SAMPLES]
    floor = Floor()
    if _content(floor.encode(samples)) != _content(encode(samples, {})):
        raise BenchError("the floor's request is not the bridge's")
    times: dict[str, list[float]] = {"name": [], "encode": [], "floor": []}
    for _ in range(rounds):
        works: tuple[tuple[str, Callable[[], object], int], ...] = (
            ("name", name, len(name())),
            ("encode", lambda: encode(samples, {}), len(samples)),
            ("floor", lambda: floor.encode(samples), len(samples)),
        )
        for what, work, count in works:
            times[what].append(_cpu_s(work, requests) / requests / count * 100_000)
    drained = _drain(states, rounds if is_quick else 5, now_ms)
    total = states * len(FIELDS)
    cpu_s = [one.cpu_s / total * 100_000 for one in drained]
    unit = "s CPU per 100,000 samples"
    return Table(
        "Bridge: remote write",
        "python -m bench remote-write",
        ("measure", "bridge", "floor", "bridge / floor", "unit"),
        (
            (
                "encode and compress",
                spread(times["encode"]),
                spread(times["floor"]),
                spread(ratios(times["encode"], times["floor"])),
                unit,
            ),
            ("name the samples of a state", spread(times["name"]), "", "", unit),
            ("empty a store on disk, all of it", spread(cpu_s), "", "", unit),
            ("the same, rate", spread([total / one.seconds for one in drained], 0), "", "", "samples/s"),
            ("the same, peak memory", spread([one.peak_mib for one in drained], 1), "", "", "MiB"),
        ),
        f"requests of {MAX_SAMPLES:,} samples; the floor writes the protobuf by hand with ready-made labels, and"
        f" compresses it. The store holds {states:,} states ({total:,} samples); the receiver takes them over"
        f" loopback and looks at nothing.",
    )


class Floor:
    """The wire format of remote write, by hand: labels are made once, values packed."""

    def __init__(self) -> None:
        self._labels: dict[Series, bytes] = {}

    def encode(self, samples: Iterable[Sample]) -> bytes:
        """One request."""
        by_series: dict[Series, list[bytes]] = {}
        for sample in samples:
            value = b"\x09" + struct.pack("<d", sample.value) + b"\x10" + _varint(sample.timestamp_ms)
            by_series.setdefault(sample.series, []).append(b"\x12" + _varint(len(value)) + value)
        parts = []
        for series, values in by_series.items():
            if series not in self._labels:
                self._labels[series] = _labels(series)
            body = self._labels[series] + b"".join(values)
            parts += [b"\x0a", _varint(len(body)), body]
        compressed: bytes = snappy.compress(b"".join(parts))
        return compressed


def _labels(series: Series) -> bytes:
    done = b""
    for name, value in label_pairs(series, {}):
        pair = b"".join(
            tag + _varint(len(text.encode())) + text.encode()
            for tag, text in ((b"\x0a", name), (b"\x12", value))
        )
        done += b"\x0a" + _varint(len(pair)) + pair
    return done


def _varint(number: int) -> bytes:
    done = bytearray()
    while number > 127:
        done.append(number & 127 | 128)
        number >>= 7
    done.append(number)
    return bytes(done)


def _content(body: bytes) -> bytes:
    return WriteRequest.FromString(snappy.uncompress(body)).SerializeToString()


def _drain(states: int, rounds: int, begin_ms: int) -> list[Drained]:
    found = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder, sink() as url:
            database = Database(Path(folder) / "store.sqlite")
            # Of the past, so that nothing is ahead of the clock.
            fill(Store(database), states, begin_ms - 3_600_000)
            database.close()
            found.append(run_child("bench.send", Drained, folder, url, states * len(FIELDS)))
    return found


def _cpu_s(work: Callable[[], object], times: int) -> float:
    began = time.process_time()
    for _ in range(times):
        work()
    return time.process_time() - began
