"""The page in a real browser, from a file: without network, without errors, with texts that stay texts."""

from __future__ import annotations

import base64
import re
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from jobs import report
from tests.report import rows
from tests.report.browser import Page

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.slow]

PAPER = {"width": 794, "height": 1123, "deviceScaleFactor": 1, "mobile": False}  # A4
PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
PARETO = f"{rows.METRIC},psnr/reconstructions"
BAD = "<script>document.title='broken'<" + "/script>"
WORSE = "<img src=x onerror=\"document.title='broken'\">"


def write(place: Path, out: Path, *names: str) -> Path:
    options = ["--pareto", PARETO] if names[0] == "whole" else []
    options += [text for name in names for text in ("--name", name)]
    done = CliRunner().invoke(report.main, ["--storage", str(place), *options, "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(f"{out}  ")
    return out


@pytest.fixture(scope="module")
def whole(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(place, tmp_path_factory.mktemp("pages") / "whole.html", "whole")


@pytest.fixture
def phone(browser: Page) -> Iterator[None]:
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    yield
    browser.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.fixture
def paper(browser: Page) -> Iterator[None]:
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PAPER)
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    yield
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    browser.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.fixture
def dark(browser: Page) -> Iterator[None]:
    features = [{"name": "prefers-color-scheme", "value": "dark"}]
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    yield
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def column(browser: Page, place: int) -> list[str]:
    return browser.run(  # type: ignore[no-any-return]
        "return [...document.querySelector('#board').tBodies[0].rows].filter((row) => !row.hidden)"
        f".map((row) => row.cells[{place}].textContent.trim())"
    )


def test_every_plot_is_drawn_without_errors_and_without_network(browser: Page, whole: Path) -> None:
    browser.open(whole)
    assert browser.draw() > 5
    assert browser.errors() == []
    assert browser.requests() == []
    assert browser.run("return document.title") == "whole · genfleet"
    assert browser.run("return document.querySelector('#winner-value').textContent").startswith("0.105")
    front = browser.run("return document.querySelectorAll('#front tbody tr').length")
    assert front == 9  # each trades one for the other; of the tenth a run failed


def test_whatever_an_experiment_is_the_page_opens(browser: Page, place: Path, tmp_path: Path) -> None:
    for names, plots in ((["one"], 1), (["failed"], 1), (["going"], 1), (["whole", "one", "going"], 3)):
        browser.open(write(place, tmp_path / "page.html", *names))
        browser.draw(plots)
        assert browser.errors() == [], names
        assert browser.run("return document.querySelector('h1').textContent") == names[0]
        assert browser.run("return document.title") == f"{', '.join(names)} · genfleet"


def test_sorts_by_a_click_and_by_the_keyboard(browser: Page, whole: Path) -> None:
    browser.open(whole)
    names = [one.text.strip(" ▲▼") for one in browser.driver.find_elements("css selector", "#board thead th")]
    rates = sorted(column(browser, names.index("rate")), key=float)
    assert len(rates) == 10
    heading = browser.click(f"#board thead th:nth-child({names.index('rate') + 1}) button")
    assert column(browser, names.index("rate")) == rates
    heading.send_keys("\n")  # again: downwards
    assert column(browser, names.index("rate")) == rates[::-1]
    assert browser.run("return document.querySelector('[aria-sort=descending]').textContent.trim()") == "rate"
    browser.click(f"#board thead th:nth-child({names.index('rank') + 1}) button")
    assert column(browser, names.index("rank"))[-2:] == ["", ""]  # without a rank: last


def test_filters(browser: Page, whole: Path) -> None:
    browser.open(whole)
    browser.find("[data-filter]").send_keys("stopped")
    assert len(column(browser, 0)) == 1
    assert browser.find("#board-left").text == "1 of 10 rows"
    browser.find("[data-filter]").clear()
    browser.find("[data-filter]").send_keys(" ")
    assert len(column(browser, 0)) == 10


def test_copies_the_whole_command(browser: Page, whole: Path) -> None:
    browser.open(whole)
    browser.run(  # the button says so for a moment only
        "const told = window.told = [], look = ([change]) => told.push(change.target.textContent);"
        "new MutationObserver(look).observe(document.querySelector('#board .copy'), {childList: true})"
    )
    browser.click("#board .copy")
    browser.wait("return told.includes('Copied')")
    browser.find("[data-filter]").send_keys("\ue009v")  # Ctrl-V: what the clipboard holds
    pasted = browser.wait("return document.querySelector('[data-filter]').value")
    assert pasted.startswith("python -m jobs.train --name whole-again --entry vqvae --data digits --seed 0 --epochs 6")
    assert "--set model.optimizer.rate=0.001" in pasted
    assert "--set train.batch=" in pasted  # what all runs share


def test_another_metric_is_drawn_and_smoothing_says_so(browser: Page, whole: Path) -> None:
    browser.open(whole)
    own, first = "document.querySelector('[data-figure=curves]')", "data.find((line) => line.y.length > 2).y"
    browser.run(f"{own}.scrollIntoView({{behavior: 'instant'}})")
    browser.wait(f"return {own}.dataset.drawn === 'yes'")
    raw = browser.run(f"return [...{own}.{first}]")
    browser.run(
        "for (const [name, value] of [['metric', 'autoencoder/loss'], ['smooth', '1']]) {"
        "  const box = document.querySelector(`[data-curves] [name=${name}]`);"
        "  box.value = value; box.dispatchEvent(new Event('change', { bubbles: true })); }"
    )
    browser.wait(f"return {own}.dataset.drawn === 'yes' && {own}.layout.yaxis.title.text === 'autoencoder/loss'")
    smooth = browser.run(f"return [...{own}.{first}]")
    assert smooth[1] == pytest.approx(2 * sum(raw[:3]) / 3, rel=1e-3)
    assert "mean of up to 3" in browser.find("#curves-told").text
    assert "smoothed" in browser.run(f"return {own}.getAttribute('aria-label')")


@pytest.mark.usefixtures("phone")
def test_fits_a_phone(browser: Page, whole: Path) -> None:
    browser.open(whole)
    browser.draw(2)
    assert browser.run("return document.documentElement.scrollWidth") <= PHONE["width"]
    assert browser.errors() == []


@pytest.mark.usefixtures("paper")
def test_tables_fit_on_paper(browser: Page, whole: Path) -> None:
    browser.open(whole)
    widths = browser.run("return [...document.querySelectorAll('.scroll table')].map((one) => one.scrollWidth)")
    assert len(widths) >= 3
    assert max(widths) <= browser.run("return document.querySelector('main').clientWidth") <= PAPER["width"]


@pytest.mark.usefixtures("dark")
def test_all_plots_are_on_paper_in_its_colours_and_its_width_though_none_was_seen(
    browser: Page, tmp_path: Path
) -> None:
    rows.write(tmp_path, "few", rows.configs(rates=[0.001, 0.002], seeds=1))
    browser.open(write(tmp_path, tmp_path / "few.html", "few"))
    browser.wait("return window.Plotly")  # unpacked once the page was idle
    browser.run(  # after the page's own listener
        "addEventListener('beforeprint', () => { window.printed = [...document.querySelectorAll('.plot')].map("
        "  (one) => [one.dataset.drawn, one.querySelector('.main-svg').getAttribute('width')]); });"
    )
    pdf = base64.b64decode(browser.driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"])
    count = browser.run("return document.querySelectorAll('.plot').length")
    assert count >= 5
    drawn = b"".join(map(unpacked, re.findall(rb"stream\r?\n(.*?)endstream", pdf, re.DOTALL)))
    assert b"0 .4471 .698 rg" in drawn, "the first colour of plots on white paper: in the dark it is another"
    assert browser.run("return window.printed") == [["yes", "680"]] * count
    assert browser.errors() == []


def unpacked(stream: bytes) -> bytes:
    """A stream of a PDF, unpacked; nothing of one that is packed otherwise, as fonts and pictures may be."""
    try:
        return zlib.decompress(stream)
    except zlib.error:
        return b""


@pytest.mark.usefixtures("dark")
def test_is_dark_where_the_reader_wants_it_plots_too(browser: Page, whole: Path) -> None:
    browser.open(whole)
    browser.draw(1)
    ink = browser.run("return getComputedStyle(document.documentElement).getPropertyValue('--ink').trim()")
    assert ink == "#e6e9ed"
    told = "return document.querySelector('.plot .xtick text').style.fill"
    assert browser.run(told) == "rgb(230, 233, 237)"


def test_what_is_seen_is_told_in_words(browser: Page, whole: Path) -> None:
    browser.open(whole)
    assert browser.run("return [...document.images].filter((one) => one.src).every((one) => one.alt.length > 10)")
    assert browser.run("return [...document.querySelectorAll('.plot')].every((one) => one.ariaLabel.length > 10)")
    assert browser.run("return document.images.length") >= 1
    assert browser.run("return document.images[0].naturalWidth") == 32
    idents = browser.run("return [...document.querySelectorAll('[id]')].map((one) => one.id)")
    assert len(idents) == len(set(idents))
    targets = browser.run("return [...document.querySelectorAll('nav a')].map((one) => one.hash.slice(1))")
    assert set(targets) <= set(idents)


def test_markup_in_names_settings_and_reasons_does_nothing(browser: Page, tmp_path: Path) -> None:
    place, name = tmp_path / "place", WORSE
    runs = rows.configs(rates=[0.001 * number for number in range(1, 11)], seeds=1)
    rows.write(place, "plain", runs, {"r9-0": "failed"})
    rename(place / "plain", {"r0-0": BAD, "mse": WORSE, "adam": BAD, "digits": WORSE, "a": BAD})
    (place / "plain").rename(place / name)
    browser.open(write(place, tmp_path / "bad.html", name))
    browser.draw()
    assert browser.run("return document.title") == f"{name} · genfleet"
    assert browser.run("return document.querySelector('h1').textContent") == name
    assert BAD in browser.run("return document.querySelector('#leaderboard').textContent")
    assert browser.run("return document.querySelectorAll('main script, main img[src=x]').length") == 0
    assert browser.errors() == []
    assert browser.requests() == []


def rename(folder: Path, words: dict[str, str]) -> None:
    """Puts other texts into all tables: as a table that somebody else wrote may have them."""
    for path in folder.rglob("*.parquet"):
        table = pq.ParquetFile(path).read()
        for place, field in enumerate(table.schema):
            if pa.types.is_string(field.type) and field.name not in ("metric", "experiment"):
                values = table.column(place)
                for old, new in words.items():
                    values = pc.if_else(pc.fill_null(pc.equal(values, old), False), new, values)
                table = table.set_column(place, field, values)
        pq.write_table(table, path)


def test_without_plotly_one_line_says_how_to_install_it(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "plotly", None)
    done = CliRunner().invoke(
        report.main, ["--storage", str(place), "--name", "one", "--out", str(tmp_path / "a.html")]
    )
    assert done.exit_code == 2
    assert "the page needs plotly, not installed here: pip install 'genfleet[report]'" in done.stderr


def test_bad_input_is_one_line(place: Path, tmp_path: Path) -> None:
    for arguments, words in (
        (["--name", "wholly", "--out", str(tmp_path / "a.html")], "no experiment 'wholly'"),
        (["--name", "one", "--out", str(tmp_path)], "is a folder; name a file"),
        (["--name", "one", "--pareto", "mse"], "pareto=mse names 1; name two figures"),
        (["--name", "one", "--pareto", "mse,mze"], "nearest valid: mse"),
    ):
        done = CliRunner().invoke(report.main, ["--storage", str(place), *arguments])
        assert done.exit_code == 2
        assert words in done.stderr
        assert len(done.stderr.splitlines()) == 1
