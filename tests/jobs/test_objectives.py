"""jobs.tune --metric A --metric B: the Pareto set, on a real Ray, and what cannot be asked for."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from gen import results
from jobs import tune
from jobs.plan import Plan, plan

TWO = ["--metric", "mse/reconstructions", "--metric", "used/images"]
SMALL = ["--entry", "vqvae", "--set", "model.networks.hidden=8", "--size", 8, "--name", "search", "--max-concurrent", 1]
SPACE = ["--only", "--search", "model.optimizer.rate=1e-3,3e-3,1e-2", "--search", "model.beta=0.1,1,4"]


def test_a_search_by_two_figures(run_job: Callable, judged: Callable, tmp_path: Path) -> None:
    asked = [*SMALL, *SPACE, *TWO, "--sampler", "tpe", "--samples", 4, "--epochs", 2, "--set", "evaluate.full=none"]
    done = run_job("tune", *asked, "--storage", judged(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "by mse/reconstructions, used/images, which are not one order: no run is stopped early" in done.stdout
    ends = results.outcomes(str(tmp_path), "search")
    assert (set(ends["status"]), set(ends["epochs"])) == ({"finished"}, {2.0})
    assert 2 <= len(ends) <= 4  # a configuration that is proposed twice is one run
    table = results.pareto(str(tmp_path), "search", TWO[1::2])
    assert len(table) == len(ends)
    assert table["front"].any()
    assert table[TWO[1::2]].notna().all(axis=None)
    front = list(table["run"][table["front"]])
    heading = f"Pareto set by mse/reconstructions, used/images: {len(front)} of {len(ends)} configurations\n"
    printed = done.stdout.partition(heading)[2].splitlines()[1:]
    assert [line.split()[0] for line in printed[: len(front)]] == front


def planned(*arguments: object) -> Plan:
    return plan(tune.main.make_context("tune", ["--entry", "vqvae", *map(str, arguments)]).params)


def test_what_is_planned(tmp_path: Path) -> None:
    by_two = planned(*TWO, "--storage", tmp_path, *SPACE, "--epochs", 9)
    assert (by_two.also, by_two.space.grace) == (("used/images",), 9)
    assert by_two.space.config.evaluate.metric == "mse/reconstructions"
    assert by_two.space.config.evaluate.also == "used/images"
    assert by_two.about()["also"] == ["used/images"]
    by_two.open()
    steered = planned(*TWO, "--storage", tmp_path, *SPACE, "--epochs", 9, "--grace", 3)
    assert steered.space.grace == 3
    assert "grace=3 is below the epochs, so mse/reconstructions stops runs early" in steered.notice
    one = planned(*TWO[:2], "--storage", tmp_path, *SPACE)
    assert (one.also, one.space.config.evaluate.also, "also" in one.about()) == ((), "", False)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([*TWO, "--mode", "min"], "each metric has its own direction; leave the mode out"),
        ([*TWO[:2], *TWO[:2]], "names a figure twice"),
        ([*TWO, "--confirm", "2"], "a race is by one figure"),
        ([*TWO[:2], "--metric", "usd/images"], "metric 'usd' is not known; nearest valid: used"),
        ([*TWO[:2], "--metric", "used/images"], "metric='used/images' changes its scale with model.codebook.codes"),
        (
            [*TWO[:2], "--metric", "recall/fakes"],
            "error: metric='recall/fakes' is no figure of vqvae to search by; allowed",
        ),
        (
            [*TWO, "--set", "evaluate.also=psnr/reconstructions"],
            "evaluate.also=psnr/reconstructions by --set and used/images by --metric; say one of them",
        ),
        (
            [*TWO, "--set", "evaluate.metric=psnr/reconstructions"],
            "evaluate.metric=psnr/reconstructions by --set and mse/reconstructions by --metric; say one of them",
        ),
        ([*TWO[:2], "--set", "evaluate.also=recall/fakes"], "evaluate.also='recall/fakes' is no figure of vqvae"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(arguments: list[str], expected: str, tmp_path: Path) -> None:
    asked = ["--entry", "vqvae", "--storage", str(tmp_path / "storage"), *arguments]
    result = CliRunner().invoke(tune.main, asked)
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1
    assert expected in result.stderr
    assert not (tmp_path / "storage").exists()
