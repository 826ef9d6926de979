"""Whether a profile fits a device: how unlikely it is that other registers would pass for its fields.

Each field that reads as something believable is evidence, counted in bits: a
frequency between 45 and 65 Hz out of all numbers that two registers can hold
says a lot, a bit says nothing, and a 0 says nothing either, because an empty
register is 0 in every device.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from poller.decode import Decoded
from poller.filters import Rejected, check
from poller.points import Field, Rules
from poller.profile import Profile

SURE_BITS = 15.0
"""From here on a fit is no chance: one in thirty thousand."""

LEAST_BITS = 4.0

MOST_BITS_A_FIELD = 10.0

AGAINST_BITS = 8.0
"""What a field costs that reads as something impossible..."""

MISSING_BITS = 4.0
"""...and one whose address the device refuses."""

SMALL = 16
"""Whole numbers below this are in every device's registers, whatever they mean."""

FLOAT32_BINADES = 254

ALWAYS_READ = frozenset({"V", "Hz"})
"""What tells most of a meter is looked at even where a profile does not read it by default."""

_NAMES = {
    "Hz": ("frequency", "frequencies", 2),
    "V": ("voltage", "voltages", 1),
    "A": ("current", "currents", 2),
    "kW": ("power", "powers", 3),
    "kWh": ("energy count", "energy counts", 1),
    "°C": ("temperature", "temperatures", 1),
    "bar": ("pressure", "pressures", 1),
    "L/min": ("flow", "flows", 1),
}
"""What people call a quantity of this unit, one and several, and how many digits of it tell something."""


@dataclass(frozen=True, slots=True)
class Fit:
    """How well a profile fits.

    Attributes:
        bits: The evidence for it less what speaks against it.
        evidence: What was read and is believable, in words.
        against: The fields that read as something impossible.
        missing: The default fields whose addresses the device refuses.
    """

    profile: Profile
    bits: float
    evidence: str
    against: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def is_possible(self) -> bool:
        """Whether anything speaks for it, and next to nothing against it."""
        return self.bits >= LEAST_BITS

    @property
    def is_sure(self) -> bool:
        """Whether it can hardly be chance."""
        return self.bits >= SURE_BITS


def telling_fields(profile: Profile) -> Mapping[str, Field]:
    """The fields to read of a device to know whether this is its profile."""
    more = tuple(
        name for name, one in profile.fields.items() if one.point and one.quantity.unit in ALWAYS_READ
    )
    return profile.choose(more)


def weigh(profile: Profile, readings: Mapping[str, Decoded], refused: Collection[str]) -> Fit:
    """How well a profile fits a device.

    Args:
        profile: The profile.
        readings: What the device's registers say, read with it, by field.
        refused: The fields whose addresses the device does not have.
    """
    bits = 0.0
    against: list[str] = []
    found: dict[str, list[float]] = {}
    for name, reading in readings.items():
        one = profile.fields[name]
        judged = check(one.rules, reading)
        if isinstance(judged, Rejected) or (isinstance(judged, int | float) and _is_impossible(one, judged)):
            against.append(name)
        elif isinstance(judged, int | float) and (worth := evidence_bits(one, judged)):
            bits += worth
            found.setdefault(one.quantity.unit, []).append(judged)
    missing = tuple(name for name in refused if profile.fields[name].default)
    bits -= AGAINST_BITS * len(against) + MISSING_BITS * len(missing)
    return Fit(profile, round(bits, 1), _describe(found), tuple(against), missing)


def evidence_bits(one: Field, value: int | float) -> float:
    """How unlikely it is, in bits, that registers of anything else read as a believable value of this field.

    >>> from poller.profile import load_profile
    >>> meter = load_profile("wago-879").fields
    >>> round(evidence_bits(meter["frequency_hz"], 50.02), 1), round(evidence_bits(meter["power_total_kw"], 0), 1)
    (9.9, 0)
    """
    point, bounds = one.point, one.rules.possible or one.rules.range
    if point is None or bounds is None or value == 0 or one.rules.kind == "bit":
        return 0
    if point.encoding.is_float:
        chance = _float_chance(one.rules, bounds)
    elif abs(value / point.scale) < SMALL:
        return 1
    else:
        chance = (bounds[1] - bounds[0]) / abs(point.scale) / 2.0 ** (16 * point.registers)
    return max(0.0, min(-math.log2(chance), MOST_BITS_A_FIELD)) if chance > 0 else MOST_BITS_A_FIELD


def ranked(fits: Collection[Fit]) -> tuple[Fit, ...]:
    """Those that may be it, the best first; of two alike the one that somebody has tested.

    What has less than half of the best one's evidence, or speaks against itself where the best does not, is not it.
    """
    possible = sorted(
        (one for one in fits if one.is_possible),
        key=lambda one: (-one.bits, one.profile.is_untested, one.profile.name),
    )
    return tuple(
        one
        for one in possible
        if one.bits >= possible[0].bits / 2 and (possible[0].against or not one.against)
    )


def _float_chance(rules: Rules, bounds: tuple[float, float]) -> float:
    """Floats of random bits are alike in every power of two, from the smallest believable to the largest."""
    largest = max(abs(bounds[0]), abs(bounds[1]))
    smallest = bounds[0] if bounds[0] > 0 else rules.resolution or largest / 2**20
    signs = 1 if bounds[0] < 0 else 0.5
    return math.log2(largest / smallest) / FLOAT32_BINADES * signs


def _is_impossible(one: Field, value: int | float) -> bool:
    """Outside `possible`; where a dead phase excuses it, that is no evidence against the profile."""
    bounds = one.rules.possible
    return bounds is not None and not bounds[0] <= value <= bounds[1] and one.rules.live_when is None


def _describe(found: Mapping[str, list[float]]) -> str:
    """What was found, by unit.

    >>> _describe({"Hz": [50.02], "V": [229.9, 231.24, 230.0]})
    'frequency 50.02 Hz, 3 voltages 229.9-231.2 V'
    """
    return ", ".join(_tell(unit, sorted(values)) for unit, values in found.items() if unit in _NAMES)


def _tell(unit: str, values: Sequence[float]) -> str:
    one, several, decimals = _NAMES[unit]
    low, high = (f"{value:.{decimals}f}" for value in (values[0], values[-1]))
    if len(values) == 1:
        return f"{one} {low} {unit}"
    between = low if low == high else f"{low} to {high}" if values[0] < 0 else f"{low}-{high}"
    return f"{len(values)} {several} {between} {unit}"
