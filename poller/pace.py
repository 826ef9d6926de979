"""In which polls a field is read: one that changes slowly need not be in each."""

import math
from collections.abc import Mapping

from poller.device import Device


def pace(device: Device) -> Mapping[str, int]:
    """In every how many polls each field with an address is to be read: no more seldom than it asks for.

    What a derived field is made of is read together, and a voltage as often as
    what it excuses. Where everything may wait, the first to be wanted is in every poll,
    so that none is empty and a keep-alive device is always asked something.

    >>> from dataclasses import replace
    >>> from poller.profile import load_profile
    >>> from readings.reading import DeviceKey, Kind
    >>> meter = load_profile("wago-879")
    >>> slow = {name: replace(meter.fields[name], interval_s=100) for name in ("energy_L1_kwh", "energy_T1_kwh")}
    >>> pace(Device(DeviceKey(Kind.METER, "m"), "", meter, slow | {"power_L1_kw": meter.fields["power_L1_kw"]}, 30))
    {'energy_L1_kwh': 3, 'energy_T1_kwh': 3, 'power_L1_kw': 1}
    """
    every = {
        name: max(1, math.floor((one.interval_s or 0) / device.interval_s + 1e-6))
        for name, one in device.fields.items()
        if one.point is not None
    }
    for name, one in device.fields.items():
        voltage = one.rules.live_when
        if one.difference is not None:
            every |= dict.fromkeys(one.difference, min(every[source] for source in one.difference))
        elif voltage is not None and name in every:
            every[voltage] = min(every.get(voltage, every[name]), every[name])
    fastest = min(every.values(), default=1)
    return {name: 1 if polls == fastest else polls for name, polls in every.items()}
