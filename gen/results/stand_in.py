"""Merged files that stand for others, beside the tables: EXPERIMENT/_merged/TABLE/*.parquet.

EXPERIMENT/_merged/TABLE.json, the table's list of them, names for each the files whose rows it holds, and how the
storage listed those. A reader takes a merged file for them as long as they are all there and listed so; else it reads
them. So merged files are a cache: the tables' own files are the record, and whatever writes them needs to know nothing
of merged ones.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from gen.damage import is_sealed, remark, sealed
from gen.results.storage import Stamp, Storage

FOLDER = "_merged"

StandIns = dict[str, dict[str, Stamp]]
"""Name of a merged file -> the files whose rows it holds, and how the storage listed each."""


def folder_of(folder: str) -> str:
    """Where the merged files of a table lie, whose own files lie in `folder`, EXPERIMENT/TABLE."""
    experiment, _, table = folder.rpartition("/")
    return f"{experiment}/{FOLDER}/{table}"


def put_list(storage: Storage, folder: str, found: StandIns) -> None:
    """Lists the merged files of a table from now on, which are all there."""
    storage.put(f"{folder_of(folder)}.json", json.dumps(sealed({"merged": found}), separators=(",", ":")).encode())


def get_list(storage: Storage, folder: str) -> StandIns:
    """The merged files of a table, whether or not they still stand for others; none if their list is damaged, which is
    remarked."""
    path = f"{folder_of(folder)}.json"
    data = storage.get(path)
    if data is None:
        return {}
    try:
        record = json.loads(data)
        if not is_sealed(record):
            raise ValueError("its checksum differs")
        return {
            merged: {name: (size, time) for name, (size, time) in inputs.items()}
            for merged, inputs in record["merged"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        remark(f"{storage}/{path} is damaged ({error}); {remedy(folder)}")
        return {}


def stand_ins(storage: Storage, folder: str, wanted: Mapping[str, Stamp]) -> dict[str, list[str]]:
    """Path of a merged file -> the names of the files that it stands for: each is one of those `wanted`, and is listed
    now as it was when they were merged."""
    return {
        f"{folder_of(folder)}/{merged}": list(inputs)
        for merged, inputs in get_list(storage, folder).items()
        if all(wanted.get(name) == stamp for name, stamp in inputs.items())
    }


def remedy(folder: str) -> str:
    """What becomes of a question when a merged file cannot be read, and what to do about it."""
    experiment, _, table = folder.rpartition("/")
    return f"{table}'s own files are read instead; python -m jobs.compact --name {experiment} makes it anew"
