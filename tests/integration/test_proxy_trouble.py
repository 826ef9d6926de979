"""Other programs on a bus on which everything goes wrong: no wrong answer, and the heat pump is asked in time.

The poller's own thread, timetable and transport on a clock of its own, with
devices whose every word changes ten times a second and is another one at
every address. So an answer that is somebody else's, an earlier one's or made
up is none that the device gave to this very request after it was sent.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random

import pytest

from poller.address import NetworkAddress
from poller.blocks import BlockRead, Poll
from poller.bus import ModbusTransport
from poller.config import BusSettings
from poller.device import Device as PolledDevice
from poller.errands import PATIENCE_S, Errand, Outcome, Result, too_late
from poller.loop import BusWorker
from poller.proxy.recent import MAX_AGE_S, RecentReads
from poller.request import READING, Request, answer_read, is_refusal, parse_request
from readings.health import POLLER_HEALTH, Tally
from simulator.bus import Bus, Device, Exchange
from simulator.errors import IllegalAddressError
from simulator.faults import Fault, FaultKind, FaultPlan
from simulator.registers import Answer
from tests.integration.line_in_memory import Clock, LineInMemory
from tests.integration.world import BAUD, FRAMINGS, TURNAROUND_S, Framing, device

METER, PUMP, SMALL, LATE = 2, 7, 3, 4
ABSENT = 9
NO_REGISTERS_FROM = 60_000


class RestlessDevice(Device):
    """Every address holds something else, and ten times a second another thing, until it is written."""

    def __init__(self, unit: int, clock: Clock) -> None:
        super().__init__([], dict, turnaround_s=TURNAROUND_S)
        self._unit = unit
        self._clock = clock
        self.written: dict[tuple[str, int], int] = {}

    def fields(self, table: str, address: int, count: int) -> frozenset[str]:
        return frozenset()

    def answer(self, table: str, address: int, count: int) -> tuple[Answer, int]:
        if address + count > NO_REGISTERS_FROM:
            raise IllegalAddressError(f"{table} {address}")
        words = [self._word(table, place) for place in range(address, address + count)]
        return Answer(tuple(words), {}, ()), self._word(table, address + count)

    def write(self, table: str, address: int, words: tuple[int, ...]) -> None:
        if address + len(words) > NO_REGISTERS_FROM:
            raise IllegalAddressError(f"{table} {address}")
        self.written.update(((table, place), word) for place, word in enumerate(words, address))

    def _word(self, table: str, address: int) -> int:
        if (table, address) in self.written:
            return self.written[table, address]
        seed = f"{self._unit} {table} {address} {self._clock.asked_at:.1f}".encode()
        word = int.from_bytes(hashlib.blake2b(seed, digest_size=2).digest(), "big")
        return word & 1 if table in {"coil", "discrete"} else word


@dataclass
class Program:
    """A program that asks, waits for its answer, pauses, and asks again."""

    requests: Iterator[Request]
    pause_s: Callable[[], float]


@dataclass
class Asked:
    """A request, and what came of it."""

    errand: Errand
    outcome: Outcome | None = None
    at: float = 0.0


@dataclass
class Street:
    """The poller's thread, its bus, and the programs that ask through it."""

    framing: Framing
    seed: int
    transport: type[ModbusTransport] = ModbusTransport
    clock: Clock = field(default_factory=Clock)
    asked: list[Asked] = field(default_factory=list)
    exchanges: dict[tuple[int, bytes], list[Exchange]] = field(default_factory=lambda: defaultdict(list))
    spans: dict[tuple[int, int], list[Exchange]] = field(default_factory=lambda: defaultdict(list))
    faulty: Counter[FaultKind] = field(default_factory=Counter)
    pump_answered: list[float] = field(default_factory=list)
    polls: Counter[str] = field(default_factory=Counter)
    written_at: dict[int, float] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chance = Random(self.seed)
        self.faults = FaultPlan(self.chance.random)
        self.devices = {unit: RestlessDevice(unit, self.clock) for unit in (METER, PUMP, SMALL, LATE)}
        self.bus = Bus(self.devices, FRAMINGS[self.framing](), baud=BAUD, silence_s=0.05)
        self.line = LineInMemory(self.bus, self.faults, self.clock, self.chance, self._watch)
        self._recent = RecentReads()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._incoming: list[Errand] = []
        self._unclaimed: dict[int, tuple[Errand, Program]] = {}
        self._claimed: dict[int, Program] = {}

    # What the poller's thread sees of the proxy

    def collect(self) -> list[Errand]:
        self._catch_up()
        incoming, self._incoming = self._incoming, []
        return incoming

    def claim(self, errand: Errand) -> bool:
        self._catch_up()
        if errand.ticket not in self._unclaimed:
            return False
        self._claimed[errand.ticket] = self._unclaimed.pop(errand.ticket)[1]
        return True

    def settle(self, errand: Errand, outcome: Outcome) -> None:
        self._catch_up()
        if errand.ticket in self._unclaimed:
            self._claimed[errand.ticket] = self._unclaimed.pop(errand.ticket)[1]
        if errand.ticket in self._claimed:
            self._end(errand, outcome, self._claimed.pop(errand.ticket))

    def note_read(self, unit: int, read: BlockRead) -> None:
        self._catch_up()
        self._recent.keep(unit, read)

    def note_written(self, unit: int) -> None:
        self._catch_up()
        self._recent.forget(unit)

    # The programs

    def start(self, program: Program) -> None:
        self._plan(self.clock.now + program.pause_s(), lambda: self._ask(program))

    def at(self, seconds: float, event: Callable[[], None]) -> None:
        self._plan(1000.0 + seconds, event)

    def _ask(self, program: Program) -> None:
        request, now = next(program.requests), self._time
        errand = Errand(len(self.asked), request, now)
        self.asked.append(Asked(errand))
        if request.reads is not None and request.writes is None:
            words = self._recent.find(request.unit, request.reads, now)
            if words is not None:
                self._check_recent(request, answer_read(request, words), now)
                self._end(errand, Outcome(answer_read(request, words), Result.RECENT), program)
                return
        self._unclaimed[errand.ticket] = errand, program
        self._incoming.append(errand)
        self._plan(now + PATIENCE_S, lambda: self._lose_patience(errand))

    def _lose_patience(self, errand: Errand) -> None:
        if errand.ticket in self._unclaimed:
            _, program = self._unclaimed.pop(errand.ticket)
            self._end(errand, too_late(errand.request), program)

    def _end(self, errand: Errand, outcome: Outcome, program: Program) -> None:
        now = max(self._time, errand.asked_at)
        self.asked[errand.ticket].outcome = outcome
        self.asked[errand.ticket].at = now
        if errand.request.writes is not None and outcome.result is Result.ANSWERED:
            self.written_at[errand.request.unit] = now
        self._plan(now + program.pause_s(), lambda: self._ask(program))

    # The time

    _time = 1000.0

    def _plan(self, at: float, event: Callable[[], None]) -> None:
        self._events.append((at, len(self._events), event))
        self._events.sort(key=lambda one: one[:2], reverse=True)

    def _catch_up(self) -> None:
        """Let happen what the poller's thread was too busy to see."""
        while self._events and self._events[-1][0] <= self.clock.now:
            at, _, event = self._events.pop()
            self._time = max(self._time, at)
            event()
        self._time = self.clock.now

    def run(self, seconds: float) -> "Street":
        settings = BusSettings("rs485", NetworkAddress("127.0.0.1", 502, self.framing), BAUD, TURNAROUND_S)
        transport = self.transport(settings, tally=Tally(POLLER_HEALTH), monotonic=lambda: self.clock.now)
        transport._exchange._line = self.line
        end = self.clock.now + seconds

        def wait(rest_s: float) -> bool:
            until = self.clock.now + rest_s
            while self._events and self._events[-1][0] <= until and not self._incoming:
                self.clock.now = max(self.clock.now, self._events[-1][0])
                self._catch_up()
            if not self._incoming:
                self.clock.now = max(self.clock.now, until)
            return self.clock.now >= end

        BusWorker(
            settings,
            [device("wago-879", METER), device("lg-r290", PUMP)],
            transport=transport,
            monotonic=lambda: self.clock.now,
            wait=wait,
            on_poll=self._take,
            tally=Tally(POLLER_HEALTH),
            desk=self,
        ).run()
        return self

    def _take(self, one: PolledDevice, poll: Poll) -> bool:
        if poll.reads:
            self.polls[one.key.name] += 1
        if one.unit == PUMP:
            self.pump_answered += [read.read_at for read in poll.reads]
        return False

    # What was true

    def _watch(self, exchange: Exchange) -> None:
        self.exchanges[exchange.unit, exchange.pdu].append(exchange)
        self.spans[exchange.unit, exchange.function].append(exchange)
        if exchange.fault is not None:
            self.faulty[exchange.fault.kind] += 1

    def sent(self, exchange: Exchange) -> bytes:
        return exchange.sent[1:-2] if self.framing == "rtu" else exchange.sent[7:]

    def _check_recent(self, request: Request, pdu: bytes, now: float) -> None:
        """An answer from memory is part of one that was given a moment ago, after the last write that was confirmed."""
        reads = request.reads
        since = max(now - MAX_AGE_S - 2.0, self.written_at.get(request.unit, 0.0))
        for one in reversed(self.spans[request.unit, READING[reads.table]]):
            if one.taken_at < since:
                break
            start = reads.address - one.address
            if not 0 <= start <= one.count - reads.count:
                continue
            data = self.sent(one)[2:]
            if reads.table.holds_bits:
                bits = int.from_bytes(data, "little") >> start & (1 << reads.count) - 1
                same = bits == int.from_bytes(pdu[2:], "little")
            else:
                same = data[2 * start : 2 * (start + reads.count)] == pdu[2:]
            if same:
                return
        self.wrong.append(f"{now:.3f}: unit {request.unit} {request} from memory: {pdu.hex()}")

    def judge(self) -> None:
        """Hold every answer against what the devices sent, and every write against what they were asked."""
        for one in self.asked:
            if one.outcome is None or one.outcome.result is Result.RECENT:
                continue
            errand, request, result = one.errand, one.errand.request, one.outcome.result
            mine = [
                exchange
                for exchange in self.exchanges[request.unit, request.pdu]
                if errand.asked_at <= exchange.taken_at <= one.at
            ]
            if result in {Result.ANSWERED, Result.EXCEPTION}:
                if not any(self.sent(exchange) == one.outcome.pdu for exchange in mine):
                    self.wrong.append(
                        f"{errand.asked_at:.3f}-{one.at:.3f}: unit {request.unit} {request}: "
                        f"{one.outcome.pdu.hex()}, the device sent {[self.sent(other).hex() for other in mine]}"
                    )
                if result is Result.ANSWERED and is_refusal(one.outcome.pdu):
                    self.wrong.append("a refusal is no answer")
            # One second and a half for a connection that was there a moment ago, and cannot be had again.
            if one.at - errand.asked_at > PATIENCE_S + 0.2:
                self.wrong.append(f"{errand.asked_at:.3f}: answered after {one.at - errand.asked_at:.2f} s")
        self._judge_writes()

    def _judge_writes(self) -> None:
        """Every write is another one: it goes out once, or not at all where that was said."""
        for one in self.asked:
            request = one.errand.request
            if request.writes is None:
                continue
            sent = len(self.exchanges[request.unit, request.pdu])
            result = one.outcome.result if one.outcome else None
            if sent > 1 or (sent and result in {Result.BUSY, Result.NO_CONNECTION}):
                self.wrong.append(f"{one.errand.asked_at:.3f}: {request}: sent {sent} times, {result}")

    @property
    def gap_s(self) -> float:
        """The longest time without an answer to the poller by the heat pump."""
        times = [1000.0, *sorted(self.pump_answered), self.clock.now]
        return max(later - earlier for earlier, later in pairwise(times))


