"""How a job connects to a Ray: one that it starts itself listens on loopback only."""

import os
import subprocess
import sys

import pytest

from jobs.cluster import LOOPBACK
from tests.conftest import GIVE_UP, ROOT

LISTENING = """
import jobs.tune  # which imports Ray
import ray
from jobs import cluster
import psutil

assert cluster.IN_TIME
ray.init("local", include_dashboard=False, num_cpus=1, log_to_driver=False)
family = [psutil.Process(), *psutil.Process().children(recursive=True)]
sockets = [socket for process in family for socket in process.net_connections(kind="inet")]
print(*{socket.laddr.ip.removeprefix("::ffff:") for socket in sockets if socket.status == psutil.CONN_LISTEN})
"""

TOO_LATE = """
import ray
from jobs import cluster

assert not cluster.IN_TIME
"""

WITHOUT_RAY = """
import sys
import jobs.evaluate, jobs.prepare, jobs.sample, jobs.train
assert "ray" not in sys.modules
"""


@pytest.mark.own_ray
@pytest.mark.parametrize(
    ("code", "printed"),
    [(LISTENING, "127.0.0.1\n"), (TOO_LATE, ""), (WITHOUT_RAY, "")],
    ids=["listening", "too late", "without Ray"],
)
def test_a_ray_that_a_job_starts_listens_on_loopback_only(code: str, printed: str):
    """The variable is set before Ray is imported, by whichever job: then it is in force, else it is known not to be."""
    others = {key: value for key, value in os.environ.items() if key not in (LOOPBACK, "RAY_ADDRESS")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=others, capture_output=True, text=True, check=False, timeout=GIVE_UP
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == printed
