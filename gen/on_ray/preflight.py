"""What is checked before anything starts: each failure is one line that says what to do, instead of a wait for ever."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import ray
import yaml
from ray._private.ray_constants import DEBUG_AUTOSCALING_STATUS
from ray._private.state import state as cluster_state
from ray.autoscaler.v2.sdk import get_cluster_status
from ray.autoscaler.v2.utils import is_autoscaler_v2
from ray.experimental.internal_kv import _internal_kv_get
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from gen.config import FREE, Machine, RunConfig, flat
from gen.results.storage import Storage

PATIENCE = 10.0  # seconds that a young head may take to report whether it scales; a probe of a host takes less too
PROBE_SECONDS = 60.0  # starting a process on a host that has only the dependencies
LAUNCHED = Path("~/ray_bootstrap_config.yaml").expanduser()  # the launcher's file on the head, where drivers run
NOTE = "_experiment.json"  # what a name was first used for
GROWS = ("epochs", "samples", "seeds")  # parts of a note that may grow


def alive() -> list[dict[str, Any]]:
    """The nodes of the cluster."""
    return [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


def total(resource: str) -> float:
    """How much of a resource the nodes have together."""
    return sum(float(node["Resources"].get(resource, 0)) for node in alive())


def uses_gpu(machine: Machine) -> bool:
    """Whether workers get a GPU each: "auto" takes one if the cluster has any now, or could start any."""
    if machine.device == "auto":
        return bool(total("GPU") or most().get("GPU", 0))
    return machine.device == "cuda"


def worker_resources(machine: Machine, gpus: float | None = None) -> dict[str, float]:
    """What Ray sets aside for one worker; `gpus`: of all workers together, where that was said."""
    cpus = {"CPU": float(machine.threads)}
    if gpus is not None:
        return cpus | {"GPU": gpus / machine.workers}
    return cpus | ({"GPU": 1.0} if uses_gpu(machine) else {})


def check_batchnorm(configs: Iterable[RunConfig], needed: Mapping[str, float]) -> None:
    """ValueError if a run wants BatchNorm over all workers, and these have no GPU."""
    if "GPU" not in needed and any(config.train.sync_batchnorm for config in configs):
        raise ValueError("train.sync_batchnorm=True needs GPUs, and the workers have none; allowed here: False")


def places(needed: Mapping[str, float]) -> int:
    """How many workers that need `needed` each fit on the nodes of the cluster, were they empty."""
    count = 0
    for node in alive():
        count += min(fit_in(node["Resources"].get(name, 0), amount) for name, amount in needed.items())
    return count


def fit_in(whole: float, amount: float) -> int:
    """How often `amount` fits in `whole`; a tenth fits ten times in one, whatever floats make of it."""
    return int(whole / amount + 1e-6)


def check_cluster(machine: Machine, gpus: float | None = None) -> dict[str, float]:
    """The resources of one worker. ValueError if the cluster has no place for all workers, and none will come."""
    needed = worker_resources(machine, gpus)
    if gpus is not None and not (total("GPU") or most().get("GPU", 0)):
        raise ValueError(f"gpus-per-trial={gpus:g}, but the cluster has no GPU; leave it out, or add nodes with GPUs")
    found = places(needed)
    if found >= machine.workers or autoscales():
        return needed
    has = described({name: total(name) for name in needed})
    raise ValueError(
        f"workers={machine.workers} with {described(needed)} each do not fit: the cluster has {has}, room for {found}, "
        f"and no autoscaler; lower --workers or machine.threads, or add nodes"
    )


def most() -> dict[str, float]:
    """The most of each resource that an autoscaler could bring, where one told; else nothing."""
    told = cluster_state.get_max_resources_from_cluster_config() or {}  # None: nobody told
    if not told and LAUNCHED.exists() and configured():  # Ray's cluster launcher tells nobody but its own file
        return launched(LAUNCHED)
    return dict(told)


def launched(path: Path) -> dict[str, float]:
    """The most of each resource that a file of Ray's cluster launcher allows its workers."""
    config = yaml.safe_load(path.read_text())
    found: dict[str, float] = {}
    for kind, of_kind in config["available_node_types"].items():
        if kind != config["head_node_type"]:
            count = min(of_kind.get("max_workers", config["max_workers"]), config["max_workers"])
            for name, amount in of_kind.get("resources", {}).items():
                found[name] = found.get(name, 0) + count * amount
    return found


