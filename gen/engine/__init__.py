"""The only place that differentiates, synchronises and steps; `fit` is its generator of ticks."""

from gen.distributed.workers import ALONE, Workers
from gen.engine.fit import Home, Tick, fit

__all__ = ["ALONE", "Home", "Tick", "Workers", "fit"]
