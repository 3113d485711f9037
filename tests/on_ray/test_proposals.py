"""What a search tries is on record before it starts, and a search that was cut proposes what it would have: real
tables, runs that do no work."""

import itertools
import math
import pickle
import threading
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gen import results
from gen.config import RunConfig, flat, identity, override
from gen.on_ray.proposals import Part, Proposal, Proposer, Supply, proposals
from gen.on_ray.retry import ends_that_stand
from gen.results.forget import forget, forgotten
from gen.search.samplers import Drawn, Listed, Queued, Sampler, Score, Settings
from gen.search.tpe import Tpe
from gen.zoo import ZOO, restore
from tests.results.example_rows import begin
from tune_spaces import SpaceQuestions, draw, space_for

CONFIG = override(ZOO["vqvae"], {"budget.epochs": 9})
SPACE = space_for(CONFIG)
SAMPLES = 16


def runs(settings: Settings, seeds: int = 1) -> dict[str, RunConfig]:
    configs = [override(CONFIG, {**settings, "seed": seed}).resolve() for seed in range(seeds)]
    return {identity(config, "data"): config for config in configs}


def tpe() -> Sampler:
    return Queued([{}], Tpe(SpaceQuestions(SPACE), 3, "min"))


class Search:
    """One submission: a searcher as Tune asks it, on real tables."""

    def __init__(
        self, place: Path, sampler: Sampler, samples: float = SAMPLES, seeds: int = 1, gone: Collection[str] = ()
    ) -> None:
        self.storage, self.attempt = results.Storage(str(place)), results.new_attempt()
        slot = results.Slot(self.storage, "search", f"{self.attempt}-proposals", kind="proposed")
        part = Part("vqvae", "tpe", sampler, 1, samples, lambda settings: runs(settings, seeds))
        self.supply = Supply([part], slot, self.attempt, proposals(self.storage, "search"), forgotten=gone)
        self.left = self.supply.begin(
            ends_that_stand(self.storage, "search", self.supply.runs, self.attempt, retry=False)
        )
        self.searcher = Proposer(self.supply)
        self.outcomes = results.Slot(self.storage, "search", f"{self.attempt}-slot")
        self.trials = itertools.count()

    def begin(self) -> tuple[str, dict] | None:
        """The next trial and what it is told; None if there are no more."""
        trial = str(next(self.trials))
        while (told := self.searcher.suggest(trial)) is None:  # it takes long
            pass
        return None if told == Proposer.FINISHED else (trial, told)

    def write(self, told: dict) -> dict:
        """Trains a run: its outcome is in the tables when this returns. Some are stopped early."""
        settings = flat(restore(told["config_json"]))
        value, stopped = settings["model.beta"] + settings["train.batch"] / 64, settings["model.beta"] > 1
        value += settings["seed"] / 8
        result = {"run": told["run"], "epoch": 1.0 if stopped else 9.0, "value": value}
        row = {"experiment": "search", "run": told["run"], "attempt": self.attempt, "tick": int(result["epoch"])}
        row |= {"status": "stopped" if stopped else "finished", "why": "", "metric": "mse/reconstructions"}
        row |= {"best": value, "best_epoch": 1.0, "last": value, "checkpoint": None, "epochs": result["epoch"]}
        row |= {"steps": 1, "images": 1, "seconds": 1.0, "images_per_second": None, "parameters": 1}
        self.outcomes.extend({"outcomes": [row | {"ended": datetime.now(UTC)}]})
        return result | {"ended": "" if stopped else "finished"}

    def run(self) -> None:
        """One run after another, to the end."""
        while (begun := self.begin()) is not None:
            trial, told = begun
            self.searcher.on_trial_complete(trial, self.write(told))


@pytest.mark.parametrize("worst", [1e30, -1e30, math.inf, math.nan])
def test_a_run_below_the_floor_is_told_as_one_that_is_not_finite(tmp_path: Path, worst: float) -> None:
    """Else it would count before all that were stopped, and its configuration's mean would be of no size."""
    heard = list[Score]()

    class Hears(Listed):
        def learn(self, number: int, score: Score) -> None:
            heard.append(score)

    search = Search(tmp_path, Hears([{"model.beta": 1.0}]), samples=1, seeds=2)
    for value in (0.5, worst):
        begun = search.begin()
        assert begun is not None
        search.searcher.on_trial_complete(begun[0], search.write(begun[1]) | {"value": value})
    assert [(math.isnan(one.value), one.epoch, one.whole) for one in heard] == [(True, 9.0, True)]


