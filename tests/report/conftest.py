"""A browser, and a page of a small experiment."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.report.browser import Page, chromium


@pytest.fixture(scope="session")
def browser() -> Iterator[Page]:
    """One browser for all tests of a process."""
    with chromium() as page:
        yield page
