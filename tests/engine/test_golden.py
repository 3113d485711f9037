"""What must not change unseen: the identities of the zoo's entries, the meaning of their settings, and their losses.

`tests/fixtures/golden.json` holds what each entry logged in its second epoch when it was new, the oldest ones before
settings became variants (tiny, on digits, one thread). Where round-off grows in two epochs to more than a change of the
code would make, on another processor, they are of training in float64. If a test here fails, runs that users have on
record would be strangers, or train differently.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gen.config import flat, identity, override
from gen.config.variants import uncommon
from gen.data.dataset import Dataset
from gen.engine.fit import fit
from gen.judge import Judge
from gen.results.added import ADDED
from gen.zoo import ZOO, tiny

GOLDEN: dict[str, dict[str, Any]] = json.loads((Path(__file__).parents[1] / "fixtures" / "golden.json").read_text())


@pytest.mark.parametrize("entry", GOLDEN)
def test_an_entry_is_the_run_that_it_was(entry: str) -> None:
    assert identity(ZOO[entry], "data") == GOLDEN[entry]["identity"]


@pytest.mark.parametrize("entry", GOLDEN)
def test_settings_mean_what_they_meant(entry: str) -> None:
    """Defaults are left out of an identity, so they may not change; new settings may come, at their defaults."""
    settings, golden = flat(ZOO[entry]), GOLDEN[entry]["settings"]
    assert {key: settings[key] for key in golden} == golden
    assert not (settings.keys() - golden.keys()) & uncommon(ZOO[entry]).keys()


@pytest.mark.parametrize("entry", GOLDEN)
def test_what_came_later_is_told_by_the_tables(entry: str) -> None:
    """Runs that an earlier version began are of one configuration with those that this one trains."""
    later = {key: value for key, value in flat(ZOO[entry]).items() if key not in GOLDEN[entry]["settings"]}
    assert later == {key: ADDED.get(key) for key in later}


@pytest.mark.parametrize("entry", GOLDEN)
def test_losses_are_what_they_were(
    entry: str, digits: Dataset, fitting: Callable[[str], Dataset], judging: Callable[[Dataset], Judge]
) -> None:
    """To round-off: other processors add in other orders. More may be logged now."""
    settings = {"budget.epochs": 2, "evaluate.images": 60, "evaluate.full": "none", "train.batch": 32}
    settings |= {"train.precision": GOLDEN[entry].get("precision", "float32")}
    few = fitting(entry)
    dataset = digits if few.shape == digits.shape else few  # enlarged, or a fixture with other columns
    ticks = list(fit(override(tiny(ZOO[entry]), settings), dataset, device=torch.device("cpu"), judge=judging(dataset)))
    golden = GOLDEN[entry]["metrics"]
    assert {name: ticks[-1].metrics[name] for name in golden} == pytest.approx(golden, rel=1e-4, abs=1e-6)
