"""Generations of a population: pure laws, and the toy problem of the paper."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gen.search.population import FACTORS, Population, Rules, Turn, fit, perturb, resample
from gen.search.samplers import Answer, Choice, Question, Questions, Settings, Span

EPOCHS, INTERVAL = 12, 3
SPANS: dict[str, Question] = {"rate": Span(1e-4, 1e-1, log=True), "weight": Span(0.0, 10.0), "beta": Choice(3)}


class Plain(Questions):
    """A question a setting; an answer is the setting's value."""

    def __init__(self, questions: Mapping[str, Question]) -> None:
        self.questions = questions

    def ask(self, answer: Answer) -> Settings:
        return {name: answer(name, question) for name, question in self.questions.items()}

    def find(self, settings: Settings) -> Mapping[str, tuple[Question, Any]]:
        return {name: (question, settings[name]) for name, question in self.questions.items()}


def population(size: int, quantile: float = 0.25, seed: int = 0, past: Sequence[Turn] = ()) -> Population:
    begun = {f"run{number}": {"rate": 0.001 * (number + 1), "weight": 1.0, "beta": 1} for number in range(size)}
    return Population(begun, Plain(SPANS), "min", EPOCHS, Rules(INTERVAL, quantile, seed), past)


def values_of(size: int, curve: int, epoch: int) -> dict[str, float]:
    """What each run measures at an epoch: with ties, and some are not finite."""
    draw = np.random.default_rng([curve, epoch])
    found = draw.choice([1.0, 2.0, 3.0, 4.0, math.nan, math.inf], size)
    return {f"run{number}": float(value) for number, value in enumerate(found)}


def told(made: Sequence[Turn]) -> list[str]:
    return [repr(dataclasses.astuple(turn)) for turn in made]


def whole(one: Population, size: int, curve: int, order: Sequence[int]) -> list[list[Turn]]:
    """All generations from the next one on, with members that come in the order of the numbers."""
    found = []
    while (epoch := one.next) is not None:
        values = values_of(size, curve, epoch)
        parts = [one.arrive(f"run{number}", epoch, values[f"run{number}"]) for number in order]
        assert parts[:-1] == [[]] * (size - 1)  # it waits for the last one
        found.append(parts[-1])
    return found


@given(data=st.data(), size=st.integers(2, 9), curve=st.integers(0, 10**6), quantile=st.floats(0.01, 0.5))
def test_who_is_fast_decides_nothing_and_neither_does_a_kill(
    data: st.DataObject, size: int, curve: int, quantile: float
) -> None:
    order = data.draw(st.permutations(range(size)))
    first = whole(population(size, quantile), size, curve, range(size))
    assert [told(one) for one in whole(population(size, quantile), size, curve, order)] == [told(one) for one in first]
    cut = data.draw(st.integers(0, len(first)))
    again = population(size, quantile, past=[turn for made in first[:cut] for turn in made])
    assert again.next == (INTERVAL * (cut + 1) if cut < len(first) else None)
    some = data.draw(st.integers(0, size - 1))  # of them have come already when the rest does, and tell it again
    if again.next:
        for number in order[:some]:
            again.arrive(f"run{number}", again.next, values_of(size, curve, again.next)[f"run{number}"])
    assert [told(one) for one in whole(again, size, curve, order)] == [told(one) for one in first[cut:]]


