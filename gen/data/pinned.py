"""Rows of tables that stay in the host's memory, on their way to a GPU: pinned buffers, used again and again, filled by
a thread and copied on a stream of their own while the step before computes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import Tensor

Key: TypeAlias = tuple[int, int, int]  # draw, start, stop
Wanted: TypeAlias = Callable[[int, int, int], Iterable[tuple[str, Tensor, Tensor]]]
"""Draw, start, stop -> (name, column, row numbers in it)."""


class Guess:
    """What is asked for next: a worker asks in each draw for the same slices in the same order, and draws follow one
    another."""

    def __init__(self) -> None:
        self.before: list[tuple[int, int]] = []  # slices of the draw before
        self.now: list[tuple[int, int]] = []
        self.draw: int | None = None

    def after(self, draw: int, start: int, stop: int) -> Key:
        """The guess, once these rows are asked for."""
        if draw != self.draw:
            self.before, self.now, self.draw = self.now, [], draw
        self.now.append((start, stop))
        count = len(self.now)
        if self.now == self.before[:count] and count < len(self.before):
            return draw, *self.before[count]
        return draw + 1, *self.now[0]


@dataclass
class Slot:
    """One set of pinned buffers, and when the copy out of them is done."""

    buffers: dict[str, Tensor] = field(default_factory=dict)
    copied: torch.cuda.Event | None = None


class Courier:
    """Brings rows to a GPU, the next ones ahead of their call. What it brings does not depend on what it guessed."""

    def __init__(self, wanted: Wanted, device: torch.device) -> None:
        self.wanted, self.device = wanted, device
        self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self.slots = [Slot(), Slot()]  # one that is being copied, one that is being filled
        self.turn = 0
        self.guess = Guess()
        self.thread = ThreadPoolExecutor(1, "pinned-rows")
        self.ahead: tuple[Key, Future[tuple[dict[str, Tensor], torch.cuda.Event]]] | None = None

    def bring(self, *key: int) -> dict[str, Tensor]:
        """The columns of rows (draw, start, stop) on the device, for its current stream; starts on the next ones.

        The host waits until these rows are gathered, which was most likely long ago, and never for the device.
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
        """Runs in the thread: gathers rows into a slot and starts their copy."""
        slot, self.turn = self.slots[self.turn], 1 - self.turn
        if slot.copied is not None:
            slot.copied.synchronize()
        with torch.cuda.device(self.device), torch.cuda.stream(self.stream):
            sent = {
                name: self._filled(slot, name, column, rows).to(self.device, non_blocking=True)
                for name, column, rows in self.wanted(*key)
            }
            slot.copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
            slot.copied.record(self.stream)
        return sent, slot.copied

    def _filled(self, slot: Slot, name: str, column: Tensor, rows: Tensor) -> Tensor:
        shape = (len(rows), *column.shape[1:])
        if name not in slot.buffers or slot.buffers[name].shape != shape:
            slot.buffers[name] = torch.empty(shape, dtype=column.dtype, pin_memory=True)
        return torch.index_select(column, 0, rows, out=slot.buffers[name])
