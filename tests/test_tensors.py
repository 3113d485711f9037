"""Stored tensors: what is read is what was stored, or it is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gen.damage import DamageError
from gen.tensors import check_sums, from_bytes, reading, to_bytes
from tests.fixtures.harm import cuts, flips, same

VALUE = {"version": 1, "weights": {f"layer{number}": torch.arange(50.0) for number in range(3)}, "shape": (1, 8, 10)}


def test_a_flipped_bit_is_found_or_changes_nothing() -> None:
    """Those that change nothing lie in what PyTorch fills up with, and in times and versions of the archive."""
    data = to_bytes(VALUE)
    found = list[str]()
    for where, harmed in flips(data, 1_000):
        try:
            assert same(from_bytes(harmed), VALUE), where
        except DamageError as error:
            found.append(str(error))
    assert len(found) > 400
    assert not any("\n" in line for line in found)


def test_each_bit_of_the_tensors_is_found() -> None:
    data = to_bytes(VALUE)
    tensor = VALUE["weights"]["layer1"].numpy().tobytes()  # type: ignore[index]
    start = data.index(tensor)
    for byte in range(start, start + len(tensor), 7):
        harmed = data[:byte] + bytes([data[byte] ^ 4]) + data[byte + 1 :]
        with pytest.raises(DamageError, match=r"^the checksum of '[^']*data/\d' differs$"):
            check_sums(harmed)


def test_what_is_cut_or_something_else_is_refused(tmp_path: Path) -> None:
    for where, harmed in cuts(to_bytes(VALUE)):
        (tmp_path / "file").write_bytes(harmed)
        for data in (harmed, tmp_path / "file"):
            with pytest.raises(DamageError), reading(f"{where}: {{reason}}"):
                from_bytes(data)


def test_files_from_before_archives_are_read(tmp_path: Path) -> None:
    torch.save(VALUE, tmp_path / "old", _use_new_zipfile_serialization=False)
    assert same(from_bytes(tmp_path / "old"), VALUE)


def test_a_device_without_room_is_no_damage() -> None:
    with pytest.raises(torch.OutOfMemoryError), reading("damaged"):
        raise torch.OutOfMemoryError
