"""How a job connects to a Ray: one that it starts itself listens on loopback only."""

import os
import subprocess
import sys
from unittest.mock import patch

import click
import pytest

from jobs.cluster import LOOPBACK, connection
from tests.conftest import GIVE_UP, ROOT, RayCluster

LISTENING = """
import os
os.environ["RAY_ADDRESS"] = "local"
import jobs.tune  # which imports Ray
import time
import ray
from gen.on_ray import waiting
from jobs import cluster
import psutil

assert cluster.IN_TIME
waiting.FIRST = waiting.LOOK = 0.1
with cluster.connection():
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    sockets = [socket for process in family for socket in process.net_connections(kind="inet")]
    print(*{socket.laddr.ip.removeprefix("::ffff:") for socket in sockets if socket.status == psutil.CONN_LISTEN})
    all_of_it = ray.util.placement_group([{"CPU": ray.cluster_resources()["CPU"]}])
    ray.get(all_of_it.ready())
    with waiting.watch({"CPU": 1.0}, 1, print):  # no other job is there for which this one could wait
        time.sleep(1)
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

JOINED = """
from jobs.cluster import connection

with connection():
    print("joined")
"""


def test_a_ray_that_does_not_start_in_time_is_one_line(monkeypatch: pytest.MonkeyPatch):
    """On a busy host; Ray says so after 30 s, by an exception of no kind of its own."""
    late = "The current node timed out during startup. This could happen because some of the raylet failed to startup"

    def start(*_: object, **__: object) -> None:
        raise Exception(late)

    monkeypatch.setattr("ray.init", start)
    monkeypatch.setattr("jobs.cluster.choose", lambda: "127.0.0.1:1")
    refused = pytest.raises(click.ClickException, match=f"^the Ray at 127.0.0.1:1 cannot be joined: {late}$")
    with patch.dict(os.environ), refused, connection():
        pass


def test_a_head_that_listens_on_loopback_only_is_joined_by_a_shell_that_knows_nothing_of_it(ray_cluster: RayCluster):
    others = {key: value for key, value in os.environ.items() if key != LOOPBACK}
    host, _, port = ray_cluster.address.rpartition(":")
    assert host == "127.0.0.1"
    command = [sys.executable, "-c", JOINED]
    for name in (host, "localhost"):
        known = others | {"RAY_ADDRESS": f"{name}:{port}"}
        done = subprocess.run(
            command, cwd=ROOT, env=known, capture_output=True, text=True, check=False, timeout=GIVE_UP
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "joined\n", "")


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
