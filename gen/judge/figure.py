"""One measured number with its protocol."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from typing import Any

ADDED = ("variant", "n_samples", "likelihood", "deficient", "labels")
"""Columns that schema 1.0 did not have. A figure without any of them has the protocol hash of schema 1.0, so that old
and new figures are ranked together. Fakes of conditional models have "labels": earlier, all classes were as many."""


@dataclass(frozen=True)
class Figure:
    """One measured number with its protocol: figures of different protocols are never ranked together."""

    metric: str
    subject: str  # fakes, reconstructions, translations, or images: the real ones themselves
    value: float
    n_real: int
    n_fake: int  # images of the subject
    split: str
    weights: str  # raw or ema
    column: str = "image"
    features: str | None = None  # extractor
    features_hash: str | None = None
    resize: str | None = None  # how images were brought to the extractor's size
    variant: str | None = None  # what else defines the metric: "k=5"
    n_samples: int | None = None  # importance samples an image
    likelihood: str | None = None  # name of p(x|z): bounds under different ones do not compare
    deficient: bool | None = None  # fewer fakes than feature dimensions: their covariance is singular
    labels: str | None = None  # which labels a conditional model was asked for: "split", those of the split's images

    @property
    def name(self) -> str:
        """The figure's name in settings and searches: "frechet_classifier/fakes", "fid/translations/b"."""
        return f"{self.metric}/{self.subject}" + ("" if self.column == "image" else f"/{self.column}")

    @property
    def protocol(self) -> str:
        """A hash of all but the value, 16 hexadecimal digits."""
        columns = {key: value for key, value in asdict(self).items() if key != "value"}
        known = {key: value for key, value in columns.items() if key not in ADDED or value}
        return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:16]

    def row(self) -> dict[str, Any]:
        """The figure as columns of the table `evals`."""
        return {**asdict(self), "protocol": self.protocol}


PLANNED = math.nan  # the value of a figure that is not measured yet
