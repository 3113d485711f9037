"""`gen.load`: a stored run as a model to use."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import gen
from gen.capabilities import Conditional, Encodes, Imitates, Quantises, Reconstructs, has
from gen.config import override
from gen.data.dataset import Dataset
from gen.engine.fit import fit
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
        (has(model, Imitates), lambda: trained.imitate(5, label)),
        (has(model, Reconstructs), lambda: trained.reconstruct(images, label)),
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
    with pytest.raises(ValueError, match=r"run nobody of experiment experiment .* has no stored weights"):
        gen.load(str(tmp_path), "experiment", "nobody")
    with pytest.raises(ValueError, match="images of shape"):
        best.reconstruct(torch.zeros(2, 3, 8, 8))


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
