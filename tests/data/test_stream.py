"""Laws of the stream: passes are permutations, and every row is a pure function of (seed, draw number)."""

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gen.data.columns import COLUMNS
from gen.data.pinned import Guess
from gen.data.stream import Stream, from_uint8, to_uint8
from tests.fixtures.examples import examples

CPU = torch.device("cpu")
LENGTHS = st.lists(st.integers(1, 23), min_size=1, max_size=3)
SEEDS = st.integers(-(2**63), 2**64)
SIZES = st.integers(1, 40)


@pytest.fixture(scope="module", autouse=True)
def known_columns() -> Iterator[None]:
    """Columns of a kind for up to three tables."""
    with pytest.MonkeyPatch.context() as patch:
        for index in range(3):
            patch.setitem(COLUMNS, f"row-{index}", "codes")
            patch.setitem(COLUMNS, f"image-{index}", "image")
        yield


def stream(lengths: list[int], seed: int, draw_size: int, dtype: torch.dtype = torch.float32) -> Stream:
    """Tables whose column "row-i" tells the row, and whose "image-i" does so too."""
    tables = tuple(
        {
            f"row-{index}": torch.arange(length),
            f"image-{index}": torch.arange(length, dtype=torch.uint8)
            .view(-1, 1, 1, 1)
            .expand(-1, 1, 2, 2)
            .contiguous(),
        }
        for index, length in enumerate(lengths)
    )
    return Stream(tables, seed, draw_size, CPU, dtype)


@given(LENGTHS, SEEDS, SIZES)
def test_every_pass_of_every_table_holds_each_row_once(lengths: list[int], seed: int, size: int) -> None:
    source = stream(lengths, seed, size)
    assert source.length == max(lengths)
    draws = [source.rows(draw, 0, size) for draw in range(-(-3 * max(lengths) // size))]
    for index, length in enumerate(lengths):
        rows = torch.cat([draw[f"row-{index}"] for draw in draws])
        for start in range(0, len(rows) - length + 1, length):  # shorter tables repeat: many passes
            assert sorted(rows[start : start + length].tolist()) == list(range(length))


@given(LENGTHS, SEEDS, SIZES, st.lists(st.integers(0, 1000), min_size=1, max_size=8))
def test_a_draw_does_not_depend_on_what_was_drawn_before(
    lengths: list[int], seed: int, size: int, asked: list[int]
) -> None:
    used = stream(lengths, seed, size)
    for draw in asked:
        rows, fresh = used.rows(draw, 0, size), stream(lengths, seed, size).rows(draw, 0, size)
        assert rows.keys() == fresh.keys()
        assert all(torch.equal(rows[name], fresh[name]) for name in rows)


@given(LENGTHS, SEEDS, SIZES, st.integers(0, 50), st.data())
def test_slices_of_a_draw_are_the_draw(
    lengths: list[int], seed: int, size: int, draw: int, data: st.DataObject
) -> None:
    cuts = [0, *sorted(data.draw(st.lists(st.integers(0, size), max_size=4))), size]
    whole = stream(lengths, seed, size).rows(draw, 0, size)
    other = stream(lengths, seed, size)
    parts = [other.rows(draw, start, stop) for start, stop in itertools.pairwise(cuts) if start < stop]
    for name, column in whole.items():
        assert torch.equal(torch.cat([part[name] for part in parts]), column)


def test_seeds_tables_and_passes_differ() -> None:
    rows = stream([200, 200], 0, 200)
    first, second = rows.rows(0, 0, 200), rows.rows(1, 0, 200)
    orders = [first["row-0"], first["row-1"], second["row-0"], stream([200], 1, 200).rows(0, 0, 200)["row-0"]]
    assert len({tuple(order.tolist()) for order in orders}) == len(orders)


def test_columns_keep_together_and_types_are_right() -> None:
    batch = stream([23], 3, 10, torch.float64).rows(7, 0, 10)
    assert batch["image-0"].dtype == torch.float64
    assert batch["row-0"].dtype == torch.int64
    assert torch.equal(to_uint8(batch["image-0"])[:, 0, 0, 0].long(), batch["row-0"])


def test_the_order_is_that_of_all_machines() -> None:
    """The numbers themselves: a run resumed elsewhere, or under a later numpy, must see the same rows."""
    assert stream([8], 5, 12).rows(3, 0, 12)["row-0"].tolist() == [5, 0, 2, 3, 6, 2, 4, 1, 7, 5, 3, 0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scaling_and_its_inverse(dtype: torch.dtype) -> None:
    pixels = torch.arange(256, dtype=torch.uint8)
    images = from_uint8(pixels, CPU, dtype)
    assert images.dtype == dtype
    assert images[0] == -1
    assert images[255] == 1
    torch.testing.assert_close(images.double(), pixels.double() / 127.5 - 1, rtol=0, atol=1e-7)
    assert torch.equal(to_uint8(images), pixels)
    assert torch.equal(pixels, torch.arange(256, dtype=torch.uint8)), "the stored pixels are never changed"


def test_to_uint8_rounds_clamps_and_leaves_its_input() -> None:
    images = torch.tensor([-9.0, -1.0, 0.0, 0.4999 / 127.5 - 1, 0.5001 / 127.5 - 1, 1.0, 9.0, float("nan")])
    kept = images.clone()
    assert to_uint8(images).tolist() == [0, 0, 128, 0, 1, 255, 255, 0]
    assert torch.equal(images.nan_to_num(7), kept.nan_to_num(7))


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(10, 19)), min_size=1, max_size=4, unique=True), st.integers(0, 99)
)
def test_the_next_rows_are_guessed_from_the_second_draw_on(slices: list[tuple[int, int]], first: int) -> None:
    guess = Guess()
    asked = [(draw, *part) for draw in range(first, first + 4) for part in slices]
    guesses = [guess.after(*key) for key in asked]
    assert guesses[len(slices) : -1] == asked[len(slices) + 1 :]
    if len(slices) == 1:
        assert guesses[:-1] == asked[1:]


@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_sees_the_same_rows_and_the_host_never_waits(resident: bool) -> None:
    device = torch.device("cuda")
    here, there = stream([23, 7], 3, 10), stream([23, 7], 3, 10)
    there = Stream(tuple(there.tables), 3, 10, device, torch.float32, resident)
    there.rows(0, 0, 10)  # the first call may initialise
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = [there.rows(draw, 2, 9) for draw in range(20)]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for draw, batch in enumerate(found):
        for name, column in here.rows(draw, 2, 9).items():
            assert batch[name].device.type == "cuda"
            torch.testing.assert_close(batch[name].cpu(), column, rtol=0, atol=1e-6)


@settings(max_examples=examples(20))
@given(st.integers(1, 5), st.integers(1, 9))
def test_scaling_does_not_depend_on_the_slice(count: int, size: int) -> None:
    """Vectorised kernels have tails; a rank's slice must be the same bits as the whole draw's rows."""
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, 1, size, size), dtype=np.uint8))
    whole = from_uint8(pixels, CPU, torch.float32)
    assert torch.equal(whole, torch.cat([from_uint8(row, CPU, torch.float32) for row in pixels.split(1)]))
