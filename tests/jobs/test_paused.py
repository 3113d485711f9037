"""A job that was stopped for a while, and whose name another one took over meanwhile, comes back: it writes nothing."""

import signal
from collections.abc import Callable
from pathlib import Path

import pyarrow.dataset as ds
import pytest

from gen import results
from jobs.bench.kills import KEYS
from tests.conftest import GIVE_UP, wait_for

LONG = ["--entry", "vqvae", "--set", "model.networks.hidden=16", "--set", "budget.checkpoint_seconds=1"]
LONG += ["--epochs", 100_000, "--name", "long"]


def doubled(place: Path) -> list[str]:
    """The tables in which two rows have equal keys, as plain pyarrow reads them."""
    found = []
    for table in ("runs", "settings", "metrics", "evals"):
        counts = ds.dataset(place / "long" / table).to_table().group_by(KEYS[table]).aggregate([([], "count_all")])
        if max(counts["count_all"].to_pylist()) > 1:
            found.append(table)
    return found


@pytest.mark.parametrize("job", [["train"], ["tune", "--grace", 100_000, "--samples", 1]], ids=["train", "tune"])
def test_a_stopped_driver_comes_back(start_job: Callable, judged: Callable, tmp_path: Path, job: list):
    """Its workers, which nobody stopped, write nothing more either."""
    arguments = [*job, *LONG, "--storage", judged(tmp_path)]
    first = start_job(*arguments)
    wait_for(lambda: list(tmp_path.glob("long/_checkpoints/*/last.pt")) or first.poll() is not None)
    first.send_signal(signal.SIGSTOP)
    second = start_job(*arguments, "--take-over")
    wait_for(lambda: len(results.events(str(tmp_path), "long", kind="resume")) or second.poll() is not None)
    first.send_signal(signal.SIGCONT)
    _, errors = first.communicate(timeout=GIVE_UP)
    assert first.returncode == 1, errors
    assert errors.startswith("error: the lease of 'long' in "), errors
    assert len(errors.splitlines()) == 1, errors
    before = len(results.metrics(str(tmp_path), "long"))
    wait_for(lambda: len(results.metrics(str(tmp_path), "long")) > before or second.poll() is not None)
    second.send_signal(signal.SIGINT)
    _, errors = second.communicate(timeout=GIVE_UP)
    assert (second.returncode, errors) == (130, "interrupted: submit the same again to go on\n")
    assert doubled(tmp_path) == []
    writers = results.metrics(str(tmp_path), "long")["attempt"].unique()
    assert [one[:10] for one in sorted(writers)] == ["r00000001-", "r00000002-"]
