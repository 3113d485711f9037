"""How the jobs come to a Ray cluster, and what they tell it."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from typing import Any

import click

from gen.on_ray.version import ROOT, code_version

LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # Ray's; with "0" a Ray of one host listens on loopback, on any system
INSIDE = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # set by `ray job submit` for its driver
PACKAGES = ("ray", "torch", "torchvision", "numpy", "pyarrow", "scikit-learn", "scipy")


def keep_to_loopback() -> bool:
    """Has a Ray that this process may start listen on loopback and nowhere else; False if it is too late for that.

    Ray reads the variable once, on import. So this is called where this file is imported, which each job does before it
    imports Ray. A Ray that others started is joined as it is, and who names its address starts none.
    """
    if os.environ.get("RAY_ADDRESS", "") not in ("", "auto", "local"):
        return True
    if "ray" not in sys.modules:
        os.environ[LOOPBACK] = "0"
    return os.environ.get(LOOPBACK) == "0"


IN_TIME = keep_to_loopback()


@contextmanager
def connection() -> Iterator[None]:
    """Inside, a Ray cluster: that of $RAY_ADDRESS, else one that runs on this machine, else one started here."""
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # five files a trial
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # Tune's tables and boxes: the jobs print their own lines
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray  # so late that bad input and --dry-run do not wait for it

    upload = INSIDE not in os.environ and (ROOT / "pyproject.toml").exists()
    environment = {"working_dir": str(ROOT)} if upload else None
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "runtime_env": environment}
    try:
        ray.init("auto", **quiet)
    except ConnectionError as error:
        if os.environ.get("RAY_ADDRESS"):
            raise click.ClickException(f"no Ray answers at RAY_ADDRESS={os.environ['RAY_ADDRESS']}: {error}") from error
        if not IN_TIME:
            raise RuntimeError("jobs.cluster was imported after Ray, which would listen on all interfaces") from error
        ray.init("local", include_dashboard=False, **quiet)
    for name in ("ray.train", "ray.tune", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # errors come back as values, and are printed
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))  # `ray job stop`: as Ctrl-C
    try:
        yield
    finally:
        ray.shutdown()


def run_trainer(trainer: Any, name: str) -> bool:
    """Runs a Ray Train trainer; whether it went well, else its error is told. KeyboardInterrupt for Ctrl-C."""
    import ray.train

    try:
        trainer.fit()
    except ray.train.TrainingFailedError as error:
        print(f"error: {name} broke: {str(error).strip().splitlines()[-1]}", file=sys.stderr)
        return False
    except SystemExit:  # Ray Train answers Ctrl-C by itself: the group has ended
        raise KeyboardInterrupt from None
    return True


def facts() -> dict[str, Any]:
    """Columns of `runs` that the driver knows."""
    return {"code_version": code_version(), "packages": json.dumps(versions(), sort_keys=True)}


def versions() -> Mapping[str, str]:
    """Versions of Python and the packages that figures depend on."""
    return {"python": sys.version.split()[0]} | {name: metadata.version(name) for name in PACKAGES}
