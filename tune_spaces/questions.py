"""A space as questions, for samplers that learn from answers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ray.tune.search.sample import Categorical, Domain, Float, Integer, LogUniform, Quantized

from gen.config import flat, override, to_dotted
from gen.search.samplers import Answer, Choice, Question, Questions, Settings, Span
from tune_spaces.draws import free
from tune_spaces.space import InTurn, Space, is_covered

Known = dict[str, tuple[Question, Any]]


class SpaceQuestions(Questions):
    """The questions of a space: one a key, and one for each domain in a dict that is chosen. ValueError for a space
    that gives choices in turn, and for a domain that is neither a choice nor a range."""

    def __init__(self, space: Space) -> None:
        self.space = space
        for key, domain in space.keys.items():
            check(key, domain)

    def ask(self, answer: Answer) -> Settings:
        """Settings as `draw` gives them."""
        settings: dict[str, Any] = {}
        for key, domain in self.space.keys.items():
            leaves = dict(_ask(key, self.name(key), domain, answer))
            settings |= free(self.space, key, to_dotted(leaves))
        return settings

    def find(self, settings: Settings) -> Known:
        """The answers that give the configuration which `settings` make of the space's own."""
        known, whole = Known(), flat(override(self.space.config, settings))
        for key, domain in self.space.keys.items():
            # of a key that is searched itself, though --search fixed it against the draws of its group, every answer
            fixed = [one for one in self.space.fixed if one.startswith(f"{key}.")]
            known |= _find(key, self.name(key), domain, whole, fixed) or {}
        return known

    def name(self, key: str) -> str:
        """The name of a key's question: keys that are tied share one."""
        return self.space.tied.get(key, key)


def _find(key: str, name: str, value: Any, settings: Settings, fixed: Sequence[str]) -> Known | None:
    """The answers by which `value` samples what `settings` have at a key, but for keys that are `fixed`; None if none
    do."""
    if isinstance(value, Categorical):
        for place, option in enumerate(value.categories):
            inner = _find(key, f"{name}[{place}]", option, settings, fixed)
            if inner is not None:
                return {name: (Choice(len(value.categories)), place)} | inner
        return None
    if isinstance(value, (Float, Integer)):
        question, answer = span(value), settings.get(key)
        return {name: (question, answer)} if question.holds(answer) else None
    if isinstance(value, Mapping):
        known: Known = {}
        for part, inner in value.items():
            (leaf,) = to_dotted({f"{key}.{part}": None})
            found = _find(leaf, f"{name}.{part}", inner, settings, fixed)
            if found is None:
                return None
            known |= found
        return known
    return {} if is_covered(key, fixed) or settings.get(key) == value else None


def _ask(key: str, name: str, value: Any, answer: Answer) -> Iterator[tuple[str, Any]]:
    """What the answers make of `value`, as dotted keys and plain values."""
    if isinstance(value, Categorical):
        place = answer(name, Choice(len(value.categories)))
        yield from _ask(key, f"{name}[{place}]", value.categories[place], answer)
    elif isinstance(value, (Float, Integer)):
        yield key, answer(name, span(value))
    elif isinstance(value, Mapping):
        for part, inner in value.items():
            yield from _ask(f"{key}.{part}", f"{name}.{part}", inner, answer)
    else:
        yield key, value


def span(domain: Float | Integer) -> Span:
    """A range of numbers as a question."""
    sampler, whole = domain.get_sampler(), isinstance(domain, Integer)  # type: ignore[no-untyped-call]
    step = None
    if isinstance(sampler, Quantized):
        step, sampler = sampler.q, sampler.get_sampler()  # type: ignore[no-untyped-call]
    log = isinstance(sampler, LogUniform)
    high = domain.upper - 1 if whole else domain.upper  # of whole numbers the upper bound is left out
    return Span(domain.lower, high, log, whole, None if log else step)


def check(key: str, value: Any) -> None:
    """ValueError if `value` is nothing to ask for."""
    wrong = ""
    if isinstance(value, InTurn):
        wrong = "its values are taken in turn, so that each gets as many runs"
    elif isinstance(value, (Float, Integer)):
        if not (math.isfinite(value.lower) and math.isfinite(value.upper)):
            wrong = "its range has no end"
    elif isinstance(value, Domain) and not isinstance(value, Categorical):
        wrong = f"it is a {value.get_sampler()}"  # type: ignore[no-untyped-call]
    if wrong:
        raise ValueError(f"sampler=tpe cannot search {key}: {wrong}; allowed: --sampler random, or --set {key}=VALUE")
    inner = value.categories if isinstance(value, Categorical) else value.values() if isinstance(value, dict) else ()
    for one in inner:
        check(key, one)
