"""Shares of a GPU, and what is said where memory is too little: torch's own calls, on a GPU that stands in for one."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from gen.data import stream
from gen.data.pinned import Courier
from gen.distributed.machine import numbered, resolve_device, seed
from gen.distributed.memory import CONTEXT, TooLargeError, fitting, limit_share, noting, release, room
from gen.distributed.workers import ALONE, Workers
from tests.fixtures.cuda import Card, stand_in

CPU, GPU = torch.device("cpu"), torch.device("cuda")
GB = 10**9
WANTS = {  # what is said for want of memory, and how much of it the line tells
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.25 GiB": "2.1 GB more",
    "CUDA out of memory. Allocation was preemptively rejected because it would exceed per_process_memory_fraction "
    "limit. Requested size: 2.00 GiB": "2.1 GB more",
    "CUDA error: out of memory\nSearch for `cudaErrorMemoryAllocation'\nCompile with `TORCH_USE_CUDA_DSA`": "more",
    "CUDA driver error: out of memory": "more",
    "CUDA ran out of memory outside PyTorch's allocator. If this workload uses many dynamic shapes": "more",
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`": "more",
    "cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling `cusolverDnCreate(handle)`": "more",
    "cuDNN error: CUDNN_STATUS_ALLOC_FAILED": "more",
    "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED": "more",
    "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED": "more",
    "cuFFT error: CUFFT_ALLOC_FAILED": "more",
}
OTHERS = (
    "CUDA error: an illegal memory access was encountered",
    "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm(...)`",
    "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR",
    "another",
)


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Card:
    return stand_in(monkeypatch)


def test_a_device_without_a_number_is_the_current_one(card: Card) -> None:
    assert resolve_device("auto") == resolve_device("cuda") == GPU
    assert numbered(GPU) == torch.device("cuda", 1)
    assert numbered(torch.device("cuda", 0)) == torch.device("cuda", 0)
    assert numbered(CPU) == CPU


def test_a_share_is_of_a_gpu_and_only_where_there_are_others(card: Card) -> None:
    """The sum of the shares and of what CUDA takes for each process is no more than the GPU."""
    for device, share in ((CPU, 0.25), (GPU, 1.0)):
        limit_share(device, share)
    assert card.fractions == {}
    for device, number in ((GPU, 1), (torch.device("cuda", 0), 0)):
        limit_share(device, 0.25)
        assert 4 * (card.get_fraction(number) * card.total + CONTEXT) == pytest.approx(card.total, abs=8)


@pytest.mark.parametrize("share", [0.25, 0.1, 0.01])
def test_of_a_small_share_at_least_half_is_there_to_be_allocated(monkeypatch: pytest.MonkeyPatch, share: float) -> None:
    card = stand_in(monkeypatch, total=8 * GB)
    limit_share(GPU, share)
    assert card.fractions[1] == pytest.approx(max(share - CONTEXT / card.total, share / 2))


@pytest.mark.parametrize("wants", WANTS)
def test_whatever_lacks_memory_says_so_in_one_line(card: Card, wants: str) -> None:
    errors = [torch.OutOfMemoryError] if wants.startswith("CUDA out") else [torch.AcceleratorError, RuntimeError]
    for error in errors:
        with pytest.raises(TooLargeError) as told, fitting(GPU, ALONE):
            raise error(wants)
        free = "79.0 GB of 80.0 GB are free"
        assert str(told.value) == (
            f"out of memory on cuda: it asked for {WANTS[wants]}; {free}; make its sizes smaller, or give a run more"
        )


def test_a_process_with_a_share_says_how_much_that_is(card: Card) -> None:
    limit_share(GPU, 0.25)
    with (
        pytest.raises(TooLargeError, match=r"are free, and this process may take 18.9 GB of it; "),
        fitting(GPU, ALONE),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")


def test_where_not_even_a_context_finds_room_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, full=True)
    expected = r"it asked for more; what is free there cannot be asked \(CUDA error: out of memory\); make"
    with pytest.raises(TooLargeError, match=expected), fitting(GPU, ALONE):
        raise torch.AcceleratorError("CUDA error: out of memory")


@pytest.mark.parametrize("text", OTHERS)
def test_what_is_no_want_of_memory_stays_what_it_is(card: Card, text: str) -> None:
    with pytest.raises(RuntimeError, match=text.partition("(")[0]), fitting(GPU, ALONE):
        raise RuntimeError(text)


def test_one_of_several_workers_breaks(card: Card) -> None:
    with pytest.raises(MemoryError), fitting(CPU, Workers(0, 2)):
        raise MemoryError
    with pytest.raises(torch.OutOfMemoryError), noting(GPU, Workers(0, 2), pytest.fail):
        raise torch.OutOfMemoryError("CUDA out of memory.")


def test_a_cpu_says_what_it_was_asked_for() -> None:
    with pytest.raises(TooLargeError, match=r"asked for 1152921504.6 GB more; .* of .* are free"), fitting(CPU, ALONE):
        torch.empty(2**58)


def test_a_note_is_the_line_and_what_follows_is_done() -> None:
    notes = list[str]()
    with noting(CPU, ALONE, notes.append):
        torch.empty(2**58)
    with noting(CPU, ALONE, notes.append):
        pass
    assert len(notes) == 1
    assert notes[0].startswith("out of memory on cpu: it asked for ")


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, 79 * GB),
        ({"free": 5 * GB}, 5 * GB),  # others have the rest
        ({"free": 60 * GB, "held": 15 * GB, "used": 11 * GB}, 64 * GB),  # what is held and not used counts
        ({"share": 0.25}, 20 * GB - CONTEXT),
        ({"share": 0.25, "free": 5 * GB}, 5 * GB),
        ({"share": 0.25, "free": 60 * GB, "held": 15 * GB, "used": 11 * GB}, 9 * GB - CONTEXT),
    ],
)
def test_room_is_what_is_free_of_the_device_and_of_the_share(
    monkeypatch: pytest.MonkeyPatch, facts: dict[str, Any], expected: int
) -> None:
    share = facts.pop("share", 1.0)
    stand_in(monkeypatch, **facts)
    limit_share(GPU, share)
    assert room(GPU) == pytest.approx(expected, abs=1)


def test_data_that_a_share_has_no_room_for_stay_in_the_host_s_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Although they take less than half of what is free of the whole GPU."""
    stand_in(monkeypatch, free=79 * GB, total=80 * GB)
    monkeypatch.setattr(stream, "Courier", lambda look_up, device: device)  # a real one takes a driver's streams
    limit_share(GPU, 0.0001)  # 8 MB, of which half may be allocated
    tables = ({"image": torch.zeros(2048, 1, 32, 32, dtype=torch.uint8)},)  # 2.1 MB
    found = stream.Stream(tables, 0, 4, GPU, torch.float32)
    assert (found.home, found.courier) == (CPU, GPU)


def test_rows_are_brought_to_the_current_device_of_who_asks(monkeypatch: pytest.MonkeyPatch, card: Card) -> None:
    """And not to that of the thread that gathers them."""
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: device)
    courier = Courier(lambda *key: [], GPU)
    assert courier.device == courier.stream == torch.device("cuda", 1)


def test_a_seed_does_not_need_a_device_that_was_used_before(monkeypatch: pytest.MonkeyPatch, card: Card) -> None:
    generators = (torch.Generator(), torch.Generator())
    monkeypatch.setattr(torch.cuda, "default_generators", ())
    monkeypatch.setattr(torch.cuda, "_lazy_init", lambda: setattr(torch.cuda, "default_generators", generators))
    seed(torch.device("cuda", 0), 1, 2)
    seed(GPU, 3)
    assert generators[0].initial_seed() != generators[1].initial_seed() == torch.default_generator.initial_seed()


def test_memory_is_released_on_a_gpu_too(monkeypatch: pytest.MonkeyPatch, card: Card) -> None:
    called = list[str]()
    monkeypatch.setattr(torch._C, "_cuda_emptyCache", lambda: called.append("empty"))
    release()
    assert called == ["empty"]
