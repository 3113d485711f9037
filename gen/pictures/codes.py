"""Plots of a codebook: where its vectors lie, and how often each is used."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gen.metrics.quality import perplexity, share_used

if TYPE_CHECKING:  # takes a second to import, and a process that trains plots nothing
    from matplotlib.figure import Figure
    from torch import Tensor

Array = NDArray[Any]
NEIGHBOURS = 15  # that UMAP looks at: its own default
LEAST = 8  # codes: fewer have too few neighbours for UMAP


def use_map(vectors: Array, counts: Array, caption: str) -> Figure:
    """Codebook vectors (K, D) in the plane, coloured by the use `counts` (K,); codes that are never used are hollow."""
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    points, method = in_the_plane(vectors)
    figure = Figure(figsize=(7, 6), layout="constrained")
    axes = figure.add_subplot()
    used = counts > 0
    size = float(np.clip(20_000 / len(counts), 12, 120))
    x, y = points.T
    if not used.all():
        axes.scatter(x[~used], y[~used], size, facecolors="none", edgecolors="0.6", label=f"{(~used).sum()} never used")
    few = counts[used].min(initial=counts.max(initial=1))
    scale = LogNorm(few, max(few + 1, counts.max(initial=1)))
    dots = axes.scatter(x[used], y[used], size, counts[used], norm=scale, label=f"{used.sum()} used")
    figure.colorbar(dots, label="times used")
    axes.set(xticks=[], yticks=[])
    axes.set_title(f"{len(counts)} codes by {method}\n{caption}", wrap=True)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure


def use_histogram(counts: Tensor, caption: str) -> Figure:
    """A histogram of the use `counts` (K,): one bar a code, the most used first."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    heights = counts.sort(descending=True).values.cpu().numpy()
    axes.bar(np.arange(len(heights)), heights, width=1.0)
    even = heights.sum() / len(heights)
    axes.axhline(even, color="0.3", linestyle="--", label=f"all alike: {even:.4g} times each")
    used = f"{share_used(counts):.1%} of them used, perplexity {perplexity(counts):.1f}"
    axes.set_title(f"Use of {len(heights)} codes: {used}\n{caption}", wrap=True)
    axes.set(
        xlabel="codes, the most used first",
        ylabel="times used",
        xlim=(-0.5, len(heights) - 0.5),
    )
    axes.legend(frameon=False)
    return figure


def in_the_plane(vectors: Array) -> tuple[Array, str]:
    """Points (K, 2) for vectors (K, D), and the method that found them: UMAP (McInnes et al. 2018) if umap-learn is
    installed and there are codes enough, else PCA, the first two principal components."""
    if len(vectors) >= LEAST and importlib.util.find_spec("umap"):
        from umap import UMAP

        umap = UMAP(n_neighbors=min(NEIGHBOURS, len(vectors) - 1), random_state=0, n_jobs=1)
        return np.asarray(umap.fit_transform(vectors)), "UMAP"
    from sklearn.decomposition import PCA

    found = PCA(min(2, *vectors.shape)).fit_transform(vectors)
    return np.pad(found, ((0, 0), (0, 2 - found.shape[1]))), "PCA"
