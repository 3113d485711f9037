"""Sums over the workers of a run. A worker alone needs no process group."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed
from torch import Tensor

Value = TypeVar("Value")
BUCKET = 25 * 2**20  # bytes that travel in one message: large enough to use the wire, small enough not to double memory


@dataclass(frozen=True)
class Workers:
    """This process's rank among the workers; several of them communicate by torch.distributed's default group."""

    rank: int = 0
    size: int = 1

    @staticmethod
    def current() -> Workers:
        """The workers of torch.distributed's default group; where there is no group, one worker alone."""
        if not torch.distributed.is_initialized():
            return ALONE
        return Workers(torch.distributed.get_rank(), torch.distributed.get_world_size())

    def total(self, tensors: Iterable[Tensor]) -> None:
        """Replaces each tensor, in place, by its sum over the workers. Tensors of one type travel together."""
        if self.size == 1:
            return
        groups: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
        for tensor in tensors:
            groups.setdefault((tensor.dtype, tensor.device), []).append(tensor)
        for group in groups.values():
            bucket: list[Tensor] = []
            for tensor in group:
                if bucket and sum(part.nbytes for part in bucket) + tensor.nbytes > BUCKET:
                    _reduce(bucket)
                    bucket = []
                bucket.append(tensor)
            _reduce(bucket)

    def share(self, value: Value) -> Value:
        """What the first worker gives, for all of them. It travels by pickle."""
        if self.size == 1:
            return value
        box = [value]
        torch.distributed.broadcast_object_list(box, src=0)
        return box[0]

    def wait(self, device: torch.device) -> None:
        """Returns once every worker has called it."""
        self.total([torch.zeros(1, device=device)])


ALONE = Workers()


def _reduce(tensors: list[Tensor]) -> None:
    whole = torch.cat([tensor.reshape(-1) for tensor in tensors])
    torch.distributed.all_reduce(whole)
    parts = torch.split(whole, [tensor.numel() for tensor in tensors])
    for tensor, part in zip(tensors, parts, strict=True):
        tensor.copy_(part.view_as(tensor))
