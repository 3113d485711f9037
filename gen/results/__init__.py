"""Parquet tables of runs: `from gen import results; results.leaderboard("PLACE", "EXPERIMENT")`."""

from gen.results.lease import Lease
from gen.results.ledger import Ledger, Slot, new_attempt, recorded
from gen.results.queries import curves, evals, events, metrics, outcomes, runs, samples, settings
from gen.results.ranking import leaderboard
from gen.results.schema import SCHEMAS, TABLES, VERSION
from gen.results.storage import Storage

__all__ = [
    "SCHEMAS",
    "TABLES",
    "VERSION",
    "Lease",
    "Ledger",
    "Slot",
    "Storage",
    "curves",
    "evals",
    "events",
    "leaderboard",
    "metrics",
    "new_attempt",
    "outcomes",
    "recorded",
    "runs",
    "samples",
    "settings",
]