def test_a_sampler_learns_nothing_from_runs_that_are_ranked_no_more(tmp_path: Path) -> None:
    """Of one configuration the best seed is taken out, of the other one both."""
    heard = dict[int, Score]()

    class Hears(Listed):
        def learn(self, number: int, score: Score) -> None:
            heard[number] = score

    def sampler() -> Sampler:
        return Hears([{"model.beta": 0.5}, {"model.beta": 0.75}])

    first = Search(tmp_path, sampler(), samples=2, seeds=2)
    first.run()
    assert all(score.whole for score in heard.values())
    before, names = dict(heard), list(first.supply.runs)
    for run in (names[0], *names[2:]):
        ledger = results.Ledger(first.storage, "search", run, "a")
        begin(ledger)
        ledger.close(0)
        forget(first.storage, "search", "b", run, "its images were others")
    heard.clear()
    again = Search(tmp_path, sampler(), samples=2, seeds=2, gone=forgotten(first.storage, "search"))
    assert (again.left, set(heard)) == (0, {0})
    assert (before[0].value, heard[0].value, heard[0].whole) == (2.5625, 2.625, True)  # of both, and of the other one
    assert again.supply.left(0) == 0


@pytest.mark.parametrize("repeats", [1, 4, 5])
def test_what_is_new_behind_repeats_is_tried_and_behind_too_many_nothing(
    tmp_path: Path, repeats: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gen.on_ray.proposals.REPEATS", 5)

    class Insists(Sampler):
        """Proposes one at a time, the same again and again before anything else."""

        learns = True

        def propose(self, number: int) -> Settings:
            return {"model.beta": 1.0 if number <= repeats else 2.0}

    search = Search(tmp_path, Insists(), samples=repeats + 2)
    search.run()
    assert len(search.supply.runs) == (1 if repeats == 5 else 2)
    assert search.supply.left(0) == 0


@pytest.fixture(scope="module")
def uncut(tmp_path_factory: pytest.TempPathFactory) -> list[Proposal]:
    """The proposals of a search that nothing interrupted."""
    place = tmp_path_factory.mktemp("uncut")
    Search(place, tpe()).run()
    found = proposals(results.Storage(str(place)), "search")
    assert [one.number for one in found] == list(range(SAMPLES))
    assert [one.sampler for one in found] == ["queue"] + ["tpe"] * (SAMPLES - 1)
    assert found[0].settings == {}
    return found


@pytest.mark.parametrize("cut", [0, 5, 12])
@pytest.mark.parametrize("moment", ["proposed", "trained"])
def test_one_run_at_a_time_a_search_cut_anywhere_proposes_what_it_would_have(
    tmp_path: Path, uncut: list[Proposal], cut: int, moment: str
):
    first = Search(tmp_path, tpe())
    for number in range(cut + 1):
        trial, told = first.begin()
        if number < cut:
            first.searcher.on_trial_complete(trial, first.write(told))
        elif moment == "trained":
            first.write(told)  # killed between the outcome and what the driver hears of it
    Search(tmp_path, tpe()).run()
    assert proposals(results.Storage(str(tmp_path)), "search") == uncut


def test_several_at_a_time_what_was_begun_goes_first_and_keeps_its_number(tmp_path: Path):
    first = Search(tmp_path, tpe())
    begun = [first.begin() for _ in range(4)]
    first.searcher.on_trial_complete(begun[2][0], first.write(begun[2][1]))
    before = proposals(first.storage, "search")
    again = Search(tmp_path, tpe())
    assert again.left == SAMPLES - 1
    assert [again.begin()[1]["run"] for _ in range(3)] == [begun[place][1]["run"] for place in (0, 1, 3)]
    again.run()
    assert proposals(first.storage, "search")[: len(before)] == before
    assert len(results.outcomes(str(tmp_path), "search")) == SAMPLES - 3  # those three are still begun
    assert again.supply.left(0) == 3


def test_a_proposal_is_on_record_before_its_run_starts_one_row_a_run(tmp_path: Path):
    search = Search(tmp_path, tpe(), seeds=3)
    for count in (3, 3, 3, 6):
        _, told = search.begin()
        rows = results.events(str(tmp_path), "search", kind="proposal")
        assert len(rows) == count
        assert told["run"] in set(rows["run"])
    assert search.supply.count == 3 * SAMPLES


def test_a_sampler_that_has_no_more_ends_the_search(tmp_path: Path):
    search = Search(tmp_path, Queued([{}], Listed([{}, {"model.beta": 2.0}, {"model.beta": 2.0}])))
    search.run()
    assert len(results.outcomes(str(tmp_path), "search")) == 2  # equal configurations are one run
    assert search.supply.count == 2
    assert search.supply.left(0) == 0
    again = Search(tmp_path / "without", Drawn(lambda _: {"model.beta": 3.0}), samples=float("inf"))
    again.run()  # nothing new comes, for ever
    assert len(results.outcomes(str(tmp_path / "without"), "search")) == 1


def test_a_supply_has_no_end_but_a_budget(tmp_path: Path):
    search = Search(tmp_path, Drawn(lambda number: draw(SPACE, 0, number)), samples=float("inf"))
    assert search.left == search.supply.count == 1  # one more, always
    begun = {search.begin()[1]["run"] for _ in range(70)}
    assert len(begun) == 70
    assert search.supply.left(0) == 129  # proposals are put on record by the batch, for they depend on no results
    again = Search(tmp_path, Drawn(lambda number: draw(SPACE, 0, number)), samples=float("inf"))
    assert {again.begin()[1]["run"] for _ in range(70)} == begun


class Heard(Sampler):
    """Notes what it hears; learns nothing."""

    learns = True

    def __init__(self) -> None:
        self.begun, self.scores = list[int](), dict[int, float]()

    def propose(self, number: int) -> Settings:
        self.begun.append(number)
        return {"model.beta": 0.1 * (1 + number)}

    def begin(self, number: int, settings: Settings) -> None:
        self.begun.append(number)

    def learn(self, number: int, score: Score) -> None:
        self.scores[number] = score.value


@pytest.mark.parametrize("seeds", [1, 2])
def test_a_forgotten_run_is_heard_by_no_sampler_and_trained_no_more(tmp_path: Path, seeds: int):
    """One that ended and one that has no end: of two seeds the other one speaks for the configuration."""
    first = Search(tmp_path, Heard(), samples=4, seeds=seeds)
    begun = [first.begin() for _ in range(3 * seeds)]
    for trial, told in begun[: 2 * seeds]:
        first.searcher.on_trial_complete(trial, first.write(told))
    ended, open_ = begun[0][1]["run"], begun[2 * seeds][1]["run"]
    before = proposals(first.storage, "search")
    for run in (ended, open_):
        results.Slot(first.storage, "search", f"z-{run}", kind="forgotten").extend({"events": [forget_row(run)]})
    gone = forgotten(first.storage, "search")
    again = Search(tmp_path, heard := Heard(), samples=4, seeds=seeds, gone=gone)
    again.run()
    assert heard.begun == ([1, 3] if seeds == 1 else [0, 1, 2, 3])
    assert set(heard.scores) == set(heard.begun)
    assert all(math.isfinite(value) for value in heard.scores.values())
    assert open_ not in set(results.outcomes(first.storage, "search")["run"])
    assert again.supply.left(0) == 0
    assert proposals(first.storage, "search")[: len(before)] == before
    assert [one.number for one in proposals(first.storage, "search")] == [0, 1, 2, 3]


def forget_row(run: str) -> dict:
    row = {"experiment": "search", "run": run, "attempt": "z", "tick": 0, "kind": "forget", "why": "a fault"}
    return row | {"detail": "{}", "time": datetime.now(UTC)}


def test_proposals_beyond_fewer_samples_are_left_out(tmp_path: Path):
    """A search of which a limit was reached: the configurations that it had begun are all that it has."""
    first = Search(tmp_path, Drawn(lambda number: {"model.beta": 0.1 * (1 + number)}), samples=9)
    for _ in range(2):
        trial, told = first.begin()
        first.searcher.on_trial_complete(trial, first.write(told))
    assert len(proposals(first.storage, "search")) == 9
    again = Search(tmp_path, Drawn(lambda number: {"model.beta": 0.1 * (1 + number)}), samples=2)
    assert (again.left, again.supply.count) == (0, 2)
    grown = Search(tmp_path, Drawn(lambda number: {"model.beta": 0.1 * (1 + number)}), samples=9)
    assert (grown.left, grown.supply.count) == (7, 9)


def test_an_equal_proposal_keeps_its_number_and_more_seeds_go_on_record(tmp_path: Path):
    def listed() -> Sampler:
        return Listed([{"model.beta": 2.0}, {"model.beta": 2.0}, {"model.beta": 3.0}])

    Search(tmp_path, listed(), 3, seeds=2).run()
    before = proposals(results.Storage(str(tmp_path)), "search")
    assert [one.number for one in before] == [0, 1, 2]
    assert before[0].runs == before[1].runs
    again = Search(tmp_path, listed(), 3, seeds=3)
    after = proposals(again.storage, "search")
    assert [len(one.runs) for one in after] == [3, 3, 3]
    assert again.left == 2
    again.run()
    assert len(results.outcomes(str(tmp_path), "search")) == 6


def test_while_a_proposal_takes_long_tune_goes_on(tmp_path: Path):
    allowed, heard = threading.Event(), []

    class Slow(Sampler):
        learns = True

        def propose(self, number: int) -> Settings:
            assert number == 0 or allowed.wait(60)
            return {"model.beta": 1.0 + number}

        def learn(self, number: int, score: Score) -> None:
            heard.append((number, score.whole))

    search = Search(tmp_path, Slow(), 3)
    trial, told = search.begin()
    assert search.searcher.suggest("later") is None
    search.searcher.on_trial_complete(trial, search.write(told))
    assert heard == []  # not while the thread is at work with the sampler
    assert search.searcher.suggest("later") is None
    allowed.set()
    search.run()
    assert heard == [(0, True), (1, False), (2, False)]
    assert pickle.loads(pickle.dumps(search.searcher)).__dict__ == {}  # Tune keeps a searcher; its state is the tables
