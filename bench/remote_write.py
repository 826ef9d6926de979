"""From states to remote write: encoding against protobuf's own library, and emptying a store on disk against a floor."""

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import snappy

from bench.backlog import DEVICES, FIELDS, fill, make_info, make_state
from bench.drained import Drained
from bench.processes import BenchError, run_child
from bench.sink import sink
from bench.table import Table, ratios, spread
from bridge.batch import MAX_SAMPLES
from bridge.database import Database
from bridge.remote_write.encode import Encoder, label_pairs
from bridge.remote_write.prometheus_pb2 import Label, TimeSeries, WriteRequest
from bridge.remote_write.prometheus_pb2 import Sample as WireSample
from bridge.sample import Sample, Series, name_fields, to_samples
from bridge.store import Store

_CPU = "s CPU per 100,000 samples"


def measure(*, is_quick: bool) -> Table:
    """Encode in turns with the library, then drain in turns with the floor: often a little, and once a week of a house."""
    rounds, requests, states, week = (1, 1, 100, 200) if is_quick else (9, 50, 10_000, 400_000)
    now_ms = time.time_ns() // 1_000_000
    encoding = _encode(rounds, requests, now_ms)
    often = [_drain(states, now_ms) for _ in range(rounds if is_quick else 5)]
    samples = states * len(FIELDS)
    return Table(
        "Bridge: remote write",
        "python -m bench remote-write",
        ("measure", "bridge", "floor", "bridge / floor", "unit"),
        (
            (
                "encode and compress, floor: protobuf's library",
                spread(encoding["bridge"]),
                spread(encoding["library"]),
                spread(ratios(encoding["bridge"], encoding["library"])),
                _CPU,
            ),
            ("make the samples of a state", spread(encoding["name"]), "", "", _CPU),
            *_rows("empty a store on disk", often, samples),
            *_rows("empty a week", [_drain(week, now_ms)], week * len(FIELDS)),
        ),
        f"requests of {MAX_SAMPLES:,} samples. A store holds {states:,} states ({samples:,} samples), that of a week"
        f" {week:,} ({week * len(FIELDS):,}). The floor reads the same file in one SELECT and knows every series by heart:"
        f" msgspec, the bridge's encoder, http.client; it judges and writes down nothing. The receiver takes"
        f" requests over loopback and looks at nothing.",
    )


def _encode(rounds: int, requests: int, now_ms: int) -> dict[str, list[float]]:
    """CPU seconds for 100,000 samples, in turns."""
    per_device = MAX_SAMPLES // len(FIELDS) // len(DEVICES) + 1
    named = [name_fields(make_info(device)) for device in DEVICES]
    taken = [make_state(seq, now_ms) for seq in range(1, per_device + 1)]

    def name() -> list[Sample]:
        return [sample for names in named for state in taken for sample in to_samples(state, names, None)]

    samples = name()[:MAX_SAMPLES]
    encoder = Encoder({})
    if snappy.uncompress(encoder.encode(samples)) != snappy.uncompress(_by_library(samples)):
        raise BenchError("the bridge's request is not the library's")
    works: tuple[tuple[str, Callable[[], object], int], ...] = (
        ("name", name, len(name())),
        ("bridge", lambda: encoder.encode(samples), len(samples)),
        ("library", lambda: _by_library(samples), len(samples)),
    )
    times: dict[str, list[float]] = {what: [] for what, _, _ in works}
    for _ in range(rounds):
        for what, work, count in works:
            times[what].append(_cpu_s(work, requests) / requests / count * 100_000)
    return times


def _by_library(samples: Sequence[Sample]) -> bytes:
    """The same request with an object of protobuf's for each sample."""
    by_series: dict[Series, list[Sample]] = {}
    for one in samples:
        by_series.setdefault(one.series, []).append(one)
    request = WriteRequest(
        timeseries=[
            TimeSeries(
                labels=[Label(name=name, value=value) for name, value in label_pairs(series, {})],
                samples=[WireSample(value=one.value, timestamp=one.timestamp_ms) for one in own],
            )
            for series, own in by_series.items()
        ]
    )
    compressed: bytes = snappy.compress(request.SerializeToString())
    return compressed


def _drain(states: int, begin_ms: int) -> tuple[Drained, Drained]:
    """The bridge, and then the floor, which reads what the bridge has sent and not removed yet."""
    with tempfile.TemporaryDirectory() as folder, sink() as url:
        database = Database(Path(folder) / "store.sqlite")
        # Of the past, so that nothing is ahead of the clock.
        fill(Store(database), states, begin_ms - 6 * 3_600_000)
        database.close()
        samples = states * len(FIELDS)
        ours = run_child("bench.send", Drained, folder, url, samples)
        floor = run_child("bench.send_floor", Drained, folder, url, samples)
    return ours, floor


def _rows(what: str, drained: Sequence[tuple[Drained, Drained]], samples: int) -> tuple[tuple[str, ...], ...]:
    def row(
        measure: str, unit: str, figure: Callable[[Drained], float], digits: int
    ) -> tuple[str, str, str, str, str]:
        ours, floor = ([figure(pair[side]) for pair in drained] for side in (0, 1))
        quotient = spread(ratios(ours, floor))
        return (measure, spread(ours, digits), spread(floor, digits), quotient, unit)

    return (
        row(what, _CPU, lambda one: one.cpu_s / samples * 100_000, 2),
        row("the same, rate", "samples/s", lambda one: samples / one.seconds, 0),
        row("the same, peak memory", "MiB", lambda one: one.peak_mib, 1),
    )


def _cpu_s(work: Callable[[], object], times: int) -> float:
    began = time.process_time()
    for _ in range(times):
        work()
    return time.process_time() - began
