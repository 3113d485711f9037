"""Writes one HTML page of what an experiment found: python -m jobs.report --name vqvae-mnist --out report.html

The page needs no network, and the experiment need not have ended. Named several times, the first experiment is the one
that the page is about, and the others are compared with it.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from gen.report.installed import check_installed
from gen.results.manifest import shortfall
from gen.results.storage import put_local
from jobs.places import absolute, storage_at, writing
from jobs.program import Program, refusing

PARETO = "Two figures: which configurations none beats in both; default: the search's own, where it has several."


def objectives_of(pareto: str | None) -> list[str]:
    """The figures of a Pareto set that the reader asks for."""
    return [one.strip() for one in pareto.split(",")] if pareto is not None else []


@click.command(cls=Program, help=__doc__)
@click.option("--storage", default="results", show_default=True, help="Folder or URI of the tables.")
@click.option("--name", "names", required=True, multiple=True, help="Experiment; again for another to compare.")
@click.option("--out", default="report.html", show_default=True, help="File for the page.")
@click.option(
    "--nearest", "asked", is_flag=True, help="First find the training images nearest to the best run's fakes."
)
@click.option("--data-root", type=click.Path(), help="Of --nearest: folder of the originals, if not in the cache.")
@click.option("--download", is_flag=True, help="Of --nearest: fetch the originals if they are missing.")
@click.option("--device", default="auto", show_default=True, help="Of --nearest: auto, cpu or cuda.")
@click.option("--pareto", metavar="FIGURE,FIGURE", help=PARETO)
def main(storage: str, names: tuple[str, ...], out: str, pareto: str | None, asked: bool, **options: Any) -> None:
    """Reads the tables, writes the page and says where it is."""
    start = time.monotonic()
    with refusing():
        check_installed()
        path, place = Path(absolute("out", out) or out), storage_at(storage)
        names = tuple(dict.fromkeys(names))
        if not asked and (idle := [name for name, value in options.items() if value not in (None, False, "auto")]):
            raise ValueError(f"{idle[0]}={options[idle[0]]} belongs to --nearest; say that too, or leave it out")
        if path.is_dir():
            raise ValueError(f"out={out} is a folder; name a file, such as {path / 'report.html'}")
        for name in names:
            if line := shortfall(place, name):
                click.echo(line, err=True)
        from gen.report.facts import facts  # once all that they need is known to be installed
        from gen.report.page import page

        objectives = objectives_of(pareto)
        found = facts(place, names, objectives=objectives)
        if asked:
            from jobs.nearest import nearest  # which imports torch, and a page needs none

            options["data_root"] = absolute("data-root", options["data_root"])
            nearest(found.first, **options)
            found = facts(place, names, objectives=objectives)
        content = page(found).encode()
    with writing(path.parent):
        put_local(path, content)
    print(f"{path}  {len(content) / 1e6:.1f} MB in {time.monotonic() - start:.1f} s; it opens in any browser")


if __name__ == "__main__":
    main()
