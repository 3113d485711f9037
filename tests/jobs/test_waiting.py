"""Words while others hold the CPUs of the session's Ray, and Ctrl-C meanwhile."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from jobs.interrupt import TEXT
from tests.conftest import GIVE_UP, ROOT, RayCluster

HOLD = """
import sys
import ray
ray.init(log_to_driver=False)
group = ray.util.placement_group([{"CPU": 2}, {"CPU": 1}, {"CPU": 1}])
ray.get(group.ready())
print(ray.get_runtime_context().get_job_id(), flush=True)
sys.stdin.read()
"""
LEFT = """
import ray
from ray.util.state import list_placement_groups
ray.init(log_to_driver=False)
print(len(list_placement_groups(filters=[("state", "!=", "REMOVED")])))
"""


def test_a_job_waits_and_is_interrupted(ray_cluster: RayCluster, start_job: Callable, tmp_path: Path):
    variables = {**os.environ, "RAY_ADDRESS": ray_cluster.address}
    command = [sys.executable, "-c", HOLD, "//key:hush@there"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, env=variables, stdin=pipe, stdout=pipe, text=True) as other:
        job = other.stdout.readline().strip()
        process = start_job("train", "--entry", "vae_mlp", "--workers", 2, "--storage", tmp_path, "--name", "waits")
        lines = iter(process.stdout.readline, "")
        line = next((line for line in lines if line.startswith("waiting ")), "")
        assert line.startswith("waiting for 2 workers with 1 CPU each, "), process.communicate()
        assert f": 0 of 4 CPU free; 4 CPU by job {job} (" in line
        assert "hush" not in line
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=GIVE_UP)
        assert (process.returncode, errors) == (130, f"{TEXT}\n")
        left = subprocess.run([sys.executable, "-c", LEFT], env=variables, capture_output=True, text=True, check=True)
        assert left.stdout == "1\n"  # the other's: nothing goes on waiting in the name of the one that ended
        other.communicate()
