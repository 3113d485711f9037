"""The same number as the command `python -m pytorch_fid` on folders of PNGs, with the same file of weights.

The weights are random, with BatchNorm statistics of one pass: the published ones cannot be downloaded everywhere.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gen.data.dataset import Dataset
from gen.judge.networks.inception import open_inception
from gen.metrics.frechet import Reference
from jobs.bench.fid import cifar, mnist, moments, noisy, read_distance, start_command, write_pngs

CPU = torch.device("cpu")
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
COUNT = 256  # images a folder


def by_us(sides: list[NDArray[np.uint8]], home: Path) -> float:
    judge = open_inception(CPU, 64, str(next((home / "hub" / "checkpoints").iterdir())))
    one, other = (moments(judge.features, 64, side, CPU) for side in sides)
    return Reference.of(one.mean(), one.covariance()).distance(other.mean(), other.covariance())


def check(sets: list[NDArray[np.uint8]], home: Path, folder: Path) -> None:
    """Clean against noisy for each set; the commands run side by side, for each takes a core most of its time."""
    pairs = [[clean[: len(clean) // 2], noisy(clean[len(clean) // 2 :])] for clean in sets]
    commands = []
    for number, pair in enumerate(pairs):
        folders = [write_pngs(folder / f"{number}-{kind}", side) for kind, side in zip("ab", pair, strict=True)]
        commands.append(start_command(folders, home, "64", "cpu"))
    found = [by_us(pair, home) for pair in pairs]
    expected = [read_distance(command) for command in commands]
    assert min(expected) > 0.1, "a difference that could go wrong"
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
def test_digits_clean_against_noisy(digits: Dataset, inception_home: Path, tmp_path: Path) -> None:
    check([digits.splits["train"][0]["image"][:144].numpy()], inception_home, tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="no real data beside the repository")
def test_real_images_clean_against_noisy(inception_home: Path, tmp_path: Path) -> None:
    check([load(SHARED, 2 * COUNT) for load in (mnist, cifar)], inception_home, tmp_path)
