"""Which runs of a search are measured in full, and which rows that writes: on real tables, in this process."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
import torch

from gen import results
from gen.config import RunConfig, identity, override
from gen.data.dataset import Dataset, open_dataset
from gen.distributed.workers import ALONE
from gen.engine.fit import SPLITS, fit
from gen.judge import Judge, floor
from gen.on_ray.leaders import best_weights, leaders
from gen.on_ray.scoring import Wanted, score, score_worker
from gen.on_ray.spending import account_of
from gen.record import history
from gen.record.floors import measure_floors, record
from gen.record.later import of_attempt, on_record
from gen.record.record import Home
from gen.report import first as first_screen
from gen.report.facts import facts
from gen.report.spending import spent
from gen.results.floor import lacking
from gen.results.ledger import Slot
from gen.results.ranking import device_seconds
from gen.results.schema import FULL_SHARE
from gen.results.storage import Storage
from gen.results.survey import survey
from gen.zoo import ZOO, tiny
from jobs.board import footing
from jobs.stored import missing
from tests.results.example_rows import begin, outcome_row

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
SMALL = {"budget.epochs": 2, "evaluate.images": 60, "evaluate.full_images": 80, "evaluate.importance_samples": 2}


def searched(
    place: Path, dataset: Dataset, judge: Judge, entry: str = "vae_mlp", cut: bool = False, **settings: Any
) -> dict[str, RunConfig]:
    """Four runs by name, of as many configurations, of which the last is stopped after an epoch. `cut`: each goes on
    after it in a new process."""
    base = override(tiny(ZOO[entry]), {**SMALL, "evaluate.full": "leaders", **settings})
    runs = {}
    for seed in range(4):
        config = override(
            base, {"seed": seed, "train.batch": 32 + seed}
        ).resolve()  # each of a configuration of its own
        runs[identity(config, dataset.hash)] = config
        home = Home(Storage(str(place)), "search", "a", keep_last=False)
        ticks = fit(config, dataset, device=CPU, judge=judge, home=home)
        next(ticks)
        if cut:
            ticks.close()
            ticks = fit(config, dataset, device=CPU, judge=judge, home=replace(home, report_again=True))
            next(ticks)
        if seed == 3:
            ticks.send("enough")
        else:
            next(ticks)
        ticks.close()
    return runs


def wanted(place: Path, runs: dict[str, RunConfig]) -> Wanted:
    storage = Storage(str(place))
    best = best_weights(storage, "search", leaders(storage, "search", runs), runs)
    return Wanted(storage, "search", best, SPLITS, 0, (), None, False)


@pytest.fixture
def digits_by_name(monkeypatch: pytest.MonkeyPatch, cache: str) -> Dataset:
    monkeypatch.setenv("GENFLEET_CACHE", cache)
    return open_dataset(ZOO["vae_mlp"].data)


@pytest.mark.parametrize("most", [1, 2, 10])
def test_leaders_are_the_best_that_finished(most: int, digits: Dataset, judge: Judge, tmp_path: Path) -> None:
    assert leaders(Storage(str(tmp_path)), "search", {}) == []
    runs = searched(tmp_path, digits, judge, **{"evaluate.leaders": most})
    ends = results.outcomes(str(tmp_path), "search")
    finished = ends[ends["status"] == "finished"].sort_values("best")
    assert leaders(Storage(str(tmp_path)), "search", runs) == list(finished["run"])[:most]
    assert len(finished) == 3


def test_leaders_are_whole_configurations_by_their_means(tmp_path: Path) -> None:
    """The best run of all is a lucky seed, and a configuration that lost one comes behind those that are whole."""
    storage = Storage(str(tmp_path))
    values = {"lucky": [0.1, 0.9, 0.8], "best": [0.3, 0.35, 0.25], "lossy": [0.2, None, 0.22], "next": [0.4, 0.45]}
    for rate, (name, of) in enumerate(values.items()):
        for seed, best in enumerate(of):
            ledger = results.Ledger(storage, "search", f"{name}{seed}", "a")
            begin(ledger, seed, [("model.rate", float(rate), str(rate)), ("seed", float(seed), str(seed))])
            status = "failed" if best is None else "finished"
            ledger.add("outcomes", 1, **outcome_row(1, best=best, status=status, checkpoint="weights"))
            ledger.close(1)

    def chosen(most: int) -> list[str]:
        config = override(ZOO["vae_mlp"], {"evaluate.full": "leaders", "evaluate.leaders": most})
        return leaders(storage, "search", {f"{name}{seed}": config for name in values for seed in range(3)})

    best, following = ["best2", "best0", "best1"], ["next0", "next1"]
    assert chosen(1) == chosen(3) == best
    assert chosen(4) == chosen(5) == [*best, *following]
    assert chosen(6) == [*best, *following, "lucky0", "lucky2", "lucky1"]
    assert chosen(99) == [*chosen(6), "lossy0", "lossy2"]
    for table in ("runs", "settings"):
        (file,) = (tmp_path / "search" / table).glob("*best2*")
        file.unlink()
    assert chosen(1) == ["best2"]  # nobody knows its configuration any more
    assert chosen(3) == ["best2", "best0", "best1"]
    with pytest.raises(ValueError, match=r"runs of search lacks best2, of which there are weights; .* --mend makes"):
        best_weights(storage, "search", chosen(1), {})


def test_nothing_is_measured_in_full_before_and_all_of_the_leaders_once(
    digits_by_name: Dataset, judge: Judge, tmp_path: Path
) -> None:
    storage = Storage(str(tmp_path))
    runs = searched(tmp_path, digits_by_name, judge, **{"evaluate.leaders": 2})
    assert results.evals(storage, "search", scope="best").empty
    assert results.samples(storage, "search").empty
    assert results.leaderboard(storage, "search")["rank"].isna().all()
    asked = wanted(tmp_path, runs)
    said = measure(asked, "a")
    assert len(said) == 2 * len(set(said)), "of each run the same is said"
    assert any(one.startswith("frechet_classifier, kid, kid_spread, precision and 8 more of 80 fakes") for one in said)
    assert {one.rpartition(", ")[2] for one in said} == {"validation", "test", "pictures"}
    board = results.leaderboard(storage, "search")
    assert set(board["run"][:2]) == {one.run for one in asked.stored}
    assert board["rank"].notna().sum() == 2
    assert set(results.evals(storage, "search", scope="best")["split"]) == {"validation", "test"}
    assert set(results.samples(storage, "search")["kind"]) == {"fakes", "reconstructions"}
    ends = results.outcomes(storage, "search").set_index("run")["seconds"]
    taken = results.metrics(storage, "search", name="evaluate/seconds").set_index("run")["value"]
    assert (taken > 0).all()
    for run in taken.index:  # what it took is in the run's cost
        assert board.set_index("run")["seconds"][run] == pytest.approx(ends[run] + taken[run])
    shares = results.metrics(storage, "search", name=FULL_SHARE).set_index("run")["value"]
    assert set(shares.index) == set(taken.index)
    for run, share in shares.items():
        assert share == pytest.approx(taken[run] / (ends[run] + taken[run]))
    again = wanted(tmp_path, runs)
    assert {one.run: one.cost for one in again.stored} == board.set_index("run")["seconds"][taken.index].to_dict()
    known = on_record(storage, "search")
    assert all(score(asked, one, known, CPU, ALONE) == {} for one in asked.stored)  # and never again


def test_the_floor_of_each_protocol_is_on_record_once_and_given_with_the_ranking(
    digits_by_name: Dataset, judge: Judge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = Storage(str(tmp_path))
    runs = searched(tmp_path, digits_by_name, judge, **{"evaluate.leaders": 1})
    asked = wanted(tmp_path, runs)
    full = results.evals(storage, "search", scope="best")
    assert lacking(storage, "search", full) == {}  # nothing is measured in full yet
    measure(asked, "a")
    full = results.evals(storage, "search", scope="best")
    assert results.leaderboard(storage, "search", metric="frechet/fakes").attrs["floor"] is None
    (one,) = asked.stored
    first = lacking(storage, "search", full)
    assert {(of.split, of.column, of.n_fake, run) for of, run in first.items()} == {
        (split, "image", 80, one.run) for split in SPLITS
    }
    slot, said = Slot(storage, "search", "a-floors", kind="evaluated"), list[str]()
    others = [replace(of, features_hash="of other features") for of in first]
    assert list(measure_floors(storage, "search", others, judge, 2.0, tell=said.append)) == []
    assert said == [], "who has those features measures them"
    cost, paid = device_seconds(storage, "search"), account_of(storage, "search", 1.0)
    assert cost == pytest.approx(results.leaderboard(storage, "search")["seconds"].sum())
    assert cost == pytest.approx(paid.total_seconds + paid.measuring)
    for rows in measure_floors(storage, "search", first, judge, 2.0, tell=said.append):
        record(slot, "a", rows)
    assert said == ["floor of at most 80 real images, validation", "floor of at most 80 real images, test"]
    assert lacking(storage, "search", full) == {}
    # what it cost is in what the search has spent
    told = results.events(storage, "search", kind="floor")["detail"].map(json.loads)
    costs = {detail["split"]: detail for detail in told}
    taken = sum(detail["seconds"] * detail["devices"] for detail in costs.values())
    assert taken > 0
    assert device_seconds(storage, "search") == pytest.approx(cost + taken)
    assert account_of(storage, "search", 1.0).measuring == pytest.approx(paid.measuring + taken)
    told_by_page = facts(storage, ["search"])
    assert spent(told_by_page.first).device_seconds == pytest.approx(cost + taken)
    assert "of the device time for the floor" in first_screen.section(told_by_page).html
    last = costs[SPLITS[-1]]
    assert last["share"] == pytest.approx(2 * last["seconds"] / (cost + taken))
    for split in SPLITS:
        figures = {figure.metric: figure for figure in floor(judge, split, 80)}
        for metric in ("frechet_classifier", "kid", "precision"):
            board = results.leaderboard(storage, "search", metric=f"{metric}/fakes", split=split)
            found = board.attrs["floor"]
            assert found["value"] == pytest.approx(figures[metric].value, rel=1e-6)
            assert {name: found[name] for name in figures[metric].row()} == {
                **figures[metric].row(),
                "value": found["value"],
            }
            table = results.compare(storage, "search", by="entry", metric=f"{metric}/fakes", split=split)
            assert table.attrs["floor"] == found
            assert (
                f"floor: {found['value']:.6g}, of 80 real held-out images in the place of fakes; "
                f"{found['seconds']:.1f} s, {found['share']:.1%} of what the experiment had cost"
            ) in footing(board, 9)
        assert results.leaderboard(storage, "search", split=split).attrs["floor"] is None  # a bound has none
    assert set(results.events(storage, "search", kind="floor")["run"]) == {""}
    # jobs.evaluate measures the floor of what it adds, once
    monkeypatch.setattr("ray.train.torch.get_device", lambda: CPU)
    for metrics in (("frechet_classifier",), ("kid",)):
        more = replace(asked, images=60, splits=("test",), metrics=metrics)
        score_worker({"wanted": more, "attempt": f"a-{metrics[0]}", "queue": SimpleQueue()})
        name = f"{metrics[0]}/fakes"
        floor_of_added = results.leaderboard(storage, "search", metric=name, split="test", n_fake=60).attrs["floor"]
        assert (floor_of_added["n_fake"], floor_of_added["metric"]) == (60, metrics[0])
    attempts = results.events(storage, "search", kind="floor")["attempt"]
    assert set(attempts) == {"a", "a-frechet_classifier"}
    assert survey(storage, "search").faults() == []


@pytest.mark.parametrize("before", ["none", "leaders"])
def test_all_that_finished_are_measured_where_that_is_asked_for_by_now(
    before: str, digits_by_name: Dataset, judge: Judge, tmp_path: Path
) -> None:
    storage = Storage(str(tmp_path))
    runs = searched(tmp_path, digits_by_name, judge, **{"evaluate.leaders": 1, "evaluate.full": before})
    if before == "leaders":
        measure(wanted(tmp_path, runs), "a")
    now = {run: override(config, {"evaluate.full": "all"}) for run, config in runs.items()}
    assert {identity(config, digits_by_name.hash) for config in now.values()} == set(runs)
    finished = results.outcomes(storage, "search").query("status == 'finished'")
    asked = wanted(tmp_path, now)
    assert [one.run for one in asked.stored] == list(finished.sort_values("best")["run"])
    assert len({run for run, _ in missing(asked)}) == (3 if before == "none" else 2)
    measure(asked, "b")
    assert list(missing(asked)) == []
    board = results.leaderboard(storage, "search")
    assert board["rank"].notna().sum() == 3
    evals = results.evals(storage, "search", scope="best")
    assert not evals.duplicated(["run", "protocol"]).any()
    assert not results.samples(storage, "search").duplicated(["run", "tick", "kind"]).any()


def test_a_run_below_its_floor_is_no_leader_and_among_all(digits: Dataset, judge: Judge, tmp_path: Path) -> None:
    floor = {"evaluate.floor": "active_units/images", "evaluate.least": 99.0}
    runs = searched(tmp_path, digits, judge, **{"evaluate.full": "none", **floor})
    assert wanted(tmp_path, runs).stored == []
    now = {run: override(config, {"evaluate.full": "all"}) for run, config in runs.items()}
    assert len(wanted(tmp_path, now).stored) == 3


@pytest.mark.parametrize("cut", [False, True])
def test_of_a_game_every_grid_of_the_leaders_is_stored_and_of_other_runs_none(
    cut: bool, digits_by_name: Dataset, judge: Judge, tmp_path: Path
) -> None:
    settings = {"evaluate.leaders": 1, "budget.checkpoint_seconds": 0.0 if cut else 99.0}
    storage = Storage(str(tmp_path))
    runs = searched(tmp_path, digits_by_name, judge, "gan_mlp_small", cut=cut, **settings)
    assert results.samples(storage, "search").empty
    ends = results.outcomes(storage, "search").set_index("run")["status"]
    finished = {f"{run}.parquet" for run in ends.index[ends == "finished"]}
    assert set(storage.list("search/_history")) == finished
    (leader,) = wanted(tmp_path, runs).stored
    measure(wanted(tmp_path, runs), "a")
    grids = results.samples(storage, "search")
    assert list(grids["run"]) == [leader.run] * 2
    assert sorted(grids["tick"]) == [1, 2]
    drawn = grids.set_index("tick")["png"].to_dict()
    every = searched(tmp_path / "asked", digits_by_name, judge, "gan_mlp_small", **settings, **{"evaluate.pictures": 1})
    asked = results.samples(str(tmp_path / "asked"), "search")
    same = next(run for run, config in every.items() if config.seed == leader.config.seed)
    assert drawn == asked[asked["run"] == same].set_index("tick")["png"].to_dict()
    measure(wanted(tmp_path, runs), "b")
    assert len(results.samples(storage, "search")) == 2
    history.forget_all(storage, "search", runs)
    assert storage.list("search/_history") == []


def measure(asked: Wanted, attempt: str) -> list[str]:
    """As `measure_leaders` does, in this process; what is said meanwhile."""
    said = list[str]()
    known = on_record(asked.storage, "search")
    slot = Slot(asked.storage, "search", f"{attempt}-leaders", kind="evaluated")
    for one in asked.stored:
        slot.extend(of_attempt(score(asked, one, known, CPU, ALONE, pictures=True, tell=said.append), attempt))
    return said