def autoscales() -> bool:
    """Whether an autoscaler could add nodes to this cluster."""
    return bool(most()) or configured()


def configured() -> bool:
    """Whether this cluster's autoscaler has a configuration.

    Every head runs a monitor, which reports its nodes. Without a configured autoscaler it mirrors them, and names each
    node's type after the node itself ("node_" + its id); a configured one reports the types of its configuration.
    """
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if types := node_types():
            return any(not kind.startswith("node_") for kind in types)
        time.sleep(0.5)
    return False


def node_types() -> set[str]:
    """The types of the nodes in the monitor's last report; none if it has not reported yet."""
    if is_autoscaler_v2():
        status = get_cluster_status(ray.get_runtime_context().gcs_address)
        return {node.ray_node_type_name for node in (*status.active_nodes, *status.idle_nodes)}
    report = json.loads(_internal_kv_get(DEBUG_AUTOSCALING_STATUS) or "{}").get("autoscaler_report") or {}
    return {*(report.get("active_nodes") or {}), *(report.get("node_type_mapping") or {}).values()}


def read_probe(storage: Storage, path: str) -> bytes | None:
    """Runs on another host: what it finds where the driver wrote."""
    return storage.get(path)


def check_shared(storage: Storage) -> None:
    """ValueError if the storage is a local path that not every host of the cluster sees."""
    here = ray.get_runtime_context().get_node_id()
    others = [node for node in alive() if node["NodeID"] != here]
    if not storage.is_local or not others:
        return
    nonce = uuid.uuid4().hex
    path = f"_probe-{nonce}"
    storage.put(path, nonce.encode())
    task = ray.remote(num_cpus=0, max_retries=0)(read_probe)
    try:
        for node in others:
            pinned = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            found = ray.get(task.options(scheduling_strategy=pinned).remote(storage, path), timeout=PROBE_SECONDS)
            if found != nonce.encode():
                raise ValueError(
                    f"storage {storage.place} is a local path that host {node['NodeManagerAddress']} does not share; "
                    f"use a folder that all hosts mount, or object storage such as s3://bucket/prefix"
                )
    finally:
        storage.delete(path)


def note(config: RunConfig, data_hash: str, **more: Any) -> dict[str, Any]:
    """What a name stands for: the settings that make runs what they are, and the budget, which may grow."""
    settings = {key: value for key, value in flat(config.resolved()).items() if key.split(".")[0] not in FREE}
    return {"settings": settings, "data_hash": data_hash, "epochs": config.budget.epochs, **more}


def check_name(storage: Storage, experiment: str, wanted: Mapping[str, Any]) -> None:
    """ValueError if `experiment` is in use for something else. A larger budget is the same thing."""
    text = storage.get(f"{experiment}/{NOTE}")
    if text is None:
        return
    recorded = leaves(json.loads(text))
    asked = leaves(json.loads(json.dumps(wanted)))  # as JSON gives them back: lists for tuples
    changed = [key for key in sorted(recorded.keys() | asked.keys()) if recorded.get(key) != asked.get(key)]
    other = [key for key in changed if key not in GROWS]
    if other:
        shown = "; ".join(f"{key} was {told(recorded, key)}, now {told(asked, key)}" for key in other[:5])
        more = f" and {len(other) - 5} more" if len(other) > 5 else ""
        raise ValueError(f"name {experiment} is in use with other settings: {shown}{more}; use another --name")
    for key in changed:
        if asked[key] < recorded.get(key, 1):
            raise ValueError(
                f"name {experiment} is in use with {key}={recorded[key]}, now {asked[key]}: it may only grow; "
                f"use another --name"
            )


def write_note(storage: Storage, experiment: str, wanted: Mapping[str, Any]) -> None:
    """Records what `experiment` stands for. The caller holds its lease."""
    storage.put(f"{experiment}/{NOTE}", json.dumps(wanted, indent=1, sort_keys=True).encode())


def leaves(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Setting -> value, and the other parts of a note, in one flat mapping."""
    flat_parts: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat_parts |= {inner if key == "settings" else f"{key}.{inner}": part for inner, part in value.items()}
        else:
            flat_parts[key] = value
    return flat_parts


def told(parts: Mapping[str, Any], key: str) -> str:
    """A part of a note for an error message."""
    return json.dumps(parts[key]) if key in parts else "absent"


def described(needed: Mapping[str, float]) -> str:
    """Resources in words: "1 CPU and 1 GPU"."""
    return " and ".join(f"{amount:g} {name}" for name, amount in needed.items())
