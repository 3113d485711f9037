"""Searches the space of one entry, stopping losers early: python -m jobs.tune --entry vqvae --data mnist --samples 64

Submitted again under the same name it finds what is done and goes on; --samples and --epochs may grow.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import click
from ray.tune.search.sample import Categorical, Domain

from gen import results
from gen.config import RunConfig, identity, override
from gen.data.dataset import Dataset
from gen.engine.judge import shared_classifier
from gen.engine.machine import resolve_device, set_threads
from gen.phase import at_least
from jobs.cluster import connected, facts
from jobs.options import Asked, Job, pair, refusing, resolve, shared, show
from tune_spaces import Space, draw, extend, pin, space_for


@click.command(cls=Job, help=__doc__)
@shared
@click.option("--samples", type=int, help="Configurations to draw; default: what suits the family.")
@click.option("--max-concurrent", "most", type=int, default=0, help="Runs at a time; default: as many as fit.")
@click.option("--grace", type=int, help="Epochs before which no run is stopped.")
@click.option("--reduction", type=int, help="Of the runs at a rung, one in so many goes on.")
@click.option("--search", "choices", multiple=True, metavar="KEY=V1,V2", help="Search a setting among these values.")
def main(most: int, **options: Any) -> int:
    """Checks everything that can be checked before anything starts, then searches."""
    with refusing():
        asked, space = plan(options)
        configs = [override(space.config, draw(space, space.config.seed, index)) for index in range(space.samples)]
        if asked.dry_run:
            show(space.config, search=described(space))
            return 0
        dataset = asked.open()
        asked.storage.check_writable()
    with connected():
        return search(asked, space, configs, dataset, most)


def plan(options: dict[str, Any]) -> tuple[Asked, Space]:
    """The options as what was asked, and the space that it leaves. ValueError for whatever is wrong with them."""
    changes = {key: options.pop(key) for key in ("samples", "grace", "reduction")}
    choices = dict(pair(text) for text in options.pop("choices"))
    epochs = options["epochs"]
    asked = resolve(options)
    if asked.config.machine.workers != 1:
        raise ValueError(f"workers={asked.config.machine.workers}: each run of a search has one worker; allowed: 1")
    space = space_for(asked.config)
    budget = {} if epochs or "budget.epochs" in asked.pinned else {"budget.epochs": space.max_epochs}
    metric = asked.config.evaluate.metric or space.metric
    mode = asked.config.evaluate.mode if asked.config.evaluate.metric else space.mode
    config = override(asked.config, budget | {"evaluate.metric": metric, "evaluate.mode": mode})
    space = dataclasses.replace(space, config=config, **{key: new for key, new in changes.items() if new is not None})
    space = extend(pin(space, asked.pinned), choices)
    at_least("samples", space.samples, 1)
    at_least("grace", space.grace, 1)
    at_least("reduction", space.reduction, 2)
    return dataclasses.replace(asked, config=config), space


def described(space: Space) -> dict[str, Any]:
    """What a search is beside its settings: part of what its name stands for."""
    keys = {key: words(domain) for key, domain in sorted(space.keys.items())}
    return {"space": keys, "samples": space.samples, "grace": space.grace, "reduction": space.reduction}


def words(value: Any) -> Any:
    """A domain as what JSON can hold."""
    if isinstance(value, Categorical):
        return [words(choice) for choice in value.categories]
    if isinstance(value, Domain):
        return f"{value.get_sampler()} {value.domain_str}"  # type: ignore[no-untyped-call]
    return {key: words(inner) for key, inner in value.items()} if isinstance(value, dict) else value


def search(asked: Asked, space: Space, configs: list[RunConfig], dataset: Dataset, most: int) -> int:
    """Drives the trials and prints the leaderboard; 0 if no run broke, 1 if one did."""
    from gen.engine.on_ray import preflight, search
    from gen.engine.on_ray.replay import told
    from gen.engine.on_ray.trainable import Search

    config, name, storage = space.config, asked.name, asked.storage
    lease = results.Lease(storage, name)
    about = described(space)
    wanted = preflight.note(config, dataset.hash, job="tune", samples=about.pop("samples"), search=about)
    with refusing():
        needed = preflight.check_cluster(config.machine)
        preflight.check_shared(storage)
        preflight.check_name(storage, name, wanted)
        lease.acquire()
    try:
        preflight.write_note(storage, name, wanted)
        set_threads(config.machine.threads)
        shared_classifier(dataset, storage, resolve_device("cpu"))  # before trials race for it
        by_run = {identity(one, dataset.hash): one for one in configs}  # equal draws are one run
        on_record = told(storage, name, by_run)
        where = (storage, name, lease.attempt, dataset.hash, asked.data_root, asked.download, facts())
        print(f"{name}: {len(by_run)} runs, {len(on_record)} on record; {preflight.described(needed)} each", flush=True)
        errors = search.search(
            Search(list(by_run.values()), on_record, *where),
            lease,
            needed,
            lambda line: print(line, flush=True),
            mode=config.evaluate.mode,
            grace=space.grace,
            reduction=space.reduction,
            most=most,
        )
        print(results.leaderboard(storage, name, mode=config.evaluate.mode).head(10).to_string())
        for error in errors:
            print(f"a run broke: {error}", flush=True)
        return int(bool(errors))
    finally:
        lease.release()


if __name__ == "__main__":
    main()
