"""Serves the page of an experiment while it runs: python -m jobs.watch --name vqvae-mnist

It is the page of jobs.report, on this machine's loopback alone, and is made anew when the tables have changed; a
browser that shows it reloads then, and stays where it is. Ctrl-C ends it.
"""

from __future__ import annotations

import threading

import click

from gen.report.installed import check_installed
from gen.results.manifest import shortfall
from jobs import interrupt
from jobs.output import outlive_readers
from jobs.places import storage_at
from jobs.program import Program, refusing
from jobs.report import PARETO, objectives_of


@click.command(cls=Program, help=__doc__)
@click.option("--storage", default="results", show_default=True, help="Folder or URI of the tables.")
@click.option("--name", "names", required=True, multiple=True, help="Experiment; again for another to compare.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port of 127.0.0.1; default: one that is free.")
@click.option("--pareto", metavar="FIGURE,FIGURE", help=PARETO)
def main(storage: str, names: tuple[str, ...], port: int, pareto: str | None) -> None:
    """Makes the first page, says where it is, and serves it until Ctrl-C."""
    outlive_readers()
    with refusing():
        check_installed()
        from gen.report.live import LOOPBACK, Server, Watcher  # once all that they need is known to be installed

        place, names = storage_at(storage), tuple(dict.fromkeys(names))
        for name in names:
            if line := shortfall(place, name):
                click.echo(line, err=True)
        watcher = Watcher(place, names, objectives_of(pareto))
        watcher.look()
        try:
            server = Server(watcher, port)
        except OSError as error:
            raise ValueError(f"port={port} of {LOOPBACK} cannot be had ({error.strerror}); leave it out") from error
    threading.Thread(target=server.serve_forever, name="server", daemon=True).start()
    interrupt.say_at_end("ended: the page is served no more")
    print(f"{', '.join(names)}: {server.address}  Ctrl-C ends it", flush=True)
    watcher.watch(threading.Event(), tell)


def tell(why: str) -> None:
    """Says why the page could not be made anew."""
    click.echo(f"the page stays as it was: {why}", err=True)


if __name__ == "__main__":
    main()
