"""--tensorboard of jobs.train and jobs.tune; their own tests look at the files by `check_files`."""

import sys
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


def check_files(place: Path, name: str, pictures: list[str]) -> None:
    """Every run of an experiment that was asked for TensorBoard's files has them, with a value of each tick."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    runs = set(results.runs(str(place), name)["run"])
    assert {folder.name for folder in (place / name / "_tensorboard").iterdir()} == runs
    evals = results.evals(str(place), name, scope="tick")
    for run in runs:
        shown = accumulator.EventAccumulator(str(place / name / "_tensorboard" / run)).Reload()
        steps = sorted(set(evals[evals["run"] == run]["step"]))
        assert [one.step for one in shown.Scalars("validation/mse/reconstructions")] == steps
        assert len(steps)
        assert shown.Tags()["images"] == pictures