def numbers(*parts: int) -> bytes:
    return b"".join(part.to_bytes(2, "big") for part in parts)


def controller(chance: Random, value: int = 60_000) -> Iterator[Request]:
    """As the original's heat-pump controller asks: three reads, now and then a command."""
    while True:
        for pdu in (b"\x04" + numbers(0, 13), b"\x03" + numbers(0, 10), b"\x01" + numbers(0, 1)):
            yield parse_request(PUMP, pdu)
        if chance.random() < 0.3:
            value += 1
            yield parse_request(PUMP, b"\x06" + numbers(2, value))
            yield parse_request(PUMP, b"\x03" + numbers(0, 10))


def anything(chance: Random, units: list[int], value: int) -> Iterator[Request]:
    """Every function, to everybody; the written values count up from one on, so that no write is like another one."""
    while True:
        unit = chance.choice(units)
        address = chance.choice([0, 1, 2, 0x5008, 0x6000, NO_REGISTERS_FROM])
        count = chance.choice([1, 2, 3, 10, 12, 36])
        function = chance.choice([1, 2, 3, 3, 3, 4, 4, 6, 15, 16, 23])
        value += function > 4
        if function == 6:
            pdu = b"\x06" + numbers(address, value)
        elif function == 15:
            pdu = b"\x0f" + numbers(address, 16) + b"\x02" + numbers(value)
        elif function == 16:
            pdu = b"\x10" + numbers(address, 2) + b"\x04" + numbers(value, value)
        elif function == 23:
            pdu = b"\x17" + numbers(address, count, 2, 1) + b"\x02" + numbers(value)
        else:
            pdu = bytes([function]) + numbers(address, count)
        yield parse_request(unit, pdu)


