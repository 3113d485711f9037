"""The kinds of networks for a generator and a critic."""

from __future__ import annotations

from gen.nets.adversarial import Adversaries, Perceptrons
from gen.nets.dcgan import DCGAN, DCGAN28
from gen.nets.larsen import Larsen

__all__ = ["Adversaries"]

Adversaries.kinds = {"mlp": Perceptrons, "dcgan": DCGAN, "dcgan_28": DCGAN28, "larsen": Larsen}
