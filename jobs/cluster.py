"""How the jobs connect to a Ray cluster, run workers there, and what they know for the tables."""

from __future__ import annotations

import ipaddress
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import click

from gen.damage import DamageError
from gen.on_ray.errors import reason, tells_damage
from gen.on_ray.version import ROOT, code_version
from gen.results.lease import Lease
from gen.results.storage import NO_HOME
from jobs import handover, upload
from jobs.address import LOCAL, choose, prepare_token
from jobs.interrupt import break_off, terminate
from jobs.output import outlive_readers
from jobs.places import INSIDE

LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # Ray's; with "0" a Ray of one host listens on loopback, on any system
PACKAGES = ("ray", "torch", "torchvision", "numpy", "pyarrow", "scikit-learn", "scipy")


def keep_to_loopback() -> bool:
    """Makes a Ray that this process may start listen on loopback only. False if Ray was imported before, and it is too
    late for that.

    Ray reads the variable once, on import. So this is called when this file is imported, which each job does before it
    imports Ray. A job for which $RAY_ADDRESS names a cluster starts no Ray; where that is an address of loopback, Ray
    would without the variable look for it at the address that this host has for others, where it need not listen.
    """
    host = os.environ.get("RAY_ADDRESS", "").rpartition(":")[0].strip("[]")
    if os.environ.get("RAY_ADDRESS", "") not in ("", "auto", LOCAL) and not is_loopback(host):
        return True
    if "ray" not in sys.modules:
        os.environ[LOOPBACK] = "0"
    return os.environ.get(LOOPBACK) == "0"


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is one by which this host calls itself."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


IN_TIME = keep_to_loopback()
prepare_token()  # before Ray is imported, which reads the mode once
try:
    Path.home()
except RuntimeError:  # Ray asks for a home on import, and never uses it here
    os.environ["HOME"] = NO_HOME


@contextmanager
def connection() -> Iterator[None]:
    """Connects to the Ray that `jobs.address.choose` finds, or starts one for the block. What Ray says
    against it is one line."""
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # which write five files a trial
    os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "1e9")  # Tune's own record of a search, which nobody reads
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # Tune's tables and boxes: the jobs print their own lines
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")  # of trials that nobody asks any more when a search ends
    try:
        address = choose()
        environment = runtime_environment(address)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    if address == LOCAL and not IN_TIME:
        raise RuntimeError("jobs.cluster was imported after Ray, which would listen on all interfaces")
    outlive_readers()
    import ray  # so late that bad input and --dry-run do not wait for it

    if near := upload.warning(whole=INSIDE in os.environ):
        say(near)
    own: dict[str, Any] = {"include_dashboard": False} if address == LOCAL else {}
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, runtime_env=environment, **own)
    # of whatever kind: Ray's own errors, a version of Ray or Python that is another, and a plain Exception where its
    # processes do not start within 30 s
    except Exception as error:
        what = "no Ray starts on this host" if address == LOCAL else f"the Ray at {address} cannot be joined"
        text = " ".join(str(error).split())
        cure = "; run the job with the Ray and the Python of the cluster" if "Version mismatch" in text else ""
        raise click.ClickException(f"{what}: {text}{cure}") from error
    for name in ("ray.train", "ray.tune", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # errors come back as values, and are printed
    for number in (signal.SIGTERM, signal.SIGHUP):  # `ray job stop` and a closed terminal: as Ctrl-C
        if signal.getsignal(number) != signal.SIG_IGN:  # as `nohup` sets it
            signal.signal(number, terminate)
    from gen.on_ray import waiting
    from gen.on_ray.alive import watch_ray

    waiting.alone = address == LOCAL
    try:
        with watch_ray(break_off, say):
            yield
    finally:
        ray.shutdown()


def runtime_environment(address: str) -> dict[str, Any]:
    """What each process of this job gets: the code, which a submitted job has already, and on a cluster that runs
    already what this shell has. ValueError for a place in it that other hosts do not know."""
    sent = INSIDE not in os.environ and (ROOT / "pyproject.toml").exists()
    return ({"working_dir": str(ROOT)} if sent else {}) | ({} if address == LOCAL else handover.hook())


def run_workers(
    function: Callable[[Mapping[str, Any]], None],
    sent: Mapping[str, Any],
    hear: Callable[[Any], None],
    workers: int,
    needed: Mapping[str, float],
    lease: Lease,
) -> bool:
    """Runs `function` in a group of Ray Train workers, each with the resources `needed`; whether that went well, else
    the error is printed. KeyboardInterrupt for Ctrl-C.

    The function gets `sent` and, under "queue", a queue; `hear` is called with each thing that a worker puts there. The
    heartbeat of the lease ends the job where another one has taken it.
    """
    import ray.train
    from ray.train.torch import TorchTrainer
    from ray.util.queue import Queue

    from gen.on_ray.waiting import watch

    queue, storage, name = Queue(actor_options={"num_cpus": 0}), lease.storage, lease.experiment
    trainer = TorchTrainer(
        function,
        train_loop_config={**sent, "queue": queue},
        scaling_config=ray.train.ScalingConfig(
            num_workers=workers, use_gpu="GPU" in needed, resources_per_worker=dict(needed)
        ),
        run_config=ray.train.RunConfig(
            name=lease.attempt,
            storage_path=storage.full(f"{name}/_ray"),
            storage_filesystem=storage.filesystem,
            failure_config=ray.train.FailureConfig(max_failures=3),
        ),
    )
    try:
        with (
            storage.room(),
            storage.passing(f"{name}/_ray/{lease.attempt}"),
            watch(needed, workers, say) as watched,
            listener(queue, hear, watched.heard),
        ):
            trainer.fit()
    except ray.train.TrainingFailedError as error:
        lease.check(now=True)  # workers whose lease is lost break first, by as many words
        if tells_damage(error):
            raise DamageError(reason(error)) from None
        print(f"error: {name} broke: {reason(error)}", file=sys.stderr)
        return False
    except SystemExit:  # Ray Train answers Ctrl-C by itself: the group has ended
        raise KeyboardInterrupt from None
    return True


@contextmanager
def listener(queue: Any, *hear: Callable[..., Any]) -> Iterator[None]:
    """Calls the first of `hear` with each thing that comes through the queue during the block, and the others too."""

    def listen() -> None:
        while (heard := queue.get()) is not None:
            hear[0](heard)
            for other in hear[1:]:
                other()

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield
    finally:
        queue.put(None)
        thread.join()


def say(text: str) -> None:
    """Prints a line at once."""
    print(text, flush=True)


def facts() -> dict[str, Any]:
    """Columns of `runs` that the driver knows."""
    return {"code_version": code_version(), "packages": json.dumps(versions(), sort_keys=True)}


def versions() -> Mapping[str, str]:
    """Versions of Python and the packages that figures depend on."""
    return {"python": sys.version.split()[0]} | {name: metadata.version(name) for name in PACKAGES}
