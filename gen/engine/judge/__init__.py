"""What is measured of a model, cheaply at each tick and in full at the end: one measure a capability."""

from gen.engine.judge.extractors import Features, judge_by, open_judge, shared_classifier
from gen.engine.judge.figure import Figure
from gen.engine.judge.judge import NOISE, Judge

__all__ = ["NOISE", "Features", "Figure", "Judge", "judge_by", "open_judge", "shared_classifier"]
