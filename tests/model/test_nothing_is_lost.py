"""Whatever is killed, cut, restored, filled or set wrong, and in whatever order: nothing is lost.

Random histories of the world in `world.py`. In the end everything is up and
left in peace; then what the journal holds is with the receiver, once, under
its time. Each rule of the protocol is switched off once, and the model finds out.
"""

import os
import secrets
import sqlite3
from collections.abc import Callable

import pytest
from hypothesis import Phase, seed

from tests.model.history import History, play, quiet
from tests.model.machine import BrokenPromiseError
from tests.model.receiver import Trouble
from tests.model.rules import RULES, ask_only_once, want_only_what_is_listed

SEED = int(os.environ.get("HEATING_MODEL_SEED") or secrets.randbelow(10**6))

STEPS = dict.fromkeys((want_only_what_is_listed, ask_only_once), 8)
"""Steps of a history for those that a longer one often makes good again."""


def test_nothing_is_lost():
    play(History, 80)


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("part", range(8))
def test_nothing_is_lost_in_ten_thousand_histories(part):
    class Part(History):
        pass

    print(f"HEATING_MODEL_SEED={SEED}")
    play(seed(SEED + part)(Part), 1250, is_repeatable=False)


def tell(history: Callable[[History], object]) -> None:
    """Play a history that is written down, to its good end."""
    with quiet():
        it = History()
        try:
            history(it)
            it.world.heal()
            it.world.check()
        finally:
            it.world.close()


def test_a_batch_that_waits_for_long_is_judged_against_the_same_row():
    """Found in 10,000 histories: others go before what a receiver fails at, and leave the store first."""

    def history(it: History) -> None:
        it.the_bridge_s_power_is_cut_amid_a_batch(device=0, lost=0, steps=5)
        it.the_poller_s_clock_jumps(device=1, seconds=900)
        it.poll(device=0, has_value=False, times=2)
        it.the_receiver_will_not_take_one_of_them(device=1, is_poison=True, place=0)

    tell(history)


def test_a_series_ends_also_when_its_last_row_gets_its_time_late():
    """Found in 10,000 histories: nobody waited for the list that names a row without a value."""

    def history(it: History) -> None:
        it.all_is_well_for_a_while(device=0, seconds=1, rounds=1)
        it.the_poller_s_clock_follows_a_time_server(synchronised=False)
        it.poll(device=0, has_value=False, times=1)

    tell(history)


def test_a_run_that_no_list_names_is_sent_though_its_device_has_left():
    """Found in 10,000 histories: its state waited at the broker until its row had left the journal."""

    def history(it: History) -> None:
        it.poll(device=2, has_value=False, times=2)
        it.the_bridge_s_power_is_cut(comes_back=False, is_busy=False, lost=0)
        it.the_journal_forgets_what_nobody_was_told_of(device=0)
        it.everybody_is_there_again()
        it.the_bridge_misses_some(device=1, is_asking=False, is_sending=True)
        it.the_broker_tells_an_old_list_again(device=1)
        it.a_device_leaves_the_configuration_or_comes_again(comes_back=False, device=2)

    tell(history)


def test_what_was_waited_for_in_vain_comes_late_and_ends_nothing():
    """Found in 10,000 histories: the null after it was judged without it, and the bridge promises no marker there."""

    def history(it: History) -> None:
        it.the_poller_is_killed(comes_back=True, steps=3)
        it.poll(device=0, has_value=False, times=4)
        it.somebody_else_wrote_at_the_time_of_one_of_them(device=2, place=1, trouble=Trouble.ANSWER_IS_LOST)
        it.time_passes(seconds=2000)

    tell(history)


def test_no_two_states_have_one_time_though_the_clock_is_far_behind_and_goes_back():
    """Found in 10,000 histories: the first of them was too old for the journal, which then did not know of its time."""

    def history(it: History) -> None:
        it.the_broker_passes_no_requests_for_minutes(device=0)
        it.the_poller_s_power_is_cut(comes_back=True, error_s=-3600, lost=2, synchronised=True)
        it.the_poller_s_clock_jumps(device=2, seconds=-5)
        it.the_receiver_will_not_take_one_of_them(device=2, is_poison=False, place=3)
        it.the_poller_s_power_is_cut(comes_back=True, error_s=-3600, lost=5, synchronised=True)

    tell(history)


def test_a_receiver_that_refuses_everything_says_nothing_of_an_earlier_try():
    """Found in 10,000 histories: what was there came once more."""

    def history(it: History) -> None:
        it.the_outcome_of_a_request_stays_unknown(comes_back=True, device=0, steps=4)
        it.the_receiver_refuses_everything_for_a_while(device=1, seconds=20)

    tell(history)


def test_a_refusal_of_long_ago_is_none_of_now():
    """Found in 10,000 histories: the receiver had come back since, and took what came after it."""

    def history(it: History) -> None:
        it.the_receiver_refuses_everything_for_a_while(device=0, seconds=20)
        it.the_bridge_is_killed(comes_back=True, is_sending=False, steps=0)
        it.a_device_leaves_and_its_rows_too(device=2)

    tell(history)


@pytest.mark.parametrize("rule", RULES, ids=lambda one: one.__name__)
def test_without_one_of_its_rules_a_promise_is_broken(rule, monkeypatch):
    """And with it, it is kept, in the very same history."""
    tell(RULES[rule].history)
    rule(monkeypatch)
    with pytest.raises(BrokenPromiseError, match=RULES[rule].breaks):
        tell(RULES[rule].history)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("rule", RULES, ids=lambda one: one.__name__)
def test_histories_at_random_find_out_too(rule, monkeypatch):
    rule(monkeypatch)
    with pytest.raises((BrokenPromiseError, sqlite3.IntegrityError)):
        play(History, 10_000, steps=STEPS.get(rule, 40), phases=(Phase.generate,))
