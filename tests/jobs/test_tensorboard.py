"""--tensorboard of jobs.train and jobs.tune."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from gen import results
from jobs import train, tune

SMALL = ["--entry", "vqvae", "--set", "model.networks.hidden=8", "--epochs", 2, "--tensorboard"]


@pytest.mark.parametrize("job", [train, tune])
def test_not_installed_is_one_line_and_nothing_starts(job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)  # how Python marks what cannot be imported
    arguments = [*map(str, SMALL), "--storage", str(tmp_path / "storage")]
    result = CliRunner().invoke(job.main, arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert "pip install 'genfleet[tensorboard]'" in result.stderr
    assert not (tmp_path / "storage").exists()


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="the extra `tensorboard` is not installed")
@pytest.mark.parametrize("job", ["train", "tune"])
def test_every_run_has_its_files(job: str, run_job: Callable, tmp_path: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    arguments = [*SMALL, "--storage", tmp_path, "--name", job]
    done = run_job(
        job, *arguments, *(["--samples", 2, "--grace", 2, "--set", "evaluate.full=all"] if job == "tune" else [])
    )
    assert done.returncode == 0, done.stderr
    runs = set(results.runs(str(tmp_path), job)["run"])
    assert len(runs) == (2 if job == "tune" else 1)
    assert {folder.name for folder in (tmp_path / job / "_tensorboard").iterdir()} == runs
    evals = results.evals(str(tmp_path), job, scope="tick")
    for run in runs:
        shown = EventAccumulator(str(tmp_path / job / "_tensorboard" / run)).Reload()
        steps = sorted(set(evals[evals["run"] == run]["step"]))
        assert [one.step for one in shown.Scalars("validation/mse/reconstructions")] == steps
        assert len(steps) == 2
        assert shown.Tags()["images"] == ["samples/reconstructions"]
