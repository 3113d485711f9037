"""Which run trains next, where the seeds of a configuration wait for each other: Tune's searcher of such a search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ray.tune.search import Searcher

from gen.on_ray.scheduler import WAITS
from gen.on_ray.submission import TRIAL
from gen.search.halving import Halving


class Turns(Searcher):
    """Hands out the runs in their order, and again those that had given their slot away, as soon as their siblings have
    come too: these first, for they are further.

    Nothing waits for ever: where no run trains and none is left, whoever waits goes on, for its sibling broke.
    """

    def __init__(self, runs: Sequence[str], left: Sequence[int], halving: Halving) -> None:
        super().__init__()
        self.runs, self.halving = runs, halving
        self.left, self.waiting = list(left), list[int]()  # positions in `runs`
        self.training: dict[str, int] = {}  # trial -> position

    def suggest(self, trial_id: str) -> Any:
        """The next run as the settings of a trial; None while all that are left wait, FINISHED where none is left."""
        ready = [one for one in self.waiting if not self.halving.awaits(self.runs[one])]
        if not ready and not self.left and not self.training:
            ready = self.waiting
        if not ready and not self.left:
            return None if self.training else Searcher.FINISHED
        chosen = (ready or self.left)[0]
        (self.waiting if ready else self.left).remove(chosen)
        self.training[trial_id] = chosen
        return {TRIAL: chosen}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Notes a run that gave its slot away; the others have ended."""
        ended = self.training.pop(trial_id, None)
        if ended is not None and not error and (result or {}).get(WAITS):
            self.waiting.append(ended)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: Tune saves searchers to restore a search, which here the tables do."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing."""
