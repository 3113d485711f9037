"""The whole way on this machine: a Ray head if none runs, a small search as its job, the tables read in pandas, and a
page of what it found."""

from __future__ import annotations

import json
import os
import random
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path

import click

from gen.on_ray.version import ROOT, VARIABLE, code_version
from jobs import interrupt
from jobs.address import token
from jobs.program import Program

DASHBOARD = 8265  # port of the dashboard of Ray, which takes jobs
PORTS = range(20_000, 30_000)  # above those of Ray's workers, below those that Linux and others give away
GIVE_UP = 600.0  # seconds: a Ray head that takes longer hangs, for on a busy machine one may take a minute
NAME = "demo"
HANDED = ("GENFLEET_CACHE", "TORCH_HOME")  # variables of this shell that the job is to have
SEARCH = "--entry vqvae --data digits --size 16 --epochs 18 --grace 2 --samples 16 --set model.networks.hidden=32"
PANDAS = """\
import pandas as pd
evals = pd.read_parquet("{place}/evals", filters=[("scope", "==", "best"), ("metric", "==", "mse")])
print(evals.sort_values("value")[["run", "subject", "split", "value", "epoch", "n_real"]].head(6))"""


@click.command(cls=Program, help=__doc__)
@click.option("--storage", default=str(ROOT / "results"), show_default="results", help="Folder for the tables.")
def main(storage: str) -> None:
    """Submits the search, follows it, and shows what it left."""
    signal.signal(signal.SIGTERM, interrupt.terminate)
    place = str(Path(storage).absolute())
    with ray_head() as (address, own):
        ident = f"demo-{secrets.token_hex(4)}"
        shell = {name: value for name in HANDED if (value := os.environ.get(name))}
        environment = json.dumps({"env_vars": {VARIABLE: code_version()} | shell})
        where = [
            "--address",
            address,
            "--submission-id",
            ident,
            "--working-dir",
            ".",
            "--runtime-env-json",
            environment,
        ]
        job = ["python", "-m", "jobs.tune", *shlex.split(SEARCH), "--name", NAME, "--storage", place]
        say(shlex.join(["ray", "job", "submit", *where, "--", *job]))
        try:
            subprocess.run(["ray", "job", "submit", *where, "--", *job], cwd=ROOT, check=True)
        except BaseException:
            if not own:  # in a process that Ctrl-C does not reach, for it takes seconds
                stop = shlex.join(["ray", "job", "stop", "--no-wait", "--address", address, ident])
                subprocess.run(f"{stop} > /dev/null 2>&1 &", shell=True, start_new_session=True, check=False)
            raise
    lines = PANDAS.format(place=f"{place}/{NAME}")
    say(f"python -c '{lines}'")
    subprocess.run([sys.executable, "-c", lines], check=True)
    written = ["-m", "jobs.report", "--name", NAME, "--storage", place, "--out", f"{place}/{NAME}.html"]
    say(shlex.join(["python", *written]))
    subprocess.run([sys.executable, *written], cwd=ROOT, check=True)


@contextmanager
def ray_head() -> Iterator[tuple[str, bool]]:
    """The address of a Ray head, for the block: one that runs already, or one that is started here and then stopped;
    and whether it is the latter."""
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    os.environ["RAY_LOGGER_LEVEL"] = "error"
    pass_by_proxies()
    said = os.environ.get("RAY_API_SERVER_ADDRESS")
    if is_ray(found := said or f"http://127.0.0.1:{DASHBOARD}"):
        if token() is not None:
            os.environ.setdefault("RAY_AUTH_MODE", "token")
        say(f"# Ray runs at {found}")
        yield found, False
        return
    if said:
        sys.exit(
            f"error: no Ray takes jobs at RAY_API_SERVER_ADDRESS={said} from this shell; unset it for one of its own"
        )
    address = f"http://127.0.0.1:{DASHBOARD if is_free(DASHBOARD) else free_port()}"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    start = "ray start --head --block --node-ip-address 127.0.0.1 --port 0 --dashboard-host 127.0.0.1"
    start += f" --dashboard-port {address.rpartition(':')[2]} --num-cpus {cores}"
    start += f" --dashboard-agent-listen-port {free_port()} --disable-usage-stats"
    own = {
        "RAY_AUTH_MODE": "token",  # set for `ray start` and `ray job submit` alike, else the latter is refused
        "RAY_AUTH_TOKEN": secrets.token_hex(32),  # of this head alone, and in no file
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # one host: Ray then listens on loopback only, on Linux too
    }
    os.environ.update(own)
    with tempfile.TemporaryDirectory(prefix="genfleet-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        say(start)
        log = Path(folder, "head.log")
        with log.open("w") as output:
            head = subprocess.Popen(
                [*start.split(), "--temp-dir", folder], stdout=output, stderr=output, start_new_session=True
            )
        try:
            deadline = time.monotonic() + GIVE_UP
            while not is_ray(address):
                if head.poll() is not None or time.monotonic() > deadline:
                    sys.exit(f"error: the Ray head did not start\n{log.read_text()}")
                time.sleep(0.5)
            yield address, True
        finally:
            head.terminate()
            head.wait()


def pass_by_proxies() -> None:
    """Lets this process, and those that it starts, reach this host without a proxy."""
    for name in ("no_proxy", "NO_PROXY"):
        known = [part for part in os.environ.get(name, "").split(",") if part]
        os.environ[name] = ",".join(dict.fromkeys([*known, "127.0.0.1", "localhost"]))


def is_ray(address: str) -> bool:
    """Whether a Ray dashboard answers, and takes the token of this shell if it asks for one."""
    known = token()
    request = urllib.request.Request(
        f"{address}/api/version", headers={"Authorization": f"Bearer {known}"} if known else {}
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return "ray_version" in json.load(answer)
    except (OSError, ValueError, HTTPException):  # nothing, or something else: what it answers is no JSON, or no HTTP
        return False


def is_free(port: int) -> bool:
    """Whether nobody listens at a port of loopback."""
    with socket.socket() as listener:
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """A port that nobody listens on: Ray's own choice for its agent is the same for every head of a host. Ray takes it
    some seconds later, so it is none that a system gives meanwhile to whoever asks for any."""
    return next(port for port in random.SystemRandom().sample(PORTS, len(PORTS)) if is_free(port))


def say(text: str) -> None:
    """Prints a command as the user would type it."""
    print(f"$ {text}" if not text.startswith("#") else text, flush=True)


if __name__ == "__main__":
    main()
