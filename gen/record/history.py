"""The grids that a game of a search draws at every tick. Nobody knows yet whether the run will be a leader, so they lie
in a file beside the tables, EXPERIMENT/_history/RUN.parquet, until the leaders are measured: a leader's become rows of
`samples`, and the files of all runs that have ended go."""

from __future__ import annotations

import io
from collections.abc import Collection, Sequence
from typing import Any

import pyarrow.parquet as pq

from gen.results.ledger import to_parquet
from gen.results.schema import SCHEMAS, to_table
from gen.results.storage import Storage


def path(experiment: str, run: str) -> str:
    """Where a run's grids lie under the storage."""
    return f"{experiment}/_history/{run}.parquet"


def save(storage: Storage, experiment: str, run: str, rows: Sequence[dict[str, Any]]) -> None:
    """Puts all grids that a run has drawn so far, rows of `samples`, in place of those before."""
    storage.put(path(experiment, run), to_parquet([to_table("samples", rows)], SCHEMAS["samples"]))


def load(storage: Storage, experiment: str, run: str, tick: int | None = None) -> list[dict[str, Any]]:
    """The grids of a run's ticks up to `tick` (None: of all), as rows of `samples`; none if there is no file."""
    data = storage.get(path(experiment, run))
    rows: list[dict[str, Any]] = pq.read_table(io.BytesIO(data)).to_pylist() if data else []
    return [row for row in rows if tick is None or row["tick"] <= tick]


def forget(storage: Storage, experiment: str, run: str) -> None:
    """Deletes a run's file, if it has one."""
    storage.delete(path(experiment, run))


def forget_all(storage: Storage, experiment: str, runs: Collection[str]) -> None:
    """Deletes the files that there are of `runs`."""
    for run in {name.removesuffix(".parquet") for name in storage.list(f"{experiment}/_history")} & set(runs):
        forget(storage, experiment, run)
