"""What a search has spent before it is submitted again: runs that ended, go on, and whose budget grew."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from gen.on_ray.search import Result, search
from gen.on_ray.spending import account_of
from gen.on_ray.submission import Search
from gen.results import Lease, Ledger, Slot, Storage
from gen.results.ledger import last_ticks
from gen.results.schema import LATER_SECONDS
from gen.search.budgets import Budget
from gen.zoo import ZOO
from tests.results.example_rows import begin, outcome_row, when


def train(storage: Storage, run: str, attempt: str, ticks: range, ends: bool) -> None:
    """Trains a run for some epochs, two seconds each; it ends, or is killed behind its last checkpoint. One that begins
    writes into its process's slot, as in a search."""
    first = ticks.start if ticks.start > 1 else 0
    known = last_ticks(storage, "e", run).get(run) if storage.folders("") else None
    slot = None if first else Slot(storage, "e", f"{attempt}-{run}")
    ledger = Ledger(storage, "e", run, attempt, first=first, slot=slot, last_ticks=known)
    if ticks.start == 1:
        begin(ledger)
    for tick in ticks:
        ledger.add("metrics", tick, **when(tick), seconds=2.0 * tick, name="autoencoder/loss", value=1.0)
    if ends:
        ledger.add("outcomes", ticks[-1], **outcome_row(ticks[-1], seconds=2.0 * ticks[-1]))
        ledger.close(ticks[-1])
    else:
        ledger.flush(ticks[-1])


def test_a_run_whose_budget_grew_counts_how_far_it_has_come(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    train(storage, "ended", "a1", range(1, 4), ends=True)
    train(storage, "going", "a1", range(1, 3), ends=False)
    train(storage, "grown", "a1", range(1, 5), ends=True)
    train(storage, "grown", "a2", range(5, 8), ends=False)  # from its last state, to seven of ten
    train(storage, "again", "a1", range(1, 5), ends=True)
    train(storage, "again", "a2", range(1, 3), ends=False)  # from its beginning, and not yet as far as before
    later = {"experiment": "e", "run": "ended", "attempt": "a2", "tick": 3, **when(3), "seconds": 90.0, "value": 90.0}
    Slot(storage, "e", "a2-leaders", kind="evaluated").extend({"metrics": [later | {"name": LATER_SECONDS}]})
    account = account_of(storage, "e", 4.0)
    assert account.epochs == {"ended": 3.0, "going": 2.0, "grown": 7.0, "again": 4.0}
    assert (account.total_epochs, account.total_seconds, account.measuring) == (16.0, 32.0, 4 * 90.0)
    account.note("grown", 7.0, 14.0)  # it reports where it stands, ...
    account.note("grown", 8.0, 16.0)  # ... and goes on
    assert (account.total_epochs, account.total_seconds) == (17.0, 34.0)
    train(storage, "grown", "a3", range(8, 11), ends=True)
    assert account_of(storage, "e", 4.0).total_epochs == 19.0


@pytest.mark.parametrize(
    ("seconds", "budget", "why"),
    [
        (0.0, Budget(), ""),  # the time alone
        (0.0, Budget(epochs=4), ""),  # ... though there is a budget, which is not spent
        (0.0, Budget(epochs=3), "the budget of 3 epochs is spent (3)"),  # both
        (math.inf, Budget(epochs=3, device_seconds=6), "the budget of 3 epochs is spent (3)"),
        (math.inf, Budget(epochs=4, device_seconds=6), "the budget of 6 device-seconds is spent (6)"),
        (math.inf, Budget(device_seconds=6, money=1e-3, price=1.0), "the budget of 6 device-seconds is spent (6)"),
    ],
)
def test_a_search_says_which_limit_is_reached(seconds: float, budget: Budget, why: str, tmp_path: Path) -> None:
    """Of a budget that is spent and a time that is up the budget is named, for more time alone would not help."""
    storage = Storage(str(tmp_path))
    train(storage, "ended", "a1", range(1, 4), ends=True)
    where = {"storage": storage, "experiment": "e", "attempt": "a2", "facts": {}}
    plan = Search(runs={"new": ZOO["vqvae"]}, **where, data_hashes={}, data_root=None, download=False)
    limits = {"mode": "min", "grace": 1, "reduction": 2, "seconds": seconds, "budget": budget}
    assert search(plan, Lease(storage, "e"), {"CPU": 1.0}, print, **limits) == Result([], 1, why)
