"""What one look at a device showed, field by field: its registers, what they mean, and what the filters say."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from poller.blocks import BlockFailure, Poll
from poller.decode import Decoded, NoNumber, decode_point
from poller.device import Device
from poller.errors import DecodeError
from poller.filters import Reason
from poller.points import Field, Point, Rules
from poller.states import Folded


class Finding(StrEnum):
    """What became of a field."""

    ACCEPTED = "accepted"
    HELD_BACK = "held_back"
    """It may be true; the next readings say."""
    REJECTED = "rejected"
    NO_VALUE = "no_value"
    """The device itself says that it has none."""
    NOT_READ = "not_read"


HOLDS_BACK = frozenset(
    {Reason.LOW, Reason.JUMP, Reason.ZERO, Reason.FIRST, Reason.FALL, Reason.RISE, Reason.NEW_METER}
)
"""Reasons that end by themselves when the next readings agree."""

WHY = {
    Reason.NOT_A_NUMBER: "not a number",
    Reason.FULL_SCALE: "the end of what the registers can hold",
    Reason.IMPOSSIBLE: "impossible, outside {possible}: its whole block is suspect",
    Reason.SUSPECT_BLOCK: "another field of its block is impossible",
    Reason.UNDECODABLE: "the registers cannot be what the profile says",
    Reason.RANGE: "outside {range}",
    Reason.RESOLUTION: "smaller than the device's step of {step}",
    Reason.LOW: "near 0: believed when it comes twice",
    Reason.JUMP: "a step of more than {jump}: believed when the next reading confirms it",
    Reason.ZERO: "a count of 0: what a broken answer shows, and a new meter",
    Reason.FIRST: "the first count: believed when three in a row agree",
    Reason.FALL: "below the last count: believed after an hour",
    Reason.RISE: "a rise beyond the plausible power: believed when three in a row agree",
    Reason.NEW_METER: "another serial number: believed when three in a row agree",
}
"""Why a reading was not accepted, in a few words."""


@dataclass(frozen=True, slots=True)
class SeenField:
    """A field as it was seen.

    Attributes:
        point: Where it is; `None` for a field that is made of others.
        words: Its registers, or bits; empty where they were not read.
        value: What they mean, believed or not; `None` for no number.
        text: The word for it, where the profile has one.
        why: In people's words; empty for what was accepted.
    """

    name: str
    point: Point | None
    words: tuple[int, ...]
    value: int | float | None
    unit: str
    text: str
    finding: Finding
    why: str

    @property
    def place(self) -> str:
        """Where it is, as the profile says it.

        >>> from poller.points import Encoding, Table
        >>> power = Point("power_total_kw", Table.HOLDING, 0x5012, 2, Encoding.FLOAT32)
        >>> SeenField("power_total_kw", power, (), None, "kW", "", Finding.NOT_READ, "").place
        'holding 20498 (0x5012)'
        """
        if self.point is None:
            return "derived"
        address = self.point.address
        return f"{self.point.table} {address}" + (f" (0x{address:04X})" if address > 255 else "")

    @property
    def hex(self) -> str:
        """Its registers in hex, bits as 0 or 1."""
        is_bits = self.point is not None and self.point.table.holds_bits
        return " ".join(str(one) if is_bits else f"0x{one:04X}" for one in self.words)


def see_fields(device: Device, poll: Poll, folded: Folded) -> Iterator[SeenField]:
    """Every field of a device, in the profile's order.

    Args:
        device: Whose fields they are.
        poll: What was asked, and what came.
        folded: What the filters made of it.
    """
    words = {
        point.name: read.words[point.address - read.block.address :][: point.registers]
        for read in poll.reads
        for point in read.block.points
    }
    failures = {
        point.name: one.detail
        for one in poll.outcomes
        if isinstance(one, BlockFailure)
        for point in one.block.points
    }
    reasons = {one.field: Reason(one.reason) for one in folded.rejections}
    values = folded.snapshot.values if folded.snapshot else {}
    held = folded.snapshot.held if folded.snapshot else frozenset()
    fresh = {name for name, value in values.items() if value is not None and name not in held}
    for name, one in device.fields.items():
        mine = words.get(name, ())
        decoded = _decode(one, mine) if mine else values.get(name) if name in fresh else None
        finding, why = _judge(name, one, decoded, reasons.get(name), failures, is_fresh=name in fresh)
        value = None if isinstance(decoded, NoNumber) else decoded
        yield SeenField(
            name=name,
            point=one.point,
            words=tuple(mine),
            value=value,
            unit=one.quantity.unit,
            text=one.words.get(f"{value:g}", "") if value is not None else "",
            finding=finding,
            why=why,
        )


def _decode(one: Field, words: tuple[int, ...]) -> Decoded | None:
    try:
        return None if one.point is None else decode_point(one.point, words)
    except DecodeError:
        return None


def _judge(
    name: str,
    one: Field,
    decoded: Decoded | None,
    reason: Reason | None,
    failures: Mapping[str, str],
    *,
    is_fresh: bool,
) -> tuple[Finding, str]:
    if reason is not None:
        finding = Finding.HELD_BACK if reason in HOLDS_BACK else Finding.REJECTED
        return finding, _explain(reason, one.rules)
    if is_fresh:
        return Finding.ACCEPTED, ""
    if decoded is NoNumber.SENTINEL:
        return Finding.NO_VALUE, "the device says that it has none"
    if one.point is None:
        return Finding.NOT_READ, f"made of {', '.join(one.difference or (one.raw_of or '',))}"
    return Finding.NOT_READ, failures.get(name, "not asked")


def _explain(reason: Reason, rules: Rules) -> str:
    return WHY[reason].format(
        possible=_bounds(rules.possible),
        range=_bounds(rules.range),
        step=f"{rules.resolution:g}",
        jump=f"{rules.jump or 0:g}",
    )


def _bounds(bounds: tuple[float, float] | None) -> str:
    return "" if bounds is None else f"{bounds[0]:g} to {bounds[1]:g}"
