"""What is checked before anything starts: each failure is one line that says what to do, instead of a wait for ever."""

from __future__ import annotations

import json
import math
import os
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from gen.config import Machine, RunConfig, to_dotted
from gen.on_ray.probe import read_probe
from gen.on_ray.proposals import proposals
from gen.record.names import read_note
from gen.results.queries import runs
from gen.results.storage import Storage

SCALE_TO = "GENFLEET_SCALE_TO"  # environment variable: what the cluster may grow to, such as CPU=32,GPU=8
PROBE_SECONDS = 300.0  # far more than it takes to start a process on a host that has only the dependencies
GRACE = "search.grace"
GROWS = ("epochs", "samples", "seeds")  # parts of an experiment's note that may grow


def live_nodes() -> list[dict[str, Any]]:
    """The nodes of the cluster."""
    return [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


def total(resource: str) -> float:
    """How much of a resource the nodes have together."""
    return sum(float(node["Resources"].get(resource, 0)) for node in live_nodes())


def scale_bound() -> dict[str, float]:
    """Resource -> how much of it the cluster may grow to, as $GENFLEET_SCALE_TO says; empty where that is not set, for
    then the cluster does not grow. ValueError if the variable is not understood."""
    text = os.environ.get(SCALE_TO, "")
    try:
        pairs = [part.split("=") for part in text.split(",") if part]
        found = {name.strip(): float(amount) for name, amount in pairs}
    except ValueError:
        found = {"": math.nan}
    if not all(name in ("CPU", "GPU") and 0 <= amount < math.inf for name, amount in found.items()):
        raise ValueError(f"{SCALE_TO}={text!r} is not understood; write it as CPU=32,GPU=8")
    return found


def has_gpu() -> bool:
    """Whether the cluster has a GPU now, or may come to have one."""
    return bool(total("GPU") or scale_bound().get("GPU", 0))


def uses_gpu(machine: Machine) -> bool:
    """Whether workers get a GPU each: those of device "auto" do where the cluster has any."""
    return has_gpu() if machine.device == "auto" else machine.device == "cuda"


def worker_resources(machine: Machine, gpus: float | None = None) -> dict[str, float]:
    """What Ray sets aside for one worker. `gpus`: of all workers of a run together; None: one each, if any are used."""
    cpus = {"CPU": float(machine.threads)}
    if gpus is not None:
        return cpus | {"GPU": gpus / machine.workers}
    return cpus | ({"GPU": 1.0} if uses_gpu(machine) else {})


def check_batchnorm(configs: Iterable[RunConfig], needed: Mapping[str, float]) -> None:
    """ValueError if a run wants BatchNorm over all workers, and these have no GPU."""
    if "GPU" not in needed and any(config.train.sync_batchnorm for config in configs):
        raise ValueError("train.sync_batchnorm=True needs GPUs, and the workers have none; allowed here: False")


def places(needed: Mapping[str, float]) -> int:
    """How many workers that need `needed` each fit on the nodes of the cluster, if these are empty."""
    return sum(times(node["Resources"], needed) for node in live_nodes())


def room(needed: Mapping[str, float]) -> int:
    """How many workers that need `needed` each can run at a time: on the nodes that there are, or on those that an
    autoscaler may bring, whose sizes are not known, so that they count as one large node."""
    return max(places(needed), times(scale_bound(), needed))


def times(whole: Mapping[str, float], needed: Mapping[str, float]) -> int:
    """How often `needed` fits in `whole`; a tenth fits ten times in one, whatever floats make of it."""
    return min(int(whole.get(name, 0) / amount + 1e-6) for name, amount in needed.items())


def check_cluster(machine: Machine, gpus: float | None = None) -> dict[str, float]:
    """The resources of one worker. ValueError if the cluster has no room for all workers, and will not grow."""
    needed = worker_resources(machine, gpus)
    grow = f"; where an autoscaler adds nodes, say how far by the variable {SCALE_TO}, such as CPU=32,GPU=8"
    if gpus is not None and not has_gpu():
        raise ValueError(f"gpus-per-trial={gpus:g}, but the cluster has no GPU; leave it out, or add nodes{grow}")
    found = room(needed)
    if found >= machine.workers:
        return needed
    has = in_words({name: total(name) for name in needed})
    if bound := scale_bound():
        has, grow = f"{has} and may grow to {in_words(bound)} by {SCALE_TO}", ""
    raise ValueError(
        f"workers={machine.workers} with {in_words(needed)} each do not fit: the cluster has {has}, room for {found}; "
        f"lower --workers or machine.threads, or add nodes{grow}"
    )


def check_shared(storage: Storage) -> None:
    """ValueError if not every host of the cluster reads what this one writes: a local path that it does not see, or an
    object store that it cannot ask."""
    here = ray.get_runtime_context().get_node_id()
    others = [node for node in live_nodes() if node["NodeID"] != here]
    if not others:
        return
    nonce = uuid.uuid4().hex
    path = f"_probe-{nonce}"
    storage.put(path, nonce.encode())
    task = ray.remote(num_cpus=0, max_retries=0)(read_probe)
    try:
        pinned = [NodeAffinitySchedulingStrategy(node["NodeID"], soft=False) for node in others]
        asked = [task.options(scheduling_strategy=one).remote(storage.place, path) for one in pinned]
        for node, answer in zip(others, asked, strict=True):
            host = node["NodeManagerAddress"]
            try:
                found, why = ray.get(answer, timeout=PROBE_SECONDS)
            except ray.exceptions.RayError as error:
                raise ValueError(f"no process starts on host {host}: {str(error).strip().splitlines()[-1]}") from error
            if found == nonce.encode():
                continue
            if storage.is_local:
                raise ValueError(
                    f"storage {storage} is a local path that host {host} does not share; "
                    f"use a folder that all hosts mount, or object storage such as s3://bucket/prefix"
                )
            raise ValueError(
                f"storage {storage} cannot be read on host {host}: {why or 'what was just written is not there'}; set "
                f"its keys and its endpoint (AWS_...) in this shell, which hands them over, or let the hosts have them"
            )
    finally:
        storage.delete(path)


def check_name(storage: Storage, experiment: str, wanted: Mapping[str, Any], entry: str = "") -> None:
    """ValueError if `experiment` is in use for something else. A larger budget is nothing else, nor are fewer samples
    than were asked for, if no configuration that is on record is left out. `entry`: of several."""
    found = read_note(storage, experiment, entry)
    if found is None:
        return
    recorded, asked = (leaves(json.loads(json.dumps(note))) for note in (found, wanted))  # lists for tuples
    changed = [key for key in sorted(recorded.keys() | asked.keys()) if recorded.get(key) != asked.get(key)]
    changed = [key for key in changed if not key.startswith("price.")]  # what a device costs makes no run another
    if has_no_rung(recorded) and has_no_rung(asked):  # where its grace lies beyond the epochs says nothing of its runs
        changed = [key for key in changed if key != GRACE]
    other = [key for key in changed if key not in GROWS]
    if other:
        shown = "; ".join(
            f"{key} was {part_in_words(found, key)}, now {part_in_words(wanted, key)}" for key in other[:5]
        )
        more = f" and {len(other) - 5} more" if len(other) > 5 else ""
        raise ValueError(f"name {experiment} is in use with other settings: {shown}{more}; use another --name")
    for key in changed:
        begun = configurations(storage, experiment, asked.get("entry")) if key == "samples" else 0
        if asked[key] < recorded.get(key, 1) and not 0 < begun <= asked[key]:
            least = f"it may only grow, or fall to the {begun} that were begun" if begun else "it may only grow"
            raise ValueError(
                f"name {experiment} is in use with {key}={recorded[key]}, now {asked[key]}: {least}; use another --name"
            )


def configurations(storage: Storage, experiment: str, entry: str | None) -> int:
    """How many configurations of an entry a search has begun, of those that it has proposed; 0 if that is not known."""
    if not (proposed := [one for one in proposals(storage, experiment) if one.entry == entry]):
        return 0
    begun = set(runs(storage, experiment, ["run"])["run"])
    return 1 + max((one.number for one in proposed if one.runs & begun), default=-1)


def has_no_rung(parts: Mapping[str, Any]) -> bool:
    """Whether the search of a note, as its `leaves`, stops no run, for its grace is no less than its epochs."""
    return GRACE in parts and parts[GRACE] >= parts["epochs"]


def leaves(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Setting -> value, and the other parts of a note, in one flat mapping."""
    flat_parts: dict[str, Any] = {}
    for key, value in tree.items():
        if key == "config":  # its settings that count are told by themselves
            continue
        if isinstance(value, Mapping):
            flat_parts |= {inner if key == "settings" else f"{key}.{inner}": part for inner, part in value.items()}
        else:
            flat_parts[key] = value
    return flat_parts


def part_in_words(note: Mapping[str, Any], key: str) -> str:
    """A part of a note for an error message."""
    parts = {**to_dotted(note.get("config", {})), **leaves(note)}
    return json.dumps(parts[key]) if key in parts else "its default" if "config" not in note else "absent"


def in_words(resources: Mapping[str, float]) -> str:
    """Resources in words: "1 CPU and 1 GPU"."""
    return " and ".join(f"{amount:g} {name}" for name, amount in resources.items())
