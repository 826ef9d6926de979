"""Which requests to send: the blocks that take the least predicted time on the bus.

A serial line pays for every character and for every turnaround, so a gap
between two points is read through where that is cheaper than a request of its
own. On a network only the number of requests counts.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from poller.blocks import RegisterBlock
from poller.device import Device
from poller.errors import ProfileError
from poller.pace import pace
from poller.points import Point
from poller.profile import Profile
from poller.request import ADDRESSES
from readings.reading import DeviceKey

MAX_BITS = 2000
"""The most bits that one Modbus request may ask for."""

KEEP_ALIVE_TIMEOUT_S = 1.0
"""The longest wait for an answer of a device that stops when it is not polled."""

REQUEST_BYTES = 8
ANSWER_OVERHEAD_BYTES = 5
CHARACTER_BITS = 11
SILENCE_CHARACTERS = 3.5
LEAST_SILENCE_S = 0.00175
"""Above 19,200 baud the standard fixes the silence around a frame."""

NETWORK_LATENCY_S = 0.005
NETWORK_BYTE_S = 1e-6


@dataclass(frozen=True, slots=True)
class DevicePlan:
    """How one device is to be polled.

    Attributes:
        blocks: What polls ask for, each block as often as it says; one of them in every poll.
        identity: What is asked for now and then: the device's texts.
        pause_s: The least pause between an answer and the next request.
        poll_s: The predicted time that a poll of everything takes on the bus.
    """

    device: Device
    unit: int
    blocks: tuple[RegisterBlock, ...]
    identity: tuple[RegisterBlock, ...]
    timeout_s: float
    pause_s: float
    poll_s: float


def plan_device(device: Device, *, baud: int, turnaround_s: float, distinct: bool) -> DevicePlan:
    """The requests of one device.

    Args:
        device: A device on a bus.
        baud: Bits per second of the line, 0 for none.
        turnaround_s: How long the device thinks before it answers.
        distinct: No two requests may have answers of the same length, because the
            framing has no other way to tell a late answer from the one awaited.

    Raises:
        ProfileError: A point is wider than the device's largest request, or there is none to read.
    """
    profile = device.profile
    pause_s = profile.pause_ms / 1000

    def plan(points: Iterable[Point], every: Mapping[str, int]) -> tuple[RegisterBlock, ...]:
        return plan_blocks(
            points,
            max_registers=profile.max_registers,
            multiple_of=profile.multiple_of,
            baud=baud,
            turnaround_s=turnaround_s,
            pause_s=pause_s,
            every=every,
        )

    wanted = (*device.fields.values(), *device.witnesses.values())
    blocks = plan((one.point for one in wanted if one.point is not None), pace(device))
    if not blocks:
        raise ProfileError(f"{device.key}: expected at least one field with an address")
    identity = plan(profile.identity.values(), {})
    if distinct:
        told_apart = tell_apart(
            (*blocks, *identity), max_registers=profile.max_registers, multiple_of=profile.multiple_of
        )
        blocks, identity = told_apart[: len(blocks)], told_apart[len(blocks) :]
    return DevicePlan(
        device=device,
        unit=device.unit or 0,
        blocks=blocks,
        identity=identity,
        timeout_s=min(profile.timeout_s, KEEP_ALIVE_TIMEOUT_S) if profile.keep_alive else profile.timeout_s,
        pause_s=pause_s,
        poll_s=sum(request_seconds(one, baud, turnaround_s) + pause_s for one in blocks),
    )


def plan_profile(profile: Profile, *, baud: int = 9600, turnaround_s: float = 0.03) -> DevicePlan:
    """What the default fields of a device model cost on a serial line, in every poll.

    >>> from poller.profile import load_profile
    >>> plan = plan_profile(load_profile("wago-879"))
    >>> len(plan.blocks), round(plan.poll_s * 1000)
    (2, 230)
    """
    device = Device(
        DeviceKey(profile.kind, "it"), "", profile, profile.choose(), profile.interval_s, bus="it", unit=1
    )
    return plan_device(device, baud=baud, turnaround_s=turnaround_s, distinct=False)


def plan_blocks(
    points: Iterable[Point],
    *,
    max_registers: int,
    multiple_of: int = 1,
    baud: int,
    turnaround_s: float,
    pause_s: float = 0.0,
    every: Mapping[str, int] | None = None,
) -> tuple[RegisterBlock, ...]:
    """The blocks that cover all points in the least predicted time.

    Args:
        points: What is to be read.
        max_registers: The longest request.
        multiple_of: A request is for a multiple of so many registers.
        baud: Bits per second of the line, 0 for none.
        turnaround_s: How long the device thinks before it answers.
        pause_s: The least pause before a request.
        every: In every how many polls a point is read, by its name; the others in each. One that
            may wait is read along where that costs less than a request of its own now and then.

    Raises:
        ProfileError: A point is wider than `max_registers`.

    >>> from poller.profile import load_profile
    >>> meter = load_profile("wago-879").choose()
    >>> points = [one.point for one in meter.values() if one.point]
    >>> [str(one) for one in plan_blocks(points, max_registers=125, baud=9600, turnaround_s=0.005)]
    ['holding 20488+18', 'holding 20522+2', 'holding 24576+12']
    """

    def price(block: RegisterBlock) -> float:
        return pause_s + request_seconds(block, baud, turnaround_s)

    blocks: list[RegisterBlock] = []
    ordered = sorted(points, key=lambda point: (point.table, point.address, point.registers, point.name))
    for table, group in groupby(ordered, key=lambda point: point.table):
        limit = MAX_BITS if table.holds_bits else max_registers
        blocks += _cheapest(list(group), limit, lambda run: _block(run, multiple_of, every), price)
    return tuple(blocks)


def request_seconds(block: RegisterBlock, baud: int, turnaround_s: float) -> float:
    """How long a request and its answer occupy the bus.

    Both frames, 11 bits a character, the device's turnaround, and the silence
    of 3.5 characters after each frame. Without a line (`baud` 0) it is the
    latency of the network, whatever the length.

    >>> from poller.points import Table
    >>> block = RegisterBlock(Table.HOLDING, 0x5008, 18, ())
    >>> round(request_seconds(block, 9600, 0.005), 4)
    0.0692
    """
    frames = REQUEST_BYTES + ANSWER_OVERHEAD_BYTES + block.answer_bytes
    if baud == 0:
        return max(turnaround_s, NETWORK_LATENCY_S) + frames * NETWORK_BYTE_S
    character_s = CHARACTER_BITS / baud
    silence_s = max(SILENCE_CHARACTERS * character_s, LEAST_SILENCE_S)
    return frames * character_s + turnaround_s + 2 * silence_s


def split_block(block: RegisterBlock, multiple_of: int = 1) -> tuple[RegisterBlock, ...]:
    """Smaller blocks for a device that refuses an address of this one.

    What the device refuses is as a rule an address that no point needs: first
    every address goes that is not a point's; where there was none, every
    point becomes a block of its own. A single point stays as it is.

    >>> from poller.points import Encoding, Table
    >>> power = Point("power_total_kw", Table.HOLDING, 0x5012, 2, Encoding.FLOAT32)
    >>> factor = Point("power_factor", Table.HOLDING, 0x502A, 2, Encoding.FLOAT32)
    >>> block = RegisterBlock(Table.HOLDING, 0x5012, 26, (power, factor))
    >>> [str(one) for one in split_block(block)]
    ['holding 20498+2', 'holding 20522+2']
    """
    ordered = sorted(block.points, key=_span)
    runs: list[list[Point]] = []
    end = -1
    for point in ordered:
        if point.address <= end:
            runs[-1].append(point)
        else:
            runs.append([point])
        end = max(end, point.address + point.registers)
    pieces = tuple(replace(_block(run, multiple_of), every=block.every) for run in runs)
    if [one.request for one in pieces] == [block.request]:
        # Bits of one register stay together: they are one request.
        pieces = tuple(
            replace(_block(list(group), multiple_of), every=block.every)
            for _, group in groupby(ordered, key=_span)
        )
    return pieces


def tell_apart(
    blocks: Sequence[RegisterBlock], *, max_registers: int, multiple_of: int = 1
) -> tuple[RegisterBlock, ...]:
    """The same blocks, lengthened so that no two answers are of the same length.

    A block keeps its length where nothing longer is allowed; then the
    timetable puts another request between the two.

    >>> from poller.points import Table
    >>> pair = (RegisterBlock(Table.HOLDING, 0x502A, 2, ()), RegisterBlock(Table.HOLDING, 0x4000, 2, ()))
    >>> [str(one) for one in tell_apart(pair, max_registers=125)]
    ['holding 20522+2', 'holding 16384+3']
    """
    taken: set[int] = set()
    result = []
    for block in blocks:
        limit = min(MAX_BITS if block.table.holds_bits else max_registers, ADDRESSES - block.address)
        longer = (
            replace(block, count=count)
            for count in range(block.count, limit + 1, 1 if block.table.holds_bits else multiple_of)
            if replace(block, count=count).answer_bytes not in taken
        )
        chosen = next(longer, block)
        taken.add(chosen.answer_bytes)
        result.append(chosen)
    return tuple(result)


def spacer(block: RegisterBlock, multiple_of: int = 1) -> RegisterBlock:
    """A request whose answer is of another length than this block's, to be sent before it; its answer is not used.

    >>> from poller.points import Table
    >>> str(spacer(RegisterBlock(Table.HOLDING, 0x502A, 2, ())))
    'holding 20522+1'
    """
    least = 1 if block.table.holds_bits else multiple_of
    smallest = RegisterBlock(block.table, block.address, least, ())
    if smallest.answer_bytes != block.answer_bytes:
        return smallest
    count = 9 if block.table.holds_bits else 2 * least
    return replace(smallest, count=count, address=min(block.address, ADDRESSES - count))


def _cheapest(
    points: Sequence[Point],
    limit: int,
    make: Callable[[Sequence[Point]], RegisterBlock],
    price: Callable[[RegisterBlock], float],
) -> list[RegisterBlock]:
    """The least-cost way to cut a sorted row of points into runs, by dynamic programming."""
    # best[n] is the cost of the first n points and where the last of their runs begins.
    best: list[tuple[float, int]] = [(0.0, 0)]
    for stop in range(1, len(points) + 1):
        found: tuple[float, int] | None = None
        for start in range(stop - 1, -1, -1):
            block = make(points[start:stop])
            if block.count > limit:
                break
            cost = best[start][0] + price(block) / block.every
            if found is None or cost < found[0]:
                found = cost, start
        if found is None:
            point = points[stop - 1]
            raise ProfileError(
                f"{point.name}: takes {point.registers} registers, one request reads at most {limit}"
            )
        best.append(found)
    blocks = []
    stop = len(points)
    while stop:
        start = best[stop][1]
        blocks.append(make(points[start:stop]))
        stop = start
    return blocks[::-1]


def _block(
    points: Sequence[Point], multiple_of: int, every: Mapping[str, int] | None = None
) -> RegisterBlock:
    table = points[0].table
    address = min(point.address for point in points)
    count = max(point.address + point.registers for point in points) - address
    if not table.holds_bits:
        count = math.ceil(count / multiple_of) * multiple_of
        address = min(address, ADDRESSES - count)
    polls = min((every or {}).get(point.name, 1) for point in points)
    return RegisterBlock(table, address, count, tuple(points), polls)


def _span(point: Point) -> tuple[int, int]:
    return point.address, point.registers
