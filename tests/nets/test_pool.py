"""The pool of earlier fakes: the paper's law at one fake a step, and what becomes of it at many."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gen.nets.pool import Pool
from gen.phase import MicroBatch, Shape

SHAPE, ALONE = Shape(1, 2), MicroBatch(0, 1)


def numbered(*numbers: int) -> Tensor:
    """Fakes (B, 1, 2, 2) of which every pixel is the fake's number."""
    return torch.tensor(numbers, dtype=torch.float32).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).clone()


def told(fakes: Tensor) -> list[int]:
    """The numbers of fakes, none of which is a sum or a part of others."""
    assert torch.equal(fakes, fakes[:, :1, :1, :1].expand_as(fakes))
    return [int(number) for number in fakes[:, 0, 0, 0]]


def step(pool: Pool, first: int, batch: int = 1, micro_batches: int = 1) -> list[int]:
    """What the critic sees in a step of the fakes `first`, `first` + 1, ..."""
    seen: list[int] = []
    for index in range(micro_batches):
        start = first + index * batch
        fakes = numbered(*range(start, start + batch))
        seen += told(pool.exchange(fakes, MicroBatch(index, micro_batches)))
    pool.project()
    return seen


def filled(places: int) -> Pool:
    """A pool of the fakes 1, 2, ..., one a step."""
    pool = Pool(places, SHAPE)
    for number in range(1, places + 1):
        step(pool, number)
    assert told(pool.fakes) == [*range(1, places + 1)]
    return pool


def test_it_first_fills_up_and_its_fakes_are_used_too() -> None:
    torch.manual_seed(0)
    pool = Pool(5, SHAPE)
    for number in range(1, 6):
        assert step(pool, number) == [number]
        assert told(pool.fakes) == [*range(1, number + 1), *[0] * (5 - number)]
        assert pool.filled == number


@pytest.mark.parametrize("seed", range(5))
def test_at_one_fake_a_step_it_is_the_paper_s_list(seed: int) -> None:
    """A list beside it, with the same coin and the same place."""
    torch.manual_seed(seed)
    pool, plain, exchanged = filled(4), [1, 2, 3, 4], 0
    for number in range(5, 200):
        place, state = int(pool.order[0]), torch.get_rng_state()
        earlier = bool(torch.rand(1) < 0.5)
        expected = plain[place] if earlier else number
        if earlier:
            plain[place] = number
        exchanged += earlier
        torch.set_rng_state(state)
        assert step(pool, number) == [expected]
        assert told(pool.fakes) == plain
    assert 0 < exchanged < 195


def test_half_are_exchanged_and_all_places_are_alike() -> None:
    torch.manual_seed(0)
    places, steps = 5, 4000
    pool, before, exchanged, at = filled(places), [*range(1, places + 1)], 0, [0] * places
    for number in range(10, 10 + steps):
        (seen,) = step(pool, number)
        after = told(pool.fakes)
        changed = [place for place in range(places) if after[place] != before[place]]
        assert len(changed) == (seen != number)
        for place in changed:
            assert (seen, after[place]) == (before[place], number)
            at[place] += 1
        exchanged, before = exchanged + len(changed), after
    assert abs(exchanged - steps / 2) < 5 * math.sqrt(steps / 4)
    share = exchanged / places
    assert all(abs(count - share) < 5 * math.sqrt(share) for count in at)


@pytest.mark.parametrize(("batch", "micro_batches"), [(3, 1), (1, 4), (3, 3), (4, 4), (20, 1)])
def test_every_fake_of_a_step_is_itself_or_one_of_an_earlier_step(batch: int, micro_batches: int) -> None:
    """Whatever is in the pool is a fake of a step before, and each at one place only; half of all are exchanged."""
    torch.manual_seed(0)
    pool, fakes, exchanged, number = filled(9), batch * micro_batches, 0, 10
    for _ in range(200):
        before = told(pool.fakes)
        seen = step(pool, number, batch, micro_batches)
        after, own = told(pool.fakes), range(number, number + fakes)
        earlier = [(one, new) for one, new in zip(seen, own, strict=True) if one != new]
        assert {one for one, _ in earlier} <= set(before)
        kept = [new for one, new in earlier[: len(before)] if new in after]
        assert len(set(after)) == len(after)
        for place, (old, new) in enumerate(zip(before, after, strict=True)):
            assert old == new or (old, new) in earlier, place
        if fakes <= len(before):
            assert len({one for one, _ in earlier}) == len(earlier) == len(kept), "all places differ"
        exchanged, number = exchanged + len(earlier), number + fakes
    assert abs(exchanged - 100 * fakes) < 5 * math.sqrt(200 * fakes / 4)


def test_a_step_with_more_fakes_than_free_places_fills_them_and_uses_the_others() -> None:
    pool = Pool(5, SHAPE)
    assert step(pool, 1, batch=2, micro_batches=4) == [*range(1, 9)]
    assert told(pool.fakes) == [1, 2, 3, 4, 5]
    assert pool.filled == 5


def test_all_micro_batches_see_the_pool_as_the_step_found_it_in_whatever_order() -> None:
    found = []
    for order in ((0, 1, 2), (2, 0, 1)):
        torch.manual_seed(0)
        pool = filled(9)
        before, seen = pool.fakes.clone(), {}
        for index in order:
            torch.manual_seed(100 + index)
            seen[index] = told(pool.exchange(numbered(*range(10 + 2 * index, 12 + 2 * index)), MicroBatch(index, 3)))
            assert torch.equal(pool.fakes, before)
        pool.project()
        assert not any(one.any() for one in pool.sums)
        found.append((dict(sorted(seen.items())), told(pool.fakes)))
    assert found[0] == found[1]
    assert found[0][1] != told(before)


def test_outside_training_and_without_places_it_does_nothing() -> None:
    torch.manual_seed(0)
    pool, none = filled(3), Pool(0, SHAPE)
    before = {name: value.clone() for name, value in pool.named_buffers()}
    for _ in range(10):
        assert told(pool.exchange(numbered(8, 9), None)) == [8, 9]
        assert told(none.exchange(numbered(8, 9), ALONE)) == [8, 9]
        none.project()
    assert all(torch.equal(value, before[name]) for name, value in pool.named_buffers())


def test_what_it_holds_is_stored_and_what_a_step_gathers_is_not() -> None:
    assert set(Pool(3, SHAPE).state_dict()) == {"fakes", "order", "filled"}
