"""Configurations that a search knows before it draws any."""

from __future__ import annotations

import json
from typing import Any

from gen.record import names
from gen.results import queries
from gen.results.storage import Storage
from gen.search.samplers import PROPOSAL, QUEUE

DEFAULTS: dict[str, Any] = {}  # the entry as it is, with what the user sets


def first_of(storage: Storage, name: str, entry: str) -> list[dict[str, Any]]:
    """The configurations with which the search `name` begins on an entry, before it draws any, each as settings. A new
    one begins with the entry's own defaults; one on record as it began, which of an earlier version is with draws."""
    notes = [note for of in ("", entry) if (note := names.read_note(storage, name, of))]
    of_entry = [note for note in notes if note["settings"].get("entry") == entry]
    if of_entry:
        return list(of_entry[0].get("search", {}).get("first", []))
    if notes or name not in storage.folders("") or queries.runs(storage, name).empty:
        return [DEFAULTS]
    proposed = queries.events(storage, name, kind=PROPOSAL)  # the note is lost
    known = map(json.loads, proposed["detail"][proposed["decision"] == QUEUE])
    return [one["settings"] for one in sorted(known, key=lambda one: one["number"]) if one["entry"] == entry]
