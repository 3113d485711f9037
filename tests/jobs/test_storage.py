"""The jobs on object storage, and storage that a host does not share."""

import os
import re
import secrets
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner
from pyarrow import fs

from gen import results
from jobs import sample
from tests.conftest import GIVE_UP, ROOT, RayCluster


def test_train_and_sample_on_object_storage(
    ray_cluster: RayCluster,
    start_job: Callable,
    run_job: Callable,
    s3: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    """With keys and an endpoint that the shell of the job has, and no node of the cluster. The first one's output ends
    early."""
    secret = secrets.token_hex(16)
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": secret, "AWS_ENDPOINT_URL": f"http://{s3}"}
    for name, value in keys.items():
        monkeypatch.setenv(name, value)
    storage = "s3://bucket/jobs"
    shared = ["--storage", storage, "--set", "train.batch=64"]
    shared += ["--set", "evaluate.full_images=100", "--set", "evaluate.importance_images=20"]
    process = start_job("train", "--entry", "vae_mlp", "--epochs", 2, "--name", "trained", *shared)
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(GIVE_UP) == 0, process.stderr.read()
    again = run_job("train", "--entry", "vae_mlp", "--epochs", 3, "--name", "trained", *shared)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("\nepoch ") == 1  # it went on from the checkpoint
    assert list(results.outcomes(storage, "trained", all_ends=True)["epochs"]) == [2, 3]
    filesystem, path = fs.FileSystem.from_uri(storage)  # plain pandas, without this project
    evals = pd.read_parquet(f"{path}/trained/evals", filesystem=filesystem, dtype_backend="pyarrow")
    assert sorted(evals.loc[evals["scope"] == "tick", "tick"].unique()) == [1, 2, 3]
    logs = [path for path in ray_cluster.folder.glob("*/session_*/logs/**/*") if path.is_file()]
    assert any("runtime_env" in path.name for path in logs)
    assert not [path for path in logs if secret in path.read_text(errors="replace")]
    asked = ["--storage", storage, "--name", "trained", "--out", str(tmp_path), "--kinds", "fakes,reconstructions"]
    drawn = CliRunner().invoke(sample.main, asked)
    assert drawn.exit_code == 0, drawn.output
    assert {path.name.rsplit("-", 1)[1] for path in tmp_path.iterdir()} == {"fakes.png", "reconstructions.png"}


@pytest.mark.own_ray
def test_a_local_path_that_a_host_does_not_share(tmp_path: Path):
    """Two Ray nodes on this machine; the second has a mount namespace of its own, where another folder lies there."""
    storage = tmp_path / "storage"
    storage.mkdir()
    allowed = subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False)
    if allowed.returncode:
        pytest.skip("needs the right to make a mount namespace")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "GENFLEET_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", TWO_NODES, str(storage)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=GIVE_UP,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"is a local path that host \S+ does not share; use a folder that all hosts mount", done.stdout)
    assert "left behind: []" in done.stdout


TWO_NODES = """
import ctypes, os, subprocess, sys, threading
import ray
from ray.cluster_utils import Cluster
from gen.on_ray.preflight import check_shared
from gen.results import Storage

storage = sys.argv[1]
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
joined = threading.Event()

def drive():
    joined.wait()
    ray.init(cluster.address, log_to_driver=False)
    try:
        check_shared(Storage(storage))
    except ValueError as error:
        print(error)
    print("left behind:", os.listdir(storage))
    ray.shutdown()

driver = threading.Thread(target=drive)
driver.start()  # now, with the mounts that the head has
libc = ctypes.CDLL(None, use_errno=True)
assert libc.unshare(0x20000) == 0, os.strerror(ctypes.get_errno())  # mounts of this thread and what it starts
subprocess.run(["mount", "--make-rprivate", "/"], check=True)
subprocess.run(["mount", "-t", "tmpfs", "none", storage], check=True)
cluster.add_node(num_cpus=1)
joined.set()
driver.join()
cluster.shutdown()
"""
