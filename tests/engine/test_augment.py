"""Augmentation changes what a run trains on, and nothing that it is measured by or shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from gen.config import override
from gen.data.dataset import Dataset
from gen.engine.fit import Tick, fit
from gen.judge import Judge
from gen.record.record import Home
from gen.results import samples
from gen.results.storage import Storage
from gen.zoo import ZOO, tiny


def test_only_training_draws_are_changed(digits: Dataset, judge: Judge, tmp_path: Path) -> None:
    """Networks that stand still are measured and drawn alike, to the bit; their losses in training differ."""

    def run(name: str, **settings: Any) -> Tick:
        still = {"model.optimizer.rate": 0.0, "budget.epochs": 1, "evaluate.images": 60, "evaluate.full_images": 60}
        config = override(tiny(ZOO["vae_mlp"]), {**still, **settings})
        home = Home(Storage(str(tmp_path)), name, "attempt")
        return list(fit(config, digits, device=torch.device("cpu"), judge=judge, home=home))[-1]

    plain, changed = run("plain"), run("changed", **{"data.augment.flip": True, "data.augment.margin": 0.25})
    assert changed.evals == plain.evals
    assert changed.metrics["autoencoder/loss"] != plain.metrics["autoencoder/loss"]
    pictures = [samples(str(tmp_path), name).sort_values("kind")["png"].tolist() for name in ("plain", "changed")]
    assert pictures[0] == pictures[1]
    assert pictures[0]
