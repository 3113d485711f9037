"""The parts of a data set, made as Ray tasks all over the cluster."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence

import ray

from gen.data.parts import Part, make
from gen.engine.on_ray import preflight

AHEAD = 2.0  # tasks a CPU that wait or run: enough that no CPU idles, few enough that a stop is soon one


def attempt(part: Part) -> str:
    """Makes a part; what is wrong with its images or their place, "" if nothing. Other errors are Ray's to repeat."""
    try:
        make(part)
    except ValueError as error:
        return f"{error} (on host {socket.gethostname()})"
    return ""


def spread(parts: Sequence[Part]) -> Iterator[int]:
    """Makes parts on all CPUs of the cluster, which is connected; gives the number of images of each as it is made.

    ValueError if a host does not share the place of the parts, or cannot read the originals.
    """
    preflight.check_shared(parts[0].shelf)
    task = ray.remote(num_cpus=1, max_retries=3)(attempt)
    todo, running = iter(parts), dict[ray.ObjectRef[str], Part]()
    most = max(int(AHEAD * preflight.total("CPU")), 1)
    while True:
        while len(running) < most and (part := next(todo, None)) is not None:
            running[task.remote(part)] = part
        if not running:
            return
        (done,), _ = ray.wait(list(running))
        if fault := ray.get(done):
            for other in running:
                ray.cancel(other)
            raise ValueError(fault)
        yield len(running.pop(done).names)
