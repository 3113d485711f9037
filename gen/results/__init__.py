"""Parquet tables of runs: `from gen import results; results.leaderboard("PLACE", "EXPERIMENT")`."""

from gen.results.board import leaderboard
from gen.results.budget import best_of_k
from gen.results.comparison import compare
from gen.results.lease import Lease
from gen.results.ledger import Ledger, Slot, last_ticks, new_attempt
from gen.results.pareto import pareto
from gen.results.queries import curves, evals, events, find_run, metrics, outcomes, runs, samples, settings
from gen.results.questions import FigureName
from gen.results.schema import SCHEMAS, TABLES, VERSION
from gen.results.storage import Storage

__all__ = [
    "SCHEMAS",
    "TABLES",
    "VERSION",
    "FigureName",
    "Lease",
    "Ledger",
    "Slot",
    "Storage",
    "best_of_k",
    "compare",
    "curves",
    "evals",
    "events",
    "find_run",
    "last_ticks",
    "leaderboard",
    "metrics",
    "new_attempt",
    "outcomes",
    "pareto",
    "runs",
    "samples",
    "settings",
]
