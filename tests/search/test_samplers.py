"""Samplers alone: the same proposals from the same record, whoever was there before."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from ray import tune

from gen.config import flat, override
from gen.search.samplers import Choice, Drawn, Listed, Queued, Sampler, Score, Settings, Span, score
from gen.search.tpe import Tpe
from gen.zoo import ZOO
from tests.fixtures.examples import examples
from tune_spaces import InTurn, Space, SpaceQuestions, draw, extend, space_for
from tune_spaces.spaces import NAMED, SPACES

CONFIG = ZOO["vqvae"]
SPACE = space_for(CONFIG)
ENDS = [Score(2.0, 9, True), Score(1.0, 1, False), Score(math.nan, 1, False), Score(0.5, 9, True), Score(3.0, 3, False)]


def own(settings: Settings) -> float:
    """A figure with a known best: at beta 1 and a batch of 32."""
    whole = flat(override(CONFIG, settings))
    return abs(math.log(whole["model.beta"])) + math.log2(whole["train.batch"] / 32)


def tpe(mode: str = "min") -> Sampler:
    return Queued([{}], Tpe(SpaceQuestions(SPACE), 5, mode))


def go_on(sampler: Sampler, start: int, stop: int, merit: Callable[[Settings, int], Score]) -> list[Settings]:
    """The configurations `start` to `stop` of a search with one run at a time."""
    found = []
    for number in range(start, stop):
        settings = sampler.propose(number)
        assert settings is not None
        found.append(settings)
        sampler.learn(number, merit(settings, number))
    return found


@pytest.mark.parametrize("cut", [1, 7, 14])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_tpe_goes_on_from_the_record_as_if_it_had_never_ended(cut: int, mode: str):
    def merit(_: Settings, number: int) -> Score:
        return ENDS[number % len(ENDS)]

    whole = go_on(tpe(mode), 0, 18, merit)
    again = tpe(mode)
    for number, settings in enumerate(whole[:cut]):
        again.begin(number, settings)
    for number in reversed(range(cut)):  # ends come in any order
        again.learn(number, merit({}, number))
    assert go_on(again, cut, 18, merit) == whole[cut:]


def test_tpe_learns():
    found = go_on(tpe(), 0, 40, lambda settings, _: Score(own(settings), 9, True))
    drawn = [own(draw(SPACE, 5, number)) for number in range(40)]
    late, chance = (sorted(values)[len(values) // 2] for values in (list(map(own, found))[20:], drawn))
    assert late < chance / 2


def test_tpe_spreads_runs_that_are_trained_at_a_time():
    """While nothing is known of the last five, the sixth is not proposed from the same record as the first of them."""
    sampler = tpe()
    go_on(sampler, 0, 20, lambda settings, _: Score(own(settings), 9, True))
    proposed = [sampler.propose(number) for number in range(20, 26)]
    assert len({repr(one) for one in proposed}) == 6


def test_what_an_earlier_search_learned_counts():
    learned = [({"model.beta": beta, "train.batch": 32}, Score(abs(math.log(beta)), 9, True)) for beta in
               (0.05 * 1.2**step for step in range(24))]  # fmt: skip
    proposals = [Tpe(SpaceQuestions(SPACE), seed, "min", learned).propose(0)["model.beta"] for seed in range(9)]
    chance = [Tpe(SpaceQuestions(SPACE), seed, "min").propose(0)["model.beta"] for seed in range(9)]
    middle, other = (sorted(abs(math.log(beta)) for beta in betas)[4] for betas in (proposals, chance))
    assert middle < other


def spaces() -> list[tuple[str, str]]:
    """Entry and space, one a family and named space."""
    found: dict[tuple[str, str], tuple[str, str]] = {}
    for name, config in ZOO.items():
        if config.family in SPACES:
            for named in ("", *NAMED.get(config.family, {})):
                found.setdefault((config.family, named), (name, named))
    return list(found.values())


@pytest.mark.parametrize(("name", "named"), spaces())
def test_every_draw_of_a_space_is_an_answer_to_its_questions(name: str, named: str):
    space = space_for(ZOO[name], named)
    if any(isinstance(domain, InTurn) for domain in space.keys.values()):
        with pytest.raises(ValueError, match=r"^sampler=tpe cannot search model: its values are taken in turn"):
            SpaceQuestions(space)
        return
    questions = SpaceQuestions(space)
    for index in range(examples(10)):
        drawn = draw(space, 0, index)
        known = questions.find(drawn)
        assert questions.ask(lambda name, _, known=known: known[name][1]) == drawn


def test_what_lies_outside_a_space_answers_nothing():
    questions = SpaceQuestions(SPACE)
    known = questions.find({"model.beta": 100.0, "train.batch": 33, "model.codebook.codes": 64})
    assert not {"model.beta", "train.batch"} & known.keys()
    assert known["model.codebook.codes"] == (Choice(4), 0)


def test_settings_that_the_user_searches_are_found_again():
    """Each at its own value, and not at the first one."""
    space = extend(SPACE, {"train.batch": "16,32,64", "model.codebook.codes": "8,9"})
    questions = SpaceQuestions(space)
    for batch, place in ((16, 0), (32, 1), (64, 2)):
        known = questions.find({"train.batch": batch, "model.codebook.codes": 9})
        assert known["train.batch"] == (Choice(3), place)
        assert known["model.codebook.codes"] == (Choice(2), 1)


def test_ranges_of_all_kinds():
    domains: Mapping[str, Any] = {
        "model.beta": tune.quniform(0.5, 2.5, 0.5),
        "train.batch": tune.randint(8, 65),
        "model.codebook.codes": tune.lograndint(2, 33),
    }
    questions = SpaceQuestions(Space(CONFIG, domains, metric=""))
    asked = {}
    questions.ask(lambda name, question: asked.setdefault(name, question) and 1)
    assert asked == {
        "model.beta": Span(0.5, 2.5, step=0.5),
        "train.batch": Span(8, 64, whole=True),
        "model.codebook.codes": Span(2, 32, log=True, whole=True),
    }
    proposed = [Tpe(questions, seed, "min").propose(0) for seed in range(20)]
    for one in proposed:
        override(CONFIG, one)
        assert one["model.beta"] in (0.5, 1.0, 1.5, 2.0, 2.5)


def test_samplers_that_need_no_results():
    assert Drawn(lambda number: {"seed": number}).propose(10_000) == {"seed": 10_000}
    grid = Queued([{}], Listed([{}, {"a": 1}]))
    assert [grid.propose(number) for number in range(3)] == [{}, {"a": 1}, None]


def test_the_score_of_several_seeds_is_their_mean_at_the_shortest():
    assert score([(1.0, 9, True), (3.0, 9, True)]) == Score(2.0, 9, True)
    assert score([(1.0, 9, True), (3.0, 3, False)]) == Score(2.0, 3, False)
    assert math.isnan(score([(1.0, 9, True), (math.nan, 1, False)]).value)


def test_a_search_on_record_is_to_optuna_what_it_was_when_it_ran():
    """Many trials brought in at once are, one by one and in their order, those that Optuna itself opened and closed."""
    once, each = (Tpe(SpaceQuestions(SPACE), 5, "min") for _ in range(2))
    drawn = [draw(SPACE, 5, number) for number in range(12)]
    for number, settings in enumerate(drawn):
        once.begin(number, settings)
        each.begin(number, settings)
        each.add_known()  # so that each is a trial that runs before it has a score
    for number in (4, 1, 0, 2, 9, 6, 5):
        for one in (once, each):
            one.learn(number, ENDS[number % len(ENDS)])
            one.learn(number, Score(-9.0, 9, True))  # not heard
    assert (len(once.known), len(each.known)) == (12, 0)
    once.add_known()
    assert once.trials.keys() == each.trials.keys() == {3, 7, 8, 10, 11}
    told = ("number", "state", "values", "params", "distributions", "intermediate_values")
    trials = [[[getattr(trial, name) for name in told] for trial in one.study.trials] for one in (once, each)]
    assert trials[0] == trials[1]
    assert len({trial[1] for trial in trials[0]}) == 3
    for one in (once, each):
        one.learn(3, ENDS[0])
    assert once.propose(12) == each.propose(12)
