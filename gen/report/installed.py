"""What the page needs beside genfleet's own dependencies."""

from __future__ import annotations

import importlib.util

NEEDED = ("plotly", "jinja2", "optuna")


def check_installed() -> None:
    """ValueError (says how to install it) where something is missing."""
    if absent := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise ValueError(f"the page needs {', '.join(absent)}, not installed here: pip install 'genfleet[report]'")
