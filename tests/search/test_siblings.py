"""Successive halving over configurations of several seeds: no run is stopped by its sibling, and budgets are equal."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gen.results.schema import WORST
from gen.search.halving import Decision, Halving, Report
from tests.fixtures.examples import examples

EPOCHS = 9
PAIRS = {f"{name}{seed}": name for name in "abcd" for seed in (0, 1)}


def said(run: str, epoch: float, value: float) -> Report:
    return Report(run, int(epoch), epoch, value, value, epoch)


def halving(history: Sequence[Decision] = (), seeds: Mapping[str, str] = PAIRS, **more: object) -> Halving:
    return Halving("min", EPOCHS, 1, 3, history, configurations=seeds, **more)


def brief(made: Sequence[Decision]) -> list[tuple]:
    return [(one.run, one.epoch, one.decision, one.of, one.mean) for one in made]


def test_a_configuration_is_compared_by_the_mean_of_its_runs_once_all_have_come():
    search = halving()
    assert brief(search.decide(said("a0", 1, 1.0))) == [("a0", 1, "continue", 0, None)]
    both = search.decide(said("a1", 1, 3.0))  # worse than its sibling, which is no rival
    assert brief(both) == [("a0", 1, "continue", 2, 2.0), ("a1", 1, "continue", 2, 2.0)]
    assert both[0].why == "first at epoch 1: 2, the mean of 2 runs"
    [waits] = search.decide(said("b0", 1, 1.9))  # b0 alone would go on
    assert waits.why == "1 of 2 runs of its configuration have come to epoch 1"
    stops = search.decide(said("b1", 1, 2.9))
    assert brief(stops) == [("b0", 2, "stop", 2, 2.4), ("b1", 2, "stop", 2, 2.4)]  # b0 trains for epoch 2 already
    assert stops[0].why == "2.4, the mean of 2 runs, is worse than the cutoff 2 at epoch 1; they end at epoch 2"
    assert [search.goes_on(said("b1", epoch, 0.0)) for epoch in (1, 2)] == [True, False]
    assert search.decide(said("b1", 2, 0.0)) == []
    search.decide(said("c0", 1, 9.0))
    assert brief(search.decide(said("c1", 1, -6.0)))[1] == ("c1", 1, "continue", 2, 1.5)


def test_runs_that_are_past_the_last_rung_are_not_stopped_by_one_that_comes_late():
    search = halving()
    for run in ("a0", "a1", "b0"):
        for epoch in range(1, EPOCHS):
            search.decide(said(run, epoch, 1.0 if run[0] == "a" else 2.0))
    late = search.decide(said("b1", 1, 2.0))
    assert [(one.run, one.decision) for one in late] == [("b0", "continue"), ("b1", "continue")]
    assert "trains for the last epoch already" in late[0].why
    assert search.goes_on(said("b0", 8, 2.0))


def test_a_run_that_is_not_finite_ends_at_once_and_its_configuration_is_the_worst():
    search = halving()
    search.decide(said("a0", 1, 1.0))
    assert brief(search.decide(said("a1", 0.5, math.nan)))[0][:3] == ("a1", 0.5, "stop")
    assert search.standing[1] == {"a": (-math.inf, -0.75)}
    assert search.stopped == {"a0": 2, "a1": 0.5}
    search.decide(said("b0", 1, 9.0))
    search.decide(said("b1", 1, 9.0))
    assert search.goes_on(said("b0", 1, 9.0))  # nothing finite stood there


def test_a_configuration_with_a_run_below_the_floor_is_the_last_and_moves_no_cutoff():
    search = halving()
    search.decide(said("a0", 1, 1.0))
    low = search.decide(said("a1", 1, WORST))[0]
    assert (low.decision, low.mean) == ("continue", WORST)
    assert low.why == "first at epoch 1: a configuration of 2 runs, not all of which are above the floor"
    for run, value in (("b0", 2.0), ("b1", 2.0), ("c0", 5.0)):
        search.decide(said(run, 1, value))
    assert {one.decision for one in search.decide(said("c1", 1, 5.0))} == {"stop"}  # no better than 1e30 and 2 between
    alone = halving(seeds={})
    assert [alone.decide(said(run, 1, value))[0].decision for run, value in (("a", WORST), ("b", 2.0), ("c", 3.0))] == [
        *("continue", "continue", "stop")
    ]


def test_a_run_that_ended_by_itself_is_not_waited_for():
    search = halving()
    for run in ("a0", "a1"):
        search.decide(said(run, 1, 1.0))
    for epoch in (2, 3, 4):
        search.decide(said("a0", epoch, 1.0))
    patient = search.decide(said("a1", 2, 2.0), ended=True)
    assert brief(patient) == [("a1", 2, "end", 0, None), ("a0", 4, "continue", 2, 1.5)]
    again = halving(search_history(search, patient))
    assert again.standing[3] == {"a": (-1.5, -2.5)}


def search_history(search: Halving, last: Sequence[Decision]) -> list[Decision]:
    """What was decided before the `last`, as far as the rungs tell it."""
    first = [Decision(run, 1, "continue", 1.0, 1.0, 1, of=2, mean=1.0, mean_seconds=1.0) for run in ("a0", "a1")]
    return [*first, Decision("a0", 3, "continue", 1.0, 3.0, 3, of=0), *last]


def test_seeds_that_are_added_later_go_as_far_as_those_before():
    """Of a search with one seed, whose decisions name no mean."""
    alone = halving(seeds={})
    history = [*alone.decide(said("a0", 1, 1.0)), *alone.decide(said("b0", 1, 2.0))]
    history += alone.decide(said("a0", 3, 1.0))
    grown = halving(history)
    assert [(run, grown.goes_on(said(run, 1, 0.0))) for run in ("a0", "b0")] == [("a0", True), ("b0", False)]
    assert grown.decide(said("a1", 1, 5.0))[0].why == "its configuration went on from epoch 1 before it came"
    assert grown.goes_on(said("a1", 1, 5.0))
    [same] = grown.decide(said("b1", 1, 0.1))
    assert (same.decision, same.epoch, same.why) == ("stop", 1, "its configuration was stopped at epoch 1")
    stood = {9: {}, 3: {"a": (-1.0, -3.0)}, 1: {"a": (-1.0, -1.0), "b": (-2.0, -1.0)}}
    assert grown.standing == halving(history).standing == stood


def test_decisions_of_a_version_that_compared_runs_stand():
    """There one of two seeds was stopped by the other: it is not begun again, and the other does not wait for it."""
    old = [
        Decision("a0", 1, "continue", 1.0, 1.0, 1),
        Decision("a1", 1, "stop", 2.0, 1.0, 1, 1.0),
        Decision("b0", 1, "stop", 3.0, 1.0, 1, 1.0),
        Decision("b1", 1, "stop", 4.0, 1.0, 1, 1.0),
    ]
    search = halving(old)
    assert [search.goes_on(said(run, 1, 0.0)) for run in ("a0", "a1", "b0", "b1")] == [True, False, False, False]
    assert search.standing[1] == {"a": (-1.5, -1.0), "b": (-3.5, -1.0)}
    assert brief(search.decide(said("a0", 3, 1.0))) == [("a0", 3, "continue", 1, 1.0)]


def curve(seed: int, run: str) -> list[float]:
    """What a run measures at each epoch; it may cease to be finite."""
    draw = np.random.default_rng([seed, *map(ord, run)])
    values = draw.choice([0.5, 1.0, 2.0]) + draw.choice([0.0, 0.1, 0.4], EPOCHS)
    if draw.random() < 0.1:
        values[draw.integers(EPOCHS) :] = math.nan
    return [float(value) for value in values]


class Fleet:
    """A search in a few slots: a run that was told to go on trains for its next epoch, whatever happens meanwhile."""

    def __init__(self, seed: int, slots: int, seeds: int, every: int, waits: bool) -> None:
        self.configurations = {f"{name}{number}": name for name in "abcd" for number in range(seeds)}
        self.curves = {run: curve(seed, run) for run in self.configurations}
        self.slots, self.every, self.waits, self.history = slots, every, waits, list[Decision]()
        self.trained = dict.fromkeys(self.configurations, 0)  # epochs of which rows are in the tables
        self.ended: dict[str, str] = {}
        self.begin({})

    def begin(self, kept: Mapping[str, int]) -> None:
        """Starts, or starts again after a kill, with checkpoints of as many epochs as were `kept`."""
        past = [one for one in self.history if one.run in self.ended or one.decision != "end"]
        more = {"every": self.every, "reached": dict(self.trained)}
        self.halving = halving(past, self.configurations, **more)
        self.at = {run: kept.get(run, 0) for run in self.configurations if run not in self.ended}
        self.running: list[str] = []
        self.waiting: list[str] = []  # those that gave their slot away
        self.again: set[str] = set()  # those that tell first where their checkpoint stands
        self.fill()

    def fill(self) -> None:
        """Gives the free slots to those whose siblings have come, then to the next ones in order; where nobody trains,
        to one that waits for a sibling."""
        new = [run for run in self.at if run not in self.running and run not in self.waiting]
        ready = [run for run in self.waiting if not self.halving.awaits(run)]
        for run in [*ready, *new, *([] if self.running or ready or new else self.waiting)][
            : self.slots - len(self.running)
        ]:
            self.running.append(run)
            self.again |= {run} if self.at[run] else set()
            self.waiting = [one for one in self.waiting if one != run]

    def tick(self, place: int) -> None:
        """An epoch of one of the runs in the slots."""
        run = self.running[place % len(self.running)]
        again = run in self.again
        self.again.discard(run)
        if not again:
            self.at[run] = min(self.at[run] + self.every, EPOCHS)
        epoch = self.at[run]
        self.trained[run] = max(epoch, self.trained[run])
        values = self.curves[run][:epoch]
        ended = epoch == EPOCHS or not math.isfinite(values[-1])
        comes = any(epoch - self.every < rung <= epoch for rung in (1, 3))
        waits = self.waits and comes and not ended and not again
        self.history += self.halving.decide(Report(run, epoch, epoch, min(values), values[-1], epoch, waits), ended)
        if waits:
            self.waiting.append(run)
        elif ended or not self.halving.goes_on(Report(run, epoch, epoch, 0.0, 0.0, epoch)):
            self.ended[run] = "itself" if ended else "stopped"
            del self.at[run]
        else:
            return
        self.running.remove(run)
        self.fill()


@given(
    seed=st.integers(0, 10**6),
    slots=st.integers(1, 5),
    seeds=st.integers(1, 3),
    every=st.integers(1, 2),
    kills=st.sets(st.integers(1, 60), max_size=3),
    waits=st.booleans(),
)
@settings(max_examples=examples(60))
def test_equal_budgets_in_any_order_and_with_any_number_of_slots(
    seed: int, slots: int, seeds: int, every: int, kills: set[int], waits: bool
):
    """Every run ends, at the epoch at which its siblings end, but for those that cease to be finite before."""
    fleet, order = Fleet(seed, slots, seeds, every, waits), np.random.default_rng(seed)
    steps = 0
    while fleet.running:
        fleet.tick(int(order.integers(100)))
        steps += 1
        if steps in kills:
            fleet.begin({run: int(order.integers(epoch + 1)) // every * every for run, epoch in fleet.at.items()})
        assert steps < 500
    assert fleet.ended.keys() == fleet.configurations.keys()
    if waits and not kills:  # nobody is past a rung that he lost
        assert {fleet.trained[run] for run, how in fleet.ended.items() if how == "stopped"} <= {1, 2, 3, 4}
    for name in "abcd":
        runs = [run for run, own in fleet.configurations.items() if own == name]
        sound = [run for run in runs if all(map(math.isfinite, fleet.curves[run][: fleet.trained[run]]))]
        assert len({fleet.trained[run] for run in sound}) <= 1, (name, fleet.trained)
    for one in fleet.history:
        if one.of:
            runs = [run for run, own in fleet.configurations.items() if own == fleet.configurations[one.run]]
            assert one.of == len(runs)
            if math.isfinite(one.mean or math.nan):
                values = [min(fleet.curves[run][: math.ceil((one.rung or 0) / every) * every]) for run in runs]
                assert one.mean == pytest.approx(np.mean(values))
            lost = one.decision == "stop" and math.isfinite(one.value) and math.isfinite(one.mean or math.nan)
            assert not lost or one.mean >= one.cutoff
    again = halving(fleet.history, fleet.configurations, every=every)
    assert again.standing == fleet.halving.standing
    assert seeds == 1 or again.stopped.keys() | again.over.keys() == fleet.configurations.keys()


def test_a_forgotten_run_leaves_the_rungs_and_what_was_decided_stands():
    """A fault gave one of two seeds the value 0: the other alone is compared from then on, and who lost stays out."""
    search, history = halving(), list[Decision]()
    for run, value in (("a0", 0.0), ("a1", 4.0), ("b0", 3.0), ("b1", 3.0)):
        history += search.decide(said(run, 1, value))
    assert search.standing[1] == {"a": (-2.0, -1.0), "b": (-3.0, -1.0)}
    assert search.stopped == {"b0": 2, "b1": 2}
    again = halving(history, forgotten={"a0"})
    assert again.standing[1] == {"a": (-4.0, -1.0), "b": (-3.0, -1.0)}
    assert again.stopped == search.stopped
    for run in ("c0", "c1"):  # which 2 would have stopped
        again.decide(said(run, 1, 2.9))
        assert again.goes_on(said(run, 1, 2.9))
    nobody = halving(history, forgotten={"a0", "a1"})
    assert nobody.standing[1] == {"b": (-3.0, -1.0)}


def test_who_waited_for_a_forgotten_run_is_compared_when_it_reports_again():
    search, history = halving(), list[Decision]()
    for run, value in (("a0", 1.0), ("a1", 1.0), ("b0", 2.0)):
        history += search.decide(said(run, 1, value))
    again = halving(history, forgotten={"b1"})
    assert not again.awaits("b1")
    [made] = again.decide(said("b0", 1, 2.0))
    assert (made.run, made.epoch, made.decision, made.of) == ("b0", 1, "stop", None)
    assert made.why == "2 is worse than the cutoff 1 at epoch 1"


@given(seed=st.integers(0, 10**6), order=st.permutations([run for run in PAIRS for _ in range(EPOCHS)]), data=st.data())
@settings(max_examples=examples(30))
def test_after_it_was_forgotten_all_stand_with_the_means_of_the_others(
    seed: int, order: Sequence[str], data: st.DataObject
):
    """Wherever a search was cut: no mean on a rung is of a forgotten run, and no decision was taken back."""
    search, history, at = halving(), list[Decision](), dict.fromkeys(PAIRS, 0)
    for run in order[: data.draw(st.integers(0, len(order)))]:
        if at[run] < EPOCHS and (not at[run] or search.goes_on(said(run, at[run], 0.0))):
            at[run] += 1
            history += search.decide(said(run, at[run], curve(seed, run)[at[run] - 1]), ended=at[run] == EPOCHS)
    gone = data.draw(st.sets(st.sampled_from(sorted(PAIRS)), min_size=1))
    again, whole = halving(history, forgotten=gone), halving(history)
    assert again.stopped == {run: epoch for run, epoch in whole.stopped.items() if run not in gone}
    for rung, stands in again.standing.items():
        for configuration, merit in stands.items():
            ours = [run for run, of in PAIRS.items() if of == configuration and run not in gone]
            values = [
                (again.told[rung].get(run) or again.over[run])
                for run in ours
                if run in again.told[rung] or run in again.over
            ]
            assert values
            worst = any(not math.isfinite(value) for value, _ in values)
            assert merit[0] == (-math.inf if worst else pytest.approx(-np.mean([value for value, _ in values])))
    untouched = {PAIRS[run] for run in PAIRS} - {PAIRS[run] for run in gone}
    for rung, stands in whole.standing.items():
        assert {one: stands[one] for one in stands if one in untouched} == {
            one: again.standing[rung][one] for one in again.standing[rung] if one in untouched
        }
