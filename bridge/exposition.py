"""What /metrics says: the latest values, the bridge's own counts, and the pollers'.

Families are built when somebody asks, so a device that is silent is not
there. Series are named by `bridge.sample` alone. Nothing carries a time.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from bridge.latest import DeviceView, Latest, PollerView
from readings.health import BRIDGE_HEALTH, POLLER_HEALTH, HealthMetric, HealthSample, Tally
from readings.payload import FieldInfo

Labels = tuple[tuple[str, str], ...]

Reports = Mapping[str, list[tuple[dict[str, str], HealthSample]]]
"""By metric, its samples, each with the labels that say which program it is from."""


@dataclass(slots=True)
class _Family:
    help: str
    values: dict[Labels, float]


class BridgeCollector(Collector):
    """Everything that /metrics exposes.

    Args:
        latest: The latest values and the pollers' reports.
        tally: The bridge's own counts.
        monotonic: The clock that decides what is silent.
    """

    def __init__(self, latest: Latest, tally: Tally, monotonic: Callable[[], float]) -> None:
        self._latest = latest
        self._tally = tally
        self._monotonic = monotonic

    def describe(self) -> Iterable[Metric]:
        """Nothing: what is exposed depends on who is there; registering must not ask for it."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """The families of this moment."""
        seen = self._latest.snapshot(self._monotonic())
        yield from _reading_families(seen.devices)
        own: Reports = {
            name: [({}, one) for one in samples] for name, samples in self._tally.samples().items()
        }
        yield from _health_families(BRIDGE_HEALTH, own)
        yield from _health_families(POLLER_HEALTH, _poller_samples(seen.pollers))


def make_registry(latest: Latest, tally: Tally, monotonic: Callable[[], float]) -> CollectorRegistry:
    """A registry of the bridge's own."""
    registry = CollectorRegistry()
    registry.register(BridgeCollector(latest, tally, monotonic))
    return registry


def render_metrics(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """The text of a scrape and its content type, in the format that the `Accept` header asks for."""
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


def describe_metric(field: str, info: FieldInfo) -> str:
    """A metric's help.

    >>> describe_metric("frequency_hz", FieldInfo(description="Grid frequency", unit="Hz"))
    'Grid frequency (Hz)'
    """
    text = info.description or field
    return f"{text} ({info.unit})" if info.unit else text


def _reading_families(devices: Iterable[DeviceView]) -> Iterator[Metric]:
    """Every reading is a gauge under exactly its name, energy counts too.

    A name that several devices use is one family; of two helps the first
    stands. So does the first of two devices that claim one series.
    """
    families: dict[str, _Family] = {}
    for device in devices:
        if device.info is None:
            continue
        for field, value in device.values.items():
            for series in device.series[field]:
                family = families.get(series.name)
                if family is None:
                    if series.name in BRIDGE_HEALTH or series.name in POLLER_HEALTH:
                        continue
                    family = _Family(describe_metric(field, device.info.fields[field]), {})
                    families[series.name] = family
                family.values.setdefault(series.labels, value)
    for name, family in sorted(families.items()):
        metric = GaugeMetricFamily(name, family.help)
        for labels, value in family.values.items():
            metric.add_sample(name, dict(labels), value)
        yield metric


def _poller_samples(pollers: Iterable[PollerView]) -> Reports:
    """What the pollers that are there report, with the label that tells them apart."""
    together: dict[str, list[tuple[dict[str, str], HealthSample]]] = {}
    for poller in pollers:
        if poller.health is None or poller.is_online is False:
            continue
        for name, samples in poller.health.metrics.items():
            together.setdefault(name, []).extend(({"poller": poller.name}, one) for one in samples)
    return together


def _health_families(rows: Mapping[str, HealthMetric], samples: Reports) -> Iterator[Metric]:
    """A program's own counts. What a later version reports and this one does not know is passed over."""
    for name, row in rows.items():
        values = {
            tuple(sorted((extra | one.labels).items())): one.value
            for extra, one in samples.get(name, ())
            if one.labels.keys() == set(row.labels)
        }
        if not values:
            continue
        kind = CounterMetricFamily if row.kind == "counter" else GaugeMetricFamily
        metric = kind(name, row.help)
        for labels, value in values.items():
            metric.add_sample(name, dict(labels), value)
        yield metric
