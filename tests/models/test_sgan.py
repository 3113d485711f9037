import numpy as np
import pytest
import torch
from torch import nn

from gen.capabilities import Plays, has
from gen.config import override
from gen.objectives.kl import rates
from gen.phase import MicroBatch, Shape
from gen.zoo import ZOO, tiny

SHAPE = Shape(1, 8, 10)
GAMES = ["sgan", "sgan_vae"]


def build(name, **settings):
    torch.manual_seed(0)
    return override(tiny(ZOO[name]), settings).model.build(SHAPE).double()


def softplus(x):
    return np.logaddexp(0, x)


@pytest.mark.parametrize("name", GAMES)
def test_the_classifier_s_loss_is_the_paper_s(name, play):
    """Section 5 by numpy, from three passes instead of one: in evaluation mode there is no noise."""
    model = build(name, **{"model.supervised": 0.75, "model.unsupervised": 0.5})
    batch = play.batch(model)
    with torch.no_grad():
        of = {column: model.classifier(batch[column]).numpy() for column in ("image", "unlabelled", "fake")}
        loss, logs = model.classifier_loss(batch)
    assert len(of["fake"]) == (16 if name == "sgan_vae" else 8)
    z = {column: np.log(np.exp(logits).sum(1)) for column, logits in of.items()}
    supervised = np.mean(z["image"] - of["image"][np.arange(8), batch["label"].numpy()])
    game = np.mean(softplus(-z["unlabelled"])) + np.mean(softplus(z["fake"]))
    expected = {
        "supervised": supervised,
        "game": game,
        "real": z["unlabelled"].mean(),
        "fake": z["fake"].mean(),
        "told_apart": ((z["unlabelled"] > 0).mean() + (z["fake"] <= 0).mean()) / 2,
        "labels_right": (of["image"].argmax(1) == batch["label"].numpy()).mean(),
    }
    assert {key: value.item() for key, value in logs.items()} == pytest.approx(expected, rel=1e-6)
    assert loss.item() == pytest.approx(0.75 * supervised + 0.5 * game, rel=1e-10)


@pytest.mark.parametrize(("matching", "adversarial"), [(1.0, 0.0), (0.0, 1.0), (0.5, 2.0)])
def test_the_generator_matches_features_or_plays_or_both(matching, adversarial, play):
    model = build("sgan", **{"model.matching": matching, "model.adversarial": adversarial})
    batch = play.batch(model)
    with torch.no_grad():
        fake = model.generator(batch["latent"])
        assert torch.equal(fake, batch["fake"])
        means = [model.classifier.features(image).numpy().mean(0) for image in (batch["unlabelled"], fake)]
        z = np.log(np.exp(model.classifier(fake).numpy()).sum(1))
        loss, logs = model.generator_loss(batch)
    terms = {"matching": np.mean((means[0] - means[1]) ** 2), "adversarial": np.mean(softplus(-z))}
    weights = {"matching": matching, "adversarial": adversarial}
    assert {key: value.item() for key, value in logs.items()} == pytest.approx(
        {key: value for key, value in terms.items() if weights[key]}, rel=1e-10
    )
    assert loss.item() == pytest.approx(sum(weights[key] * value for key, value in terms.items()), rel=1e-10)


def test_the_autoencoder_matches_both_kinds_of_fakes_and_lowers_the_bound(play):
    settings = {"model.matching": 0.5, "model.adversarial": 2.0, "model.reconstruction": 3.0, "model.beta": 0.25}
    model = build("sgan_vae", **settings)
    batch = play.batch(model)
    torch.manual_seed(1)
    with torch.no_grad():
        loss, logs = model.autoencoder_loss(batch)
        torch.manual_seed(1)
        mean, log_variance = model.autoencoder.latent_posterior({"image": batch["unlabelled"]})
        latent = mean + (log_variance / 2).exp() * torch.randn_like(mean)
        kinds = [model.decode_latents(z, batch) for z in (batch["prior"], latent)]
        real = model.classifier.features(batch["unlabelled"]).mean(0)
        matching = np.mean([(model.classifier.features(fake).mean(0) - real).square().mean() for fake in kinds])
        z = model.classifier(torch.cat(kinds)).logsumexp(1).numpy()
        grey, shown = (batch["unlabelled"].numpy() + 1) / 2, (kinds[1].numpy() + 1) / 2
    distortion = -(grey * np.log(shown) + (1 - grey) * np.log(1 - shown)).sum((1, 2, 3)).mean()
    rate = rates(mean, log_variance).sum(1).mean().item()
    expected = {"matching": matching, "adversarial": softplus(-z).mean(), "distortion": distortion, "rate": rate}
    assert {key: logs[key].item() for key in expected} == pytest.approx(expected, rel=1e-8)
    assert logs["bound"].item() == pytest.approx(distortion + rate, rel=1e-8)
    game = 0.5 * expected["matching"] + 2 * expected["adversarial"]
    assert loss.item() == pytest.approx(game + (3 * distortion + 0.25 * rate) / 64, rel=1e-8)


