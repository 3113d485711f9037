"""A search: many runs of one entry as trials of Ray Tune, in processes that serve trial after trial."""

from __future__ import annotations

import dataclasses
import math
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ray import tune
from ray.tune.schedulers import TrialScheduler

from gen.config import EvaluateConfig
from gen.engine.fit import SPLITS
from gen.on_ray.errors import reason
from gen.on_ray.group import arrange_trials
from gen.on_ray.placement import start_holder
from gen.on_ray.population import Members
from gen.on_ray.progress import Standing, Teller, Tidy
from gen.on_ray.proposals import Listing, Source
from gen.on_ray.replay import begun, configurations, decisions, reached
from gen.on_ray.retry import ends_that_stand, without_rank
from gen.on_ray.scheduler import RecordedHalving
from gen.on_ray.spending import devices_of, share_of, spending_of
from gen.on_ray.submission import Search
from gen.on_ray.trainable import Resident
from gen.results.lease import Lease
from gen.results.ledger import Slot
from gen.results.leftovers import is_running, own_mark
from gen.results.room import room_at
from gen.search.budgets import Budget
from gen.search.halving import expected_epochs, rungs

UNLIMITED = Budget()
RETRIES = 2  # of a trial whose process died, and of the search for runs whose process died after their last decision


@dataclass(frozen=True)
class Result:
    """What a search came to."""

    errors: list[str]  # of runs that broke
    left: int  # runs without an end, because the time was up; submitted again, the search goes on with them
    why: str = ""  # the limit of the budget that is reached, in words, whether the time is up too or not; "": none


