"""Writes one HTML page of what an experiment found: python -m jobs.report --name vqvae-mnist --out report.html

The page needs no network, and the experiment need not have ended. Named several times, the first experiment is the one
that the page is about, and the others are compared with it.
"""

from __future__ import annotations

import time
from pathlib import Path

import click

from gen.report.installed import check_installed
from gen.results.manifest import shortfall
from gen.results.storage import put_local
from jobs.places import absolute, storage_at, writing
from jobs.program import Program, refusing


@click.command(cls=Program, help=__doc__)
@click.option("--storage", default="results", show_default=True, help="Folder or URI of the tables.")
@click.option("--name", "names", required=True, multiple=True, help="Experiment; again for another to compare.")
@click.option("--out", default="report.html", show_default=True, help="File for the page.")
@click.option("--pareto", metavar="FIGURE,FIGURE", help="Two figures: which configurations none beats in both.")
def main(storage: str, names: tuple[str, ...], out: str, pareto: str | None) -> None:
    """Reads the tables, writes the page and says where it is."""
    start = time.monotonic()
    with refusing():
        check_installed()
        path, place = Path(absolute("out", out) or out), storage_at(storage)
        names = tuple(dict.fromkeys(names))
        if path.is_dir():
            raise ValueError(f"out={out} is a folder; name a file, such as {path / 'report.html'}")
        for name in names:
            if line := shortfall(place, name):
                click.echo(line, err=True)
        from gen.report.facts import facts  # once all that they need is known to be installed
        from gen.report.page import page

        objectives = [one.strip() for one in pareto.split(",")] if pareto is not None else []
        content = page(facts(place, names, objectives=objectives)).encode()
    with writing(path.parent):
        put_local(path, content)
    print(f"{path}  {len(content) / 1e6:.1f} MB in {time.monotonic() - start:.1f} s; it opens in any browser")


if __name__ == "__main__":
    main()