def test_the_classifier_alone_has_the_network_and_the_supervised_loss_of_the_game(play):
    alone, game = build("classifier").eval(), build("sgan")
    alone.load_state_dict({key: value for key, value in game.state_dict().items() if key.startswith("classifier.")})
    batch = play.batch(game)
    loss, logs = alone.loss(batch)
    of_game = game.classifier_loss(batch)[1]
    torch.testing.assert_close(loss, of_game["supervised"], rtol=1e-12, atol=0)
    assert logs["labels_right"] == of_game["labels_right"]
    assert torch.equal(alone.classify(batch), game.classify(batch))


@pytest.mark.parametrize("name", ["classifier", *GAMES])
def test_it_begins_with_the_lengths_that_its_images_give(name):
    """Measured on the unlabelled images in a game, and by the classifier alone on those that it has."""
    model, own = build(name), "image" if name == "classifier" else "unlabelled"
    images = torch.rand(500, 1, 8, 8).double() * 2 - 1
    for part in model.classifier.body:
        vars(part).update({"deviation": 0.0} if hasattr(part, "deviation") else {})
    model.eval().fit(lambda number: {"image": images / 9, "unlabelled": images / 9, own: images})
    logits = model.classifier(images)
    torch.testing.assert_close(logits.mean(0), torch.zeros(10).double(), rtol=0, atol=1e-5)
    torch.testing.assert_close(logits.std(0, correction=0), torch.ones(10).double(), rtol=1e-4, atol=0)


@pytest.mark.parametrize("name", GAMES)
def test_whoever_matches_features_can_play_against_a_critic_that_wins(name):
    assert not build(name).scales
    scales = build(name, **{"model.adversarial": 1.0}).scales
    assert scales == {"classifier/game": (0.0, pytest.approx(2 * np.log(2)))}
    assert not build(name, **{"model.adversarial": 1.0, "model.objective": "wasserstein"}).scales
    assert has(build(name), Plays)
    assert not has(build("classifier"), Plays)


@pytest.mark.parametrize("name", GAMES)
def test_fakes_that_have_nothing_to_learn_by_are_refused(name):
    with pytest.raises(ValueError, match=r"^model.adversarial=0 beside model.matching=0 .*allowed: one above 0$"):
        override(ZOO[name], {"model.matching": 0})


def test_the_generator_s_fully_connected_networks_end_in_a_sigmoid():
    ends = [type(layer) for layer in build("sgan").generator][-3:]
    assert ends[0] is nn.Sigmoid
    fakes = build("sgan").imitate({"image": torch.zeros(50, 1, 8, 8).double()})["image"]
    assert -1 <= fakes.min() < -0.1
    assert 0.1 < fakes.max() <= 1


@pytest.mark.parametrize("name", GAMES)
def test_fakes_learn_from_a_classifier_with_noise_and_are_measured_without(name, play):
    model = build(name, **{"model.adversarial": 1.0})
    batch = play.batch(model)
    fake = batch["fake"][:8]

    def losses(training):
        for seed in range(2):
            torch.manual_seed(seed)
            model.micro_batch = MicroBatch(0, 1) if training else None
            with torch.no_grad():
                logs = model.fooling_loss(fake, batch["unlabelled"])[1]
            yield from logs.values()

    assert len(set(map(float, losses(True)))) == 4
    assert len(set(map(float, losses(False)))) == 2
    model.micro_batch = None
    assert not any(part.training for part in model.modules())
