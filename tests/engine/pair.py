"""A pair of worker processes, joined once for the whole test session, that run what they are sent."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import torch
import torch.distributed

from gen.engine.workers import Workers


class Pair:
    """Two spawned processes in one gloo group on loopback."""

    def __init__(self, rendezvous: str) -> None:
        context = multiprocessing.get_context("spawn")
        self.ends, self.processes = [], []
        for rank in range(2):
            ours, theirs = context.Pipe()
            process = context.Process(target=serve, args=(rank, rendezvous, theirs), daemon=True)
            process.start()
            self.ends.append(ours)
            self.processes.append(process)

    def run(self, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        """`function(workers, *arguments)` on both at once; what they return, by rank."""
        for end in self.ends:
            end.send((function, arguments))
        answers = [end.recv() for end in self.ends]
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return answers

    def close(self) -> None:
        """Ends both."""
        for end, process in zip(self.ends, self.processes, strict=True):
            end.send(None)
            process.join(20)


def serve(rank: int, rendezvous: str, end: Connection) -> None:
    """One worker's life."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=2)
    workers = Workers.joined()
    while (task := end.recv()) is not None:
        function, arguments = task
        try:
            end.send(function(workers, *arguments))
        except Exception as error:  # noqa: BLE001 (it goes to the test, which raises it)
            end.send(error)
    torch.distributed.destroy_process_group()