def search(
    plan: Search,
    lease: Lease,
    needed: Mapping[str, float],
    hear: Callable[[Standing], None],
    *,
    mode: str,
    grace: int,
    reduction: int,
    most: int = 0,
    seconds: float = math.inf,
    images: int = 0,
    seeds: int = 1,
    supply: Source | None = None,
    budget: Budget = UNLIMITED,
    population: Members | None = None,
    trainable: type[Resident] | None = None,
) -> Result:
    """Trains the runs of `plan`, or of `supply` if there is one, until they end, successive halving stops them, or
    `seconds` have passed, or the `budget` is spent. The runs of a `population` are not stopped, but take over from each
    other.

    It goes on from the tables: a run that has an end is no trial any more, and the rungs are rebuilt from decisions.
    It tells `hear` how far it is; `images`: of training, and `seeds`: of a configuration, from which follows how long
    measuring the leaders takes. Runs that train when the time is up, or when the search is interrupted, which raises
    KeyboardInterrupt, keep a checkpoint and get no outcome: submitted again, the search goes on with them. `trainable`:
    another class of trials.
    """
    deadline = time.monotonic() + seconds
    source: Source = supply or Listing(plan.runs)
    epochs = max(config.budget.epochs for config in plan.runs.values())
    evaluate = next(iter(plan.runs.values())).evaluate
    grace = min(grace, epochs)
    teller, siblings = None, {} if supply or population else configurations(plan.runs)
    plan = dataclasses.replace(plan, keep_last=population is not None, share=share_of(needed))
    plan = dataclasses.replace(plan, facts={**plan.facts, "devices": devices_of(needed, plan.workers)})
    if siblings:
        plan = dataclasses.replace(plan, rungs=[rung for rung in rungs(epochs, grace, reduction) if rung < epochs])
    confirming = bool(source.stage)
    for turn in range(1 + RETRIES):
        again = teller.failed if teller else ()
        on_record = ends_that_stand(
            *(plan.storage, plan.experiment, source.runs, plan.attempt, plan.retry, again, confirming)
        )
        left = source.begin(on_record)
        spending = spending_of(plan.storage, plan.experiment, budget, needed, plan.runs)
        if not left or time.monotonic() >= deadline or spending.reached:
            return Result([], left, spending.reached if left else "")
        plan = dataclasses.replace(plan, begun=begun(plan.storage, plan.experiment))
        if plan.workers > 1 and plan.holder is None:
            plan = dataclasses.replace(plan, needed=needed, holder=start_holder())
        name = "-".join(filter(None, (plan.attempt, source.stage, str(turn or ""))))
        decided = decisions(plan.storage, plan.experiment, confirming)
        past = [one for one in decided if one.run in on_record or one.decision != "end"]
        slot = Slot(plan.storage, plan.experiment, f"{name}-scheduler")
        halving = RecordedHalving(
            *(slot, plan.experiment, plan.attempt, mode, epochs, grace, reduction, past),
            configurations=siblings,
            every=evaluate.every,
            reached=reached(plan.storage, plan.experiment) if siblings else {},
            forgotten={run for run, end in on_record.items() if end.forgotten},
        )
        trials, at_once = arrange_trials(plan, needed, most, trainable)
        teller = teller or Teller(
            hear,
            source,
            on_record,
            lease,
            mode=mode,
            every=evaluate.every,
            expected=expected_epochs(epochs, grace, reduction),
            measuring=evaluations(evaluate, source.count, at_once, images, seeds) if images else 0.0,
            unranked=without_rank(plan.storage, plan.experiment),
        )
        teller.completed = 0
        parameters, more = source.trials(halving.halving if plan.rungs else None)
        scheduler: TrialScheduler = halving
        if population:
            scheduler, searcher = population.arrange(slot, plan, on_record, mode)
            parameters, more = {}, {"search_alg": searcher, "num_samples": -1}
        with keep_signals(), plan.storage.room(), scratch() as folder:
            tuner = tune.Tuner(
                trials,
                param_space=parameters,
                tune_config=tune.TuneConfig(
                    scheduler=scheduler,
                    reuse_actors=True,
                    max_concurrent_trials=at_once,
                    time_budget_s=None if seconds == math.inf else deadline - time.monotonic(),
                    **more,
                ),
                run_config=tune.RunConfig(
                    name=name,
                    storage_path=folder,
                    failure_config=tune.FailureConfig(max_failures=RETRIES),
                    checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                    callbacks=[teller, Tidy()],
                    stop=spending if budget.limits else None,
                    verbose=0,
                ),
            )
            try:
                results = tuner.fit()
            except tune.TuneError:  # around what a callback raised
                lease.check()
                raise
        lease.check(now=True)
        teller.tell()
        errors = [reason(error) for error in results.errors]
        short = source.left(teller.completed + len(errors))
        if short and time.monotonic() < deadline and not spending.reached:
            raise KeyboardInterrupt
        if errors or short:
            return Result(errors, short, spending.reached if short else "")
    return Result(["runs lost their process after their last decision, again and again"], 0)


def evaluations(asked: EvaluateConfig, runs: int, at_once: int, images: int, seeds: int = 1) -> float:
    """How many evaluations of a tick, one after another, measure about as many images as the full protocol of a
    search's leaders does, `at_once` of them at a time: of whole configurations, each of so many `seeds`. `images`: of
    training."""
    if asked.full != "leaders":  # runs measure themselves, or nobody does
        return 0.0
    leaders = min(math.ceil(asked.leaders / seeds) * seeds, runs)
    return math.ceil(leaders / at_once) * len(SPLITS) * asked.full_images / asked.tick_images(images)


@contextmanager
def scratch() -> Iterator[str]:
    """A folder for what Tune keeps to restore a search, a folder a trial among it: here the tables do that, so it is of
    this host, and goes at the end. Those of searches of this host that were killed go too."""
    place, prefix = Path(tempfile.gettempdir()), f"genfleet-{own_mark()}-"
    for left in place.glob(f"{prefix}*-*"):
        number = left.name.removeprefix(prefix).partition("-")[0]
        if number.isdecimal() and not is_running(int(number)):
            shutil.rmtree(left, ignore_errors=True)
    with (
        room_at(str(place), place),
        tempfile.TemporaryDirectory(prefix=f"{prefix}{os.getpid()}-", ignore_cleanup_errors=True) as one,
    ):
        yield one


@contextmanager
def keep_signals() -> Iterator[None]:
    """Restores the handler of Ctrl-C at the end: Tune leaves its own in place, which would swallow the next Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
