"""The precision of objectives."""

from __future__ import annotations

from torch import Tensor, float64


def upcast(x: Tensor) -> Tensor:
    """`x` in float32; float64 stays float64."""
    return x if x.dtype == float64 else x.float()
