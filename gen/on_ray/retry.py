"""Runs that failed, trained again: from their last good checkpoint, or from their beginning where there is none."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import replace

from gen.config import RunConfig
from gen.on_ray.replay import End, ends
from gen.results import queries
from gen.results.forget import forgotten
from gen.results.storage import Storage

UNRANKED = "ranked no more"  # status, among those of a submission, of a run that has no end and gets none


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
    confirming: bool = False,
) -> dict[str, End]:
    """Run -> its end, for the runs of `configs` that an attempt does not train. With `retry` the attempt trains again
    the runs that failed before it, but for those that failed `again` in it: where that was at the same tick the end on
    record is the earlier one. Runs of a search that are ranked no more are not trained, wherever they are, and have no
    value; `confirming`: it is a race, which knows its own."""
    found = ends(storage, experiment, configs)
    failed = failed_before(storage, experiment, attempt).keys() - {*again} if retry else set()
    gone = set() if confirming else without_rank(storage, experiment).keys() & configs.keys()
    stand = {run: end for run, end in found.items() if run not in failed}
    nothing = End(0, 0.0, UNRANKED, math.nan, math.nan, 0.0)
    return stand | {run: replace(found.get(run, nothing), best=math.nan, last=math.nan, forgotten=True) for run in gone}


def without_rank(storage: Storage, experiment: str) -> dict[str, str]:
    """Run -> why it is ranked no more; none of an experiment that is not there yet."""
    return forgotten(storage, experiment) if experiment in storage.folders("") else {}
