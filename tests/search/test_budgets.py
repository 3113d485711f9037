"""Budgets alone: which limit is reached first, and what was spent before."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gen.search.budgets import HOUR, Account, Budget


def test_the_first_limit_that_is_reached_says_which():
    account = Account(devices=2)
    account.note("a", 3, 100)
    account.note("a", 4, 130)
    account.note("b", 2, 50)
    account.note("a", 1, 20)  # trained again after a kill
    assert (account.total_epochs, account.total_seconds) == (6, 180)
    assert account.reached(Budget()) == ""
    assert account.reached(Budget(epochs=7, device_seconds=361)) == ""
    assert account.reached(Budget(epochs=6)) == "the budget of 6 epochs is spent (6)"
    assert account.reached(Budget(device_seconds=360)) == "the budget of 360 device-seconds is spent (360)"
    assert account.reached(Budget(money=0.2, price=2.0)) == "the budget of 0.2 at 2 a device-hour is spent (0.2)"
    assert account.reached(Budget(money=0.21, price=2.0)) == ""


def test_a_run_that_began_with_another_share_of_a_gpu_counts_by_that():
    account = Account(devices=0.25, of_run={"a": 1.0})
    account.note("a", 1, 100)
    account.note("b", 1, 100)
    account.note("b", 2, 120)
    assert (account.total_seconds, account.device_seconds) == (220, 100 + 30)
    assert account.reached(Budget(device_seconds=130)) == "the budget of 130 device-seconds is spent (130)"


@pytest.mark.parametrize(("budget", "limits"), [(Budget(), False), (Budget(epochs=1), True), (Budget(money=1), True)])
def test_what_is_infinite_has_no_limit(budget: Budget, limits: bool):
    assert budget.limits is limits
    assert budget.reached(0 if limits else 1e12, 0) == ""


LIMITS = st.one_of(st.just(math.inf), st.integers(1, 4).map(float))


@given(LIMITS, LIMITS, LIMITS, st.integers(0, 4), st.integers(0, 4))
def test_of_several_limits_the_first_that_is_reached_is_named(
    epochs: float, device_hours: float, money: float, done: int, hours: int
):
    budget = Budget(epochs, device_hours * HOUR, money, price=1.0)
    reached = {"epochs": done >= epochs, "device-seconds": hours >= device_hours, "at 1": hours >= money}
    told = budget.reached(done, hours * HOUR)
    expected = next((unit for unit, is_reached in reached.items() if is_reached), "")
    assert bool(told) == any(reached.values())
    assert expected in told.partition(" is spent")[0]
