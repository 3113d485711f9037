"""The page: sections in one HTML file that needs no network, with Plotly's library in it once, compressed."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib import resources

from markupsafe import Markup

from gen.report import board, curves, environment, failures, first, importance, pareto, progress, several
from gen.report.facts import Facts
from gen.report.section import TEMPLATES, Section, render

SECTIONS: Sequence[Callable[[Facts], Section | None]] = (
    first.section,
    board.section,
    progress.section,
    several.section,
    curves.section,
    importance.section,
    pareto.section,
    failures.section,
    environment.section,
)
"""The sections in their order; a section that has nothing to tell is None."""

DANGEROUS = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}  # in JSON inside a page, where "</script>" would end it


def page(facts: Facts) -> str:
    """The whole page as HTML. `check_installed` tells before whether it can be made here."""
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
    """Plotly's JavaScript, compressed, as text."""
    whole = resources.files("plotly").joinpath("package_data", "plotly.min.js").read_bytes()
    return base64.b64encode(gzip.compress(whole, mtime=0)).decode()
