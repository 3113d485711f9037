"""Runs that failed, trained again: from their last good checkpoint, or from their beginning where there is none."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from gen.config import RunConfig
from gen.on_ray.replay import End, ends
from gen.results import queries
from gen.results.storage import Storage


def failed_before(storage: Storage, experiment: str, attempt: str) -> dict[str, int]:
    """Run -> tick at which it failed, for the runs whose last end is a failure in another attempt than this."""
    if experiment not in storage.folders(""):
        return {}
    rows = queries.outcomes(storage, experiment)
    rows = rows[(rows["status"] == "failed") & (rows["attempt"] != attempt)]
    return {str(run): int(tick) for run, tick in zip(rows["run"], rows["tick"], strict=True)}


def ends_that_stand(
    storage: Storage,
    experiment: str,
    configs: Mapping[str, RunConfig],
    attempt: str,
    retry: bool,
    again: Collection[str] = (),
) -> dict[str, End]:
    """Run -> its end, for the runs of `configs` that an attempt does not train. With `retry` the attempt trains again
    the runs that failed before it, but for those that failed `again` in it: where that was at the same tick the end on
    record is the earlier one."""
    found = ends(storage, experiment, configs)
    failed = failed_before(storage, experiment, attempt).keys() - {*again} if retry else set()
    return {run: end for run, end in found.items() if run not in failed}
