"""How long a poll of each profile occupies a serial line, by the planner's own model of it."""

from bench.poller import BAUD, TURNAROUND_S
from bench.table import Table
from poller.blocks import RegisterBlock
from poller.plan import plan_profile, request_seconds
from poller.profile import load_profile, profile_names


def measure(*, is_quick: bool) -> Table:  # noqa: ARG001  # computed, in no time
    """Plan the default fields of every Modbus profile."""
    rows = []
    for name in profile_names():
        profile = load_profile(name)
        if profile.transport != "modbus":
            continue
        plan = plan_profile(profile, baud=BAUD, turnaround_s=TURNAROUND_S)
        points = {one.point for one in plan.device.fields.values() if one.point is not None}
        singles = {RegisterBlock(one.table, one.address, one.registers, ()) for one in points}
        single_s = sum(request_seconds(one, BAUD, TURNAROUND_S) + plan.pause_s for one in singles)
        rows.append(
            (
                name,
                str(len(plan.device.fields)),
                str(len(plan.blocks)),
                f"{plan.poll_s * 1000:.0f}",
                str(len(singles)),
                f"{single_s * 1000:.0f}",
                f"{plan.poll_s / single_s:.2f}",
            )
        )
    return Table(
        "Poller: predicted time on the bus",
        "python -m bench plans",
        ("profile", "fields", "requests", "ms", "requests, one a value", "ms", "ratio"),
        tuple(rows),
        f"computed, not measured: {BAUD} baud, 11 bits a character, two silences of 3.5 characters,"
        f" {TURNAROUND_S * 1000:.0f} ms until a device answers, and the pause that a profile asks for.",
    )
