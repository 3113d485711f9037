"""Figures: their protocol, their independence of workers and batches, their agreement with plain computations."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from pytorch_fid.fid_score import calculate_frechet_distance

from gen import capabilities
from gen.capabilities import Imitates, Likelihood, Quantises, Reconstructs, Translates, has
from gen.config import override
from gen.data.dataset import Dataset
from gen.data.stream import from_uint8, mixture, rows_of
from gen.distributed.machine import seed
from gen.distributed.workers import ALONE, Workers
from gen.engine.build import build_model
from gen.judge import NOISE, Figure, Judge, shared_classifier
from gen.judge.networks.extractors import Extractor
from gen.metrics.table import is_known, metric
from gen.phase import Model
from gen.pictures import grids
from gen.results.storage import Storage
from gen.zoo import ZOO, tiny
from tests.fixtures.pair import Pair

CPU = torch.device("cpu")


def built(entry: str, dataset: Dataset) -> Model:
    return build_model(override(tiny(ZOO[entry]), {"seed": 3}), dataset, CPU).eval().requires_grad_(False)


def measured(workers: Workers, entry: str, dataset: Dataset, extractor: Extractor) -> list[Figure]:
    judge = Judge(dataset, extractor, CPU, 32, importance=(50, 3))
    return judge.figures(built(entry, dataset), "validation", 130, "raw", workers)


@pytest.mark.parametrize("entry", ZOO)
def test_two_workers_measure_what_one_does(
    entry: str, pair: Pair, fitting: Callable[[str], Dataset], judging: Callable[[Dataset], Judge]
) -> None:
    dataset = fitting(entry)
    judge = judging(dataset)
    alone = measured(ALONE, entry, dataset, judge.extractor)
    for together in pair.run(measured, entry, dataset, judge.extractor):
        assert [figure.row()["protocol"] for figure in together] == [figure.row()["protocol"] for figure in alone]
        for one, other in zip(alone, together, strict=True):
            assert other.value == pytest.approx(one.value, rel=1e-6), one.name


@pytest.mark.parametrize("entry", ZOO)
def test_what_is_logged_by_the_name_of_a_figure_is_that_figure(
    entry: str, fitting: Callable[[str], Dataset], judging: Callable[[Dataset], Judge]
) -> None:
    """So training stands beside validation on one scale."""
    dataset = fitting(entry)
    judge, model = judging(dataset), built(entry, dataset)
    figures = {one.metric: one.value for one in judge.figures(model, "validation", 40, "raw")}
    batch = model.prepare(rows_of(dataset, "validation", torch.arange(40), CPU, torch.float32, mix=True))
    for phase in model.phases():
        seed(CPU, NOISE, 0, 0)  # what the bound's first batch draws
        _, logs = phase.loss(batch)
        named = {name for name in logs if is_known(name) and can_have(model, name)}
        assert named == set(logs) & set(figures)
        for name in named:
            assert logs[name].item() == pytest.approx(figures[name], rel=1e-5), name


def can_have(model: Model, name: str) -> bool:
    """Whether a model can be measured by the metric of this name."""
    return any(has(model, getattr(capabilities, need)) for need in metric(name).needs)


def test_entries_log_by_the_names_of_figures_what_their_capabilities_give(fitting: Callable[[str], Dataset]) -> None:
    """Otherwise the test above compares nothing."""
    logged = {"vae_mlp": "bound distortion rate active_units", "vqvae": "mse perplexity used"}
    logged |= {"vqvae_bn": "bound distortion rate perplexity used", "vqvae_pixelcnn": "code_nats"}
    logged |= {"vqvae_vae": "active_units", "gan_mlp": ""}
    for entry, names in logged.items():
        dataset = fitting(entry)
        model = built(entry, dataset)
        batch = model.prepare(rows_of(dataset, "validation", torch.arange(8), CPU, torch.float32))
        logs = {name for phase in model.phases() for name in phase.loss(batch)[1]}
        assert {name for name in logs if is_known(name) and can_have(model, name)} == set(names.split())


@pytest.mark.parametrize("entry", ZOO)
def test_a_capability_gives_its_figures_and_names_them_beforehand(
    entry: str, fitting: Callable[[str], Dataset], judging: Callable[[Dataset], Judge]
) -> None:
    dataset = fitting(entry)
    judge, model = judging(dataset), built(entry, dataset)
    figures = judge.figures(model, "validation", 100, "raw")
    planned = judge.plan(model, "validation", 10_000, "raw")
    assert list(dict.fromkeys(one.name for one in figures)) == list(dict.fromkeys(one.name for one in planned))
    subjects = {figure.subject for figure in figures}
    assert ("translations" in subjects) == has(model, Translates)
    assert ("fakes" in subjects) == (has(model, Imitates) and not has(model, Translates))
    assert ("reconstructions" in subjects) == has(model, Reconstructs)
    assert {"bound", "rate"} <= {figure.metric for figure in figures} or not has(model, Likelihood)
    assert "perplexity" in {figure.metric for figure in figures} or not has(model, Quantises)
    assert figures == judge.figures(model, "validation", 100, "raw")  # the same noise every time


def test_the_distance_of_fakes_is_that_of_plain_numpy(digits: Dataset, judge: Judge) -> None:
    model = built("gan_mlp", digits)
    (figure,) = judge.figures(model, "validation", 300, "raw", only=["frechet_classifier/fakes"])
    fakes = []
    for index in range(3):
        seed(CPU, NOISE, 1, index)
        fakes.append(model.imitate({"image": torch.zeros(100, 1, 8, 8)})["image"])  # type: ignore[attr-defined]
    rounded = torch.cat(fakes).add(1).mul(127.5).round().div(127.5).sub(1)
    real = from_uint8(digits.splits["validation"][0]["image"], CPU, torch.float32)
    made, true = (judge.extractor.features(images).double().numpy() for images in (rounded, real))
    expected = calculate_frechet_distance(
        made.mean(0), np.cov(made, rowvar=False), true.mean(0), np.cov(true, rowvar=False)
    )
    assert figure.value == pytest.approx(expected, rel=1e-4)
    assert (figure.n_real, figure.n_fake, figure.metric) == (len(real), 300, "frechet_classifier")
    assert figure.features_hash == judge.extractor.weights_hash


def test_the_protocol_sees_all_but_the_value() -> None:
    base = Figure("mse", "reconstructions", 1.0, 10, 10, "validation", "raw")
    other = Figure("mse", "reconstructions", 2.0, 10, 10, "validation", "raw")
    assert base.row()["protocol"] == other.row()["protocol"]
    others = [
        Figure("mse", "reconstructions", 1.0, 10, 11, "validation", "raw"),
        Figure("mse", "reconstructions", 1.0, 10, 10, "test", "raw"),
        Figure("mse", "reconstructions", 1.0, 10, 10, "validation", "ema"),
        Figure("mse", "fakes", 1.0, 10, 10, "validation", "raw"),
    ]
    assert len({figure.row()["protocol"] for figure in (base, *others)}) == 5


def test_the_shared_classifier_is_trained_once(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> None:
    storage = Storage(str(tmp_path_factory.mktemp("shared")))
    first = shared_classifier(digits, storage, CPU)
    (name,) = storage.list("_cache")
    before = storage.get(f"_cache/{name}")
    second = shared_classifier(digits, storage, CPU)
    assert storage.get(f"_cache/{name}") == before
    assert first is not None
    assert second is not None
    assert all(torch.equal(one, other) for one, other in zip(first.parameters(), second.parameters(), strict=True))


@pytest.mark.parametrize("entry", ZOO)
def test_grids_are_pictures_of_the_right_parts(entry: str, fitting: Callable[[str], Dataset]) -> None:
    dataset = fitting(entry)
    model = built(entry, dataset)
    drawn = dict(grids(model, dataset, CPU))
    assert ("translations" in drawn) == has(model, Translates)
    assert ("fakes" in drawn) == (has(model, Imitates) and not has(model, Translates))
    comes_back = has(model, Translates) and has(model, Reconstructs)  # and is the third row of a strip
    assert ("reconstructions" in drawn) == (has(model, Reconstructs) and not comes_back)
    size, rows = dataset.shape.size, 12 if comes_back else 8
    for kind, png in drawn.items():
        column = "image"
        if has(model, Translates):
            column = next(iter(model.sources.values()))
        if kind == "reconstructions" and has(model, Reconstructs):
            column = model.reconstructed[0]
        originals = dataset.column("test", column)
        number = mixture(dataset.length("test"))[0] % len(originals)
        picture = np.asarray(Image.open(io.BytesIO(png)))
        scale = picture.shape[0] // (rows * (size + 1) + 1)  # rows of images, and a line around each
        small = picture[::scale, ::scale]
        left = 1 if kind != "fakes" else small.shape[1] - 8 * (size + 1)
        corner = small[1 : size + 1, left : left + size]
        assert np.array_equal(corner, originals[number, 0].numpy()), kind  # the first real image, where it belongs
