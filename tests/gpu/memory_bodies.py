"""What is tested of a device's memory, as functions of the device: see `tests/gpu/bodies.py`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from gen import results
from gen.config import override
from gen.data.stream import Stream
from gen.distributed.memory import CONTEXT, limit_of, limit_share, release, room
from gen.engine.fit import fit
from gen.engine.step import Stepper
from gen.results.room import in_words
from tests.fixtures import tables
from tests.gpu.bodies import judge_on
from tests.seams.house import EXPERIMENT, data_of, home, small


@contextmanager
def share(device: torch.device, part: float) -> Iterator[None]:
    """Inside, this process has a part of a GPU's memory; a CPU's is shared by nobody."""
    release()  # what other tests left counts too
    limit_share(device, part)
    try:
        yield
    finally:
        if device.type == "cuda":
            torch.cuda.set_per_process_memory_fraction(1.0)  # of the current device
            release()


def a_share_is_kept(device: torch.device) -> None:
    """More than the share is not to be had, though the GPU has it, and torch's own error says so; a half of it is. On a
    CPU there is no share, and only more than there is fails."""
    assert device.index is None, "as `resolve_device` gives it"
    gpu = device.type == "cuda"
    with share(device, 0.5):
        total = torch.cuda.mem_get_info(device)[1] if gpu else 2**58
        most = limit_of(device) if gpu else total // 2
        if gpu:
            assert most == pytest.approx(total / 2 - min(CONTEXT, total / 4), rel=1e-3)
            assert most / 2 < room(device) <= most
        with pytest.raises(torch.OutOfMemoryError if gpu else RuntimeError, match=r"[Tt]ried to allocate \d"):
            torch.empty(most + total // 16, dtype=torch.uint8, device=device)
        made = torch.empty(most // 2 if gpu else 2**20, dtype=torch.uint8, device=device)
        if gpu:
            assert room(device) <= most - made.nbytes
            assert torch.cuda.memory_reserved(device) <= most


def data_lie_where_the_share_has_room(device: torch.device) -> None:
    """On a GPU by default, and in the host's memory where a process's share is too small for them."""
    parts = tables.unpaired(16, 3).splits["train"]
    assert Stream(parts, 3, 20, device, torch.float32).courier is None
    with share(device, 1e-9):  # some bytes
        assert (Stream(parts, 3, 20, device, torch.float32).courier is None) == (device.type == "cpu")


def what_is_too_large_is_said(device: torch.device, tmp_path: Path) -> None:
    """A run asks in its first tick for more than the process may take: it ends, says so, and the next one trains. On a
    GPU it asks for three quarters of the device, of which a half is its share; on a CPU for more than there is."""
    with share(device, 0.5):
        gpu = device.type == "cuda"
        asked = torch.cuda.mem_get_info(device)[1] * 3 // 4 if gpu else 2**58
        dataset, config = data_of("vae_mlp"), small("vae_mlp")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Stepper, "advance", lambda self: torch.empty(asked, dtype=torch.uint8, device=device))
            (tick,) = fit(config, dataset, device=device, judge=judge_on("vae_mlp", device), home=home(tmp_path))
        assert (tick.tick, tick.ended) == (1, "failed")
        number = float(
            tick.why.removeprefix(f"out of memory on {device.type}: it asked for ").partition(" GB more; ")[0]
        )
        assert number == pytest.approx(asked / 1e9, rel=0.01)
        assert " are free" in tick.why
        limit = f"this process may take {in_words(limit_of(device))} of it" if gpu else ""
        assert limit in tick.why
        if gpu:
            assert room(device) > limit_of(device) / 2  # nothing of the run is held
            torch.empty(limit_of(device) // 2, dtype=torch.uint8, device=device)  # fits, and goes again
        again = override(config, {"seed": 1})
        *_, last = fit(again, dataset, device=device, judge=judge_on("vae_mlp", device), home=home(tmp_path))
        assert last.ended == "finished"
        ends = results.outcomes(str(tmp_path), EXPERIMENT)
        assert sorted(ends["status"]) == ["failed", "finished"]
        assert ends["why"][ends["status"] == "failed"].item() == tick.why
