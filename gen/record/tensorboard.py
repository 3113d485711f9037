"""A run's scalars and grids as TensorBoard's event files: EXPERIMENT/_tensorboard/RUN/events.out.tfevents.FIRST."""

from __future__ import annotations

import importlib.util
import io
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gen.results.storage import Storage

FILE = "events.out.tfevents.{:06d}"  # TensorBoard reads a run's files in the order of their names, each once


def check_installed() -> None:
    """ValueError if the package tensorboard, which is optional, is not installed here."""
    if importlib.util.find_spec("tensorboard") is None:
        raise ValueError(
            "tensorboard is asked for and not installed; pip install 'genfleet[tensorboard]' here and on every host"
        )


class Board:
    """The event files of one attempt at one run. As with the ledger, rows are buffered, and are put in the storage as
    one whole file, which never changes, before the checkpoint of their tick.

    `first` is the first tick that is not in the checkpoint from which the attempt goes on. What an earlier attempt
    wrote from `first` on is replaced, so no step is doubled. ValueError if the package tensorboard is not installed.
    """

    def __init__(self, storage: Storage, experiment: str, run: str, first: int) -> None:
        check_installed()
        self.storage, self.folder, self.first = storage, f"{experiment}/_tensorboard/{run}", first
        self._begin: int | None = first  # None: the files of an earlier attempt are gone
        self._rows: list[tuple[str, str, Any, int, float]] = []  # method of SummaryWriter, tag, value, step, time

    def scalar(self, tag: str, value: float, step: int) -> None:
        """A number at an optimiser's step."""
        self._rows.append(("add_scalar", tag, value, step, time.time()))

    def picture(self, tag: str, png: bytes, step: int) -> None:
        """A PNG file's picture at an optimiser's step."""
        self._rows.append(("add_image", tag, png, step, time.time()))

    def text(self, tag: str, text: str) -> None:
        """Markdown about the run as a whole."""
        self._rows.append(("add_text", tag, text, 0, time.time()))

    def flush(self, tick: int) -> None:
        """Puts all rows, which are those up to `tick`, into a file. The checkpoint of that tick comes after it."""
        if self._begin is not None:
            self._clear(self._begin)
            self._begin = None
        if self._rows:
            self.storage.put(f"{self.folder}/{FILE.format(self.first)}", self._events())
        self._rows = []
        self.first = tick + 1

    def _clear(self, first: int) -> None:
        """Deletes what an earlier attempt wrote from tick `first` on."""
        number = re.compile(re.escape(FILE.format(0)[:-6]) + r"(\d{6,})")
        for name in self.storage.list(self.folder):
            if (match := number.fullmatch(name)) and int(match[1]) >= first:
                self.storage.delete(f"{self.folder}/{name}")

    def _events(self) -> bytes:
        """The rows as an event file's content, by PyTorch's writer, which knows local files only."""
        from torch.utils.tensorboard import SummaryWriter  # takes a second to import, and most runs do without

        with tempfile.TemporaryDirectory(prefix="genfleet-events-") as folder:
            with SummaryWriter(folder) as writer:
                for method, tag, value, step, seconds in self._rows:
                    add: Callable[..., None] = getattr(writer, method)
                    if method == "add_image":
                        add(tag, colours(value), step, seconds, dataformats="HWC")
                    else:
                        add(tag, value, step, walltime=seconds)
            (file,) = Path(folder).iterdir()
            return file.read_bytes()


def colours(png: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The pixels (H, W, 3) of a PNG file, uint8."""
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB"))
