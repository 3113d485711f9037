"""`gen.load`: the trained model of a stored run, ready for use."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import gen
from gen.capabilities import Conditional, Encodes, Imitates, Quantises, Reconstructs, Translates, has
from gen.config import override
from gen.data.dataset import Dataset
from gen.engine.fit import fit
from gen.engine.load import Trained
from gen.judge import Judge
from gen.record.record import Home
from gen.results.storage import Storage
from gen.zoo import ZOO, tiny

CPU = torch.device("cpu")


def train(entry: str, dataset: Dataset, judge: Judge, place: Path, seed: int = 0) -> None:
    settings = {"budget.epochs": 1, "evaluate.images": 60, "evaluate.full": "none", "seed": seed}
    config = override(tiny(ZOO[entry]), settings)
    home = Home(Storage(str(place)), "experiment", "attempt")
    assert list(fit(config, dataset, device=CPU, judge=judge, home=home))[-1].ended == "finished"


@pytest.mark.slow
@pytest.mark.parametrize("entry", ZOO)
def test_a_stored_run_does_what_its_model_can(
    entry: str, fitting: Callable[[str], Dataset], judging: Callable[[Dataset], Judge], tmp_path: Path
) -> None:
    dataset = fitting(entry)
    train(entry, dataset, judging(dataset), tmp_path)
    trained = gen.load(str(tmp_path), "experiment")
    assert (trained.config.entry, trained.shape, trained.epoch) == (entry, dataset.shape, 1.0)
    assert not trained.model.training
    model, size = trained.model, dataset.shape.size
    label = 3 if has(model, Conditional) else None
    images = torch.zeros(5, 1, size, size)
    for capable, use in (
        (has(model, Imitates) and not has(model, Translates), lambda: trained.imitate(5, label)),
        (has(model, Reconstructs) and "image" in model.reconstructed, lambda: trained.reconstruct(images, label)),
    ):
        if capable:
            assert use().shape == images.shape
            assert use().abs().max() <= 1
        else:
            with pytest.raises(ValueError, match=f"{entry} .*; it can"):
                use()
    if has(model, Quantises) or has(model, Encodes):
        assert len(trained.encode(images, label)) == 5
    if label is not None:
        with pytest.raises(ValueError, match="is conditional: say label=, 0 to 9"):
            trained.imitate(5)
        with pytest.raises(ValueError, match="label=10 is out of range; allowed: 0 to 9"):
            trained.imitate(5, 10)


def test_the_best_run_is_the_one_that_steered_best(digits: Dataset, judge: Judge, tmp_path: Path) -> None:
    for seed in range(3):
        train("vae_mlp", digits, judge, tmp_path, seed)
    found = [
        gen.load(str(tmp_path), "experiment", path.name) for path in (tmp_path / "experiment/_checkpoints").iterdir()
    ]
    best = gen.load(str(tmp_path), "experiment")
    assert best.value == min(one.value for one in found)
    assert best.metric == "bound/images"
    with pytest.raises(ValueError, match=r"run nobody of .* has no stored weights; those that have: ") as error:
        gen.load(str(tmp_path), "experiment", "nobody")
    assert sorted(str(error.value).partition("have: ")[2].split(", ")) == sorted(one.run for one in found)
    with pytest.raises(ValueError, match="images of shape"):
        best.reconstruct(torch.zeros(2, 3, 8, 8))


@pytest.fixture(scope="module")
def conditional(digits: Dataset, judge: Judge, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    place = tmp_path_factory.mktemp("conditional")
    train("cvae", digits, judge, place)
    return gen.load(str(place), "experiment")


@pytest.fixture(scope="module")
def unconditional(digits: Dataset, judge: Judge, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    place = tmp_path_factory.mktemp("unconditional")
    train("vae_mlp", digits, judge, place)
    return gen.load(str(place), "experiment")


@pytest.mark.parametrize(
    ("label", "wrong"),
    [
        ([3], r"label has shape \(1,\), the images are 4"),
        ([0, 1, 2], r"label has shape \(3,\), the images are 4"),
        ([], r"label has shape \(0,\), the images are 4"),
        ([[0, 1, 2, 3]], r"label has shape \(1, 4\), the images are 4"),
        (3.0, "label is torch.float32"),
        (torch.tensor([0.5, 1, 2, 3]), "label is torch.float32"),
        (True, "label is torch.bool"),
        ("three", "label is a str that is no array of numbers"),
        ([0, 1, [2], 3], "label is a list that is no array of numbers"),
        (10, "label=10 is out of range"),
        (-1, "label=-1 is out of range"),
        (torch.tensor([0, 1, 2, 12]), "label=12 is out of range"),
    ],
)
def test_labels_that_do_not_fit_are_refused(label: Any, wrong: str, conditional: Trained) -> None:
    images = torch.zeros(4, 1, 8, 8)
    uses = (conditional.reconstruct, conditional.encode, lambda images, label: conditional.imitate(len(images), label))
    for use in uses:
        with pytest.raises(ValueError, match=f"^{wrong}; allowed: 0 to 9, one .* for all images or one for each$"):
            use(images, label)


def test_a_label_is_one_for_all_or_one_for_each(conditional: Trained) -> None:
    images = torch.rand(4, 1, 8, 8) * 2 - 1
    for_all = conditional.reconstruct(images, 3)
    for labels in ([3, 3, 3, 3], torch.full((4,), 3), np.full(4, 3, np.uint8), torch.tensor(3), np.int64(3)):
        assert torch.equal(conditional.reconstruct(images, labels), for_all)
    for use in (conditional.reconstruct, conditional.encode):
        each = use(images, [0, 1, 2, 3])
        for number in range(4):
            torch.testing.assert_close(each[number], use(images, number)[number])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        mixed = conditional.imitate(4, [0, 1, 2, 3])
        torch.manual_seed(0)
        torch.testing.assert_close(mixed[2], conditional.imitate(4, 2)[2])


def test_a_label_for_a_model_that_knows_none_is_refused(unconditional: Trained) -> None:
    images = torch.zeros(4, 1, 8, 8)
    uses = (unconditional.reconstruct, unconditional.encode, lambda images, label: unconditional.imitate(4, label))
    for use in uses:
        for label in (3, [0, 1, 2, 3]):
            with pytest.raises(ValueError, match=r"^vae_mlp is not conditional, .*; leave label= out$"):
                use(images, label)


@pytest.mark.parametrize("count", [0, -3, 2.5, 4.0, True, "4", None])
def test_a_count_of_fakes_is_a_whole_number_from_one_up(count: Any, unconditional: Trained) -> None:
    with pytest.raises(ValueError, match=rf"^count={count!r} is .*; allowed: at least 1$"):
        unconditional.imitate(count)
    assert len(unconditional.imitate(np.int64(2))) == 2  # type: ignore[arg-type]


EIGHT_BITS = torch.arange(256, dtype=torch.uint8)[:64].view(1, 1, 8, 8)


@pytest.mark.parametrize(
    ("images", "wrong"),
    [
        (EIGHT_BITS, r"images are torch.uint8"),
        (EIGHT_BITS.long(), r"images are torch.int64"),
        (EIGHT_BITS.float(), r"images go from 0 to 63"),
        (torch.full((1, 1, 8, 8), torch.nan), r"images go from nan to nan"),
        (torch.zeros(2, 3, 8, 8), r"images of shape \(2, 3, 8, 8\) do not fit"),
        (torch.zeros(1, 8, 8), r"images of shape \(1, 8, 8\) do not fit"),
        (np.zeros((2, 1, 8, 8), np.float32), r"images are a ndarray"),
        ([[0.0]], r"images are a list"),
    ],
)
def test_images_that_are_not_as_the_model_takes_them_are_refused(
    images: Any, wrong: str, unconditional: Trained
) -> None:
    for use in (unconditional.reconstruct, unconditional.encode):
        with pytest.raises(
            ValueError, match=rf"^{wrong}; allowed: a tensor of floats \(N, 1, 8, 8\) in \[-1, 1\]"
        ) as error:
            use(images)
        assert "\n" not in str(error.value)
    assert unconditional.reconstruct(EIGHT_BITS / 127.5 - 1).shape == (1, 1, 8, 8)
    for empty in (unconditional.reconstruct(torch.zeros(0, 1, 8, 8)), unconditional.encode(torch.zeros(0, 1, 8, 8))):
        assert len(empty) == 0


@pytest.mark.slow
def test_it_needs_no_ray(digits: Dataset, judge: Judge, tmp_path: Path) -> None:
    train("vae_mlp", digits, judge, tmp_path)
    program = """
import sys
sys.modules["ray"] = None
import gen
print(tuple(gen.load(sys.argv[1], "experiment").imitate(4).shape))
"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.stdout == "(4, 1, 8, 8)\n", done.stderr
