"""Measures of models that tell something of an image in whole numbers: its class, its codes."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from gen.capabilities import Classifies, PredictsCodes, Quantises, TwoStage, has
from gen.distributed.workers import Workers
from gen.judge.measure import Measure, Scope
from gen.metrics.quality import perplexity, rightly_classified, share_used
from gen.phase import Batch


class Codes(Measure):
    """Perplexity and share of the codes used over all images together."""

    def __init__(self, model: Quantises, scope: Scope) -> None:
        self.model, self.rows = model, min(scope.images, scope.length("image"))
        self.planned = scope.about_images(["perplexity", "used"], self.rows)

    def begin(self, device: torch.device) -> None:
        self.counts = torch.zeros(self.model.codebook_size, dtype=torch.int64, device=device)

    def add(self, start: int, batch: Batch) -> None:
        self.counts += torch.bincount(self.model.codes(batch).flatten(), minlength=len(self.counts))

    def sums(self) -> list[Tensor]:
        return [self.counts]

    def values(self, workers: Workers) -> Mapping[str, float]:
        return {"perplexity/images": perplexity(self.counts), "used/images": share_used(self.counts)}


class CodeNats(Measure):
    """Negative log-likelihood of an image's codes under a prior, in nats a code; log K under a uniform prior."""

    def __init__(self, model: PredictsCodes, scope: Scope) -> None:
        self.model, self.rows = model, min(scope.images, scope.length("image"))
        variant = f"codes {model.stage_hash}" if has(model, TwoStage) else None  # nats of other codes do not compare
        self.planned = scope.about_images(["code_nats"], self.rows, variant=variant)

    def begin(self, device: torch.device) -> None:
        self.total = torch.zeros((), dtype=torch.float64, device=device)

    def add(self, start: int, batch: Batch) -> None:
        self.total += self.model.code_nats(batch).double().sum()

    def sums(self) -> list[Tensor]:
        return [self.total]

    def values(self, workers: Workers) -> Mapping[str, float]:
        return {"code_nats/images": float(self.total) / self.rows}


class Accuracy(Measure):
    """Share of the labelled images whose label the model tells."""

    def __init__(self, model: Classifies, scope: Scope) -> None:
        self.model, self.rows = model, min(scope.images, scope.length("label"))
        self.planned = scope.about_images(["accuracy"], self.rows) if self.rows else []

    def begin(self, device: torch.device) -> None:
        self.right = torch.zeros((), dtype=torch.int64, device=device)

    def add(self, start: int, batch: Batch) -> None:
        self.right += rightly_classified(self.model.classify(batch), batch["label"])

    def sums(self) -> list[Tensor]:
        return [self.right]

    def values(self, workers: Workers) -> Mapping[str, float]:
        return {"accuracy/images": float(self.right) / self.rows}
