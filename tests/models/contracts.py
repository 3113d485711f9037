"""What each capability promises, checked on whatever model has it: a new model is checked for free."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from gen.capabilities import (
    Classifies,
    Conditional,
    Decodes,
    Embeds,
    Encodes,
    Fits,
    Imitates,
    ImportanceWeighted,
    Interpolates,
    Likelihood,
    Plays,
    PredictsCodes,
    Quantises,
    Reconstructs,
    Translates,
    TwoStage,
    has,
)
from gen.phase import Batch, Model

DRAWS = 30  # samples of each image where an expectation is checked


def check(model: Model, batch: Batch) -> list[type]:
    """Checks all that a model in evaluation mode can do; gives what that is."""
    held = [capability for capability in CONTRACTS if has(model, capability)]
    with torch.no_grad():
        for capability in held:
            torch.manual_seed(1)
            CONTRACTS[capability](model, batch)
    return held


def rows_of(batch: Batch) -> int:
    """Images in a batch."""
    return len(next(iter(batch.values())))


def are_images(made: Tensor, like: Tensor) -> bool:
    """Whether `made` are finite images in [-1, 1], of the shape of `like`."""
    return made.shape == like.shape and bool(made.isfinite().all()) and float(made.abs().max()) <= 1


def are_numbers(values: Tensor, batch: Batch) -> bool:
    """Whether `values` are finite, one for each image."""
    return values.shape == (rows_of(batch),) and bool(values.isfinite().all())


def imitates(model: Any, batch: Batch) -> None:
    made = model.imitate(batch)
    assert tuple(made) == tuple(model.imitated)
    assert all(are_images(fakes, batch[column]) for column, fakes in made.items())


def is_conditional(model: Any, batch: Batch) -> None:
    assert "label" in model.needs
    assert model.classes > 1
    many = {column: values.repeat_interleave(8, 0) for column, values in batch.items()}
    made = []
    for label in range(model.classes):
        torch.manual_seed(1)
        asked = torch.full_like(many["label"], label)
        made.append(torch.cat(list(model.imitate({**many, "label": asked}).values()), 1))
    assert all(not torch.equal(made[0], other) for other in made[1:]), "the label matters"


def translates(model: Any, batch: Batch) -> None:
    assert set(model.imitated) == set(model.sources)
    assert set(model.sources.values()) <= model.needs
    made, (column, source) = model.imitate(batch), next(iter(model.sources.items()))
    turned = {**batch, source: batch[source].flip(0)}
    torch.testing.assert_close(model.imitate(turned)[column], made[column].flip(0), msg="a fake for each source")
    for column, source in model.sources.items():
        torch.testing.assert_close(model.translate(batch[source], column), made[column], msg="one way is as both")
    side = -(-max(model.least, 9) // model.multiple) * model.multiple
    others = batch[source].new_zeros(2, batch[source].shape[1], side, side + model.multiple)
    assert are_images(model.translate(others, column), others), "of another size"


def plays(model: Any, batch: Batch) -> None:
    before, logs = copy.deepcopy(model.state_dict()), []
    for _ in range(2):
        torch.manual_seed(1)
        logs.append(model.held_out(batch))
    assert all(value.shape == () and value.isfinite() and not value.requires_grad for value in logs[0].values())
    assert all(value.is_floating_point() for value in logs[0].values()), "the engine takes their means"
    assert all(torch.equal(value, logs[1][name]) for name, value in logs[0].items())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    prepared = model.prepare(batch)
    told = {f"{phase.name}/{name}" for phase in model.phases() for name in ("loss", *phase.loss(prepared)[1])}
    assert {name.replace("held_out_", "") for name in logs[0]} <= told, "what training logs too"
    assert all("/held_out_" in name for name in logs[0])
    assert {f"{phase.name}/held_out_loss" for phase in model.phases()} <= set(logs[0]), "of every player"
    assert set(model.scales) <= told
    assert all(least < nothing < math.inf for least, nothing in model.scales.values())
    assert set(model.sums) <= {phase.name for phase in model.phases()}
    assert all(count > 1 for count in model.sums.values())


def reconstructs(model: Any, batch: Batch) -> None:
    made = model.reconstruct(batch)
    assert tuple(made) == tuple(model.reconstructed)
    assert all(are_images(images, batch[column]) for column, images in made.items())


def has_a_likelihood(model: Any, batch: Batch) -> None:
    terms = model.bound_terms(batch)
    assert set(terms) == {"distortion", "rate"}
    assert all(are_numbers(term, batch) for term in terms.values())
    assert (terms["rate"] >= 0).all()
    assert (terms["distortion"] >= 0).all() or model.density != "bernoulli"
    assert model.density


def is_importance_weighted(model: Any, batch: Batch) -> None:
    weights = torch.stack([model.log_weights(batch) for _ in range(DRAWS)])
    bounds = torch.stack([sum(model.bound_terms(batch).values()) for _ in range(DRAWS)])
    assert all(are_numbers(row, batch) for row in weights)
    error = ((weights.var(0) + bounds.var(0)) / DRAWS).sqrt()  # of the difference between two means
    slack = 1e-5 * bounds.abs().mean(0)
    assert ((weights.mean(0) + bounds.mean(0)).abs() <= 5 * error + slack).all(), "their mean is the negative bound"


def interpolates(model: Any, batch: Batch) -> None:
    pairs, image = rows_of(batch) // 2, batch["image"]
    made = model.interpolate(batch, 3)
    assert made.shape[:2] == (pairs, 3)
    assert are_images(made[:, 0], image[:pairs])
    assert made.abs().max() <= 1


def decodes(model: Any, batch: Batch) -> None:
    latents = torch.randn(rows_of(batch), model.latent_size, dtype=batch["image"].dtype)
    made = model.decode_latents(latents, batch)
    assert are_images(made, batch["image"])
    assert torch.equal(model.decode_latents(latents, batch), made)


def encodes(model: Any, batch: Batch) -> None:
    for part in model.latent_posterior(batch):
        assert part.shape == (rows_of(batch), model.latent_size)
        assert part.isfinite().all()


def classifies(model: Any, batch: Batch) -> None:
    logits = model.classify(batch)
    assert len(logits) == rows_of(batch)
    assert logits.shape[1:].numel() > 1
    assert logits.is_floating_point()


def quantises(model: Any, batch: Batch) -> None:
    codes = model.codes(batch)
    assert len(codes) == rows_of(batch)
    assert codes.dtype == torch.int64
    assert codes.min() >= 0
    assert codes.max() < model.codebook_size


def embeds(model: Any, batch: Batch) -> None:
    vectors = model.code_vectors()
    assert len(vectors) == model.codebook_size
    assert torch.equal(vectors[model.nearest_codes(vectors)], vectors), "each is nearest to itself"
    assert are_images(model.decode(model.codes(batch)), batch["image"])


def predicts_codes(model: Any, batch: Batch) -> None:
    nats = model.code_nats(batch)
    assert are_numbers(nats, batch)
    assert (nats >= 0).all()
    if has(model, TwoStage):  # an untrained prior knows little more than that there are so many codes
        assert nats.mean() < 2 * math.log(model.first.codebook_size)


def has_two_stages(model: Any, batch: Batch) -> None:
    assert isinstance(model.first, Model)
    assert isinstance(model.stage_hash, str)
    assert {f"first.{name}" for name, _ in model.first.named_parameters()} <= set(model.unmoved)
    inside = {id(parameter) for parameter in model.first.parameters()}
    assert not any(id(parameter) in inside for phase in model.phases() for parameter in phase.player.parameters())


def fits(model: Any, batch: Batch) -> None:
    asked: list[int] = []
    before, after = copy.deepcopy(dict(model.named_parameters())), []

    def draw(number: int) -> Batch:
        asked.append(number)
        drawn = {**batch, "image": batch["image"] / (1 + number)}
        if has(model, TwoStage):  # an untrained first stage has one code for all images
            codes, random = model.first.codes(batch), torch.Generator().manual_seed(number)
            drawn["codes"] = torch.randint(model.first.codebook_size, codes.shape, generator=random)
        return drawn

    for _ in range(2):
        torch.manual_seed(1)
        fitted = copy.deepcopy(model)
        fitted.fit(draw)
        after.append(dict(fitted.named_buffers()))
        assert all(torch.equal(value, before[name]) for name, value in fitted.named_parameters())
    half = len(asked) // 2
    assert asked == [*range(half), *range(half)], "batches in the order of the stream"
    assert all(torch.equal(value, after[1][name]) for name, value in after[0].items())
    changed = [name for name, value in model.named_buffers() if not torch.equal(value, after[0][name])]
    assert bool(changed) == bool(asked)


CONTRACTS: dict[type, Callable[[Any, Batch], None]] = {
    Imitates: imitates,
    Conditional: is_conditional,
    Translates: translates,
    Plays: plays,
    Reconstructs: reconstructs,
    Likelihood: has_a_likelihood,
    ImportanceWeighted: is_importance_weighted,
    Interpolates: interpolates,
    Decodes: decodes,
    Encodes: encodes,
    Classifies: classifies,
    Quantises: quantises,
    Embeds: embeds,
    PredictsCodes: predicts_codes,
    TwoStage: has_two_stages,
    Fits: fits,
}
