"""What runs on each other host before a job starts. In a file of its own, for a process that imports it loads neither
torch nor Tune, and the job waits for it."""

from __future__ import annotations

from gen.results.storage import Storage, one_line


def read_probe(place: str, path: str) -> tuple[bytes | None, str]:
    """What this host finds where the driver, on another one, wrote; and why it cannot look, "" if it can."""
    try:
        return Storage(place).get(path), ""
    except (ValueError, OSError) as error:
        return None, one_line(error)
