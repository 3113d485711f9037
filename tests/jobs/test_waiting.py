"""Words while others hold the CPUs of the session's Ray, and Ctrl-C meanwhile."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from jobs.interrupt import TEXT
from tests.conftest import GIVE_UP, ROOT, RayCluster
from tests.fixtures.pictures import files, write

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
import time
import ray
from ray.util.state import list_placement_groups
ray.init(log_to_driver=False)
while len(list_placement_groups(filters=[("state", "!=", "REMOVED")])) != 1:  # Ray hears later that a job has ended
    time.sleep(0.1)
"""


def test_jobs_wait_and_are_interrupted(ray_cluster: RayCluster, start_job: Callable, tmp_path: Path):
    """By Ctrl-C, by a terminal that closes, and by `ray job stop`."""
    place, results = write(tmp_path / "set", files(12)), tmp_path / "results"
    jobs = {
        signal.SIGINT: ("train", "--entry", "vae_mlp", "--workers", 2, "--storage", results, "--name", "run"),
        signal.SIGHUP: ("tune", "--entry", "vae_mlp", "--samples", 2, "--storage", results, "--name", "search"),
        signal.SIGTERM: ("prepare", "--data", f"images:{place}", "--parts", tmp_path / "parts"),
    }
    variables = {**os.environ, "RAY_ADDRESS": ray_cluster.address}
    command = [sys.executable, "-c", HOLD, "//key:hush@there"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, env=variables, stdin=pipe, stdout=pipe, text=True) as other:
        job = other.stdout.readline().strip()
        processes = {number: start_job(*arguments) for number, arguments in jobs.items()}
        for number, process in processes.items():
            lines = iter(process.stdout.readline, "")
            line = next((line for line in lines if line.startswith("waiting ")), "")
            count = "2 workers" if jobs[number][0] == "train" else "1 worker"
            assert line.startswith(f"waiting for {count} with 1 CPU each, "), process.communicate()
            assert f": 0 of 4 CPU free; 4 CPU by job {job} (" in line
            assert "hush" not in line
            process.send_signal(number)
        for process in processes.values():
            _, errors = process.communicate(timeout=GIVE_UP)
            assert (process.returncode, errors) == (130, f"{TEXT}\n")
        # that of the other: nothing goes on waiting in the name of those that ended
        subprocess.run([sys.executable, "-c", LEFT], env=variables, check=True, timeout=GIVE_UP)
        other.communicate()
