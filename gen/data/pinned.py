"""How rows of tables that stay in the host's memory get to a GPU: a thread gathers them into pinned buffers, which are
used again and again, and they are copied on a CUDA stream of their own while the previous step computes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import Tensor

from gen.distributed.machine import numbered

Key: TypeAlias = tuple[int, int, int]  # draw, start, stop
LookUp: TypeAlias = Callable[[int, int, int], Iterable[tuple[str, Tensor, Tensor]]]
"""(draw, start, stop) -> for each column its name, itself, and the numbers of the rows to take from it."""


class Guess:
    """Guesses which rows are asked for next: a worker asks for the same slices of each draw, in the same order, and for
    one draw after the other."""

    def __init__(self) -> None:
        self.before: list[tuple[int, int]] = []  # slices asked for in the draw before
        self.now: list[tuple[int, int]] = []  # ... and in this one so far
        self.draw: int | None = None

    def after(self, draw: int, start: int, stop: int) -> Key:
        """The rows that are likely to be asked for after these."""
        if draw != self.draw:
            self.before, self.now, self.draw = self.now, [], draw
        self.now.append((start, stop))
        count = len(self.now)
        if self.now == self.before[:count] and count < len(self.before):
            return draw, *self.before[count]
        return draw + 1, *self.now[0]


@dataclass
class Buffers:
    """One set of pinned buffers, and the event after which the last copy out of them is done."""

    columns: dict[str, Tensor] = field(default_factory=dict)
    copied: torch.cuda.Event | None = None


class Courier:
    """Brings rows to a GPU, and starts on the next ones before they are asked for. A wrong guess costs time only."""

    def __init__(self, look_up: LookUp, device: torch.device) -> None:
        self.look_up, self.device = look_up, numbered(device)  # the thread has a current device of its own
        self.stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        self.sets = [Buffers(), Buffers()]  # one is copied while the other is filled
        self.turn = 0  # which of the two is filled next
        self.guess = Guess()
        self.thread = ThreadPoolExecutor(1, "pinned-rows")
        self.ahead: tuple[Key, Future[tuple[dict[str, Tensor], torch.cuda.Event]]] | None = None

    def bring(self, *key: int) -> dict[str, Tensor]:
        """The columns of rows (draw, start, stop), for the current stream of the device. Starts on the rows after them.

        The host waits until the thread has gathered these rows, most likely long ago, and never for the device.
        """
        asked: Key = (key[0], key[1], key[2])
        if self.ahead is not None and self.ahead[0] == asked:
            coming = self.ahead[1]
        else:
            coming = self.thread.submit(self._send, asked)
        following = self.guess.after(*asked)
        self.ahead = following, self.thread.submit(self._send, following)
        columns, ready = coming.result()
        current = torch.cuda.current_stream(self.device)
        current.wait_event(ready)
        for column in columns.values():
            column.record_stream(current)  # its memory is not given to others before this stream is past it
        return columns

    def _send(self, key: Key) -> tuple[dict[str, Tensor], torch.cuda.Event]:
        """Runs in the thread: gathers rows into a set of buffers and starts their copy to the device."""
        buffers, self.turn = self.sets[self.turn], 1 - self.turn
        if buffers.copied is not None:
            buffers.copied.synchronize()
        with torch.cuda.device(self.device), torch.cuda.stream(self.stream):
            sent = {
                name: self._gather(buffers, name, column, rows).to(self.device, non_blocking=True)
                for name, column, rows in self.look_up(*key)
            }
            buffers.copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
            buffers.copied.record(self.stream)
        return sent, buffers.copied

    def _gather(self, buffers: Buffers, name: str, column: Tensor, rows: Tensor) -> Tensor:
        shape = (len(rows), *column.shape[1:])
        if name not in buffers.columns or buffers.columns[name].shape != shape:
            buffers.columns[name] = torch.empty(shape, dtype=column.dtype, pin_memory=True)
        return torch.index_select(column, 0, rows, out=buffers.columns[name])