def alike(chance: Random) -> Iterator[Request]:
    """Answers of one length from the device that is often late: on RTU only the time tells them apart."""
    while True:
        yield parse_request(LATE, b"\x03" + numbers(chance.randrange(1000), 2))


def hour_of_trouble(
    framing: Framing, seed: int, seconds: float, transport: type[ModbusTransport] = ModbusTransport
) -> Street:
    """A controller, a program that hammers, one that asks anything, one that looks for units that are not there."""
    street = Street(framing, seed, transport)
    chance = Random(seed + 1000)
    everybody = [METER, PUMP, SMALL, LATE]
    for requests, pause_s in (
        (controller(chance), lambda: 0.2),
        (anything(chance, everybody, 0), lambda: chance.expovariate(2)),
        (anything(chance, [*everybody, ABSENT], 20_000), lambda: chance.choice([0.0, 0.0, 5.0])),
        (anything(chance, [ABSENT, 100, 200], 50_000), lambda: chance.uniform(0, 10)),
        (alike(chance), lambda: 0.1),
    ):
        street.start(Program(requests, pause_s))
    kinds = [
        kind
        for kind in FaultKind
        if kind.value not in {"tiny", "nan", "huge", "zero", "full_scale", "shifted"}
    ]
    for unit, probability in ((METER, 0.01), (PUMP, 0.003), (SMALL, 0.03), (LATE, 0.01)):
        for kind in kinds:
            delays = (0.3, 0.9, 1.3, 2.1, 3.1) if kind is FaultKind.LATE else (0.0,)
            for delay_s in delays:
                street.faults.at_random(Fault(kind, delay_s=delay_s), probability, unit=unit)
    street.faults.at_random(Fault(FaultKind.LATE, delay_s=1.5), 0.3, unit=LATE)
    for start_s in range(60, int(seconds), 90):
        street.at(start_s + chance.uniform(0, 60), lambda: street.line.refuse(5))
    return street.run(seconds)


