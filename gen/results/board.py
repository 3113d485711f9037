"""The one way to ask for a ranking: of runs, or of configurations."""

from __future__ import annotations

from typing import Any, Literal

import pandas as pd

from gen.results.configs import leaderboard_of_configurations
from gen.results.queries import Place
from gen.results.ranking import leaderboard_of_runs
from gen.results.storage import Storage

BY = ("run", "config", "fresh")


def leaderboard(
    place: Place,
    experiment: str,
    metric: str | None = None,
    subject: str | None = None,
    split: str = "validation",
    mode: Literal["min", "max"] | None = None,
    column: str | None = None,
    features: str | None = None,
    n_fake: int | None = None,
    protocol: str | None = None,
    by: Literal["run", "config", "fresh"] = "run",
    confidence: float = 0.95,
) -> pd.DataFrame:
    """The ranking by the full figure of best weights, without runs that are to be forgotten (`attrs["forgotten"]`:
    which, and why): one row for each run of the search that ended; `by` "config": for each of its configurations; `by`
    "fresh": for each run of its confirmation that ended, which has a fresh seed and is no run of the search.
    `attrs["apart"]`: how many runs that ended are left out, of the confirmation by run, of the search by "fresh".

    Runs that were measured under several protocols are ranked under the one that all measured runs share; `features`,
    `n_fake` and `protocol` (its hash) choose one. `attrs["protocol"]` describes the figure, `attrs["floor"]` is
    what real held-out images reach in it, as columns of `evals`; None where that is not on record. `metric` may be
    "NAME/SUBJECT" or "NAME/SUBJECT/COLUMN", and its name "frechet": the distance in whatever features the runs were
    measured in. None: what selected the runs' best weights. `mode`: whether small or large is good, which the metric
    says by itself.

    Columns by run: rank, run, entry, seed, value, status, epochs, seconds (with those of measuring it), best_epoch,
    steering (the best of the cheap figures that steered the run), collapsed (when a game of players did, and by which
    sign: its best weights may be good), then the settings that vary. Runs without a finite full figure (stopped early,
    failed, not among a search's leaders) and those whose best weights are below the floor of their config (a collapsed
    codebook) follow unranked, by `steering`.

    Columns by configuration, whose `runs` in the search differ by their seeds alone: rank, entry, mean (over the `n`
    runs that have a rank), low and high (Student's interval at this `confidence`), n, runs, apart (whether the interval
    lies outside that of rank 1; false: they cannot be told apart), collapsed (how many of its runs), best and run (the
    best of them); of its confirmation, apart from the search: confirmed, confirmed_low and confirmed_high (mean and
    interval of the figure on test images, over the `confirmed_n` of its `confirmed_runs` with fresh seeds that have
    it, without those of fewer epochs than the latest race's, which `attrs["shorter"]` counts) and confirmed_apart (from
    the best of these means); then the settings that vary. Ranked by the mean are those of
    which every run that ended has the figure, for what is left where some seeds failed or were stopped is too good; the
    others follow, those of which most runs have it first, and where no run has it by the mean of `steering`.

    ValueError for a metric or a split that is not known, for a figure that is asked for and was measured of no run that
    ended (names what was), for a mode that contradicts it, and if the measured runs share no protocol, or several:
    figures of different ones are not to be ranked together.
    """
    if by not in BY:
        raise ValueError(f"by={by!r} is not known; allowed: {', '.join(BY)}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence} is out of range; allowed: more than 0 and less than 1, such as 0.95")
    storage = place if isinstance(place, Storage) else Storage(place)
    figure: dict[str, Any] = {"metric": metric, "subject": subject, "column": column, "mode": mode}
    measured: dict[str, Any] = {"features": features, "n_fake": n_fake, "protocol": protocol}
    if by != "config":
        return leaderboard_of_runs(storage, experiment, split=split, fresh=by == "fresh", **figure, **measured)
    return leaderboard_of_configurations(storage, experiment, confidence, split, **figure, **measured)
