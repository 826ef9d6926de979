"""Random histories of the world in `world.py`."""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from bridge.sender import WITNESS_S
from readings.broker import Message
from tests.model.poller_host import DEVICES
from tests.model.receiver import Trouble
from tests.model.world import World

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - faster than a disk, and a unique folder is made in it


poller_is_up = precondition(lambda self: self.world.poller.journal is not None)
bridge_is_up = precondition(lambda self: self.world.bridge.database is not None)


class History(RuleBasedStateMachine):
    """What may happen, one step at a time.

    Half of those that die are started again at once, and a while in which all
    is well starts everybody: where most are dead, nothing can be lost.
    """

    name_stream = staticmethod("run {}".format)

    def __init__(self) -> None:
        super().__init__()
        root = SHARED_MEMORY if SHARED_MEMORY.is_dir() else None
        self.world = World(Path(tempfile.mkdtemp(dir=root, prefix="heating-")), self.name_stream)

    # What goes its way

    @poller_is_up
    @rule(device=st.integers(0, 2), times=st.integers(1, 4), has_value=st.booleans())
    def poll(self, device, times, has_value):
        for number in range(times):
            self.world.poll(DEVICES[device], has_value=has_value or number > 0)

    @bridge_is_up
    @rule(messages=st.integers(1, 12))
    def messages_arrive(self, messages):
        self.world.move(messages)

    @bridge_is_up
    @rule(seconds=st.sampled_from([0.2, 2, 6, 12, 61]))
    def the_bridge_works(self, seconds):
        self.world.now_s += seconds
        self.world.bridge.work()

    @bridge_is_up
    @rule(seconds=st.sampled_from([0.0, 1, 20, 70, 200]))
    def the_bridge_sends(self, seconds):
        self.world.bridge.send(seconds)

    @rule(device=st.integers(0, 2), seconds=st.sampled_from([1, 12, 61]), rounds=st.integers(1, 4))
    def all_is_well_for_a_while(self, device, seconds, rounds):
        self.world.start()
        for _ in range(rounds):
            self.world.poll(DEVICES[device], has_value=True)
            self.world.round(seconds)

    @rule()
    def everybody_is_there_again(self):
        self.world.start()
        self.world.connect()

    @rule()
    def they_connect(self):
        self.world.connect()

    @rule(seconds=st.sampled_from([130, 700, 2000]))
    def time_passes(self, seconds):
        self.world.may_be_late = True
        self.world.now_s += seconds

    # The poller and its machine

    @poller_is_up
    @rule(steps=st.integers(0, 6), comes_back=st.booleans())
    def the_poller_is_killed(self, steps, comes_back):
        self.world.poller.fuse.left = steps
        for device in DEVICES[:2]:
            self.world.poll(device, has_value=True)
        self.world.poller.kill()
        if comes_back:
            self.everybody_is_there_again()

    @rule(
        lost=st.integers(0, 5),
        error_s=st.sampled_from([0, -3600, 900]),
        synchronised=st.booleans(),
        comes_back=st.booleans(),
    )
    def the_poller_s_power_is_cut(self, lost, error_s, synchronised, comes_back):
        self.world.may_be_late = True
        self.world.poller.cut_power(lost)
        # No clock is off by whole seconds: a row that is lost and a new one would have one time, to the millisecond.
        self.world.poller.clocks.error_ms = error_s * 1000 + self.world.poller.boot if error_s else 0
        self.world.poller.clocks.synchronised = synchronised
        if comes_back:
            self.everybody_is_there_again()

    @rule(device=st.integers(1, 2), comes_back=st.booleans())
    def a_device_leaves_the_configuration_or_comes_again(self, device, comes_back):
        poller = self.world.poller
        poller.kill()
        poller.devices = tuple(
            one for one in DEVICES if (one in poller.devices) is not (one is DEVICES[device])
        )
        if comes_back:
            self.everybody_is_there_again()

    @bridge_is_up
    @rule(device=st.integers(1, 2))
    def a_device_leaves_and_its_rows_too(self, device):
        """By their age, while the bridge waits for some of them."""
        self.world.round(0)
        self.world.miss(DEVICES[device])
        if DEVICES[device] in self.world.poller.devices:
            self.a_device_leaves_the_configuration_or_comes_again(device, comes_back=False)
        self.world.may_be_late = True
        self.world.bridge.leave()
        self.world.start()
        for seconds in (1, 3100, 31):
            self.world.now_s += seconds
            self.world.poll(DEVICES[0], has_value=True)
        self.everybody_is_there_again()

    @rule()
    def the_poller_s_connection_ends(self):
        self.world.poller.wire.cut()

    @rule(device=st.integers(0, 2))
    def the_journal_forgets_what_nobody_was_told_of(self, device):
        """A run without the broker, and then time enough for the first of its rows to leave."""
        self.world.may_be_late = True
        poller = self.world.poller
        poller.kill()
        poller.start()
        for seconds in (1, 3100, 31):
            self.world.now_s += seconds
            for _ in range(3):
                self.world.poll(DEVICES[device], has_value=True)
        poller.work()

    @rule(is_full=st.booleans())
    def the_poller_s_disk(self, is_full):
        self.world.poller.disk.is_full = is_full

    @poller_is_up
    @rule(device=st.integers(0, 2), seconds=st.sampled_from([-5, -2, 3, -400, 900]))
    def the_poller_s_clock_jumps(self, device, seconds):
        self.world.may_be_late = True
        self.world.poll(DEVICES[device], has_value=True)
        self.world.poller.clocks.error_ms += seconds * 1000
        self.world.poll(DEVICES[device], has_value=True)

    @rule(synchronised=st.booleans())
    def the_poller_s_clock_follows_a_time_server(self, synchronised):
        if synchronised and self.world.poller.clocks.error_ms:
            self.world.may_be_late = True
            self.world.poller.clocks.error_ms = 0
        self.world.poller.clocks.synchronised = synchronised

    @poller_is_up
    @rule()
    def the_poller_s_clock_is_wrong_for_a_moment(self):
        """By months, so that nobody trusts it; the journal is looked after all the same."""
        self.world.may_be_late = True
        clocks = self.world.poller.clocks
        right, clocks.synchronised, clocks.error_ms = (clocks.synchronised, clocks.error_ms), False, 10**10
        self.world.now_s += 31
        self.world.poller.work()
        clocks.synchronised, clocks.error_ms = right
        self.world.poller.work()

    # The bridge and its machine

    @bridge_is_up
    @rule(steps=st.integers(0, 12), is_sending=st.booleans(), comes_back=st.booleans())
    def the_bridge_is_killed(self, steps, is_sending, comes_back):
        self.world.bridge.fuse.left = steps
        if is_sending:
            self.world.bridge.send(10)
        else:
            self.world.bridge.receive(5)
            self.world.bridge.work()
        self.world.bridge.kill()
        if comes_back:
            self.everybody_is_there_again()

    @bridge_is_up
    @rule(device=st.integers(0, 2), steps=st.integers(1, 6), comes_back=st.booleans())
    def the_outcome_of_a_request_stays_unknown(self, device, steps, comes_back):
        """The bridge is killed around the moment in which the receiver answers."""
        self.world.poll(DEVICES[device], has_value=True)
        self.world.move(20)
        self.world.bridge.work()
        self.world.bridge.fuse.left = steps
        self.world.bridge.send(10)
        self.world.bridge.kill()
        self.world.poll(DEVICES[device], has_value=True)
        if comes_back:
            self.everybody_is_there_again()

    @rule(lost=st.integers(0, 4), is_busy=st.booleans(), comes_back=st.booleans())
    def the_bridge_s_power_is_cut(self, lost, is_busy, comes_back):
        if is_busy:
            self.world.round(1)
        self.world.may_be_late = True
        self.world.bridge.cut_power(lost)
        if comes_back:
            self.everybody_is_there_again()

    @bridge_is_up
    @rule(device=st.integers(0, 2), steps=st.integers(1, 16), lost=st.integers(0, 2))
    def the_bridge_s_power_is_cut_amid_a_batch(self, device, steps, lost):
        """Which goes in pieces, because the receiver wants small requests."""
        most, self.world.receiver.most = self.world.receiver.most, 1
        for _ in range(3):
            self.world.poll(DEVICES[device], has_value=True)
        for _ in range(2):
            self.world.move(20)
            self.world.bridge.work()
        self.world.bridge.fuse.left = steps
        self.world.bridge.send(10)
        self.world.receiver.most = most
        self.world.may_be_late = True
        self.world.bridge.cut_power(lost)
        self.everybody_is_there_again()

    @bridge_is_up
    @rule()
    def the_bridge_s_connection_ends(self):
        self.world.bridge.leave()

    @bridge_is_up
    @rule(device=st.integers(0, 2), received=st.integers(1, 3))
    def a_connection_ends_before_its_acknowledgements(self, device, received):
        """And the next one has other messages of the same numbers under way when they come."""
        bridge, broker = self.world.bridge, self.world.broker
        self.world.round(0)
        for _ in range(received):
            self.world.poll(DEVICES[device], has_value=True)
        broker.up_from_poller(self.world.poller.wire, 100)
        bridge.receive(received)
        first, again = min(bridge.unacknowledged, default=1), len(bridge.unacknowledged)
        bridge.leave()
        for _ in range(4):
            self.world.poll(DEVICES[device], has_value=True)
        broker.up_from_poller(self.world.poller.wire, 100)
        bridge.connect(first - again)
        bridge.receive(1)
        bridge.work()

    @bridge_is_up
    @rule(device=st.integers(0, 2), is_asking=st.booleans(), is_sending=st.booleans())
    def the_bridge_misses_some(self, device, is_asking, is_sending):
        """Its disk is full for a moment; the next state tells of those that it missed."""
        self.world.miss(DEVICES[device])
        bridge = self.world.bridge
        if is_asking:
            is_full, bridge.disk.is_full = bridge.disk.is_full, True
            self.world.poller.work()
            self.world.move(200)
            bridge.work()  # it has asked, and has no room for the answer
            bridge.disk.is_full = is_full
        if is_sending:
            self.world.poll(DEVICES[device], has_value=True)
            self.world.move(20)
            bridge.work()
            bridge.send(1)

    @rule(is_full=st.booleans())
    def the_bridge_s_disk(self, is_full):
        self.world.bridge.disk.is_full = is_full

    # The broker

    @rule(device=st.integers(0, 2))
    def the_broker_passes_no_requests_for_minutes(self, device):
        """What the bridge misses does not come; after ten minutes it waits for it no longer."""
        world = self.world
        world.mend()
        world.round(1)
        world.miss(DEVICES[device])
        newest = world.value
        world.may_be_late = True
        world.broker.passes_requests = False
        for _ in range(12):
            world.round(60)
            world.poll(DEVICES[device], has_value=True)
        if DEVICES[device] in world.poller.devices and not (
            world.receiver.poison or world.receiver.refused or world.receiver.has_refused_all
        ):
            world.check_reached(DEVICES[device], newest)
        world.broker.passes_requests = True

    @rule()
    def the_broker_writes_its_memory(self):
        self.world.broker.remember()

    @rule(device=st.integers(0, 2), is_told=st.booleans())
    def the_broker_writes_down_a_list_that_soon_is_old(self, device, is_told):
        """And may die, and tell it again when the bridge knows of more: that is no list of now."""
        self.world.bridge.leave()
        self.world.now_s += 61
        self.world.poller.work()
        self.world.broker.up_from_poller(self.world.poller.wire, 100)
        self.world.broker.remember()
        self.world.may_be_late = True
        if is_told and self.world.bridge.database is not None:
            self.world.connect()
            self.world.move(100)
            self.world.bridge.work()
            self.world.miss(DEVICES[device])
            self.world.broker.restart(0)
            self.world.bridge.connect()
            self.world.bridge.receive(100)
            self.world.bridge.work()

    @poller_is_up
    @bridge_is_up
    @rule(device=st.integers(0, 2))
    def the_broker_tells_an_old_list_again(self, device):
        """It lay there, and names less than the bridge knows of."""
        world = self.world
        for seconds in (61, 1):
            world.poll(DEVICES[device], has_value=True)
            world.round(seconds)
        world.broker.remember()
        if world.broker.memory.queue:
            world.may_be_late = True  # a list that waited there looks like one of now
        world.miss(DEVICES[device])
        world.broker.restart(0)
        world.bridge.connect()
        world.bridge.receive(100)
        world.bridge.work()
        world.bridge.send(1)

    @rule(age=st.one_of(st.none(), st.integers(0, 3)))
    def the_broker_is_killed(self, age):
        """With what it last wrote, with something older, or with nothing at all."""
        if age is not None:
            self.world.may_be_late = True
        self.world.broker.restart(age)

    @rule(payload=st.sampled_from([b"nonsense", b"{}", b""]), times=st.integers(1, 20))
    def somebody_publishes_what_is_no_state(self, payload, times):
        for _ in range(times):
            self.world.broker.take(Message("heating/meter/a/state", payload))

    # The receiver

    @bridge_is_up
    @rule(what=st.lists(st.sampled_from(Trouble), min_size=1, max_size=4), device=st.integers(0, 2))
    def the_receiver_is_in_trouble(self, what, device):
        self.world.receiver.troubles.extend(what)
        self.world.poll(DEVICES[device], has_value=True)
        self.world.move(20)
        self.world.bridge.work()
        self.world.bridge.send(20)

    @bridge_is_up
    @rule(
        device=st.integers(0, 2),
        first=st.sampled_from([Trouble.ANSWER_IS_LOST, Trouble.FAILS]),
        times=st.integers(9, 12),
    )
    def the_receiver_fails_at_a_request_for_minutes(self, device, first, times):
        """So that the request has to blame itself, though its samples may be there."""
        for _ in range(2):
            self.world.poll(DEVICES[device], has_value=True)
        self.world.move(20)
        self.world.bridge.work()
        self.world.receiver.troubles.extend([first, *[Trouble.FAILS] * times])
        self.world.bridge.send(200)

    @rule(is_up=st.booleans())
    def the_receiver_goes_or_comes(self, is_up):
        self.world.receiver.is_up = is_up

    @rule(most=st.sampled_from([1, 2, 5, 2000]))
    def the_receiver_takes_so_many_samples(self, most):
        self.world.receiver.most = most

    @rule()
    def the_receiver_takes_nothing_that_it_has(self):
        self.world.receiver.takes_no_repeats = True

    @poller_is_up
    @rule(device=st.integers(0, 2), place=st.integers(0, 4), is_poison=st.booleans())
    def the_receiver_will_not_take_one_of_them(self, device, place, is_poison):
        for number in range(5):
            is_it = number == place
            self.world.poll(
                DEVICES[device],
                has_value=True,
                is_refused=is_it and not is_poison,
                is_poison=is_it and is_poison,
            )

    @bridge_is_up
    @rule(device=st.integers(0, 2), seconds=st.sampled_from([20, 100]))
    def the_receiver_refuses_everything_for_a_while(self, device, seconds):
        """After half a minute in which nobody sent it anything that could bear witness."""
        self.world.now_s += WITNESS_S + 1
        self.world.receiver.refuse_all_for(seconds)
        for _ in range(2):
            self.world.poll(DEVICES[device], has_value=True)
        self.world.move(20)
        self.world.bridge.work()
        self.world.bridge.send(seconds)

    @bridge_is_up
    @rule(
        device=st.integers(0, 2),
        place=st.integers(0, 4),
        trouble=st.sampled_from([Trouble.FAILS, Trouble.ANSWER_IS_LOST, Trouble.DIES_AFTER]),
    )
    def somebody_else_wrote_at_the_time_of_one_of_them(self, device, place, trouble):
        """So that it says 'duplicate', and nobody knows what became of the first try."""
        for number in range(5):
            self.world.poll(DEVICES[device], has_value=True, is_clashing=number == place)
        self.world.move(20)
        self.world.bridge.work()
        self.world.receiver.troubles.append(trouble)
        self.world.bridge.send(1)

    def teardown(self):
        try:
            self.world.heal()
            self.world.check()
        finally:
            self.world.close()


@contextmanager
def quiet() -> Iterator[None]:
    """Thousands of deaths make many lines."""
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def play(
    history: type[History],
    examples: int,
    *,
    steps: int = 40,
    is_repeatable: bool = True,
    phases: tuple[Phase, ...] = (Phase.generate, Phase.shrink),
) -> None:
    with quiet():
        run_state_machine_as_test(
            history,
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                deadline=None,
                database=None,
                report_multiple_bugs=False,
                derandomize=is_repeatable,
                phases=phases,
                suppress_health_check=list(HealthCheck),
            ),
        )
