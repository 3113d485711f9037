"""The only code that differentiates, synchronises and steps models. `fit` is a run as a generator of ticks."""

from gen.distributed.workers import ALONE, Workers
from gen.engine.fit import Tick, fit
from gen.record.record import Home

__all__ = ["ALONE", "Home", "Tick", "Workers", "fit"]
