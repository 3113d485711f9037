import torch
from torch import nn

from gen.nets.residual import Residual, quadrupling_decoder, quartering_encoder


def test_encoder_quarters_and_decoder_restores():
    image = torch.zeros(2, 3, 12, 12)
    code = quartering_encoder(3, 8, 4, 2, 5)(image)
    assert code.shape == (2, 5, 3, 3)
    assert quadrupling_decoder(5, 8, 4, 2, 3)(code).shape == image.shape


def test_a_silent_branch_leaves_the_identity():
    block, x = Residual(4, 2), torch.randn(2, 4, 3, 3)
    nn.init.zeros_(block.branch[-1].weight)
    nn.init.zeros_(block.branch[-1].bias)
    assert torch.equal(block(x), x)
