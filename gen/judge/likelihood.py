"""Measures of models with a likelihood: the bound and its terms, its importance-weighted tightening, the posterior."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from gen.capabilities import Encodes, ImportanceWeighted, Likelihood
from gen.distributed.workers import Workers
from gen.judge.measure import Measure, Scope
from gen.metrics.collapse import active_units, posterior_sums, unit_rates
from gen.metrics.likelihood import bits_per_dimension, importance_bound
from gen.phase import Batch

DENSITY = {"gaussian": True, "bernoulli": False}
"""Likelihood -> whether it is a density of images on the scale [-1, 1]; else it is a probability of their values."""


class Bound(Measure):
    """The negative evidence lower bound and its two terms, nats an image."""

    def __init__(self, model: Likelihood, scope: Scope) -> None:
        self.model, self.rows = model, min(scope.images, scope.length("image"))
        self.planned = scope.about_images(["bound", "distortion", "rate"], self.rows, likelihood=model.density)

    def begin(self, device: torch.device) -> None:
        self.total = torch.zeros(2, dtype=torch.float64, device=device)  # distortion, rate

    def add(self, start: int, batch: Batch) -> None:
        terms = self.model.bound_terms(batch)
        self.total += torch.stack([terms["distortion"].double().sum(), terms["rate"].double().sum()])

    def sums(self) -> list[Tensor]:
        return [self.total]

    def values(self, workers: Workers) -> Mapping[str, float]:
        distortion, rate = (self.total / self.rows).tolist()
        return {"bound/images": distortion + rate, "distortion/images": distortion, "rate/images": rate}


class ImportanceBound(Measure):
    """-log of the mean of n importance weights, nats an image (Burda et al. 2016, https://arxiv.org/abs/1509.00519,
    eq. 8), and in bits a number: at least the negative log-likelihood in expectation, and tighter the larger n is."""

    def __init__(self, model: ImportanceWeighted, scope: Scope) -> None:
        self.model, self.samples = model, scope.importance_samples
        self.rows = min(scope.images, scope.importance_images, scope.length("image"))
        more = {"n_samples": self.samples, "likelihood": model.density}
        bits = ["bits_per_dimension"] if model.density in DENSITY else []  # of others the scale is not known
        self.planned = scope.about_images(["importance_bound", *bits], self.rows, **more)
        self.pixels = scope.dataset.shape.pixels

    def begin(self, device: torch.device) -> None:
        self.total = torch.zeros((), dtype=torch.float64, device=device)

    def add(self, start: int, batch: Batch) -> None:
        draws = (self.model.log_weights(batch) for _ in range(self.samples))
        self.total -= importance_bound(draws).sum()

    def sums(self) -> list[Tensor]:
        return [self.total]

    def values(self, workers: Workers) -> Mapping[str, float]:
        found = {"importance_bound/images": float(self.total) / self.rows}
        if self.model.density in DENSITY:
            bits = bits_per_dimension(found["importance_bound/images"], self.pixels, DENSITY[self.model.density])
            found["bits_per_dimension/images"] = bits
        return found


class Posterior(Measure):
    """Whether latents have collapsed: how many units are active (Burda et al. 2016, section 5.2), the rate of each."""

    def __init__(self, model: Encodes, scope: Scope) -> None:
        self.model, self.rows = model, min(scope.images, scope.length("image"))
        self.planned = scope.about_images(["active_units"], self.rows)
        for unit in range(model.latent_size):
            self.planned += scope.about_images(["unit_rate"], self.rows, variant=f"unit {unit}")

    def begin(self, device: torch.device) -> None:
        self.totals = torch.zeros(3, self.model.latent_size, dtype=torch.float64, device=device)

    def add(self, start: int, batch: Batch) -> None:
        self.totals += posterior_sums(*self.model.latent_posterior(batch))

    def sums(self) -> list[Tensor]:
        return [self.totals]

    def values(self, workers: Workers) -> Mapping[str, float]:
        return {"active_units/images": float(active_units(self.totals, self.rows))} | {
            f"unit {unit}": rate for unit, rate in enumerate(unit_rates(self.totals, self.rows).tolist())
        }
