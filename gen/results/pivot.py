"""The rows of the table `settings` as one row a run, by whole columns: there are dozens of rows for each run."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from gen.results.renamed import present_key, space_key

WHOLE = re.compile(r"[+-]?\d+")


def encode(values: Any) -> tuple[np.ndarray, pa.Array]:
    """For each value of an array or a Series its place in the array of the different ones, which is sorted. The place
    of nulls is behind its end."""
    found = pa.array(values, from_pandas=True) if isinstance(values, pd.Series) else values
    if isinstance(found, pa.ChunkedArray):
        found = (found.unify_dictionaries() if pa.types.is_dictionary(found.type) else found).combine_chunks()
    codes = found if pa.types.is_dictionary(found.type) else found.dictionary_encode()
    order = pc.array_sort_indices(codes.dictionary)
    places = np.full(len(order) + 1, len(order))
    places[order] = np.arange(len(order))
    return places[codes.indices.fill_null(len(order)).to_numpy()], codes.dictionary.take(order)


def present_keys(run: np.ndarray, key: Any, text: Any, number: Any) -> tuple[np.ndarray, list[str]]:
    """For each row of settings the place of its key's present name, and these names, sorted. A name depends on the
    family of the run, which is one of its settings. `run`: the number of each row's run."""
    codes, keys = encode(key)
    texts, words = encode(text)
    families = np.full(run.max(initial=0) + 1, len(words))
    told = codes == pc.index(keys, "family").as_py()
    families[run[told]] = texts[told]
    there, family = np.unique(families, return_inverse=True)
    kinds = (family[run] * len(keys) + codes) * 2 + np.asarray(pc.is_valid(number))
    used = np.flatnonzero(np.bincount(kinds))
    names = [""] * len(used)
    for place, kind in enumerate(used):
        word, old = there[kind // 2 // len(keys)], keys[int(kind // 2 % len(keys))].as_py()
        name_of = space_key if kind % 2 else present_key
        names[place] = name_of(words[int(word)].as_py() if word < len(words) else "", old)
    present = sorted(set(names))
    places = np.zeros(kinds.max(initial=0) + 1, dtype=np.int64)
    places[used] = [present.index(name) for name in names]
    return places[kinds], present


def widen(rows: pa.Table) -> pd.DataFrame:
    """One row a run and one column for each key of `rows` (experiment, run, attempt, key, number, text), typed by what
    its values are: truth values, whole numbers of 64 bits, other numbers, else texts. It is read from the texts:
    `number` rounds. Of several rows of a run and a key that of the last attempt counts."""
    experiments, experiment_names = encode(rows["experiment"])
    runs, run_names = encode(rows["run"])
    pairs, run = np.unique(experiments * max(len(run_names), 1) + runs, return_inverse=True)
    key, names = present_keys(run, rows["key"], rows["text"], rows["number"])
    attempts, _ = encode(rows["attempt"])
    order = np.argsort(attempts, kind="stable")
    row = np.full((len(names), len(pairs)), -1)
    row[key[order], run[order]] = order  # of several the last one stays
    texts, words = encode(rows["text"])
    numbers = rows["number"].combine_chunks()
    columns = {
        "experiment": experiment_names.take(pa.array(pairs // max(len(run_names), 1))),
        "run": run_names.take(pa.array(pairs % max(len(run_names), 1))),
    }
    for name, places in zip(names, row, strict=True):
        there = places >= 0
        columns[name] = typed(pa.array(places, mask=~there), texts, words, numbers)
    frame: pd.DataFrame = pa.table(columns).to_pandas(types_mapper=pd.ArrowDtype)
    return frame


def typed(rows: pa.Array, texts: np.ndarray, words: pa.Array, numbers: pa.Array) -> pa.Array:
    """The values of a setting in these rows of the table (null: none). `texts`: each row's place among the `words`."""
    there = rows.drop_null().to_numpy()
    used, inverse = np.unique(texts[there], return_inverse=True)
    values = [words[int(one)].as_py() for one in used]
    found: pa.Array
    if set(values) <= {"true", "false"}:
        found = pa.array([value == "true" for value in values], pa.bool_()).take(pa.array(inverse))
    elif all(map(is_whole, values)):
        found = pa.array([int(value) for value in values], pa.int64()).take(pa.array(inverse))
    else:
        found = numbers.take(pa.array(there))
        if found.null_count:
            found = pa.array(values, pa.string()).take(pa.array(inverse))
    places = np.zeros(len(rows), dtype=np.int64)
    is_there = rows.is_valid().to_numpy(zero_copy_only=False)
    places[is_there] = np.arange(len(there))
    return found.take(pa.array(places, mask=~is_there))


def is_whole(text: str) -> bool:
    """Whether a text is a whole number of 64 bits."""
    return bool(WHOLE.fullmatch(text)) and -(2**63) <= int(text) < 2**63
