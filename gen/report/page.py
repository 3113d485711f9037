"""The page: sections in one HTML file that needs no network, with Plotly's library in it once, compressed."""

from __future__ import annotations

import base64
import gzip
import hashlib
import importlib.util
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

from markupsafe import Markup

from gen.report import board, pictures, progress, slots
from gen.report.facts import Facts
from gen.report.section import TEMPLATES, Section, render

SECTIONS: Sequence[Callable[[Facts], Section | None]] = (
    board.section,
    progress.section,
    pictures.section,
    slots.section,
)
"""The sections in their order; a section that has nothing to tell is None."""

HOW = "the page needs Plotly, which is not installed here: pip install 'genfleet[report]'"
DANGEROUS = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}  # in JSON inside a page, where "</script>" would end it


def check_installed() -> None:
    """ValueError (says how to install it) where Plotly is missing."""
    if importlib.util.find_spec("plotly") is None:
        raise ValueError(HOW)


def page(facts: Facts, version: str = "") -> str:
    """The whole page as HTML. `version`: of a page that asks its server for later ones; "": it asks nobody. ValueError
    where Plotly is missing."""
    check_installed()
    sections = [made for section in SECTIONS if (made := section(facts)) is not None]
    return render(
        "page.html",
        facts=facts,
        sections=sections,
        figures=list(figures(sections)),
        plotly=plotly(),
        **frame(version),
    )


def waiting_page(name: str, version: str) -> str:
    """The page of an experiment in which no run has begun, which asks its server for later versions."""
    return render("waiting.html", name=name, **frame(version))


def frame(version: str) -> dict[str, str]:
    """What every page has: style, script, and the script's digest, by which alone the browser runs it."""
    script = (TEMPLATES / "page.js").read_text()
    return {
        "version": version,
        "style": Markup((TEMPLATES / "page.css").read_text()),
        "script": Markup(script),
        "digest": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    }


def figures(sections: Sequence[Section]) -> Iterator[tuple[str, Markup]]:
    """The ids of the plots and their figures, as JSON that is safe inside a page."""
    for section in sections:
        for plot in section.plots:
            text = plot.figure.to_json()
            for sign, code in DANGEROUS.items():
                text = text.replace(sign, code)
            yield plot.anchor, Markup(text)


@cache
def plotly() -> str:
    """Plotly's JavaScript, compressed, as text. ValueError where it is missing."""
    spec = importlib.util.find_spec("plotly")
    if spec is None or spec.origin is None:
        raise ValueError(HOW)
    whole = (Path(spec.origin).parent / "package_data" / "plotly.min.js").read_bytes()
    return base64.b64encode(gzip.compress(whole, mtime=0)).decode()
