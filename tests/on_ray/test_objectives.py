"""A search by two figures: the sampler hears of the second one from the tables, and, cut, proposes what it would
have."""

from pathlib import Path

import pytest

from gen import results
from gen.on_ray.proposals import Part, Proposer, Supply, proposals
from gen.on_ray.replay import ends
from gen.results.pareto import of_runs
from gen.search.samplers import Queued, Score
from gen.search.tpe import Tpe
from gen.zoo import restore
from tests.on_ray import test_proposals as plain
from tests.results.example_rows import eval_row
from tune_spaces import SpaceQuestions

SECOND = "used/images"


class Search(plain.Search):
    """One submission, whose runs measure a second figure."""

    def __init__(self, place: Path) -> None:
        super().__init__(place, plain.tpe())
        slot = results.Slot(self.storage, "search", f"{self.attempt}-two", kind="proposed")
        self.tpe = Tpe(SpaceQuestions(plain.SPACE), 3, "min", (), ["max"])
        self.heard = dict[int, Score]()
        learn = self.tpe.learn

        def hear(number: int, score: Score) -> None:
            self.heard[number] = score
            learn(number, score)

        self.tpe.learn = hear  # type: ignore[method-assign]
        part = Part("vqvae", "tpe", Queued([{}], self.tpe), 1, plain.SAMPLES, plain.runs)
        others = lambda names: of_runs(self.storage, "search", [SECOND], names)  # noqa: E731
        self.supply = Supply([part], slot, self.attempt, proposals(self.storage, "search"), others)
        self.left = self.supply.begin(ends(self.storage, "search", self.supply.runs))
        self.searcher = Proposer(self.supply)
        self.measured = results.Slot(self.storage, "search", f"{self.attempt}-measured")

    def write(self, told: dict) -> dict:
        """The figure of the best weights is not that of the last tick."""
        own = second(told)
        here = {"experiment": "search", "run": told["run"], "attempt": self.attempt}
        about = {"metric": "used", "subject": "images"}
        rows = [here | {"tick": tick} | eval_row(tick, value, **about) for tick, value in ((1, own), (9, -1.0))]
        self.measured.extend({"evals": rows})
        return super().write(told)


def second(told: dict) -> float:
    return float(restore(told["config_json"]).train.batch)


@pytest.mark.parametrize("cut", [0, 12])
def test_cut_it_proposes_what_it_would_have(tmp_path: Path, cut: int) -> None:
    whole = Search(tmp_path / "whole")
    whole.run()
    first = Search(tmp_path / "cut")
    for _ in range(cut + 1):
        trial, told = first.begin()
        first.searcher.on_trial_complete(trial, first.write(told))
        last = told
    assert first.heard.keys() == set(range(cut))  # the last one is heard of before the next proposal
    Search(tmp_path / "cut").run()
    storage = results.Storage(str(tmp_path / "cut"))
    assert proposals(storage, "search") == proposals(whole.storage, "search")
    whole_ones = [one for one in whole.heard.values() if one.whole]
    assert whole_ones
    assert all(len(one.others) == 1 and one.others[0] > 0 for one in whole.heard.values())
    assert of_runs(storage, "search", [SECOND], [last["run"]]) == {last["run"]: (second(last),)}
    (value,) = of_runs(storage, "search", ["mse/reconstructions"], [last["run"]])[last["run"]]
    assert value != value  # NaN: no tick has it
