"""The commands and examples of README.md are run."""

from __future__ import annotations

import dataclasses
import importlib
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from gen.config import Budget, DataConfig, RunConfig, override
from gen.data.dataset import open_dataset
from gen.engine import Home, fit
from gen.results.storage import Storage
from gen.zoo import ZOO, tiny

README = (Path(__file__).parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def block(start: str) -> str:
    (found,) = [text for text in BLOCKS if start in text]
    return found


@pytest.fixture
def demo(judged: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished experiment named demo in `results`, in the working directory."""
    monkeypatch.setenv("GENFLEET_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    judged("results")
    config = override(tiny(ZOO["vqvae"]), {"budget.epochs": 2, "evaluate.full_images": 200})
    for seed in (0, 1):
        seeded = dataclasses.replace(config, seed=seed)
        home = Home(Storage("results"), "demo", "attempt")
        *_, last = fit(seeded, open_dataset(config.data), device=torch.device("cpu"), home=home)
        assert last.ended == "finished"
    return tmp_path


@pytest.mark.slow
def test_the_tables_are_read_as_shown(demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exec(block("pd.read_parquet"), {})
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [row[0] for row in rows[:3]] == ["run", rows[1][0], rows[2][0]]  # a heading, and a row a run
    assert rows[3] == ["best", "model.beta", "model.codebook.codes", "seed"]
    assert {rows[5][0], rows[6][0]} == {rows[1][0], rows[2][0]}
    assert [row[0] for row in rows[9:11]] == ["1.0", "2.0"]  # epochs, with a column a run
    assert rows[13][:3] == ["finished", "2", "4.0"]
    assert [row[0] for row in rows[15:17]] == ["engine/evaluate_seconds", "engine/train_seconds"]
    exec(block("duckdb.sql"), {})
    assert capsys.readouterr().out.count("reconstructions") == 2
    exec(block("results.leaderboard"), {})
    assert "model.codebook.codes" in capsys.readouterr().out
    exec(block("gen.load"), {})
    assert "vqvae 2.0 torch.Size([4, 2, 2]) torch.Size([4, 1, 8, 8])" in capsys.readouterr().out


@pytest.mark.slow
def test_losses_are_compared_as_shown(
    judged: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GENFLEET_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    judged("results")
    for name, entry, objective in (
        ("losses", "gan_mlp", "least_squares"),
        ("losses", "gan_mlp", "hinge"),
        ("wide-saturating", "gan_mlp", "saturating"),
        ("wide-wgan_gp", "wgan_gp_mlp", "wasserstein"),
    ):
        settings = {"model.objective": objective, "budget.epochs": 1, "evaluate.full_images": 100}
        config = override(tiny(ZOO[entry]), settings)
        home = Home(Storage("results"), name, "a")
        list(fit(config, open_dataset(config.data), device=torch.device("cpu"), home=home))
    exec(block('"losses"'), {})
    heading, *rows = capsys.readouterr().out.splitlines()
    assert heading.split() == ["model.objective", "model.penalty", "seed", "frechet_classifier", "recall", "modes"]
    assert [row.split()[:3] for row in rows] == [["hinge", "none", "0"], ["least_squares", "none", "0"]]
    exec(block('"wide-saturating"'), {})
    compared, *entries, best_of, first, second = map(str.split, capsys.readouterr().out.splitlines())
    assert (compared[0], compared[-1], [row[0] for row in entries]) == ("entry", "floor", ["gan_mlp", "wgan_gp_mlp"])
    assert (best_of[:2], first[:2]) == (["experiment", "k"], ["wide-saturating", "1"])
    assert second[:2] == ["wide-wgan_gp", "1"]


@pytest.mark.slow
def test_entries_with_few_labels_are_compared_as_shown(
    judged: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GENFLEET_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    judged("results")
    settings = {"budget.epochs": 1, "evaluate.full_images": 100, "evaluate.metric": "accuracy/images"}
    for config in (ZOO["classifier"], ZOO["sgan"]):
        for labels, seed in ((20, 0), (20, 1), (50, 0)):
            few = {"data.labels": labels, "data.label_seed": seed, "seed": seed}
            one = override(config, settings | few)
            home = Home(Storage("results"), "labels", "a")
            list(fit(one, open_dataset(one.data), device=torch.device("cpu"), home=home))
    exec(block('"labels"'), {})
    heading, *rows = capsys.readouterr().out.splitlines()
    names = heading.split()
    shown = [dict(zip(names, row.split(), strict=True)) for row in rows]
    assert [(row["entry"], row["data.labels"], row["configurations"], row["left_out"], row["n"]) for row in shown] == [
        (entry, labels, "1", "0", n) for entry in ("classifier", "sgan") for labels, n in (("20", "2"), ("50", "1"))
    ]


def test_the_model_in_one_file_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "readme_autoencoder.py").write_text(block("class Autoencoder"))
    monkeypatch.syspath_prepend(tmp_path)
    module: Any = importlib.import_module("readme_autoencoder")
    config = RunConfig("autoencoder", "autoencoder", module.Autoencoder.Config(), budget=Budget(epochs=5))
    ticks = list(fit(config, open_dataset(DataConfig("digits"), cache=str(tmp_path)), device=torch.device("cpu")))
    assert ticks[-1].evals["mse/reconstructions"] < 0.8 * ticks[0].evals["mse/reconstructions"]


@pytest.mark.slow
def test_gen_alone_trains_as_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GENFLEET_CACHE", str(tmp_path))
    monkeypatch.setitem(ZOO, "vae_mlp", override(ZOO["vae_mlp"], {"budget.epochs": 2}))
    exec(block("for tick in fit"), {})
    assert capsys.readouterr().out.count("bound/images") == 2


LINES = sorted(set(re.findall(r"^ *(?:ray job submit .*?-- )?python -m jobs\.(\w+ .*)$", README, re.MULTILINE)))
STORED = ("--replay", "--stage-one", "evaluate.features=inception")  # what is read before anything starts
PLACES = r"s3://bucket/results|\$STORAGE|(?<= )/data\b"  # a bucket's would ask the network
ORIGINALS = ("MNIST/raw/train-images-idx3-ubyte", "cifar-10-batches-py/data_batch_1", "tiny-imagenet-200/words.txt")
IMAGES = ("a.png", "trainA/a.png", "trainB/a.png", "testA/a.png", "testB/a.png")


@pytest.mark.parametrize("line", LINES)
def test_the_lines_are_understood(line: str, tmp_path: Path) -> None:
    """A dry run looks whether there are originals; of what needs more, and of other jobs, the options are known."""
    for name in (*ORIGINALS, *IMAGES):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    line = re.sub(r"(images|unpaired):\S+", rf"\1:{tmp_path}", re.sub(PLACES, str(tmp_path), line))
    job, *arguments = shlex.split(line)
    main = importlib.import_module(f"jobs.{job}").main
    if job in ("train", "tune") and not any(word in arguments for word in STORED):
        result = CliRunner().invoke(main, [*arguments, "--dry-run"])
        assert result.exit_code == 0, result.output
    elif job != "bench":
        known = {name for option in main.params for name in option.opts}
        assert {text for text in arguments if text.startswith("--")} <= known


def test_there_are_lines_to_check() -> None:
    assert len(LINES) > 30
    assert len(BLOCKS) == 9
