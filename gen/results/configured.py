"""The rows of `settings` that the config of a run tells, which stands in its row of `runs`: where those were lost."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from gen.results.schema import SCHEMAS

VERSION, KIND = "version", "kind"  # keys in a config's JSON: of its format; of the name of a variant's kind


def setting_rows_of(begun: Iterable[Mapping[str, Any]]) -> pa.Table:
    """The rows of `settings` of runs, each with experiment, run, attempt and config (JSON), as when they began."""
    rows = [
        {**{name: one[name] for name in ("experiment", "run", "attempt")}, **row}
        for one in begun
        for row in told_by(one["config"])
    ]
    return pa.Table.from_pylist(rows, SCHEMAS["settings"])


def told_by(config: str) -> Iterator[dict[str, Any]]:
    """The settings of a config's JSON as rows without the names of their run: `gen.record.record.setting_rows`, for
    who has no classes of configs, or those of a later version."""
    tree = json.loads(config)
    tree.pop(VERSION, None)
    for key, value in leaves(tree):
        number = float(value) if isinstance(value, (int, float)) and float(value) == value else None
        yield {"key": key, "number": number, "text": value if isinstance(value, str) else json.dumps(value)}


def leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and value of each setting; the value of a variant is the name of its kind."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield (prefix.removesuffix(".") if prefix and name == KIND else f"{prefix}{name}"), value
