"""A browser, and places with experiments."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.report import rows
from tests.report.browser import Page, chromium


@pytest.fixture(scope="session")
def browser() -> Iterator[Page]:
    """One browser for all tests of a process."""
    with chromium() as page:
        yield page


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Experiments: "whole", of which two runs were stopped and one failed; "failed", of which all did; "one", of one
    run; "going", of which one goes on."""
    place = tmp_path_factory.mktemp("experiments")
    whole = rows.configs(rates=[0.001 * number for number in range(1, 11)])
    rows.write(place, "whole", whole, {"r8-0": "stopped", "r8-1": "stopped", "r9-1": "failed"})
    rows.rung(place, "whole", "r8-0", "stop")
    rows.write(place, "failed", rows.configs(seeds=1), dict.fromkeys(rows.configs(seeds=1), "failed"))
    rows.write(place, "one", rows.configs(rates=[0.001], seeds=1))
    rows.write(place, "going", rows.configs(rates=[0.001, 0.002], seeds=1), {"r1-0": ""})
    return place
