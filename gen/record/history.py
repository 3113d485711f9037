"""The grids that a game of a search draws at every tick. Nobody knows yet whether the run will be a leader, so they lie
in a file beside the tables, EXPERIMENT/_history/RUN.parquet, until the leaders are measured: a leader's become rows of
`samples`, and the files of all runs that have ended go."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

from gen.damage import DamageError, remark
from gen.results.ledger import blank, to_parquet
from gen.results.parquet import read_bytes
from gen.results.schema import SCHEMAS, to_table
from gen.results.storage import Storage


def path(experiment: str, run: str) -> str:
    """Where a run's grids lie under the storage."""
    return f"{experiment}/_history/{run}.parquet"


def save(storage: Storage, experiment: str, run: str, rows: Sequence[dict[str, Any]]) -> None:
    """Puts all grids that a run has drawn so far, rows of `samples`, in place of those before."""
    schema = SCHEMAS["samples"]
    storage.put(path(experiment, run), to_parquet([to_table("samples", rows)], schema), partial(blank, schema))


def load(storage: Storage, experiment: str, run: str, tick: int | None = None) -> list[dict[str, Any]]:
    """The grids of a run's ticks up to `tick` (None: of all), as rows of `samples`; none if there is no file or, with a
    remark, if it is damaged."""
    data = storage.get(path(experiment, run))
    try:
        rows = [] if data is None else read_bytes(data, f"{storage}/{path(experiment, run)}").to_pylist()
    except DamageError as error:
        remark(f"{error.args[0].partition('; ')[0]}; the run goes on without these grids")
        rows = []
    return [row for row in rows if tick is None or row["tick"] <= tick]


def forget(storage: Storage, experiment: str, run: str) -> None:
    """Deletes a run's file, if it has one."""
    storage.delete(path(experiment, run))


def forget_all(storage: Storage, experiment: str, runs: Collection[str]) -> None:
    """Deletes the files that there are of `runs`."""
    for run in {name.removesuffix(".parquet") for name in storage.list(f"{experiment}/_history")} & set(runs):
        forget(storage, experiment, run)
