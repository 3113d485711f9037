"""What is measured of a model, cheaply at each tick and in full at the end: one measure a capability."""

from gen.judge.figure import Figure
from gen.judge.floor import floor
from gen.judge.judge import NOISE, Judge
from gen.judge.open import Features, judge_by, open_judge, shared_classifier

__all__ = ["NOISE", "Features", "Figure", "Judge", "floor", "judge_by", "open_judge", "shared_classifier"]
