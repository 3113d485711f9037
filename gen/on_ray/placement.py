"""The placement groups of a search's workers, noted where the process that begins a run again finds them.

A placement group is what Ray sets aside for a group of workers. It outlives the process of a trial that was killed:
Train's own cleaner finds it through the dashboard, which may be absent, or belong to another cluster.
"""

from __future__ import annotations

from typing import Any

import ray
from ray.util.placement_group import PlacementGroup, remove_placement_group
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy


class Holder:
    """An actor that knows which placement group the workers of each run have. This file imports nothing but Ray, so
    that the actor's process is a small one."""

    def __init__(self) -> None:
        self.groups: dict[str, PlacementGroup] = {}

    def hold(self, run: str, group: PlacementGroup) -> None:
        """Notes the placement group of a run's workers."""
        self.groups[run] = group

    def free(self, run: str) -> None:
        """Removes the placement group that the last workers of a run had, if there were any."""
        group = self.groups.pop(run, None)
        if group is not None:
            remove_placement_group(group)


def start_holder() -> Any:
    """A handle to a new holder, which lives as long as the handle. It is on the node of the process that starts it, so
    that the loss of another node does not take it away."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(num_cpus=0)(Holder).options(scheduling_strategy=here).remote()
