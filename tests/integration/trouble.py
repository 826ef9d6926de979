"""Everything that goes wrong on a bus, mixed."""

from collections.abc import Collection, Iterable

from poller.device import Device
from simulator.faults import GARBAGE_KINDS, Fault, FaultKind, FaultPlan
from simulator.weather import Draw


class IndependentFaults(FaultPlan):
    """Faults at random, but between two garbage answers to one request its reader gets a true one.

    The filters ask twice: two readings in a row that agree are believed,
    because standby, a new mode and a replaced meter are just that. So two
    alike garbage answers in a row (zeros in one field, a shifted block, one
    wrong serial number) are the truth to every reader, and are left out here.
    Garbage that every reading shows by itself may come in any row; that is
    `test_garbage_for_minutes`.
    """

    def __init__(self, draw: Draw) -> None:
        super().__init__(draw)
        self._doubtful: set[tuple[int, Collection[str]]] = set()

    def take(self, unit: int, fields: Collection[str]) -> Fault | None:
        fault = super().take(unit, fields)
        if fault is None or fault.kind not in GARBAGE_KINDS:
            return fault
        if (unit, fields) in self._doubtful:
            return None
        self._doubtful.add((unit, fields))
        return fault

    def settle(self, unit: int, fields: Collection[str]) -> None:
        """The reader got a true answer."""
        self._doubtful.discard((unit, frozenset(fields)))


def mix_all(
    plan: FaultPlan, devices: Iterable[Device], *, probability: float, late_s: tuple[float, ...]
) -> None:
    """Every kind of fault with this probability, and garbage in single fields besides."""
    for kind in FaultKind:
        delays = late_s if kind is FaultKind.LATE else (0.0,)
        for delay_s in delays:
            plan.at_random(Fault(kind, delay_s=delay_s), probability / len(delays))
    for device in devices:
        names = [name for name, one in device.fields.items() if one.point and not one.point.table.holds_bits]
        for kind in sorted(GARBAGE_KINDS - {FaultKind.SHIFTED}):
            for name in names:
                plan.at_random(Fault(kind, field=name), probability / 10, unit=device.unit)
