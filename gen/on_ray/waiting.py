"""Words while a job waits for CPUs or GPUs that others hold: for what, how much is free, and who has the rest."""

from __future__ import annotations

import re
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import ray
from ray.util.state import list_actors, list_jobs, list_placement_groups, list_tasks
from ray.util.state.exception import RayStateApiException

from gen.on_ray.preflight import in_words, times, total

FIRST = 5.0  # seconds of silence until it is asked who holds what; the answer is to be out within ten
LOOK = 1.0  # seconds between two looks at what is free
AGAIN = 60.0  # seconds between two lines, and between two questions while this job has its share
TIMEOUT = 3  # seconds that the answer of Ray's dashboard may take
MOST = 1000  # entries of each list that are looked at
LONGEST = 80  # characters of a job's command that are shown
NAMED = 3  # most jobs that are named

alone = False  # whether this job started its Ray itself: no other one is there that could hold anything

Held = dict[str, dict[str, float]]  # job -> resource -> how much of it the job holds


class Watch:
    """Says why nothing comes of the workers that a job asked for, each minute, until something is heard of them."""

    def __init__(self, needed: Mapping[str, float], workers: int, say: Callable[[str], None]) -> None:
        self.needed, self.workers, self.say = dict(needed), workers, say
        self.began = self.silent = time.monotonic()  # `silent`: since when nothing was heard
        self.next = self.began + FIRST  # when it is asked who holds what
        self.had_room = False  # at some moment
        self.over = threading.Event()

    def heard(self) -> None:
        """Notes a sign of the workers."""
        self.silent, self.had_room = time.monotonic(), True

    def run(self) -> None:
        """Looks until the job is over."""
        while not self.over.wait(LOOK):
            try:
                self.look()
            except (ray.exceptions.RayError, ConnectionError, RuntimeError):  # Ray goes down; the job itself says so
                return

    def look(self) -> None:
        """Says what the job waits for, if it waits, and nothing was said of it for a minute."""
        now = time.monotonic()
        free = ray.available_resources()  # type: ignore[no-untyped-call]
        self.had_room = self.had_room or times(free, self.needed) >= self.workers
        if now < max(self.next, self.silent + FIRST):
            return
        held = who_holds()
        mine = (held or {}).get(ray.get_runtime_context().get_job_id(), {})
        has_share = times(mine, self.needed) >= 1
        short = times(free, self.needed) < self.workers or (held is not None and waits_for_a_place())
        if held is None:  # nobody can be asked whether it is this job that took what was free
            has_share = self.had_room
        if short and not has_share:
            self.say(self.words(free, held, now - self.began))
        self.next = now + (AGAIN if short or has_share else FIRST)

    def words(self, free: Mapping[str, float], held: Held | None, seconds: float) -> str:
        """The line."""
        count = "1 worker" if self.workers == 1 else f"{self.workers} workers"
        found = [f"{free.get(name, 0):g} of {total(name):g} {name} free" for name in self.needed]
        if held is None:
            who = "; who holds the rest is not known, for this Ray has no dashboard to ask"
        else:
            who = "; " + "; ".join(tell_holders(held, self.needed)) if held else ""
        return f"waiting for {count} with {in_words(self.needed)} each, {seconds:.0f} s: {', '.join(found)}{who}"


@contextmanager
def watch(needed: Mapping[str, float], workers: int, say: Callable[[str], None]) -> Iterator[Watch]:
    """Calls `say` with a line while the block waits for `workers` workers that need `needed` each; the block tells the
    watch what it hears of them. On a Ray of the job's own it has nothing to say."""
    found = Watch(needed, workers, say)
    thread = threading.Thread(target=found.run, name="watch", daemon=True)
    if alone:
        yield found
        return
    thread.start()
    try:
        yield found
    finally:
        found.over.set()
        thread.join()


def who_holds() -> Held | None:
    """What each job holds; None if Ray's dashboard, which knows it, does not answer."""
    held: Held = defaultdict(lambda: defaultdict(float))
    asked: dict[str, Any] = {"detail": True, "limit": MOST, "timeout": TIMEOUT, "raise_on_missing_output": False}
    try:
        groups = list_placement_groups(filters=[("state", "=", "CREATED")], **asked)
        actors = list_actors(filters=[("state", "=", "ALIVE")], **asked)
        tasks = list_tasks(filters=[("state", "=", "RUNNING"), ("type", "=", "NORMAL_TASK")], **asked)
    except (RayStateApiException, OSError, ValueError, RuntimeError):
        return None
    for group in groups:
        for bundle in group.bundles or ():
            add(held[group.creator_job_id], bundle.get("unit_resources", {}))
    one: Any
    for one in (*actors, *tasks):
        if not one.placement_group_id:
            add(held[one.job_id], one.required_resources or {})
    return {job: dict(parts) for job, parts in held.items()}


def add(parts: dict[str, float], more: Mapping[str, float]) -> None:
    """Adds resources to those of a job."""
    for name, amount in more.items():
        parts[name] += amount


def waits_for_a_place() -> bool:
    """Whether a placement group of this job is pending: what is free may lie on several nodes, too little on each."""
    mine: list[Any] = [("creator_job_id", "=", ray.get_runtime_context().get_job_id()), ("state", "=", "PENDING")]
    try:
        return bool(list_placement_groups(filters=mine, timeout=TIMEOUT))
    except (RayStateApiException, OSError, ValueError, RuntimeError):
        return False


def tell_holders(held: Held, needed: Mapping[str, float]) -> list[str]:
    """Who holds how much of what is needed, the largest first: "2 CPU by job 02000000 (python -m jobs.tune ...)"."""
    amounts = {job: {name: parts.get(name, 0.0) for name in needed if parts.get(name)} for job, parts in held.items()}
    jobs = sorted((job for job in amounts if amounts[job]), key=lambda job: -sum(amounts[job].values()))
    commands = commands_of_jobs()
    told = [f"{in_words(amounts[job])} by job {job}{commands.get(job, '')}" for job in jobs[:NAMED]]
    return told + ([f"the rest by {len(jobs) - NAMED} other jobs"] if len(jobs) > NAMED else [])


def commands_of_jobs() -> dict[str, str]:
    """Job -> its command, without secrets, and where it runs, in brackets."""
    try:
        jobs = list_jobs(detail=True, limit=MOST, timeout=TIMEOUT, raise_on_missing_output=False)
    except (RayStateApiException, OSError, ValueError, RuntimeError):
        return {}
    return {str(job.job_id): f" ({command(job)})" for job in jobs if job.job_id}


def command(job: Any) -> str:
    """A job's command and process."""
    text = re.sub(r"//[^/@\s]*@", "//", job.entrypoint or "")  # keys of an object store in a URI
    shown = text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
    driver = job.driver_info
    return f"{shown}, process {driver.pid} on {driver.node_ip_address}" if driver else shown