@given(size=st.integers(2, 12), curve=st.integers(0, 10**6), quantile=st.floats(0.01, 0.5), seed=st.integers(0, 99))
def test_the_worst_take_over_from_the_best(size: int, curve: int, quantile: float, seed: int) -> None:
    one, settings = population(size, quantile, seed), population(size).settings
    for made in whole(one, size, curve, range(size)):
        count = min(math.ceil(size * quantile), size // 2)
        merits = {turn.run: -turn.value if math.isfinite(turn.value) else -math.inf for turn in made}
        takers = {turn.run for turn in made if turn.source}
        assert [turn.run for turn in made] == [f"run{number}" for number in range(size)]
        assert len(takers) <= count
        for turn in made:
            assert turn.before == settings[turn.run]
            if not turn.source:
                assert turn.settings == turn.before
                continue
            assert turn.source not in takers
            assert merits[turn.source] > merits[turn.run]
            assert turn.source_value == -merits[turn.source]
            assert sum(merit > merits[turn.source] for merit in merits.values()) < count
            assert sum(merit < merits[turn.run] for merit in merits.values()) < count
            assert SPANS["rate"].holds(turn.settings["rate"])
            assert turn.settings["beta"] in range(3)
        settings = {turn.run: turn.settings for turn in made}


def test_a_generation_of_four() -> None:
    one = population(4)
    values = {"run0": 4.0, "run1": 1.0, "run2": 2.0, "run3": 3.0}
    assert [made for run in values for made in one.arrive(run, 3, values[run])] != []
    assert one.next == 6
    assert one.taken.keys() == {"run0"}
    assert one.taken["run0"].why == ("4 at epoch 3 is among the worst 1 of 4: it goes on from run1, which has 1")
    rate, before = one.settings["run0"]["rate"], 0.002
    assert rate in [before * factor for factor in FACTORS]
    assert not any(map(one.awaits, values))


def test_who_ended_is_not_awaited_and_who_was_away_goes_on() -> None:
    one = population(3)
    assert not one.arrive("run0", 3, 1.0)
    assert not one.end("run2")
    assert one.awaits("run0")
    assert [(turn.run, turn.source) for turn in one.arrive("run1", 3, 2.0)] == [("run0", ""), ("run1", "run0")]
    past = list(one.taken.values())
    again = population(3, past=[*past, Turn("run0", 3, 1.0, {}, one.settings["run0"])])
    assert again.next == 6
    assert again.settings["run1"] == one.settings["run1"]
    assert not again.arrive("run2", 3, 1.0)  # it comes late, to a generation that is over
    assert not again.awaits("run2")
    assert population(3, past=past).arrive("stranger", 6, 1.0) == []


def test_nobody_takes_over_what_is_not_finite() -> None:
    one = population(4)
    made = [turn for number in range(4) for turn in one.arrive(f"run{number}", 3, math.nan)]
    assert [turn.source for turn in made] == [""] * 4
    assert made[3].why == "no other value at epoch 3 is finite"
    below = [one.arrive(f"run{number}", 6, 1e30 if number == 1 else float(number)) for number in range(4)][-1]
    assert below[1].why.startswith("a value below the floor at epoch 6 is among the worst 1 of 4: it goes on from run0")
    assert [turn.source for turn in below] == ["", "run0", "", ""]  # a run below the floor is the worst


@given(
    low=st.floats(1e-6, 1.0), size=st.floats(1.5, 1e4), log=st.booleans(), whole=st.booleans(), seed=st.integers(0, 999)
)
def test_answers_lie_in_their_span(low: float, size: float, log: bool, whole: bool, seed: int) -> None:
    low, high = (math.ceil(low), math.ceil(low * size) + 2) if whole else (low, low * size)
    span, draw = Span(low, high, log, whole), np.random.default_rng(seed)
    drawn = resample(span, draw)
    assert span.holds(drawn)
    moved = perturb(span, drawn, draw)
    assert span.holds(moved)
    assert isinstance(moved, int if whole else float)
    if not whole:
        assert moved in [min(max(drawn * factor, low), high) for factor in FACTORS]


def test_answers_on_steps_and_among_choices() -> None:
    draw = np.random.default_rng(0)
    stepped = {perturb(Span(0.1, 0.9, step=0.2), 0.5, draw) for _ in range(20)}
    assert {round(one, 6) for one in stepped} <= {0.3, 0.5, 0.7}
    assert {resample(Span(0.1, 0.95, step=0.2), draw) for _ in range(99)} <= {0.1 + 0.2 * place for place in range(5)}
    assert {perturb(Choice(4), 1, draw) for _ in range(20)} == {0, 2}
    assert {perturb(Choice(4), 3, draw) for _ in range(20)} == {2}
    assert perturb(Choice(1), 0, draw) == 0
    assert {resample(Choice(3), draw) for _ in range(50)} == {0, 1, 2}
    tenths = Span(0.0, 0.3, step=0.1)  # 0.3 / 0.1 is less than three, and three times 0.1 is more than 0.3
    assert [fit(tenths, value) for value in (0.3, 0.26, 9.0, 0.24, -1.0)] == [0.3, 0.3, 0.3, 0.2, 0.0]
    assert all(tenths.holds(resample(tenths, draw)) for _ in range(20))
    assert {perturb(Span(1, 9, whole=True), 2, draw) for _ in range(20)} == {1, 2, 3} - {2}


@pytest.mark.parametrize("quantile", [0.0, -1.0, 0.51, math.nan])
def test_a_share_that_is_none(quantile: float) -> None:
    with pytest.raises(ValueError, match=r"quantile=.* is out of range; allowed: more than 0, up to 0.5"):
        Rules(3, quantile, 0)


def toy(exploits: bool) -> float:
    """Figure 2 of the paper: two workers climb 1.2 - x^2 - y^2 along surrogates of which each knows one of the two
    terms. The best value after 200 steps of gradient ascent."""
    begun = {
        "run0": {"h0": 1.0, "h1": 0.0},
        "run1": {"h0": 0.0, "h1": 0.9},
    }  # a little apart: of equals none takes over
    questions = Plain({"h0": Span(0.0, 2.0), "h1": Span(0.0, 2.0)})
    one = Population(begun, questions, "max", 200, Rules(4, 0.5, 0))
    weights = dict.fromkeys(begun, (0.9, 0.9))
    for step in range(1, 201):
        for run, (x, y) in weights.items():
            h = one.settings[run]
            weights[run] = (x - 0.01 * 2 * h["h0"] * x, y - 0.01 * 2 * h["h1"] * y)
        made = []
        if exploits and step == one.next:
            made = [turn for run, (x, y) in weights.items() for turn in one.arrive(run, step, 1.2 - x * x - y * y)]
        weights |= {turn.run: weights[turn.source] for turn in made if turn.source}
    return max(1.2 - x * x - y * y for x, y in weights.values())


def test_the_toy_problem_of_the_paper() -> None:
    assert toy(exploits=False) == pytest.approx(1.2 - 0.81, abs=0.01)  # "grid search": each keeps a term of 0.81
    assert toy(exploits=True) > 1.1
