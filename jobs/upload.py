"""What travels to the cluster with a job: the code alone, as `.rayignore` says to Ray."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from gen.on_ray.version import ROOT

LIMIT = 100 * 2**20  # bytes that Ray takes from `ray job submit`; from a job that is started by hand it takes 512 MiB
NAMED = 3  # most files that are named


def sent_files(root: Path, whole: bool) -> Iterator[Path]:
    """The files below `root` that travel: all of them if `root` is what arrived (`whole`), else those in the folders
    that `.rayignore` lets through, with the suffixes that it lets through, or with none."""
    rules = root / ".rayignore"
    text = rules.read_text() if rules.exists() and not whole else ""
    folders = ["."] if whole else re.findall(r"^!/([^/\s]+)/\*\*$", text, re.MULTILINE)
    suffixes = set(re.findall(r"^!\*(\.[^\s*/]+)$", text, re.MULTILINE))
    for folder in folders:
        for path in (root / folder).rglob("*"):
            kept = whole or "." not in path.name or path.suffix in suffixes
            if kept and path.is_file() and "__pycache__" not in path.parts:
                yield path


def warning(root: Path = ROOT, whole: bool = False) -> str:
    """A line that names the largest files that travel, where they come near to what Ray takes; else ""."""
    sizes = {path: path.stat().st_size for path in sent_files(root, whole)}
    if sum(sizes.values()) < LIMIT / 2:
        return ""
    largest = sorted(sizes, key=lambda path: (-sizes[path], path))[:NAMED]
    named = ", ".join(f"{path.relative_to(root)} ({sizes[path] / 2**20:,.0f} MiB)" for path in largest)
    return (
        f"{sum(sizes.values()) / 2**20:,.0f} MiB travel with the job, and `ray job submit` takes {LIMIT // 2**20} MiB; "
        f"the largest files are {named}: move them, or name them in .rayignore"
    )
