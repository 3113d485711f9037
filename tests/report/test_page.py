"""The page in a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from gen import results
from gen.results import Ledger
from jobs import report
from tests.report.browser import Page
from tests.results.example_rows import begin, end, go

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.slow]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An experiment of four configurations with two seeds each."""
    place = tmp_path_factory.mktemp("place")
    storage = results.Storage(str(place))
    for number, rate in enumerate((0.1, 0.2, 0.4, 0.8)):
        for seed in range(2):
            ledger = Ledger(storage, "e", f"r{number}-{seed}", "a1")
            kind = ("<script>document.title='broken'</script>", "plain")[number % 2]
            told = [("model.rate", rate, str(rate)), ("model.kind", None, kind), ("seed", float(seed), str(seed))]
            begin(ledger, seed, told)
            for tick in range(1, 4):
                go(ledger, tick)
            end(ledger, 3, 10 * rate + seed)
            ledger.close(3)
    return place


def test_opens_without_network_and_without_errors(browser: Page, place: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    done = CliRunner().invoke(report.main, ["--storage", str(place), "--name", "e", "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert str(out) in done.output
    browser.open(out)
    browser.draw_all()
    assert browser.errors() == []
    assert browser.requests() == []
    assert browser.run("return document.title") == "e · genfleet"
