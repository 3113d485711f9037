"""Successive halving alone, against Ray's own and against decisions that were recorded."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler, TrialScheduler

from gen.search.halving import Decision, Halving, Report, cutoff, expected_epochs, rungs

EPOCHS = 20


def said(run: object, epoch: float, value: float | None, last: float | None = 0.0, seconds: float = 1.0) -> Report:
    return Report(str(run), int(epoch), epoch, value, last, seconds)


def test_rungs():
    assert rungs(9, 1, 3) == [9, 3, 1]
    assert rungs(20, 2, 3) == [18, 6, 2]
    assert rungs(243, 1, 3) == [243, 81, 27, 9, 3, 1]  # 5 times the logarithm of 3 is not that of 243 in floats
    assert rungs(4, 4, 2) == [4]
    assert rungs(3, 4, 2) == []
    with pytest.raises(ValueError, match="reduction=1 is out of range"):
        rungs(9, 1, 1)
    with pytest.raises(ValueError, match="grace=0 is out of range"):
        rungs(9, 0, 2)


@given(
    data=st.data(),
    values=st.lists(st.lists(st.floats(-1e6, 1e6), min_size=EPOCHS, max_size=EPOCHS), min_size=1, max_size=12),
    mode=st.sampled_from(["min", "max"]),
    grace=st.integers(1, 5),
    reduction=st.integers(2, 5),
)
def test_without_ties_and_with_finite_values_it_decides_as_rays_own(
    data: st.DataObject, values: list[list[float]], mode: str, grace: int, reduction: int
):
    """Runs report epoch by epoch, in any order, until the budget or a stop; some epochs are not reported."""
    own = Halving(mode, EPOCHS, grace, reduction)
    theirs = ASHAScheduler("epoch", "value", mode, EPOCHS, grace, reduction, stop_last_trials=False)
    trials = [Trial("Resident", stub=True) for _ in values]
    for trial in trials:
        theirs.on_trial_add(None, trial)
    at, standing = dict.fromkeys(range(len(values)), 0), {rung: {} for rung in rungs(EPOCHS, grace, reduction)}
    while at:
        run = data.draw(st.sampled_from(sorted(at)))
        at[run] += data.draw(st.integers(1, 3))
        if at[run] >= EPOCHS:
            del at[run]
            continue
        epoch, value = at[run], values[run][at[run]]
        rung = next((rung for rung in standing if epoch >= rung), None)
        if rung is not None and run not in standing[rung]:
            others = list(standing[rung].values())
            percentile = 100 / reduction if mode == "min" else 100 - 100 / reduction
            if others and math.isclose(np.percentile(others, percentile), value, rel_tol=1e-9, abs_tol=1e-9):
                return  # a tie, which is decided by what a run cost, or by the last bit of the interpolation
            standing[rung][run] = value
        report = said(run, epoch, value)
        own.decide(report)
        stops = theirs.on_trial_result(None, trials[run], {"epoch": epoch, "value": value}) == TrialScheduler.STOP
        assert own.goes_on(report) != stops
        if stops:
            del at[run]


@given(bad=st.integers(1, 6), good=st.lists(st.floats(0.1, 1e3), min_size=1, max_size=6))
def test_the_cutoff_lies_among_the_finite_values_however_many_are_not(bad: int, good: list[float]):
    merits = {str(n): (-math.inf, -1.0) for n in range(bad)} | {f"g{n}": (-v, -1.0) for n, v in enumerate(good)}
    value, _ = cutoff(merits, 3)
    assert -max(good) <= value <= -min(good)
    # as a rank: what is not finite stands exactly where the worst stands
    stand_in = np.percentile([-max(good)] * bad + [-v for v in good], 100 * 2 / 3)
    assert value == pytest.approx(stand_in)


def test_there_is_no_cutoff_where_nothing_finite_stands():
    assert cutoff({}, 3) is None
    assert cutoff({"a": (-math.inf, -1.0)}, 3) is None


REPORTS = st.builds(
    said,
    st.sampled_from("abcdefg"),
    st.integers(1, 9).map(float),
    st.sampled_from([0.5, 1.0, 2.0, math.nan, None]),
    st.sampled_from([0.0, 0.0, 0.0, math.inf]),
    st.sampled_from([1.0, 2.0]),
)


@given(reports=st.lists(st.tuples(REPORTS, st.booleans()), max_size=30), cut=st.integers(0, 30))
def test_the_rungs_are_rebuilt_from_the_decisions(reports: list[tuple[Report, bool]], cut: int):
    """Wherever a search is cut, what was decided is enough to go on as if it had not been."""
    whole, cuts, before = Halving("min", 9, 1, 3), Halving("min", 9, 1, 3), list[Decision]()
    for number, (report, ended) in enumerate(reports):
        if number == cut:
            cuts = Halving("min", 9, 1, 3, before)
        decision = whole.decide(report, ended)
        before += decision
        assert repr(cuts.decide(report, ended)) == repr(decision)  # as text, for NaN is not itself
        assert cuts.goes_on(report) == whole.goes_on(report)
    assert (cuts.standing, cuts.stopped) == (whole.standing, whole.stopped)


def test_a_decision_says_what_was_compared():
    halving = Halving("max", 9, 1, 3)
    assert halving.decide(said("a", 1, 1.0, seconds=4.0)) == [
        Decision("a", 1, "continue", 1.0, 4.0, 1, why="first at epoch 1")
    ]
    [dear] = halving.decide(said("b", 1, 1.0, seconds=5.0))
    assert (dear.decision, dear.why) == ("stop", "1 is the cutoff at epoch 1, and others reached it in fewer seconds")
    [worse] = halving.decide(said("c", 1, 0.5))
    why = "0.5 is worse than the cutoff 1 at epoch 1"
    assert worse == Decision("c", 1, "stop", 0.5, 1.0, 1, 1.0, pytest.approx(4 + 1 / 3), why)
    assert [one.why for one in halving.decide(said("d", 2, 3.0))] == ["3 is within the cutoff 1 at epoch 2"]
    assert halving.decide(said("a", 2, 1.0)) == []  # no rung
    assert [one.why for one in halving.decide(said("a", 3, 1.0), ended=True)] == ["its last epoch, 3"]
    [broken] = halving.decide(said("d", 2.5, 3.0, last=math.nan))
    assert (broken.decision, broken.rung, broken.why) == ("stop", None, "its value at epoch 2.5 is not finite")
    assert math.isnan(broken.value)


def test_a_stopped_run_goes_on_only_up_to_its_stop():
    """Where it is trained again, after a kill."""
    halving = Halving("min", 9, 1, 3, [Decision("a", 3.0, "stop", 1.0, 1.0, 3)])
    reports = [said("a", epoch, 1.0) for epoch in (1, 2, 3, 4)]
    assert [halving.decide(report) for report in reports] == [[]] * 4
    assert [halving.goes_on(report) for report in reports] == [True, True, False, False]


def test_epochs_that_halving_promises():
    assert expected_epochs(9, 1, 3) == pytest.approx(1 + 2 / 3 + 6 / 9)
    assert expected_epochs(10, 1, 3) == pytest.approx(1 + 2 / 3 + 6 / 9 + 1 / 27)
    assert expected_epochs(4, 4, 3) == 4.0
