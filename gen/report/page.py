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

from gen.report import (
    board,
    curves,
    environment,
    failures,
    first,
    importance,
    pareto,
    pictures,
    population,
    progress,
    several,
    slots,
)
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
    population.section,
    slots.section,
    pictures.section,
    failures.section,
    environment.section,
)
"""The sections in their order; a section that has nothing to tell is None."""

STYLES, SCRIPTS = ("page.css", "pictures.css"), ("page.js", "pictures.js", "live.js")
DANGEROUS = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}  # in JSON inside a page, where "</script>" would end it


def page(facts: Facts, version: str = "") -> str:
    """The whole page as HTML. `version`: of a page that asks its server for later ones; "": it asks nobody.
    `check_installed` tells before whether it can be made here."""
    sections = [made for section in SECTIONS if (made := section(facts)) is not None]
    return render(
        "page.html",
        facts=facts,
        sections=sections,
        embedded=list(embedded(sections)),
        plotly=plotly(),
        **frame(version),
    )


def waiting_page(name: str, version: str) -> str:
    """The page of an experiment in which no run has begun, which asks its server for later versions."""
    return render("waiting.html", name=name, **frame(version))


def frame(version: str) -> dict[str, str]:
    """What every page has: its style, its script, and the script's digest, by which alone the browser runs it."""
    style, script = ("".join((TEMPLATES / name).read_text() for name in names) for names in (STYLES, SCRIPTS))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return {"version": version, "style": Markup(style), "script": Markup(script), "digest": digest}


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
