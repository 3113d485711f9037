"""Capabilities are declared, not guessed: a model has those that it names among its bases, and no other."""

import inspect
from abc import ABC

import pytest
import torch

from gen import capabilities
from gen.capabilities import (
    Classifies,
    Conditional,
    Imitates,
    ImportanceWeighted,
    Likelihood,
    Quantises,
    Reconstructs,
    Translates,
    TwoStage,
    has,
)
from gen.phase import Model
from tests.fixtures.still import Still
from tests.models.contracts import CONTRACTS, check

ALL = [
    kind for _, kind in inspect.getmembers(capabilities, inspect.isclass) if kind.__module__ == capabilities.__name__
]


class Everything(Still, Imitates):
    """It bears every name that a capability has, and imitates."""

    classes, density, latent_size, codebook_size, stage_hash = 3, "gaussian", 2, 8, "0123"
    sources, multiple, least = {"a": "b"}, 1, 8
    reconstructed = ("image",)

    def __init__(self):
        super().__init__()
        self.first = Still()

    def imitate(self, batch):
        return {"image": torch.zeros_like(batch["image"])}

    reconstruct = classify = codes = code_nats = bound_terms = log_weights = latent_posterior = translate = imitate
    held_out = scales = sums = decode_latents = interpolate = decode = code_vectors = nearest_codes = fit = imitate


class Turner(Still, Translates):
    """Translates by turning images upside down."""

    needs = frozenset({"a", "b"})
    sources = {"a": "b", "b": "a"}  # noqa: RUF012

    def imitate(self, batch):
        return {column: batch[source].flip(2) for column, source in self.sources.items()}


class Teller(Still, Classifies):
    """Tells two classes."""

    def classify(self, batch):
        return torch.stack([batch["image"].mean((1, 2, 3)), torch.zeros(len(batch["image"]))], 1)


def test_all_of_them_have_a_contract_and_are_abstract():
    assert set(CONTRACTS) == set(ALL)
    assert all(issubclass(kind, ABC) for kind in ALL)


def test_an_attribute_of_a_capability_s_name_never_turns_it_on():
    declared = [name for kind in ALL for name in (*vars(kind), *kind.__annotations__) if not name.startswith("_")]
    model = Everything()
    assert all(hasattr(model, name) for name in declared), "otherwise this shows nothing"
    assert [kind for kind in ALL if has(model, kind)] == [Imitates]


def test_classes_alone_make_no_conditional_model_and_a_model_called_first_no_first_stage():
    model = Everything()
    assert model.classes
    assert not has(model, Conditional)
    assert isinstance(model.first, Model)
    assert not has(model, TwoStage)


def test_a_capability_without_its_method_cannot_be_claimed():
    class Claims(Still, Reconstructs):
        pass

    with pytest.raises(TypeError, match="reconstruct"):
        Claims()


def test_settings_take_capabilities_away_with_all_that_rest_on_them():
    class Able(Everything, Conditional, ImportanceWeighted, Quantises):
        pass

    model = Able()
    assert [kind for kind in ALL if has(model, kind)] == [
        Conditional,
        Imitates,
        ImportanceWeighted,
        Likelihood,
        Quantises,
    ]
    model.without = frozenset({Likelihood})  # what is importance-weighted is a likelihood
    assert [kind for kind in ALL if has(model, kind)] == [Conditional, Imitates, Quantises]
    model.without = frozenset({ImportanceWeighted, Conditional})  # and not the other way round
    assert [kind for kind in ALL if has(model, kind)] == [Imitates, Likelihood, Quantises]
    assert has(Able(), Conditional), "of one model, not of its class"


def test_columns_are_said_by_the_capability():
    assert Everything().imitated == ("image",)
    assert Turner().imitated == ("a", "b")


@pytest.mark.parametrize(("model", "columns"), [(Turner(), ("a", "b")), (Teller(), ("image",))])
def test_what_no_entry_can_do_yet_has_a_contract_too(model, columns):
    batch = {column: torch.rand(5, 1, 4, 4) * 2 - 1 for column in columns}
    assert set(check(model, batch)) == {kind for kind in ALL if isinstance(model, kind)}
