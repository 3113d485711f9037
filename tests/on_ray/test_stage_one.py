"""Searches over priors: trials of one process, and runs on several workers, find the codes computed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from gen import results
from gen.config import identity, override
from gen.data.dataset import Dataset
from gen.distributed.workers import Workers
from gen.engine import Home, fit, stage_one
from gen.on_ray.submission import Order
from gen.record.names import note, write_note
from gen.results import Storage
from gen.zoo import ZOO, tiny
from jobs import sample, train, tune
from jobs.runs import on_first_stage
from tests.fixtures.pair import Pair
from tests.on_ray.test_resident import Slot

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
SMALL = {"budget.epochs": 1, "evaluate.images": 60, "evaluate.full_images": 80, "train.batch": 64}


@pytest.fixture(autouse=True)
def data(monkeypatch: pytest.MonkeyPatch, digits: Dataset, cache: str) -> None:
    monkeypatch.setenv("GENFLEET_CACHE", cache)


@pytest.fixture(scope="module")
def storage(digits: Dataset, judged: Callable, tmp_path_factory: pytest.TempPathFactory) -> Storage:
    """A storage with two experiments: "first" has a trained VQ-VAE, "other" a VAE."""
    storage = Storage(judged(tmp_path_factory.mktemp("storage")))
    for name, entry in (("first", "vqvae"), ("other", "vae_mlp")):
        config = override(tiny(ZOO[entry]), SMALL).resolve()
        write_note(storage, name, note(config, digits.hash, job="train"))
        for _ in fit(config, digits, device=CPU, home=Home(storage, name, results.new_attempt())):
            pass
    return storage


def test_trials_of_a_search_share_the_codes(
    storage: Storage, digits: Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GENFLEET_CACHE", str(tmp_path))  # without any codes
    base = override(on_first_stage(tiny(ZOO["vqvae_vae"]), storage, "first"), SMALL)
    computed, build = [], stage_one.build
    monkeypatch.setattr(stage_one, "build", lambda folder, *more: computed.append(folder) or build(folder, *more))
    slot = Slot(storage, "search", [override(base, {"model.beta": beta}) for beta in (0.5, 1.0, 2.0)], digits.hash)
    for trial in range(3):
        slot.finish(trial)
    slot.resident.cleanup()  # type: ignore[union-attr]
    assert len(computed) == 1
    ends = results.outcomes(storage, "search")
    assert list(ends["status"]) == ["finished"] * 3


def train_one(workers: Workers, order: Order, cache: str) -> None:
    """A worker's share of a run, as Ray Train's function has it, without Ray."""
    home = Home(order.storage, order.experiment, order.attempt)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENFLEET_CACHE", cache)
        for _ in fit(order.config, order.dataset(order.config, CPU), device=CPU, workers=workers, home=home):
            pass


def test_a_prior_s_run_on_two_workers_and_its_pictures(
    pair: Pair, storage: Storage, digits: Dataset, cache: str, tmp_path: Path
) -> None:
    base = override(tiny(ZOO["vqvae_pixelcnn"]), {**SMALL, "machine.workers": 2})
    config = on_first_stage(base, storage, "first").resolve()
    write_note(storage, "prior", note(config, digits.hash, job="train"))
    facts = {"code_version": "", "packages": "{}"}
    order = Order(
        config=config,
        run=identity(config, digits.hash),
        storage=storage,
        experiment="prior",
        attempt=results.new_attempt(),
        data_hashes={config.data: digits.hash},
        data_root=None,
        download=False,
        facts=facts,
    )
    pair.run(train_one, order, cache)
    (end,) = results.outcomes(storage, "prior").to_dict("records")
    assert end["status"] == "finished"
    arguments = ["--storage", storage.place, "--name", "prior", "--out", str(tmp_path), "--device", "cpu"]
    drawn = CliRunner().invoke(sample.main, arguments)
    assert drawn.exit_code == 0, drawn.output
    kinds = ("fakes", "classes")
    assert {path.name for path in tmp_path.iterdir()} == {f"prior-{end['run']}-{kind}.png" for kind in kinds}


CASES = {
    "no first stage": (train, ["--entry", "vqvae_pixelcnn"], "a prior needs a trained first stage; name its run by"),
    "no prior": (
        train,
        ["--entry", "vae_mlp", "--stage-one", "first"],
        "vae_mlp has no first stage; leave --stage-one",
    ),
    "no such": (train, ["--entry", "vqvae_gmm", "--stage-one", "none"], "stage-one='none' names no one run"),
    "no such run": (train, ["--entry", "vqvae_gmm", "--stage-one", "first/0"], "stage-one='first/0' names no run"),
    "no run": (train, ["--entry", "vqvae_gmm", "--stage-one", "first/"], "; runs with weights: "),
    "no such experiment": (train, ["--entry", "vqvae_gmm", "--stage-one", "none/0"], "; experiments: first, other"),
    "outside": (train, ["--entry", "vqvae_gmm", "--stage-one", "../first"], "; experiments: first, other"),
    "nothing": (train, ["--entry", "vqvae_gmm", "--stage-one", ""], "stage-one='' names no one run"),
    "no codes": (train, ["--entry", "vqvae_gmm", "--stage-one", "other"], "is of vae_mlp, which has no codes"),
    "other data": (train, ["--entry", "vqvae_vae", "--stage-one", "first", "--size", "12"], "was trained on data of"),
    "a setting": (
        train,
        ["--entry", "vqvae_vae", "--stage-one", "first", "--set", "model.stage_one.hash=0"],
        "name another run by --stage-one",
    ),
    "search, no first stage": (tune, ["--entry", "vqvae_gmm"], "a prior needs a trained first stage; name its run by"),
    "searched": (
        tune,
        ["--entry", "vqvae_gmm", "--stage-one", "first", "--search", "model.stage_one.model.networks.hidden=8,16"],
        "name another run by --stage-one",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_refusals_are_one_line_and_start_nothing(case: str, storage: Storage) -> None:
    job, arguments, expected = CASES[case]
    before = storage.folders("")
    result = CliRunner().invoke(job.main, [*arguments, "--storage", storage.place, "--name", "refused"])
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert expected in result.stderr
    assert result.stderr.count("\n") == 1
    assert storage.folders("") == before


def test_a_run_is_found_by_its_id_alone(storage: Storage) -> None:
    (row,) = results.outcomes(storage, "first").to_dict("records")
    for name in ("first", f"first/{row['run']}", row["run"]):
        arguments = ["--entry", "vqvae_gmm", "--stage-one", name, "--storage", storage.place, "--dry-run"]
        result = CliRunner().invoke(train.main, arguments)
        assert result.exit_code == 0, result.output
        assert f'"run": "{row["run"]}"' in result.stdout
