"""Shows the zoo: python -m jobs.zoo

With an entry, python -m jobs.zoo lsgan_mlp, all of it: the paper and what deviates from it, the settings, the kinds
that some of them choose among, and what a search tries.
"""

from __future__ import annotations

import inspect
import json
import textwrap
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click
import torch

from gen import capabilities
from gen.config import RunConfig, TwoStageConfig, describe
from gen.data.dataset import open_dataset
from gen.phase import Model, Shape
from gen.zoo import ZOO, buildable, entry
from jobs.options import Job, refusing

if TYPE_CHECKING:
    from tune_spaces import Space

LINE = 120  # columns of a page
FIRST = "vqvae"  # the entry whose model, untrained, stands in for the first stage of a prior


@click.command(cls=Job, help=__doc__)
@click.argument("name", metavar="[ENTRY]", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(name: str | None, as_json: bool) -> None:
    """Prints the table, or one entry."""
    with refusing():
        configs = [entry(name)] if name else list(ZOO.values())
        rows = [row(config) for config in configs]
    if as_json:
        told = rows[0] | describe.describe_entry(configs[0]) | {"search": search(configs[0])} if name else rows
        print(json.dumps(told, indent=2))
    elif name:
        print("\n".join(page(configs[0], rows[0])))
    else:
        texts = [[text(value) for value in one.values()] for one in rows]
        print("\n".join(describe.columns([list(rows[0]), *texts])))


def row(config: RunConfig) -> dict[str, Any]:
    """An entry's row of the table, with the model for the images that the entry trains on by default."""
    shape = open_dataset(config.data).shape
    model = build(config, shape)
    return {
        "entry": config.entry,
        "family": config.family,
        "paper": describe.citation(config),
        "data": f"{config.data.name} {shape.size}x{shape.size}x{shape.channels}",
        "parameters": model.count_learned(),
        "epochs": config.budget.epochs,
        "capabilities": abilities(model),
    }


def build(config: RunConfig, shape: Shape) -> Model:
    """The entry's model, without numbers; but a prior has them, for it runs its first stage when it is built."""
    with torch.device("cpu" if isinstance(config.model, TwoStageConfig) else "meta"):
        return buildable(config, entry(FIRST)).model.build(shape)


def abilities(model: Model) -> list[str]:
    """The capabilities of a model, without those that others of its capabilities include."""
    known = [kind for _, kind in inspect.getmembers(capabilities, inspect.isclass)]
    have = [one for one in known if one.__module__ == capabilities.__name__ and capabilities.has(model, one)]
    return [one.__name__ for one in have if not any(issubclass(more, one) for more in have if more is not one)]


def search(config: RunConfig) -> dict[str, Any]:
    """What jobs.tune searches by default, the budget, and the family's other spaces by their names; empty if the
    entry's family has no space."""
    from tune_spaces.spaces import NAMED, SPACES, space_for  # so late, for it needs Ray

    if config.family not in SPACES:
        return {}
    named = {name: space_for(config, name) for name in NAMED.get(config.family, {})}
    told = tell(space_for(config))
    others = {name: {"about": in_short(NAMED[config.family][name])} | tell(space) for name, space in named.items()}
    return told | ({"named": others} if others else {})


def tell(space: Space) -> dict[str, Any]:
    """A space's keys with their values, those of them that share a draw, and its budget."""
    from jobs.plan import words

    keys = {key: words(domain) for key, domain in space.keys.items()}
    tied = {"tied": dict(space.tied)} if space.tied else {}
    return {"keys": keys, **tied, "budget": {name: getattr(space, name) for name in BUDGET}}


def in_short(space: Callable[..., Any]) -> str:
    """What a space is, on one line."""
    return " ".join((inspect.getdoc(space) or "").split())


BUDGET = {  # field of a search space -> its meaning
    "metric": "ranks the runs",
    "samples": "configurations",
    "max_epochs": "of a run that is never stopped",
    "grace": "epochs before which none is stopped",
    "reduction": "of the runs at a rung, one in so many goes on",
}


def page(config: RunConfig, facts: Mapping[str, Any]) -> Iterator[str]:
    """All that there is to tell of an entry, as lines."""
    yield from describe.columns([[key, text(value)] for key, value in facts.items()], width=LINE)
    yield from ("", *describe.page(config, LINE), "")
    if not (told := search(config)):
        yield "jobs.tune has no search space for its family."
        return
    yield "What jobs.tune searches if nothing else is said, and its budget:"
    yield from lines_of(told)
    for name, other in told.get("named", {}).items():
        yield from ("", *textwrap.wrap(f"With --space {name}: {other['about']}", LINE))
        yield from lines_of(other)


def lines_of(told: Mapping[str, Any]) -> Iterator[str]:
    """A space as `tell` tells of it, in lines."""
    tied = told.get("tied", {})
    rows = [[key, f"as {tied[key]}" if key in tied else text(value)] for key, value in told["keys"].items()]
    yield from describe.columns(rows, "  ", LINE)
    yield from describe.columns([[key, text(told["budget"][key]), what] for key, what in BUDGET.items()], "  ", LINE)


def text(value: Any) -> str:
    """A value in a table."""
    if isinstance(value, list):
        return ", ".join(map(text, value))
    return value or "-" if isinstance(value, str) else json.dumps(value)


if __name__ == "__main__":
    main()
