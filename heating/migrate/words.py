"""What a migration found and would do, in sentences."""

import math
from collections.abc import Iterator
from datetime import UTC, datetime

from heating.migrate.look import Looked
from heating.migrate.origins import UNCHANGED

BYTES = 6.0
"""Of one sample in a block whose values are noisy, as those of a real meter; measured, rounded up."""

PASSES = 2.6
"""Looking once more and making, in times of looking; measured."""

SPARE_BYTES = 50_000_000
"""For the text of one window, and for what the promtool and Prometheus write besides."""


def moment(time_ms: int) -> str:
    """A time as people write it.

    >>> moment(1767222000000)
    '2025-12-31 23:00 UTC'
    """
    return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC"


def needed_bytes(samples: int) -> int:
    """The disk that is wanted: the blocks, and them once more while Prometheus merges them with its own.

    >>> needed_bytes(10_000_000)
    170000000
    """
    return round(2 * BYTES * samples) + SPARE_BYTES


def describe(looked: Looked) -> Iterator[str]:
    """What is there of a device's past and what becomes of it, line by line."""
    family = looked.family
    yield family.title
    labels = ", ".join(f'{name}="{value}"' for name, value in sorted(family.labels.items()))
    yield f"  there      {moment(looked.first_ms)} to {moment(looked.last_ms)}, {looked.seen:,} samples"
    yield f"  goes on    {moment(family.until_ms)}, as {family.origin.new}_*{{{labels}}}"
    yield f"  makes      {looked.made:,} samples, about {looked.made * BYTES / 1e6:.1f} MB of disk"
    refused = {reason: count for reason, count in looked.refused.items() if count}
    if refused:
        those = ", ".join(f"{count:,} {reason}" for reason, count in sorted(refused.items()))
        yield f"  leaves out {sum(refused.values()):,}: {those}"
    for name, past in looked.pasts.items():
        for time_ms, last_kwh in past.meters:
            shift = next((one.shift_kwh for one in reversed(past.stretches) if one.first_ms < time_ms), 0.0)
            yield (
                f"  {name}: another meter from {moment(time_ms)} on, where the old one stood at {last_kwh:.2f};"
                f" what is before gets {shift:+.2f} kWh"
            )
        if name in family.counts and past.last_kwh is not None:
            yield f"  {name}: ends at {past.last_kwh:.2f} kWh, goes on at {family.counts[name]:.2f} kWh"


def invite(took_s: float, *, is_joined: bool, has_data: bool) -> str:
    """What to do next, where something would be made.

    Args:
        took_s: How long looking took.
        is_joined: Whether the names that have not changed are among it.
        has_data: Whether it is known where Prometheus' folder is.
    """
    lines = [
        f"Nothing was written. --apply{'' if has_data else ' --data FOLDER'} does it, in about {_duration(PASSES * took_s)}."
    ]
    if not is_joined:
        names = ", ".join(f"{one.old}_*" for one in UNCHANGED)
        lines.append(f"{names} stay as they are: --join makes those, too, with the labels of today.")
    return "\n".join(lines)


def _duration(seconds: float) -> str:
    """How long, as people say it.

    >>> _duration(7.2), _duration(322)
    ('8 s', '6 minutes')
    """
    return f"{math.ceil(seconds)} s" if seconds < 90 else f"{math.ceil(seconds / 60)} minutes"
