"""The version of the code that runs: a job's upload leaves `.git` out, so the version is captured at submission."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import gen

VARIABLE = "GENFLEET_CODE_VERSION"  # environment variable that carries the version into a job
ROOT = Path(gen.__file__).resolve().parents[1]  # folder that holds gen, jobs and tune_spaces
PACKAGES = ("gen", "jobs", "tune_spaces")


def code_version() -> str:
    """$GENFLEET_CODE_VERSION if set, else `git describe` of a clone, else "sources-" and a hash of the sources."""
    return os.environ.get(VARIABLE) or git_version() or f"sources-{sources_hash()}"


def git_version() -> str:
    """`git describe --always --dirty` of the clone that the sources lie in; "" if there is none, or no commit yet."""
    if not (ROOT / ".git").exists():
        return ""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""  # no git on this machine, or a repository without a commit: the sources' hash serves


def sources_hash() -> str:
    """12 hexadecimal digits over the names and contents of all Python files of this project."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]
