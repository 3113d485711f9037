"""`ray job submit --working-dir .` to two nodes that have only the dependencies, from a folder full of photographs."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from gen import results
from tests.conftest import GIVE_UP, ROOT, RayCluster

FEW = ["--set", "evaluate.full_images=100", "--set", "evaluate.importance_images=20"]  # to measure is not its matter


def test_submitted_job(ray_cluster: RayCluster, judged: Callable, tmp_path: Path):
    submit = [Path(sys.executable).with_name("ray"), "job", "submit", "--address", ray_cluster.dashboard]
    job = ["python", "-m", "jobs.train", "--entry", "vae_mlp", "--epochs", 2, "--storage", judged(tmp_path)]
    job += ["--name", "job", "--workers", 2, *FEW]
    job += ["--set", "machine.threads=2"]  # both CPUs of a node each, so they lie on two
    folder = tmp_path / "project"
    for package in ("gen", "jobs", "tune_spaces"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in (".rayignore", ".gitignore", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, folder)
    for name in ("photos.bin", "photos", "gen/weights.pt"):
        with (folder / name).open("wb") as file:
            file.truncate(700 * 2**20)  # sparse
    # another job that sent the same files has left what Python compiled of them
    command = f"find . -type f ! -name '*.py' ! -name '*.pyc' && {shlex.join(map(str, job))}"
    deadline = time.monotonic() + GIVE_UP
    while True:
        done = subprocess.run(
            [*map(str, submit), "--working-dir", ".", "--", "sh", "-c", command],
            cwd=folder,
            env={**os.environ, "RAY_ADDRESS": ""},
            capture_output=True,
            text=True,
            check=False,
            timeout=GIVE_UP,
        )
        busy = "No available agent to submit job, please try again later" in done.stderr
        if not busy or time.monotonic() > deadline:
            break
        time.sleep(2)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "job: finished (2 epochs)" in done.stdout
    assert [line for line in done.stdout.splitlines() if line.startswith("./")] == ["./pyproject.toml"]
    (run,) = results.runs(str(tmp_path), "job").to_dict("records")
    assert run["code_version"].startswith("sources-")  # the upload has no repository
    assert run["world_size"] == run["threads"] == 2
    assert json.loads(run["packages"])["ray"]
    assert json.loads(run["config"])["train"]["micro_batches"] == 2
