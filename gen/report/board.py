"""The leaderboard by configuration."""

from __future__ import annotations

from gen.report.facts import Facts
from gen.report.section import Section, render


def section(facts: Facts) -> Section:
    """A row for each configuration, the best first."""
    return Section("Leaderboard", "leaderboard", render("board.html", experiment=facts.first))
