"""A codebook: K vectors of D dimensions, each a moving average of the vectors nearest to it, or learned by gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gen.checks import at_least, one_of
from gen.phase import MicroBatch

DISTANCES = 1 << 22  # distances held at once (16 MB in float32): look-ups go in chunks of rows, never (N, K, D)
PICKS = 1 << 31  # range of the random numbers that pick a micro-batch


class Codebook(nn.Module):
    """Look-up of the nearest code, and learning by other means than a gradient step.

    `observe` adds a micro-batch's statistics to `sums`; `project` turns their totals over workers and micro-batches
    into the next codebook. So N workers learn the codebook that one worker learns from N micro-batches.
    """

    @dataclass(frozen=True)
    class Config:
        """How many codes, and how they are learned."""

        codes: int = 512  # K (512)
        dimensions: int = 64  # D (64)
        update: Literal["ema", "loss"] = "ema"  # moving averages (appendix A.1) or the codebook's own loss (eq. 3)
        decay: float = 0.99  # share of the past that the moving averages keep at a step: gamma (0.99)
        warm_up: int = 10  # steps: the decay of step t is at most (1 + t) / (warm_up + t); 1: no such bound (the paper)
        epsilon: float = 1e-5  # Laplace smoothing of the counts, in vectors
        revival: float = 0.03  # a code used less than this share of the mean is replaced; 0: never (the paper)

        def __post_init__(self) -> None:
            at_least("codes", self.codes, 2)
            at_least("dimensions", self.dimensions, 1)
            one_of("update", self.update, ("ema", "loss"))
            at_least("decay", self.decay, 0, 1)
            at_least("warm_up", self.warm_up, 1)
            at_least("epsilon", self.epsilon, 1e-12)
            at_least("revival", self.revival, 0, 0.9)

    vectors: Tensor  # (K, D): the codes
    steps: Tensor  # (): number of projections so far; the first sets the codes to encoder outputs
    average_counts: Tensor  # (K,): moving average of how many vectors fall to each code at a step, N_i of eq. 6
    average_totals: Tensor  # (K, D): moving average of the sums of these vectors, m_i of eq. 7
    pick: Tensor  # (K,): decides which micro-batch offers the candidate for each code
    revived: Tensor  # (): how many codes were replaced at the last step
    counts: Tensor  # (K,): how many vectors of this step fall to each code
    totals: Tensor  # (K, D): the sums of these vectors
    candidates: Tensor  # (K, D): for each code an encoder output of this step, which replaces a dead code

    def __init__(self, config: Codebook.Config) -> None:
        super().__init__()
        self.config = config
        K, D = config.codes, config.dimensions
        vectors = torch.empty(K, D).uniform_(-1 / K, 1 / K)  # used by the first step only
        if config.update == "ema":
            self.register_buffer("vectors", vectors)
        else:
            self.vectors = nn.Parameter(vectors)
        self.register_buffer("steps", torch.tensor(0))
        self.register_buffer("average_counts", torch.zeros(K))
        self.register_buffer("average_totals", torch.zeros(K, D))
        self.register_buffer("pick", torch.randint(PICKS, (K,)))
        self.register_buffer("revived", torch.zeros(()))
        for name, shape in (("counts", (K,)), ("totals", (K, D)), ("candidates", (K, D))):
            self.register_buffer(name, torch.zeros(shape), persistent=False)  # zero between steps

    @property
    def sums(self) -> Sequence[Tensor]:
        """Buffers that `observe` adds to and that must be totalled over workers before `project`."""
        return self.counts, self.totals, self.candidates

    def count_learned(self) -> int:
        """How many numbers `project` learns in place of parameters."""
        return self.vectors.numel() if self.config.update == "ema" else 0

    def nearest(self, vectors: Tensor) -> Tensor:
        """Index (N,) of the code nearest to each of `vectors` (N, D), in the codebook's precision."""
        with torch.no_grad(), torch.autocast(vectors.device.type, enabled=False):
            half_norms = self.vectors.square().sum(1) / 2  # (K,)
            rows = max(1, DISTANCES // len(self.vectors))
            # |z|^2 - 2 z.e + |e|^2 is smallest where |e|^2 / 2 - z.e is
            parts = [
                torch.addmm(half_norms, part, self.vectors.T, alpha=-1).argmin(1)  # (rows, K) -> (rows,)
                for part in torch.split(vectors.to(self.vectors.dtype), rows)
            ]
            return torch.cat(parts)

    def look_up(self, indices: Tensor) -> Tensor:
        """Codes (..., D) of `indices` (...)."""
        return F.embedding(indices, self.vectors)

    @torch.no_grad()
    def observe(self, vectors: Tensor, indices: Tensor, micro_batch: MicroBatch) -> None:
        """Adds the encoder outputs `vectors` (N, D), which fall to the codes `indices` (N,), to `sums`.

        Exactly one micro-batch of a step offers the candidate for a code, so that the sum over micro-batches and
        workers is a true encoder output.
        """
        vectors = vectors.to(self.totals.dtype)
        self.counts.index_add_(0, indices, torch.ones_like(vectors[:, 0]))
        self.totals.index_add_(0, indices, vectors)
        offers = micro_batch.owns(self.pick).unsqueeze(1)  # (K, 1)
        chosen = vectors[torch.randint(len(vectors), (self.config.codes,), device=vectors.device)]  # (K, D)
        self.candidates += chosen * offers

    @torch.no_grad()
    def project(self) -> None:
        """Sets the next codebook from the totals in `sums`, then zeroes these: eq. 6 to 8, revival, and at the first
        step the start from encoder outputs. It does not wait for the device. torch's generator must have one state on
        all workers."""
        config, started = self.config, self.steps > 0
        steps = self.steps.to(self.counts.dtype)
        keep = ((1 + steps) / (config.warm_up + steps)).clamp(max=config.decay)
        uniform = (self.counts.sum() / config.codes).expand_as(self.counts)  # (K,)
        counts = torch.where(started, self.average_counts.lerp(self.counts, 1 - keep), uniform)  # eq. 6
        totals = self.average_totals.lerp(self.totals, 1 - keep)  # eq. 7
        mean = counts.mean()
        dead = started & (counts < config.revival * mean)  # (K,)
        replaced = (dead | ~started).unsqueeze(1)  # (K, 1)
        counts = torch.where(dead, mean, counts)
        totals = torch.where(replaced, self.candidates * counts.unsqueeze(1), totals)
        if config.update == "ema":
            total = counts.sum()
            smoothed = (counts + config.epsilon) / (total + config.codes * config.epsilon) * total
            moved = totals / smoothed.unsqueeze(1)  # eq. 8
        else:
            moved = self.vectors
        self.vectors.copy_(torch.where(replaced, self.candidates, moved))
        self.average_counts.copy_(counts)
        self.average_totals.copy_(totals)
        self.revived.copy_(dead.sum())
        self.steps.add_(1)
        self.pick.copy_(torch.randint(PICKS, self.pick.shape, device=self.pick.device))
        for buffer in self.sums:
            buffer.zero_()
