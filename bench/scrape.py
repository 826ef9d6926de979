"""/metrics against the least that prometheus-client's own custom collectors do."""

import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from bench.backlog import make_info, make_state
from bench.processes import BenchError
from bench.table import Table, ratios, spread
from bridge.exposition import make_registry, render_metrics
from bridge.latest import Latest
from readings.health import BRIDGE_HEALTH, Tally
from readings.reading import DeviceKey, Kind
from readings.vocabulary import VOCABULARY

FIELDS = tuple(VOCABULARY[Kind.METER])[:20]


class _Floor(Collector):
    """The same series from a dictionary of numbers."""

    def __init__(self, values: dict[str, dict[str, float]]) -> None:
        self._values = values

    def collect(self) -> Iterator[Metric]:
        for name, by_device in self._values.items():
            family = GaugeMetricFamily(name, name, labels=("device",))
            for device, value in by_device.items():
                family.add_metric((device,), value)
            yield family


def measure(*, is_quick: bool) -> Table:
    """Render both, in turns."""
    rounds = 1 if is_quick else 15
    rows = []
    for series in (100,) if is_quick else (1000, 10_000):
        ours, floor = _make(series // len(FIELDS))
        for registry in (ours, floor):
            lines = render_metrics(registry, "")[0].splitlines()
            if sum(not line.startswith(b"#") for line in lines) != series:
                raise BenchError(f"expected {series} series in a scrape")
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(rounds):
            for registry, found in zip((ours, floor), times, strict=True):
                found.append(_cpu_ms(registry))
        rows.append((f"{series:,} series", *map(spread, times), spread(ratios(*times)), "ms CPU per scrape"))
    return Table(
        "Bridge: a scrape of /metrics",
        "python -m bench scrape",
        ("measure", "bridge", "floor", "bridge / floor", "unit"),
        tuple(rows),
        f"{len(FIELDS)} names with as many devices as it takes; the floor is a prometheus-client custom collector of"
        f" the same series from a dictionary. Text format, not compressed. {rounds} rounds in turns.",
    )


def _make(devices: int) -> tuple[CollectorRegistry, CollectorRegistry]:
    now_ms, now = time.time_ns() // 1_000_000, time.monotonic()
    latest = Latest()
    values: dict[str, dict[str, float]] = {f"meter_{name}": {} for name in FIELDS}
    for number in range(devices):
        device = DeviceKey(Kind.METER, f"meter-{number:03}")
        state = make_state(number + 1, now_ms, FIELDS)
        latest.announce(device, make_info(device, FIELDS))
        latest.offer(device, state, retained=False, now_ms=now_ms, now=now)
        for name, value in state.fresh.items():
            values[f"meter_{name}"][device.name] = value
    floor = CollectorRegistry()
    floor.register(_Floor(values))
    return make_registry(latest, Tally(BRIDGE_HEALTH), time.monotonic), floor


def _cpu_ms(registry: CollectorRegistry) -> float:
    began = time.process_time()
    render_metrics(registry, "")
    return (time.process_time() - began) * 1000
