"""Seeds that wait for each other: who trains next, in fewer slots than seeds too, and that nobody waits for ever."""

from ray.tune.search import Searcher

from gen.on_ray.turns import Turns
from gen.search.halving import Halving, Report

RUNS = ["a0", "a1", "b0", "b1"]


def supply() -> Turns:
    halving = Halving("min", 9, 1, 3, configurations={run: run[0] for run in RUNS})
    return Turns(RUNS, [0, 1, 2, 3], halving)


def comes(to: Turns, trial: str, run: str, value: float, epoch: int = 1) -> None:
    """A run comes to a rung, and gives its slot away."""
    to.halving.decide(Report(run, epoch, epoch, value, value, 1.0, waits=True))
    to.on_trial_complete(trial, {"waits": True})


def test_those_whose_siblings_have_come_go_first_and_the_others_wait():
    one = supply()
    assert one.suggest("t0") == {"trial": 0}
    comes(one, "t0", "a0", 1.0)
    assert one.suggest("t1") == {"trial": 1}  # in one slot: the sibling, for a0 waits for it
    comes(one, "t1", "a1", 1.0)
    assert one.suggest("t2") == {"trial": 0}
    assert one.suggest("t3") == {"trial": 1}
    assert one.suggest("t4") == {"trial": 2}
    one.on_trial_complete("t2", {"done": True})
    one.on_trial_complete("t3", {"done": True})
    comes(one, "t4", "b0", 2.0)
    assert one.suggest("t5") == {"trial": 3}
    assert one.suggest("t6") is None  # b0 waits for b1, which trains
    comes(one, "t5", "b1", 2.0)
    assert [one.suggest(trial) for trial in ("t7", "t8")] == [{"trial": 2}, {"trial": 3}]  # to end: both lost
    assert not one.halving.goes_on(Report("b0", 1, 1, 2.0, 2.0, 1.0))
    one.on_trial_complete("t7", {"waits": False})
    one.on_trial_complete("t8", {"waits": False})
    assert one.suggest("t9") == Searcher.FINISHED


def test_who_waits_for_a_run_that_broke_goes_on_when_nothing_else_is_left():
    one = supply()
    one.left = [0, 1]
    assert [one.suggest(trial) for trial in ("t0", "t1")] == [{"trial": 0}, {"trial": 1}]
    comes(one, "t0", "a0", 1.0)
    assert one.suggest("t2") is None
    one.on_trial_complete("t1", error=True)
    assert one.suggest("t2") == {"trial": 0}
    assert one.suggest("t3") is None
