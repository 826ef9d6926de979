"""A configured device: a profile, chosen fields, a place on a bus, a name."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from poller.profile import Field, Profile
from readings.payload import CONTRACT, FieldInfo, Info
from readings.reading import DeviceKey


@dataclass(frozen=True, slots=True)
class Device:
    """One device that this poller makes readings of.

    Attributes:
        key: Kind and id, its place on the bus of messages.
        title: What people call it.
        fields: The chosen fields of its profile, in the profile's order.
        interval_s: Seconds between two polls; half the silence limit of a source that reports by itself.
        bus: The Modbus bus it is on; `None` for a source that reports by itself.
        unit: Its Modbus unit id.
        aliases: Further metric prefixes beside its kind's own.
        labels: Constant labels of its series instead of `device`; the original's sensors have their own.
        origin: The source that found it, where it is not a device of the configuration.
    """

    key: DeviceKey
    title: str
    profile: Profile
    fields: Mapping[str, Field]
    interval_s: float
    bus: str | None = None
    unit: int | None = None
    aliases: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    origin: str = ""

    def interval_of(self, field: str) -> float:
        """Seconds between two reads of a field; a derived one follows what it is made of."""
        one = self.fields[field]
        return max(
            self.interval_s,
            one.interval_s or 0,
            *(self.interval_of(source) for source in one.sources if source in self.fields),
        )

    @property
    def witnesses(self) -> Mapping[str, Field]:
        """The voltages that were not chosen and excuse what was (`live_when`): read with it, never published."""
        wanted = {one.rules.live_when for one in self.fields.values()}
        return {
            name: one
            for name, one in self.profile.fields.items()
            if name in wanted and name not in self.fields
        }

    @property
    def prefixes(self) -> tuple[str, ...]:
        """The prefixes of its metrics' names: each of its fields makes one series per prefix."""
        return self.key.kind.value, *self.aliases

    @property
    def series_labels(self) -> dict[str, str]:
        """The constant labels of its series: `device`, unless it has labels of its own."""
        return dict(self.labels) or {"device": self.key.name}


def describe_device(device: Device, poller: str, stream: str) -> Info:
    """The announcement of a device: everything a consumer must know to store and show it."""
    return Info(
        contract=CONTRACT,
        poller=poller,
        stream=stream,
        title=device.title,
        manufacturer=device.profile.manufacturer,
        model=device.profile.model,
        profile=device.profile.name,
        interval=device.interval_s,
        fields={
            name: FieldInfo(
                unit=one.quantity.unit,
                kind=one.quantity.kind,
                description=one.quantity.description,
                prefixes=device.prefixes,
                labels=device.series_labels,
                words=dict(one.words),
                interval=interval_s if (interval_s := device.interval_of(name)) > device.interval_s else 0,
            )
            for name, one in device.fields.items()
        },
    )
