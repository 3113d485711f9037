"""A section of the page: text made by a template from facts, and its plots."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

TEMPLATES = Path(__file__).parent / "templates"
DASH = "\N{EN DASH}"  # stands for no value
COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
"""Colours that colour-blind readers tell apart (Okabe and Ito 2008), in the order in which page.js takes them."""

INK, SOFT, PAPER = "#010101", "#020202", "#030303"
"""Colours of a figure for which page.js puts those of the text, of what stands back and of the page, light or dark."""

UNITS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"))


@dataclass(frozen=True)
class Plot:
    """A figure of Plotly's, drawn once it comes into view."""

    anchor: str  # its id in the page
    caption: str
    alternative: str  # what it shows, for who does not see it
    figure: Any  # plotly.graph_objects.Figure
    height: int = 420  # pixels
    least: int = 0  # pixels of width below which it is scrolled, not squeezed


@dataclass(frozen=True)
class Section:
    """A part of the page under a heading of its own."""

    title: str
    anchor: str  # its id in the page
    html: str
    plots: Sequence[Plot] = field(default_factory=tuple)
    data: Mapping[str, Any] = field(default_factory=dict)  # id -> what the page's script reads, as JSON


def render(template: str, **values: Any) -> Markup:
    """A template of `templates/` with these values: text in them is data, and whatever is markup there is escaped."""
    return Markup(environment().get_template(template).render(**values))


def environment() -> Environment:
    """Jinja's, with the house's way of writing numbers; a name that a template lacks is an error."""
    found = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {"number": number, "duration": duration, "count": count, "share": share}
    return found


def number(value: Any, digits: int = 4) -> str:
    """A number as people read it, of four significant digits; a dash where there is none."""
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return DASH
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if float(value).is_integer() and abs(value) < 1e6:
        return f"{int(value):,}"
    return f"{value:.{digits}g}"


def count(number: int, noun: str, plural: str = "") -> str:
    """How many of a thing: "1 run", "12,000 runs"."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def share(part: float, whole: float) -> str:
    """A part of a whole in per cent."""
    if not whole:
        return DASH
    percent = 100 * part / whole
    return "under 1 %" if 0 < percent < 0.5 else f"{percent:.0f} %"


def duration(seconds: float) -> str:
    """A time in words: "40 s", "12 min", "3.2 h"."""
    if math.isnan(seconds):
        return DASH
    for unit, name in UNITS:
        if seconds >= 1.5 * unit:
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds:.3g} s"


def plain(text: Any) -> str:
    """Text for a label of Plotly's, which reads some markup in labels: here it stands for itself."""
    return escape(str(text), quote=False)
