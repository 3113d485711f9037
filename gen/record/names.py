"""The names of an experiment's runs, and the note that says what its own name stands for.

A run that an earlier version began keeps the name of then, for its rows and checkpoints are found by it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from gen.config import DataConfig, RunConfig, essence, flat, identity, to_json
from gen.damage import SEAL, DamageError, is_sealed, sealed
from gen.results import queries
from gen.results.renamed import VERSION, upgrade, upgrade_space
from gen.results.storage import Storage
from gen.tensors import reading
from gen.zoo import restore

NOTE = "_experiment.json"  # file that tells what an experiment was first used for
FROM_NOW = {"data.stratified": True}
"""What an experiment that begins now does unless a setting says otherwise. The defaults of these settings are what was
done before, for a run's identity leaves defaults out: so runs of earlier versions keep theirs."""


def note(config: RunConfig, data_hash: str, **more: Any) -> dict[str, Any]:
    """The note of an experiment, which says what its name stands for: the settings that make its runs what they are,
    the images, and the budget, which may grow."""
    about = {"config": json.loads(to_json(config)), "settings": essence(config), "data_hash": data_hash}
    return {"version": VERSION, **about, "epochs": config.budget.epochs, **more}


def defaults_of(storage: Storage, experiment: str) -> dict[str, Any]:
    """The settings of FROM_NOW as an experiment has them unless it is told otherwise. An experiment that an earlier
    version began goes on as it began."""
    if found := read_note(storage, experiment):
        began = found["settings"]
    elif experiment in storage.folders("") and len(recorded := queries.runs(storage, experiment)):  # its note is lost
        began = essence(restore(recorded["config"].iloc[0]))
    else:
        return dict(FROM_NOW)
    return {key: began.get(key, former) for key, former in flat(DataConfig(), "data.").items() if key in FROM_NOW}


def note_path(experiment: str, entry: str) -> str:
    """Where a note lies. An experiment of several entries has one of each: "" is the first."""
    return f"{experiment}/{NOTE.replace('.', f'-{entry}.') if entry else NOTE}"


def read_note(storage: Storage, experiment: str, entry: str = "") -> dict[str, Any] | None:
    """The note of an experiment as `note` would write it now, whatever version wrote it; None where there is none."""
    text = storage.get(note_path(experiment, entry))
    if text is None:
        return None
    place = f"{storage}/{note_path(experiment, entry)}"
    with reading(f"{place} is damaged ({{reason}}); put a copy of it back, or delete it: the next job writes it anew"):
        found = parse_note(text)
    version, settings = found.get("version", 1), found["settings"]
    if "config" in found:
        config = restore(json.dumps(found["config"]))
        found |= {"config": json.loads(to_json(config)), "settings": essence(config)}
    elif version == 1:  # its notes hold the settings that are not free, defaults too
        config = restore(json.dumps(to_tree(settings)))
        found["settings"] = essence(config)
        if search := found.get("search"):
            search["space"] = upgrade_space(config.family, search["space"])
    else:  # the first notes of version 2 lack the config
        found["settings"] = upgrade(settings["family"], settings, version)
    return found | {"version": VERSION}


def write_note(storage: Storage, experiment: str, wanted: Mapping[str, Any], entry: str = "") -> None:
    """Records what `experiment` stands for. The caller holds its lease."""
    storage.put(note_path(experiment, entry), json.dumps(sealed(wanted), indent=1, sort_keys=True).encode())


def parse_note(text: bytes) -> dict[str, Any]:
    """A note from its JSON. DamageError if it is not what was written."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise DamageError(str(error)) from None
    if not isinstance(found, dict):
        raise DamageError(f"it holds a {type(found).__name__}")
    if not is_sealed(found):
        raise DamageError("its checksum differs")
    if not isinstance(found.get("settings"), dict):
        raise DamageError("it has no settings")
    return {key: value for key, value in found.items() if key not in SEAL}


class Names:
    """The names of an experiment's runs: their identities, but for runs that an earlier version began."""

    def __init__(self, storage: Storage, experiment: str) -> None:
        self.begun: dict[str, str] = {}  # identity -> the name that an earlier version gave
        if experiment not in storage.folders(""):
            return
        recorded = queries.runs(storage, experiment)
        for run, config, data_hash in zip(recorded["run"], recorded["config"], recorded["data_hash"], strict=True):
            if json.loads(config).get("version", 1) < VERSION:
                self.begun[identity(restore(config), data_hash)] = run

    def of(self, config: RunConfig, data_hash: str) -> str:
        """The name of the run that has this config and these images."""
        own = identity(config, data_hash)
        return self.begun.get(own, own)


def to_tree(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by dotted keys as dicts inside dicts."""
    tree: dict[str, Any] = {}
    for key, value in settings.items():
        *above, leaf = key.split(".")
        group = tree
        for name in above:
            group = group.setdefault(name, {})
        group[leaf] = value
    return tree
