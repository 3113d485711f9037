"""jobs.report --nearest: what it measures, stores once, counts, and shows; and what it refuses."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from gen import results
from gen.config import override
from gen.data.dataset import open_dataset
from gen.engine import Home, fit
from gen.results.ranking import costs
from gen.results.schema import LATER_SECONDS, NEARER
from gen.results.storage import Storage
from gen.zoo import ZOO, tiny
from jobs import check, report

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(judged: Callable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Experiments "game", of a GAN with two seeds, and "codes", of a VQ-VAE."""
    place = tmp_path_factory.mktemp("place")
    judged(place / "results")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENFLEET_CACHE", str(place / "cache"))
        for name, entry in (("game", "gan_mlp_small"), ("codes", "vqvae")):
            config = override(tiny(ZOO[entry]), {"budget.epochs": 1, "evaluate.full": "none", "train.batch": 256})
            for seed in range(2 if name == "game" else 1):
                home = Home(Storage(str(place / "results")), name, f"attempt{seed}")
                seeded = dataclasses.replace(config, seed=seed)
                *_, last = fit(seeded, open_dataset(config.data), device=torch.device("cpu"), home=home)
                assert last.ended == "finished"
    return place


@pytest.fixture(autouse=True)
def cache(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENFLEET_CACHE", str(place / "cache"))


def run(place: Path, *arguments: str) -> Result:
    out = ["--out", str(place / "page.html"), *(["--device", "cpu"] if "--nearest" in arguments else [])]
    return CliRunner().invoke(report.main, ["--storage", str(place / "results"), *out, *arguments])


def test_the_nearest_are_measured_once_and_shown(place: Path) -> None:
    storage = Storage(str(place / "results"))
    assert run(place, "--name", "game").exit_code == 0
    assert results.samples(storage, "game", kind="nearest").empty, "nobody asked"
    assert "Are fakes copies of training images?" in (place / "page.html").read_text() or "fakes" not in set(
        results.samples(storage, "game")["kind"]
    )
    before = costs(storage, "game")
    done = run(place, "--name", "game", "--nearest")
    assert done.exit_code == 0, done.output
    stored = results.samples(storage, "game", kind="nearest")
    ((best, png),) = stored[["run", "png"]].to_numpy().tolist()
    text = Image.open(io.BytesIO(png)).text["Description"]
    assert text in done.stdout
    figures = results.metrics(storage, "game", run=best).set_index("name")["value"]
    assert 0 <= figures[NEARER] <= 1
    assert f"{figures[NEARER]:.2f}" in text
    assert costs(storage, "game")[best] == pytest.approx(before[best] + figures[LATER_SECONDS])
    assert figures[LATER_SECONDS] > 0
    again = run(place, "--name", "game", "--nearest")
    assert "are on record" in again.stdout
    assert len(results.samples(storage, "game", kind="nearest")) == 1
    page = (place / "page.html").read_text()
    assert "Fakes beside their nearest training images" in page
    assert text in page
    assert CliRunner().invoke(check.main, ["--storage", str(storage), "--name", "game"]).exit_code == 0


def test_refusals_are_one_line_and_leave_no_page(place: Path) -> None:
    (place / "page.html").unlink(missing_ok=True)
    done = run(place, "--name", "codes", "--nearest")
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1), done.output
    assert "vqvae, which makes no fakes from noise" in done.stderr
    done = run(place, "--name", "game", "--download")
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert "belongs to --nearest" in done.stderr
    with results.Lease(Storage(str(place / "results")), "game"):
        for path in (place / "results" / "game" / "samples").glob("evaluated-*nearest*"):
            path.unlink()
        done = run(place, "--name", "game", "--nearest")
    assert (done.exit_code, done.stderr.splitlines()[-1].startswith("error: ")) == (2, True), done.output
    assert not (place / "page.html").exists()
