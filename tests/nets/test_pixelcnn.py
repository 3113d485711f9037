"""What each output may see, and that drawing place by place is what the whole grid computes."""

import pytest
import torch

from gen.nets.pixelcnn import PixelCNN, gate

HEIGHT, WIDTH, CODES = 4, 5, 6


def network(layers: int, reach: int, classes: int = 0) -> PixelCNN:
    torch.manual_seed(0)
    return PixelCNN(CODES, 8, layers, reach, 12, classes).double()


@pytest.mark.parametrize(("layers", "reach"), [(5, 1), (3, 2), (2, 4)])
def test_every_output_sees_all_earlier_codes_and_none_of_its_own_or_later(layers, reach):
    """Each place's gradient to the embedded codes of the whole grid: not zero before it, exactly zero from it on."""
    net = network(layers, reach)
    codes = torch.randint(CODES, (2, HEIGHT, WIDTH))
    embedded = net.embed(codes).detach().requires_grad_()
    net.embed.register_forward_hook(lambda *_: embedded)  # the same network, as a function of what it embedded
    logits = net(codes)  # (B, K, H, W)
    for place in range(HEIGHT * WIDTH):
        row, column = divmod(place, WIDTH)
        weights = torch.randn(2, CODES, dtype=torch.float64)
        (gradient,) = torch.autograd.grad((logits[:, :, row, column] * weights).sum(), embedded, retain_graph=True)
        seen = gradient.abs().sum(3).flatten(1) > 0  # (B, H * W)
        assert seen[:, :place].all(), f"blind spot at {row}, {column}"
        assert not seen[:, place:].any(), f"{row}, {column} sees itself or what comes later"


@pytest.mark.parametrize("classes", [0, 3])
def test_drawing_place_by_place_follows_the_logits_of_the_whole_grid(classes, monkeypatch):
    """Drawing takes the likeliest code here, so that `forward` on what was drawn must find it likeliest everywhere."""
    net = network(3, 2, classes)
    label = torch.tensor([2, 0, 1, 1]) if classes else None
    drawn = []

    def likeliest(probabilities, count):
        drawn.append(probabilities)
        return probabilities.argmax(1, keepdim=True)

    monkeypatch.setattr(torch, "multinomial", likeliest)
    codes = net.sample(4, HEIGHT, WIDTH, label)
    expected = net(codes, label).softmax(1)  # (B, K, H, W)
    torch.testing.assert_close(torch.stack(drawn, 2).view_as(expected), expected, rtol=1e-9, atol=1e-12)
    assert torch.equal(expected.argmax(1), codes)


def test_draws_have_the_probabilities_that_the_network_gives():
    """Two places of three codes: the shares of all nine grids, by the network, against 20,000 draws."""
    torch.manual_seed(1)
    net = PixelCNN(3, 8, 2, 1, 12).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(3)  # far from uniform
    grids = torch.cartesian_prod(torch.arange(3), torch.arange(3)).view(9, 1, 2)
    logs = net(grids).log_softmax(1).gather(1, grids.unsqueeze(1)).flatten(1).sum(1)
    expected = logs.exp()  # (9,)
    torch.testing.assert_close(expected.sum(), torch.ones((), dtype=torch.float64))
    count = 20_000
    drawn = net.sample(count, 1, 2)
    shares = torch.bincount(drawn[:, 0, 0] * 3 + drawn[:, 0, 1], minlength=9) / count
    deviations = (expected * (1 - expected) / count).sqrt()
    assert ((shares - expected).abs() < 5 * deviations).all()
    assert expected.max() > 2 * expected.min()


def test_the_class_changes_every_output():
    net = network(2, 1, classes=3)
    codes = torch.zeros(1, HEIGHT, WIDTH, dtype=torch.int64)
    one, other = (net(codes, torch.tensor([label])) for label in (0, 1))
    assert ((one - other).abs().sum(1) > 0).all()


def test_the_gate_is_tanh_times_sigmoid():
    x = torch.linspace(-2, 2, 6, dtype=torch.float64).view(1, 6, 1, 1)
    torch.testing.assert_close(gate(x), torch.tanh(x[:, :3]) * torch.sigmoid(x[:, 3:]))
