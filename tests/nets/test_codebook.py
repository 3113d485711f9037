import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from gen.nets import codebook as module
from gen.nets.codebook import Codebook
from gen.phase import MicroBatch
from tests.fixtures.examples import examples


def make(**changes):
    torch.manual_seed(0)
    config = Codebook.Config(**{"codes": 6, "dimensions": 3, "decay": 0.9, "warm_up": 1, "revival": 0.0, **changes})
    return Codebook(config).double()


def outputs(count=40, seed=1):
    return torch.randn(count, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def step(book, *batches, seed=0):
    """One step of the engine: every micro-batch is observed, and the totals are projected."""
    for index, vectors in enumerate(batches):
        torch.manual_seed(seed * 1000 + index)
        book.observe(vectors, book.nearest(vectors), MicroBatch(index, len(batches)))
    torch.manual_seed(seed)
    book.project()


def rows_of(rows, whole):
    """For each of `rows`, whether it is a row of `whole`."""
    return (rows[:, None] == whole[None]).all(2).any(1)


class Reference:
    """Appendix A.1 in numpy, without revival."""

    def __init__(self, vectors, counts, config):
        self.vectors, self.config = vectors, config
        self.counts, self.totals = counts, vectors * counts[:, None]

    def step(self, z, number):
        K, epsilon, warm_up = self.config.codes, self.config.epsilon, self.config.warm_up
        gamma = min(self.config.decay, (1 + number) / (warm_up + number))
        nearest = [int(np.argmin([np.sum((row - code) ** 2) for code in self.vectors])) for row in z]
        counts, totals = np.zeros(K), np.zeros_like(self.vectors)
        for row, code in zip(z, nearest, strict=True):
            counts[code] += 1
            totals[code] += row
        self.counts = gamma * self.counts + (1 - gamma) * counts
        self.totals = gamma * self.totals + (1 - gamma) * totals
        n = self.counts.sum()
        self.vectors = self.totals / ((self.counts + epsilon) / (n + K * epsilon) * n)[:, None]


@pytest.mark.parametrize("warm_up", [1, 10])
def test_moving_averages_agree_with_numpy(warm_up):
    book = make(warm_up=warm_up, epsilon=1e-2)
    step(book, outputs())
    reference = Reference(book.vectors.numpy().copy(), book.average_counts.numpy().copy(), book.config)
    for number in range(1, 15):
        z = outputs(seed=number)
        step(book, z, seed=number)
        reference.step(z.numpy(), number)
        np.testing.assert_allclose(book.vectors.numpy(), reference.vectors, rtol=1e-12)
        np.testing.assert_allclose(book.average_counts.numpy(), reference.counts, rtol=1e-12)


@given(count=st.integers(1, 50), seed=st.integers(0, 1000), chunk=st.integers(1, 100))
def test_nearest_is_the_nearest_whatever_the_chunk(count, seed, chunk):
    book, z = make(), outputs(count, seed)
    kept, module.DISTANCES = module.DISTANCES, chunk
    try:
        found = book.nearest(z)
    finally:
        module.DISTANCES = kept
    assert torch.equal(found, torch.cdist(z, book.vectors).argmin(1))


class Largest(TorchDispatchMode):
    """Notes how many numbers the largest tensor has that comes out of an operation."""

    numbers = 0

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        out = function(*arguments, **(named or {}))
        for one in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(one, torch.Tensor):
                self.numbers = max(self.numbers, one.numel())
        return out


@pytest.mark.parametrize("count", [100, 100_000])
def test_no_tensor_of_a_look_up_is_beyond_the_bound(count, monkeypatch):
    monkeypatch.setattr(module, "DISTANCES", 600)
    book, z = make(), outputs(count)
    with Largest() as largest:
        book.nearest(z)
    assert largest.numbers == max(600, count)  # chunks of (N, K), and (N,), which is asked for


def test_nearest_keeps_float32_under_autocast():
    book, z = make().float(), outputs(500).float()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(book.nearest(z), torch.cdist(z.double(), book.vectors.double()).argmin(1))


@pytest.mark.parametrize("update", ["ema", "loss"])
def test_starts_from_encoder_outputs(update):
    book, z = make(update=update), outputs()
    step(book, z)
    assert rows_of(book.vectors.detach(), z).all()
    torch.testing.assert_close(book.average_counts, torch.full((6,), 40 / 6, dtype=torch.float64))


@given(parts=st.integers(1, 5), seed=st.integers(0, 100))
@settings(max_examples=examples(30))
def test_workers_learn_what_one_worker_learns_that_accumulates(parts, seed):
    """Each of several codebooks observes one micro-batch; the totals of their sums make the one that observed all."""
    changes = {"revival": 0.5, "codes": 12}
    alone, workers = make(**changes), [make(**changes) for _ in range(parts)]
    for number in range(4):
        batches = [outputs(15, seed * 100 + number * 10 + part) for part in range(parts)]
        for part, (book, z) in enumerate(zip(workers, batches, strict=True)):
            torch.manual_seed(number * 1000 + part)
            book.observe(z, book.nearest(z), MicroBatch(part, parts))
        for tensors in zip(*(book.sums for book in workers), strict=True):
            total = torch.stack(tensors).sum(0)
            for tensor in tensors:
                tensor.copy_(total)
        for book in workers:
            torch.manual_seed(number)
            book.project()
        step(alone, *batches, seed=number)
        for book in workers:
            for (name, mine), theirs in zip(book.named_buffers(), alone.buffers(), strict=True):
                torch.testing.assert_close(mine, theirs, msg=name)


def test_every_code_has_exactly_one_candidate_whatever_the_micro_batches():
    book = make(codes=50)
    batches = [outputs(20, seed) for seed in range(7)]
    for index, z in enumerate(batches):
        book.observe(z, book.nearest(z), MicroBatch(index, 7))
    assert rows_of(book.candidates, torch.cat(batches)).all()
    assert len({int(pick) % 7 for pick in book.pick}) > 3  # and they come from all over


def test_revival_replaces_dead_codes_by_encoder_outputs_and_resets_their_averages():
    book, z = make(revival=0.05), outputs()
    step(book, z)
    book.vectors[2] = 1e6  # far from all
    book.average_counts[2] = 0.01
    book.average_totals[2] = 1e4
    before = book.vectors.clone()
    step(book, z, seed=1)
    assert book.revived.item() == 1
    assert rows_of(book.vectors[2:3], z).all()
    torch.testing.assert_close(book.average_totals[2], book.vectors[2] * book.average_counts[2])
    others = book.average_counts[[0, 1, 3, 4, 5]]
    torch.testing.assert_close(book.average_counts[2], (others.sum() + 0.9 * 0.01) / 6)  # the mean
    step(book, z, seed=2)
    assert book.revived.item() == 0  # a fresh code is given time
    assert (book.vectors[0] - before[0]).norm() < 2


def test_without_revival_none_is_replaced():
    book, z = make(revival=0.0), outputs()
    step(book, z)
    book.vectors[2] = 1e6
    for number in range(300):
        step(book, z, seed=number)
    assert book.vectors[2].isfinite().all()
    assert book.revived.item() == 0


@pytest.mark.parametrize("update", ["ema", "loss"])
def test_projection_empties_the_sums_draws_the_next_pick_and_counts_parameters(update):
    book = make(update=update)
    pick = book.pick.clone()
    step(book, outputs())
    assert all(not buffer.any() for buffer in book.sums)
    assert not torch.equal(book.pick, pick)
    assert book.count_learned() + sum(parameter.numel() for parameter in book.parameters()) == 18
    assert isinstance(book.vectors, nn.Parameter) == (update == "loss")


def test_state_goes_on_where_it_was():
    book, again = make(revival=0.3), make(revival=0.3)
    for number in range(5):
        step(book, outputs(seed=number), seed=number)
    again.load_state_dict(book.state_dict())
    for one in (book, again):
        step(one, outputs(seed=9), seed=9)
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(book.buffers(), again.buffers(), strict=True))


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"codes": 1}, "^codes=1"), ({"decay": 1.5}, "^decay=1.5"), ({"update": "sgd"}, "^update='sgd'.*ema, loss")],
)
def test_settings_out_of_range(changes, message):
    with pytest.raises(ValueError, match=message):
        Codebook.Config(**changes)