def hold(street: Street, seconds: float) -> None:
    street.judge()
    results = Counter(one.outcome.result for one in street.asked if one.outcome)
    print(
        dict(results), f"gap {street.gap_s:.1f} s, polls {dict(street.polls)}, faults {street.faulty.total()}"
    )
    assert street.wrong == []
    assert street.gap_s < 20
    assert street.polls["meter"] > 0.8 * seconds / 30, "and the meter is read"
    assert set(results) >= {
        Result.ANSWERED,
        Result.RECENT,
        Result.EXCEPTION,
        Result.NO_ANSWER,
        Result.NO_CONNECTION,
    }
    assert results[Result.ANSWERED] > seconds / 4


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("seed", range(3))
def test_in_ten_minutes_of_trouble_no_program_gets_a_wrong_answer(framing, seed):
    hold(hour_of_trouble(framing, seed, 600), 600)


class Careless(ModbusTransport):
    """Does not wait until a late answer can no longer come."""

    def clear_at(self, request: Request) -> float:
        return float("-inf")


def test_without_its_patience_on_rtu_programs_would_get_each_others_answers():
    """The same trouble, so that the test above is known to bite."""
    street = hour_of_trouble("rtu", 2, 600, Careless)
    street.judge()
    assert any("the device sent []" in one for one in street.wrong)


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("seed", range(100, 120))
def test_in_an_hour_of_trouble_no_program_gets_a_wrong_answer(framing, seed):
    hold(hour_of_trouble(framing, seed, 3600), 3600)


@pytest.mark.parametrize("framing", FRAMINGS)
def test_on_a_good_line_every_program_gets_every_answer(framing):
    street = Street(framing, seed=1)
    chance = Random(1)
    for value, pause_s in ((0, 0.2), (20_000, 0.2), (40_000, 0.01)):
        street.start(Program(controller(chance, value), lambda pause_s=pause_s: pause_s))
    street.run(300).judge()
    results = Counter(one.outcome.result for one in street.asked if one.outcome)
    assert set(results) == {Result.ANSWERED, Result.RECENT}
    assert street.wrong == []
    assert street.gap_s < 11
    assert street.polls == {"meter": 10, "heatpump": 30}
    waited = sorted(one.at - one.errand.asked_at for one in street.asked if one.outcome)
    assert waited[-1] < 2
