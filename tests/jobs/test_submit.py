"""`ray job submit --working-dir .` to nodes that have only the dependencies."""

import os
import subprocess
import sys
from pathlib import Path

from gen import results
from gen.engine.on_ray.version import code_version

ROOT = Path(__file__).parents[2]


def test_submitted_job(ray_cluster, tmp_path: Path):
    submit = [Path(sys.executable).with_name("ray"), "job", "submit", "--address", ray_cluster.dashboard]
    job = ["python", "-m", "jobs.train", "--entry", "vae_mlp", "--epochs", 1, "--storage", tmp_path, "--name", "job"]
    done = subprocess.run(
        [*map(str, submit), "--working-dir", ".", "--", *map(str, job)],
        cwd=ROOT,
        env={**os.environ, "RAY_ADDRESS": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "job: finished (1 epochs)" in done.stdout
    (run,) = results.runs(str(tmp_path), "job").to_dict("records")
    assert run["code_version"].startswith("sources-")  # the upload has no repository
    assert code_version()
