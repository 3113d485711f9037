"""Optuna's multi-objective sampler seeks the Pareto set."""

import math

from optuna.trial import TrialState
from ray import tune

from gen.config import override
from gen.search.samplers import Score, Settings
from gen.search.tpe import Tpe
from gen.zoo import ZOO
from tune_spaces import Space, SpaceQuestions, draw

SPACE = Space(override(ZOO["vqvae"], {"budget.epochs": 9}), {"model.beta": tune.loguniform(0.01, 100.0)}, metric="")
LEAST, MOST = 0.5, 2.0  # what lies between them is the Pareto set: nearer to the one is farther from the other


def figures(settings: Settings) -> tuple[float, float]:
    """Of the first small values are good, of the second large ones."""
    return abs(math.log(settings["model.beta"] / LEAST)), -abs(math.log(settings["model.beta"] / MOST))


def score(settings: Settings) -> Score:
    value, other = figures(settings)
    return Score(value, 9, True, (other,))


def in_front(settings: Settings) -> bool:
    return LEAST <= settings["model.beta"] <= MOST


def sampler(seed: int = 0) -> Tpe:
    return Tpe(SpaceQuestions(SPACE), seed, "min", (), ["max"])


def test_what_it_proposes_comes_to_lie_in_the_pareto_set():
    found = sampler()
    proposed = []
    for number in range(50):
        proposed.append(found.propose(number))
        found.learn(number, score(proposed[-1]))
    late = sum(map(in_front, proposed[25:])) / 25
    chance = sum(in_front(draw(SPACE, 0, number)) for number in range(500)) / 500
    assert 0.1 < chance < 0.2  # log(4) / log(10,000) is 0.15
    assert late > 3 * chance


def test_built_anew_from_what_is_on_record_it_proposes_the_same():
    first, again = sampler(3), sampler(3)
    for number in range(14):
        proposed = first.propose(number)
        again.begin(number, proposed)
        for one in (first, again):
            one.learn(number, score(proposed))
    assert again.propose(14) == first.propose(14)


def test_without_all_of_its_figures_a_configuration_counts_as_a_bad_one():
    found = sampler()
    lacks = (
        Score(1.0, 9, True, (math.nan,)),  # its last tick did not measure it
        Score(math.nan, 9, True, (1.0,)),
        Score(1.0, 3, False, (1.0,)),  # it was stopped
        Score(1.0, 9, True, (1.0,)),
    )
    for number, one in enumerate(lacks):
        found.propose(number)
        found.learn(number, one)
    assert [trial.state for trial in found.study.trials] == [TrialState.PRUNED] * 3 + [TrialState.COMPLETE]
    assert found.study.best_trials[0].values == [1.0, 1.0]
    assert isinstance(found.propose(4)["model.beta"], float)
