"""The note that says what an experiment's name stands for, damaged or of an earlier version."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gen.damage import DamageError
from gen.record.names import note, note_path, read_note, write_note
from gen.results.storage import Storage
from gen.zoo import ZOO
from tests.fixtures.harm import cuts, flips


def test_a_damaged_note_is_one_line_that_names_it(tmp_path: Path) -> None:
    storage, wanted = Storage(str(tmp_path)), note(ZOO["vqvae"], "hash", job="train")
    write_note(storage, "e", wanted)
    file = tmp_path / note_path("e", "")
    data, before = file.read_bytes(), read_note(storage, "e")
    assert before is not None
    assert before["data_hash"] == "hash"
    found = list[str]()
    key = data.index(b'"checksum"') + 1
    lost = (("a key", data[:key] + b"C" + data[key + 1 :]), ("another", data.replace(b'"sealed"', b'"sealec"')))
    kinds = (*lost, ("a list", b"[1, 2]"), ("no settings", b'{"version": 2}'), ("a number", b"3"))
    for where, harmed in (*flips(data, 60), *cuts(data), *kinds):
        file.write_bytes(harmed)
        try:
            assert read_note(storage, "e") == before, where  # a space of the layout
        except DamageError as error:
            found.append(str(error))
    assert len(found) > 40
    assert all(line.startswith(f"{file} is damaged (") and "\n" not in line for line in found)


def test_a_note_of_an_earlier_version_has_no_checksum(tmp_path: Path) -> None:
    storage, wanted = Storage(str(tmp_path)), note(ZOO["vqvae"], "hash", job="train")
    storage.put(note_path("e", ""), json.dumps(wanted).encode())
    earlier = read_note(storage, "e")
    write_note(storage, "e", wanted)
    assert read_note(storage, "e") == earlier


@pytest.mark.parametrize("entry", ["", "vqvae"])
def test_an_experiment_without_a_note_has_none(entry: str, tmp_path: Path) -> None:
    assert read_note(Storage(str(tmp_path)), "e", entry) is None
