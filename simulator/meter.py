"""A three-phase energy meter: what flows, and the counts that it makes of it."""

import math
from dataclasses import dataclass

Phases = tuple[float, float, float]
"""One number for each of L1, L2, L3."""

Channels = tuple[float, float, float, float]
"""The total, then L1, L2, L3."""


@dataclass(frozen=True, slots=True)
class Flow:
    """What passes the meter at one moment. Import is positive, export negative.

    Only powers and voltages are given; currents, apparent powers and power
    factors follow from them, so that they cannot contradict each other.
    """

    power_kw: Phases
    reactive_kvar: Phases
    voltage_v: Phases = (230.0, 230.0, 230.0)
    frequency_hz: float = 50.0

    @property
    def power(self) -> Channels:
        """Active power in kW; the total is the balance of the phases.

        >>> Flow((0.1, 0.2, -0.3), (0.0, 0.0, 0.0)).power[0]  # and not 5.6e-17
        0.0
        """
        return (round(sum(self.power_kw), 6), *self.power_kw)

    @property
    def reactive(self) -> Channels:
        """Reactive power in kvar."""
        return (sum(self.reactive_kvar), *self.reactive_kvar)

    @property
    def apparent(self) -> Channels:
        """Apparent power in kVA: S² = P² + Q².

        >>> Flow((3.0, 0.0, 0.0), (4.0, 0.0, 0.0)).apparent[:2]
        (5.0, 5.0)
        """
        total, one, two, three = map(math.hypot, self.power, self.reactive)
        return (total, one, two, three)

    @property
    def factor(self) -> Channels:
        """Power factor P / S, negative while exporting; 1 where nothing flows."""
        total, one, two, three = (
            power / apparent if apparent else 1.0
            for power, apparent in zip(self.power, self.apparent, strict=True)
        )
        return (total, one, two, three)

    @property
    def current(self) -> Channels:
        """Current in A; the total is the sum of the phases."""
        one, two, three = (
            1000 * kva / volt for kva, volt in zip(self.apparent[1:], self.voltage_v, strict=True)
        )
        return (one + two + three, one, two, three)


@dataclass(frozen=True, slots=True)
class Count:
    """Energy that was counted, in kWh or kvarh, each direction by itself."""

    imported: Channels
    exported: Channels = (0.0, 0.0, 0.0, 0.0)

    @classmethod
    def of(cls, total: float) -> "Count":
        """A meter that has imported this much, on three like phases."""
        return cls((total, total / 3, total / 3, total / 3))

    @property
    def both(self) -> Channels:
        """Import and export together, as the WAGO's sum registers count them.

        >>> Count.of(9.0).after((-6.0, 0.0, 0.0, -6.0), seconds=1800).both
        (12.0, 3.0, 3.0, 6.0)
        """
        total, one, two, three = map(sum, zip(self.imported, self.exported, strict=True))
        return (total, one, two, three)

    def after(self, power: Channels, seconds: float) -> "Count":
        """The count after so many seconds of this power."""
        hours = seconds / 3600
        (t, a, b, c), (i_t, i_a, i_b, i_c), (e_t, e_a, e_b, e_c) = power, self.imported, self.exported
        return Count(
            (
                i_t + hours * t if t > 0 else i_t,
                i_a + hours * a if a > 0 else i_a,
                i_b + hours * b if b > 0 else i_b,
                i_c + hours * c if c > 0 else i_c,
            ),
            (
                e_t - hours * t if t < 0 else e_t,
                e_a - hours * a if a < 0 else e_a,
                e_b - hours * b if b < 0 else e_b,
                e_c - hours * c if c < 0 else e_c,
            ),
        )


@dataclass(frozen=True, slots=True)
class MeterState:
    """Everything that a meter shows."""

    serial_number: str
    flow: Flow
    active: Count
    reactive: Count
    day_kwh: float
