"""Features of the images that a model makes: what is kept of them batch by batch, and the figures that come of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from gen.data.stream import from_uint8, to_uint8
from gen.distributed.workers import Workers
from gen.judge.figure import Figure
from gen.judge.measure import Scope, first
from gen.judge.networks.extractors import Extractor
from gen.metrics import kernel, neighbours
from gen.metrics.inception_score import InceptionScore
from gen.metrics.modes import mode_coverage
from gen.metrics.moments import Moments
from gen.metrics.table import frechet_name

KERNEL = ("kid", "kid_spread")
MANIFOLDS = {  # metric -> nearest neighbours
    "precision": neighbours.NEAR,
    "recall": neighbours.NEAR,
    "density": neighbours.DENSE,
    "coverage": neighbours.DENSE,
}
MODES = ("modes", "mode_share", "mode_entropy", "mode_divergence")  # of the histogram of the fakes' classes
OBEDIENCE = "conditional_accuracy"  # share of a conditional model's fakes that are of the class that was asked for
SCORED = ("inception", "classifier")  # extractors that have an inception score: their classes are kinds of images


class Gathered:
    """What is gathered of the features of one column of made images: their moments, and as many of the features
    themselves as the metrics need.

    Metrics of samples (KID, precision and others) are defined for as many fakes as real images, and compare the first
    `paired` of each. `rows`: images that the model makes. `labels`: which labels a conditional model is asked for.

    The classes that fakes reach, their modes, are told by the set's own classifier, whichever the extractor is. A
    conditional model is asked for the labels of the split: its histogram does not say that it found the classes by
    itself, and how many of its fakes are of the class that was asked for is a figure of its own.
    """

    def __init__(self, scope: Scope, column: str, subject: str, rows: int, labels: str | None = None) -> None:
        self.scope, self.column, self.subject, self.rows, self.labels = scope, column, subject, rows, labels
        self.extractor = scope.references.extractor
        self.frechet = frechet_name(self.extractor.name)
        self.n_real = scope.length(column)
        self.paired = min(rows, self.n_real)  # images of each side in metrics of samples
        self.deficient = rows < self.extractor.width
        self.teller = scope.teller if (subject, column) == ("fakes", "image") else None  # labels are of this column

    def plan(self) -> list[Figure]:
        """The figures that these features can give, not measured yet."""
        if min(self.n_real, self.rows) < 2:  # one image has no covariance
            return []
        found = [self._figure(self.frechet, self.n_real, self.rows, deficient=self.deficient)]
        if self.paired > neighbours.DENSE:
            subsets = f"{kernel.SUBSETS} subsets of {subset(self.paired)}"
            found += [self._figure(metric, self.paired, self.paired, variant=subsets) for metric in KERNEL]
            for metric, near in MANIFOLDS.items():
                found.append(self._figure(metric, self.paired, self.paired, variant=f"k={near}"))
        if self.extractor.name.partition(":")[0] in SCORED:
            found.append(self._figure("inception_score", 0, self.rows))  # it looks at no real image
        if self.teller:
            told = (*MODES, OBEDIENCE) if self.labels else MODES
            found += [self._figure(metric, 0, self.rows, of=self.teller) for metric in told]
        return found

    def begin(self, metrics: Collection[str], device: torch.device) -> None:
        """Makes the sums that these metrics need."""
        self.wanted, width = set(metrics), self.extractor.width
        rows = self.paired if self.wanted & {*KERNEL, *MANIFOLDS} else 0
        if self.frechet in self.wanted and self.deficient:
            rows = self.rows
        self.kept = torch.zeros(rows, width, device=device)
        moments = self.frechet in self.wanted and not self.deficient
        self.moments = Moments(width, device) if moments else None
        self.score: InceptionScore | None = None
        if "inception_score" in self.wanted:
            classes = self.extractor.logits_of(torch.zeros(1, width, device=device)).shape[1]
            self.score = InceptionScore(classes, device)
        classes = self.scope.dataset.shape.classes if self.wanted & {*MODES, OBEDIENCE} else 0
        self.classes = torch.zeros(classes, dtype=torch.int64, device=device)
        self.obeyed = torch.zeros((), dtype=torch.int64, device=device)

    def add(self, start: int, images: Tensor, asked: Tensor | None = None) -> None:
        """Counts made images (N, C, H, W) in [-1, 1], at positions from `start` on, rounded to 8 bits as in files.
        `asked`: the labels (N,) that a conditional model was asked for."""
        images = first(self.rows, start, images)
        if not len(images) or not self.sums():
            return
        rounded = from_uint8(to_uint8(images), images.device, torch.float32)
        tells = self.teller is self.extractor and len(self.classes) > 0
        if len(self.kept) or self.moments or self.score or tells:
            features = self.extractor.features(rounded)
            kept = first(len(self.kept), start, features)
            self.kept[start : start + len(kept)] = kept
            if self.moments:
                self.moments.add(features)
            if self.score:
                self.score.add(self.extractor.logits_of(features))
        if self.teller and len(self.classes):
            logits = self.extractor.logits_of(features) if tells else self.teller.logits(rounded)
            told = logits.argmax(1)
            self.classes += torch.bincount(told, minlength=len(self.classes))
            if asked is not None:
                self.obeyed += (told == first(self.rows, start, asked)).sum()

    def sums(self) -> list[Tensor]:
        """The buffers to total over workers. Features lie at their images' positions, which no two workers share."""
        found = [self.kept] if len(self.kept) else []
        found += self.moments.tensors() if self.moments else ()
        found += self.score.tensors() if self.score else ()
        found += [self.classes, self.obeyed] if len(self.classes) else ()
        return found

    def values(self, workers: Workers) -> Mapping[str, float]:
        """Metric -> value."""
        found: dict[str, float] = {}
        references, split = self.scope.references, self.scope.split
        if self.frechet in self.wanted:
            reference = references.moments(split, self.column, workers)
            if self.moments:
                found[self.frechet] = reference.distance(self.moments.mean(), self.moments.covariance())
            else:
                found[self.frechet] = reference.distance_to(self.kept)
        if self.wanted & {*KERNEL, *MANIFOLDS}:
            real = references.sample(split, self.column, self.paired, workers)
            found |= compare_samples(real, self.kept[: self.paired], self.wanted, workers)
        if self.score:
            found["inception_score"] = self.score.value()
        if len(self.classes):
            found |= mode_coverage(self.classes) | {OBEDIENCE: float(self.obeyed / self.classes.sum())}
        return found

    def _figure(
        self,
        metric: str,
        n_real: int,
        n_fake: int,
        variant: str | None = None,
        deficient: bool = False,
        of: Extractor | None = None,
    ) -> Figure:
        extractor = of or self.extractor
        return self.scope.plan(
            metric,
            self.subject,
            n_real,
            n_fake,
            column=self.column,
            features=extractor.name,
            features_hash=extractor.weights_hash if of else self.scope.references.weights_hash,
            resize=extractor.resize,
            variant=variant,
            deficient=deficient or None,
            labels=self.labels,
        )


def subset(count: int) -> int:
    """Images in each random subset of `count` images: at most half of them, or all subsets would be alike."""
    return min(kernel.SIZE, count // 2)


def compare_samples(real: Tensor, fakes: Tensor, wanted: set[str], workers: Workers) -> Mapping[str, float]:
    """Metric -> value, of features (n, D) of both sides. One worker does the kernel's, one the neighbours', for all."""
    names = (*KERNEL, *MANIFOLDS)
    values = torch.zeros(len(names), dtype=torch.float64, device=real.device)
    if wanted & set(KERNEL) and workers.rank == 0:
        values[: len(KERNEL)] = values.new_tensor(kernel.kernel_distance(real, fakes, size=subset(len(real))))
    if wanted & set(MANIFOLDS) and workers.rank == workers.size - 1:
        found = neighbours.manifolds(real, fakes)
        values[len(KERNEL) :] = values.new_tensor([found[name] for name in MANIFOLDS])
    workers.total([values])
    return dict(zip(names, values.tolist(), strict=True))
