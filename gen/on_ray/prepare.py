"""The parts of a data set, made as Ray tasks all over the cluster."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence

import ray

from gen.data.parts import Part, make, note_of
from gen.on_ray import preflight
from gen.results.room import FullError

LEAST = 16  # tasks that wait even where there is no CPU yet: an autoscaler starts nodes for what waits
AHEAD = 2.0  # tasks a CPU that wait or run: no CPU idles, and a job that is stopped soon ends
ADVICE = "name a folder or URI that all hosts reach by --parts or $GENFLEET_PARTS"


def make_part(part: Part) -> str:
    """Makes a part. Gives what is wrong with its images or a place, "" if nothing; Ray retries other errors."""
    try:
        make(part)
    except (ValueError, FullError) as error:
        return f"{error} (on host {socket.gethostname()})"
    return ""


def make_parts(parts: Sequence[Part]) -> Iterator[int]:
    """Makes parts on all CPUs of the connected cluster; gives the number of images of each part once it is made.

    ValueError if a host does not share the place of the parts, or cannot read the originals.
    """
    try:
        preflight.check_shared(parts[0].shelf)
    except ValueError as error:
        raise ValueError(f"{error}; {ADVICE}") from error
    task = ray.remote(num_cpus=1, max_retries=3, retry_exceptions=True)(make_part)
    todo, running = iter(parts), dict[ray.ObjectRef[str], Part]()
    while True:
        most = max(int(AHEAD * preflight.total("CPU")), LEAST)  # nodes come while it runs
        while len(running) < most and (part := next(todo, None)) is not None:
            running[task.remote(part)] = part
        if not running:
            return
        (done,), _ = ray.wait(list(running))
        part = running.pop(done)
        fault = ray.get(done)
        if not fault and note_of(part) is None:  # a host that came later may not share the place
            fault = f"{part.shelf} is not shared by all hosts; {ADVICE}"
        if fault:
            for other in running:
                ray.cancel(other)
            raise ValueError(fault)
        yield len(part.names)
