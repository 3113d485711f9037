"""One Ray for the session: two nodes of two CPUs on loopback, which have the dependencies and not this project.

And an object store in a process of its own.
"""

import atexit
import gc
import importlib.util
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from pyarrow import fs

ROOT = Path(__file__).resolve().parents[1]
GIVE_UP = 1500.0  # seconds: ten times what the longest search of the tests takes alone, so only what hangs is given up
SETTINGS = {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # Ray listens on loopback only
    "OMP_NUM_THREADS": "1",
    # Without processes that no test needs, each of which takes seconds of imports: workers that wait for work, and a
    # watcher in each worker group that hears when a cloud is about to take a node.
    "RAY_prestart_worker_first_driver": "0",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
}
SHARED, OWN = "ray", "own ray"  # groups of tests
STARTED = list[subprocess.Popen[str]]()  # the jobs of the test that runs
pytest_plugins = ["tests.fixtures.runs", "tests.fixtures.disk"]

if importlib.util.find_spec("hypothesis"):  # the image of a GPU machine may lack it, and tests/gpu does without
    from hypothesis import HealthCheck, settings

    # a gate must not depend on luck or on load: no clock ends an example, nor the drawing of some
    timeless = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.register_profile("same", timeless, derandomize=True, max_examples=40)
    settings.register_profile("quick", timeless, derandomize=True, max_examples=5)
    settings.register_profile("random", timeless, max_examples=1000)  # HYPOTHESIS_PROFILE=random looks further
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))
os.environ.update(SETTINGS)  # before Ray is imported, which reads them once
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as in a shell's background: jobs would ignore it too
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:  # as under nohup
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

HIDDEN = """\
import sys
sys.meta_path[:] = [finder for finder in sys.meta_path if "genfleet" not in getattr(finder, "__module__", "")]
"""


