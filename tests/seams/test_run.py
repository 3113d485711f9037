"""Every game, and every entry of the zoo, goes through the whole house: steps, figures, pictures, rows, weights."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pandas
import pytest
from PIL import Image

from gen import results
from gen.capabilities import Classifies, Imitates, Reconstructs, Translates, has
from gen.config import RunConfig, flat, identity
from gen.engine import Tick, fit
from gen.engine.build import build_model
from gen.metrics.table import metric
from gen.phase import Model, Shape
from gen.pictures import choose_kinds
from gen.record import checkpoint
from gen.results.storage import Storage
from gen.zoo import ZOO, restore
from tests.fixtures import tables
from tests.fixtures.games import GAMES
from tests.seams.house import ALL, CPU, EXPERIMENT, data_of, home, judge_of, needs_of, rows, size_of, small, trained

pytestmark = pytest.mark.slow

FIGURES = {  # game -> figures that a run of it must have; the first one steers it
    "conditional_gan": ("frechet_classifier/fakes", "recall/fakes"),
    "denoiser": ("mse/reconstructions", "frechet_rotation/reconstructions", "ssim/reconstructions"),
}
KINDS = {  # game -> the pictures that training stores of it
    "conditional_gan": {"fakes"},
    "denoiser": {"reconstructions"},
}
FEW = tables.few_labelled().columns


@dataclass(frozen=True)
class Ended:
    """A run of two ticks that has come to its end."""

    place: Path
    config: RunConfig
    model: Model  # as it was before
    ticks: list[Tick]

    def best(self, split: str) -> pandas.DataFrame:
        """The figures of its best weights, with the names that settings give them."""
        evals = rows(self.place, "evals")
        evals = evals[(evals["scope"] == "best") & (evals["split"] == split)]
        column = ("/" + evals["column"]).where(evals["column"] != "image", "")
        return evals.assign(name=evals["metric"] + "/" + evals["subject"] + column)


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Ended]:
    """Entry -> its run, which is made once."""

    @cache
    def of(entry: str) -> Ended:
        config, place = small(entry, **{"evaluate.pictures": 1}), tmp_path_factory.mktemp(entry)
        model = build_model(config, data_of(entry), CPU)
        return Ended(place, config, model, trained(entry, config, place))

    return of


@pytest.mark.parametrize("entry", ALL)
def test_a_run_comes_to_its_end_with_an_outcome(entry: str, ended: Callable[[str], Ended]) -> None:
    run = ended(entry)
    assert [tick.tick for tick in run.ticks] == ([1, 2] if run.model.phases() else [1])
    values = [value for tick in run.ticks for value in (*tick.metrics.values(), *tick.evals.values())]
    assert all(math.isfinite(value) for value in values)
    last = run.ticks[-1]
    assert last.ended == "finished"
    (outcome,) = rows(run.place, "outcomes").to_dict("records")
    assert (outcome["status"], outcome["why"], outcome["best"]) == (last.ended, last.why, last.best)
    assert last.evals[outcome["metric"]] == last.value
    assert (run.place / outcome["checkpoint"]).is_file()
    # a picture that could not be drawn would be one; a game of two epochs may be told to have collapsed
    assert set(rows(run.place, "events")["kind"]) <= {"collapse"}


@pytest.mark.parametrize("entry", ALL)
def test_every_column_that_is_made_is_measured_on_both_splits(entry: str, ended: Callable[[str], Ended]) -> None:
    run = ended(entry)
    model, judge = run.model, judge_of(entry)
    imitated = model.imitated if has(model, Imitates) else ()
    reconstructed = model.reconstructed if has(model, Reconstructs) else ()
    wanted = {(column, "translations" if has(model, Translates) else "fakes") for column in imitated}
    wanted |= {(column, "reconstructions") for column in reconstructed}
    assert wanted or has(model, Classifies)  # which needs no image of its own
    for split in ("validation", "test"):
        best = run.best(split)
        assert best["value"].map(math.isfinite).all()
        planned = judge.plan(model, split, run.config.evaluate.full_images, "raw")
        assert sorted(best["protocol"]) == sorted(figure.protocol for figure in planned)
        assert wanted <= set(zip(best["column"], best["subject"], strict=True))
        frechet = best[best["metric"].str.startswith("frechet")].set_index(["column", "subject"])
        for column, subject in wanted:  # against the column's own images; translations are as many as their sources
            translated = has(model, Translates) and subject == "translations"
            source = model.sources[column] if translated else column
            count = min(40, data_of(entry).count(split, source)) if subject != "fakes" else 40
            sizes = frechet.loc[[(column, subject)], ["n_real", "n_fake"]].to_numpy().tolist()
            assert sizes == [[data_of(entry).count(split, column), count]]


@pytest.mark.parametrize("entry", GAMES)
def test_a_game_is_steered_and_ranked_by_its_figures(entry: str, ended: Callable[[str], Ended]) -> None:
    run = ended(entry)
    assert rows(run.place, "outcomes")["metric"].item() == FIGURES[entry][0]
    for name in FIGURES[entry]:
        board = results.leaderboard(str(run.place), EXPERIMENT, name)
        assert (board["rank"].item(), board["entry"].item()) == (1, entry)
        assert board["value"].item() == run.best("validation").set_index("name")["value"][name]
        assert results.leaderboard(str(run.place), EXPERIMENT, name, split="test")["rank"].item() == 1
    curves = results.curves(str(run.place), EXPERIMENT, [FIGURES[entry][0]])
    assert curves[curves["split"] == "validation"]["epoch"].to_list() == [1.0, 2.0]


def test_a_translator_is_steered_by_its_other_column_if_that_is_asked_for(tmp_path: Path) -> None:
    config = small("cyclegan", **{"evaluate.metric": "frechet/translations/b", "evaluate.full": "none"})
    ticks = trained("cyclegan", config, tmp_path)
    costly = [[name for name in tick.evals if metric(name).cost == "features"] for tick in ticks]
    assert costly == [["frechet_rotation/translations/b"]] * 2
    assert rows(tmp_path, "outcomes")["best"].item() == min(tick.value for tick in ticks)


@pytest.mark.parametrize("entry", ALL)
def test_each_tick_stores_the_pictures_that_fit(entry: str, ended: Callable[[str], Ended]) -> None:
    run = ended(entry)
    pictures, kinds = rows(run.place, "samples"), {kind.name for kind in choose_kinds(run.model) if kind.cheap}
    assert set(pictures["kind"]) == kinds
    assert entry not in GAMES or set(pictures["kind"]) == KINDS[entry]
    assert {Image.open(io.BytesIO(png)).format for png in pictures["png"]} == ({"PNG"} if kinds else set())
    assert set(pictures["tick"]) == ({tick.tick for tick in run.ticks} if kinds else set())


@pytest.mark.parametrize("entry", ALL)
def test_the_tables_tell_how_it_was_made(
    entry: str, ended: Callable[[str], Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ZOO, entry, ALL[entry])
    run, dataset = ended(entry), data_of(entry)
    (told,) = rows(run.place, "runs").to_dict("records")
    assert restore(told["config"]) == run.config.resolve()
    assert (told["entry"], told["data_hash"], told["parameters"]) == (entry, dataset.hash, run.model.count_learned())
    assert told["run"] == identity(run.config, dataset.hash)
    assert set(rows(run.place, "settings")["key"]) == set(flat(run.config))


@pytest.mark.parametrize("entry", ALL)
def test_the_stored_weights_give_the_same_figures_again(
    entry: str, ended: Callable[[str], Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model is built of what lies in the checkpoint alone."""
    monkeypatch.setitem(ZOO, entry, ALL[entry])
    run = ended(entry)
    name = identity(run.config, data_of(entry).hash)
    state = checkpoint.load_best(Storage(str(run.place)), EXPERIMENT, name, CPU)
    model = restore(state["config"]).model.build(Shape(*state["shape"]))
    model.load_state_dict(state["weights"])
    figures = judge_of(entry).figures(model.eval(), "test", run.config.evaluate.full_images, "raw")
    stored = run.best("test").set_index("protocol")["value"]
    assert {figure.protocol: figure.value for figure in figures} == stored.to_dict()


@pytest.mark.parametrize("entry", [entry for entry in ALL if size_of(entry) == 8 and needs_of(entry) <= FEW])
def test_it_runs_where_most_images_have_no_label(entry: str, tmp_path: Path) -> None:
    """The table that it learns from is not the longest, and not alone."""
    dataset = data_of(entry, few=True)
    config = small(entry, dataset, **{"evaluate.pictures": 1, "budget.epochs": 1})
    *_, last = fit(config, dataset, device=CPU, home=home(tmp_path))
    assert last.ended == "finished"
    assert set(rows(tmp_path, "events")["kind"]) <= {"collapse"}
    evals = rows(tmp_path, "evals")
    model = build_model(config, dataset, CPU)
    makes = has(model, Imitates) or has(model, Reconstructs)
    assert set(evals["features"].dropna()) == ({"classifier"} if makes else set())  # of the few labels
    assert evals["value"].map(math.isfinite).all()
