"""The only place that differentiates, synchronises and steps; `fit` is its generator of ticks."""

from gen.distributed.workers import ALONE, Workers
from gen.engine.fit import Tick, fit
from gen.record.record import Home

__all__ = ["ALONE", "Home", "Tick", "Workers", "fit"]
