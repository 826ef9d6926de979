"""A configured device: a profile, chosen fields, a place on a bus, a name."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from poller.profile import Field, Profile
from readings.payload import CONTRACT, FieldInfo, Info
from readings.reading import DeviceKey, Kind


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
        labels: Constant labels of its series instead of `device`.
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


def describe_device(device: Device, poller: str, stream: str) -> Info:
    """The announcement of a device: everything a consumer must know to store and show it.

    Series carry the label `device`; a sensor's carry the labels that the
    original system gave them instead, where it has any.
    """
    labels = (
        dict(device.labels)
        if device.key.kind is Kind.SENSOR and device.labels
        else {"device": device.key.name}
    )
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
                prefixes=(device.key.kind.value, *device.aliases),
                labels=labels,
                words=dict(one.words),
            )
            for name, one in device.fields.items()
        },
    )