@dataclass(frozen=True)
class RayCluster:
    """Where the session's Ray is."""

    address: str  # for $RAY_ADDRESS
    dashboard: str  # for `ray job submit`
    folder: Path  # where its nodes keep their logs, and what they unpack


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Modules and tests stay to the end: Python's collector need not look at a million objects again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
        atexit.register(gc.unfreeze)  # libraries look at the very end for what is left


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks tests, and groups and orders them for the processes of `make test`, each of which takes the next group.

    All tests on the session's Ray, which mostly wait, are one group, and the first: so only one process starts such a
    Ray. Tests that start a Ray of their own are another, which the other process runs at the same time. Of the rest
    each file is a group, so that its fixtures are made once. Files with many slow tests, then with many, come first,
    so that no process waits long for the other at the end.
    """
    groups, slow, tests = dict[pytest.Item, str](), Counter[str](), Counter[str]()
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))  # with those that its fixtures need
        own = "head" in fixtures or item.get_closest_marker("own_ray") is not None
        if own or "ray_cluster" in fixtures:
            item.add_marker(pytest.mark.ray)
        store = "s3" in item.name.partition("[")[2]  # one of a fixture's places
        if store or {"pair", "s3"} & fixtures:  # which start processes
            item.add_marker(pytest.mark.slow)
        if (given := item.get_closest_marker("xdist_group")) is not None:
            groups[item] = given.args[0]
        else:
            groups[item] = OWN if own else SHARED if "ray_cluster" in fixtures else item.path.stem
            item.add_marker(pytest.mark.xdist_group(groups[item]))
        slow[groups[item]] += item.get_closest_marker("slow") is not None
        tests[groups[item]] += 1

    def order(item: pytest.Item) -> tuple[bool, bool, int, int, str]:
        group = groups[item]
        return group != SHARED, group != OWN, -slow[group], -tests[group], group

    items.sort(key=order)


@pytest.fixture(autouse=True)
def no_remarks() -> None:
    """A process keeps remarks until somebody takes them: not those of an earlier test."""
    from gen.damage import take_remarks

    take_remarks()


@pytest.fixture(autouse=True)
def no_job_is_left() -> Iterator[None]:
    """A test that fails leaves no job that holds CPUs for which later tests would wait."""
    yield
    while STARTED:
        with STARTED.pop() as process:
            process.kill()


@pytest.fixture(scope="session")
def ray_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayCluster]:
    from ray.cluster_utils import Cluster

    from jobs.demo import free_port

    hide = tmp_path_factory.mktemp("hide")
    (hide / "sitecustomize.py").write_text(HIDDEN)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(hide))
        patch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        probe = subprocess.run(
            [sys.executable, "-c", "import gen"], cwd=hide, capture_output=True, text=True, check=False
        )
        assert "ModuleNotFoundError" in probe.stderr
        port = free_port()
        quiet = {"include_log_monitor": False}  # no process that collects the workers' output
        head = {"num_cpus": 2, "include_dashboard": True, "dashboard_host": "127.0.0.1", "dashboard_port": port}
        head["dashboard_agent_listen_port"] = free_port()  # a Ray without the port it asks for takes no job
        # a folder a node, as on two hosts: each removes and unpacks the upload of a job when it first needs it
        folder = tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True)
        places = [Path(folder.name, name) for name in ("a", "b")]  # short: sockets lie there
        cluster = Cluster(initialize_head=True, head_node_args={**head, **quiet, "temp_dir": str(places[0])})
        for place in places:  # where a submitted job looks for its Ray; else it takes any that runs on this machine
            place.mkdir(exist_ok=True)
            (place / "ray_current_cluster").write_text(cluster.address)
        cluster.add_node(num_cpus=2, temp_dir=str(places[1]), **quiet)
    yield RayCluster(cluster.address, f"http://127.0.0.1:{port}", Path(folder.name))
    cluster.shutdown()
    folder.cleanup()


@pytest.fixture(scope="session")
def start_job(
    ray_cluster: RayCluster, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., subprocess.Popen[str]]:
    """Starts `python -m jobs.NAME ...` on the session's Ray."""
    cache = str(tmp_path_factory.mktemp("cache"))

    def start(name: str, *arguments: object) -> subprocess.Popen[str]:
        STARTED.append(
            subprocess.Popen(
                [sys.executable, "-m", f"jobs.{name}", *map(str, arguments)],
                cwd=ROOT,
                env={**os.environ, "RAY_ADDRESS": ray_cluster.address, "GENFLEET_CACHE": cache},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return STARTED[-1]

    return start


@pytest.fixture(scope="session")
def run_job(start_job: Callable[..., subprocess.Popen[str]]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `python -m jobs.NAME ...` to its end."""

    def run(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        process = start_job(name, *arguments)
        output, errors = process.communicate(timeout=GIVE_UP)
        return subprocess.CompletedProcess(process.args, process.returncode, output, errors)

    return run


SERVER = """
import logging, sys
from moto.server import ThreadedMotoServer
logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print("%s:%s" % server.get_host_and_port(), flush=True)
sys.stdin.read()
"""


@contextmanager
def object_store() -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Host and port of an object store with an empty bucket named "bucket", and the process that is the store."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        assert server.stdin is not None
        address = server.stdout.readline().strip()
        filesystem, _ = fs.FileSystem.from_uri(
            f"s3://key:secret@bucket?endpoint_override={address}&scheme=http&allow_bucket_creation=true"
        )
        filesystem.create_dir("bucket")
        yield address, server
        server.stdin.close()


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """Host and port of an object store, in a process of its own, with an empty bucket named "bucket"."""
    with object_store() as (address, _):
        yield address


def wait_for(happened: Callable[[], object], why: Callable[[], object] = str) -> None:
    """Returns once `happened()` is true; fails with the text of `why()` if that takes far too long."""
    deadline = time.monotonic() + GIVE_UP
    while not happened():
        assert time.monotonic() < deadline, why()
        time.sleep(0.05)
