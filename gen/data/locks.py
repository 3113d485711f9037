"""One process of a host at a time, and words while another waits for it."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from filelock import AcquireReturnProxy, FileLock, Timeout

FIRST = 5.0  # seconds until it is said what is waited for ...
AGAIN = 60.0  # ... and between two lines after that
LOG = logging.getLogger(__name__)  # Python writes warnings to stderr where nobody asks for anything else


def alone(path: Path, work: str) -> AcquireReturnProxy:
    """A lock, for `with`, that one process of this host holds at a time. It is logged what other processes wait for:
    `work` tells what the holder does, such as "prepares mnist"."""
    lock, begun, patience = FileLock(path), time.monotonic(), FIRST
    while True:
        try:
            return lock.acquire(timeout=patience)
        except Timeout:
            LOG.warning(
                "waiting for another process that %s, %.0f s (it holds %s)", work, time.monotonic() - begun, path
            )
            patience = AGAIN
