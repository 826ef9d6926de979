"""The original system's names, what becomes of each, and how its series are told from this system's.

What the original stored was scraped, so it has a `job` and no `device`; what the bridge writes has no `job`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from heating.report.queries import escape
from poller.points import Rules
from readings.reading import Kind


@dataclass(frozen=True, slots=True)
class Origin:
    """Names of the original and the names that its readings get.

    Attributes:
        old: The prefix of its names.
        new: The prefix that they get.
        profile: What its program shows, and what of it is believable.
    """

    old: str
    new: str
    kind: Kind
    profile: str

    @property
    def is_renamed(self) -> bool:
        """Whether nothing stands under the new names for that time, so that nothing can be there twice."""
        return self.old != self.new


METER = Origin("wago", "meter", Kind.METER, "wago-exporter")

UNCHANGED = (
    Origin("wago", "wago", Kind.METER, "wago-exporter"),
    Origin("heatpump", "heatpump", Kind.HEATPUMP, "lg-r290-control"),
    Origin("sensor", "sensor", Kind.SENSOR, "iot-api"),
    Origin("thermostat", "thermostat", Kind.THERMOSTAT, "thermostat"),
)
"""Names that are the same in both systems; the labels differ."""

WHO = ("sensor_id", "sensor_name")
"""The labels that say which sensor it is, in both systems."""


@dataclass(frozen=True, slots=True)
class Family:
    """The series of one device, there and here.

    Attributes:
        rules: What is believable, by field.
        old: The selector of what the original stored.
        labels: Those of this system's series, the constant ones of the configuration among them.
        until_ms: When this system's first reading of the device was taken; what is made lies before it.
        counts_ms: When its first reading of each energy count was taken...
        counts: ...and what it was, kWh.
    """

    origin: Origin
    rules: Mapping[str, Rules]
    old: str
    labels: Mapping[str, str]
    until_ms: int
    counts_ms: Mapping[str, int]
    counts: Mapping[str, float]

    @property
    def title(self) -> str:
        """What people call it.

        >>> Family(METER, {}, "", {"device": "meter"}, 0, {}, {}).title
        'meter_* of "meter" from wago_*'
        """
        who = self.labels.get("device") or self.labels.get("sensor_name") or "?"
        origin = f" from {self.origin.old}_*" if self.origin.is_renamed else ""
        return f'{self.origin.new}_* of "{who}"{origin}'

    @property
    def made(self) -> str:
        """The selector of what is made, and of nothing that was scraped."""
        return selector(self.origin.new, self.rules, self.labels, 'job=""')


def selector(prefix: str, fields: Iterable[str], labels: Mapping[str, str], *also: str) -> str:
    """The selector of some fields' series.

    >>> selector("wago", ["power_total_kw", "frequency_hz"], {"device": "meter"}, 'job=""')
    '{__name__=~"wago_(power_total_kw|frequency_hz)",device="meter",job=""}'
    """
    matchers = [
        f'__name__=~"{prefix}_({"|".join(fields)})"',
        *(f'{name}="{escape(value)}"' for name, value in labels.items()),
        *also,
    ]
    return f"{{{','.join(matchers)}}}"


def find_old(origin: Origin, fields: Iterable[str], labels: Mapping[str, str], instance: str | None) -> str:
    """The selector of what the original stored.

    Args:
        origin: Under which names.
        fields: Which of them.
        labels: Of one sensor; else empty.
        instance: Which of several of its programs.
    """
    also = () if instance is None else (f'instance="{escape(instance)}"',)
    return selector(origin.old, fields, labels, 'job!=""', 'device=""', *also)
