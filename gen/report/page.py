"""The page: sections in one HTML file that needs no network, with Plotly's library in it once, compressed."""

from __future__ import annotations

import base64
import gzip
import hashlib
import importlib.util
import json
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

from markupsafe import Markup

from gen.report import board, curves, environment, failures, first, importance, progress, several
from gen.report.facts import Facts
from gen.report.section import TEMPLATES, Section, render

SECTIONS: Sequence[Callable[[Facts], Section | None]] = (
    first.section,
    board.section,
    progress.section,
    several.section,
    curves.section,
    importance.section,
    failures.section,
    environment.section,
)
"""The sections in their order; a section that has nothing to tell is None."""

HOW = "the page needs Plotly, which is not installed here: pip install 'genfleet[report]'"
DANGEROUS = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}  # in JSON inside a page, where "</script>" would end it


def check_installed() -> None:
    """ValueError (says how to install it) where Plotly is missing."""
    if importlib.util.find_spec("plotly") is None:
        raise ValueError(HOW)


def page(facts: Facts) -> str:
    """The whole page as HTML. ValueError where Plotly is missing."""
    check_installed()
    sections = [made for section in SECTIONS if (made := section(facts)) is not None]
    script = (TEMPLATES / "page.js").read_text()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return render(
        "page.html",
        facts=facts,
        sections=sections,
        style=Markup((TEMPLATES / "page.css").read_text()),
        script=Markup(script),
        digest=digest,
        embedded=list(embedded(sections)),
        plotly=plotly(),
    )


def embedded(sections: Sequence[Section]) -> Iterator[tuple[str, Markup]]:
    """The ids of what the script reads, and it: the figures of the plots, and the sections' own data."""
    for section in sections:
        for plot in section.plots:
            yield f"figure-{plot.anchor}", safe(plot.figure.to_json())
        for name, data in section.data.items():
            yield f"data-{name}", safe(json.dumps(data, separators=(",", ":"), allow_nan=False))


def safe(text: str) -> Markup:
    """JSON as it may stand inside a page, whatever texts are in it."""
    for sign, code in DANGEROUS.items():
        text = text.replace(sign, code)
    return Markup(text)


@cache
def plotly() -> str:
    """Plotly's JavaScript, compressed, as text. ValueError where it is missing."""
    spec = importlib.util.find_spec("plotly")
    if spec is None or spec.origin is None:
        raise ValueError(HOW)
    whole = (Path(spec.origin).parent / "package_data" / "plotly.min.js").read_bytes()
    return base64.b64encode(gzip.compress(whole, mtime=0)).decode()
