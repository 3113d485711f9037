"""The only place that differentiates, synchronises and steps; `fit` is its generator of ticks."""

from gen.engine.fit import Home, Tick, fit
from gen.engine.workers import ALONE, Workers

__all__ = ["ALONE", "Home", "Tick", "Workers", "fit"]
