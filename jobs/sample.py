"""Draws a run's best weights: python -m jobs.sample --storage results --name vqvae-mnist --out pictures

Whatever the model can do, or the --kinds asked for: fakes beside real images, originals over reconstructions, a row a
class, lines between the latents of two images, a plane of latents, a map of codes and their use; --interpolate draws
the lines alone, as PNG and GIF.

--translate FOLDER writes the images of a folder, a zip or a URI in another domain, each at its own size, as PNG files:
--translate holidays --to b. Grey or in colour is as the run's images are.

Three options draw something else instead. --curves plots metrics by epoch, training beside validation, of all runs:
--curves distortion,mse/reconstructions. --history makes a GIF of the pictures that a run stored while it trained.
--surface plots the loss of a player around the best weights, along two random directions (Li et al. 2018).
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click
import torch

from gen import results
from gen.engine.load import load_run
from gen.pictures import KINDS
from gen.record import checkpoint
from gen.record.best import best_run
from gen.results.best import rank_runs
from gen.results.storage import put_local
from gen.zoo import restore
from jobs.curves import curves
from jobs.drawings import Picture, check, of_weights
from jobs.experiments import tell_fresh, tell_lost
from jobs.history import history
from jobs.options import Job, refusing, show, split_names
from jobs.places import absolute, storage_at, writing
from jobs.translate import translate


@click.command(cls=Job, help=__doc__)
@click.option("--storage", default="results", show_default=True, help="Folder or URI of tables and checkpoints.")
@click.option("--name", required=True, help="Experiment.")
@click.option("--run", "wanted", help="Run, or a beginning of its id; default: the best one; of --curves: all.")
@click.option("--kinds", help=f"Of {', '.join(kind.name for kind in KINDS)}; default: all that the model can do.")
@click.option("--pair", "pairs", multiple=True, metavar="I,J", help="Two images of the split: the ends of a line.")
@click.option("--interpolate", is_flag=True, help="Only lines between two latents: --kinds interpolation,animation.")
@click.option("--curves", "asked", metavar="NAME,NAME", help="Plot metrics by epoch instead.")
@click.option("--history", "moves", is_flag=True, help="Make a GIF of a run's stored pictures (--kinds) instead.")
@click.option("--surface", is_flag=True, help="Plot the loss around the best weights instead.")
@click.option("--player", help="Of --surface: whose weights move, and whose loss; default: the first that trains.")
@click.option("--points", type=int, help="Of --surface: points along each direction, an odd number; default: 21.")
@click.option("--span", type=float, help="Of --surface: how far, in norms of the weights' filters; default: 1.")
@click.option("--translate", metavar="FOLDER", help="Translate the images of a folder, a zip or a URI instead.")
@click.option(
    "--to", metavar="COLUMN", help="Of --translate: the domain, a or b; needed where the model has both ways."
)
@click.option("--split", type=click.Choice(["train", "validation", "test"]), default="test", show_default=True)
@click.option("--data-root", type=click.Path(), help="Folder of the originals, if they are not in the cache.")
@click.option("--download", is_flag=True, help="Fetch the originals if they are missing.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--out", type=click.Path(path_type=Path), default=Path(), help="Folder for the pictures.")
@click.option("--dry-run", is_flag=True, help="Print the run's resolved config as JSON and stop.")
def main(name: str, wanted: str | None, asked: str | None, to: str | None, out: Path, **options: Any) -> None:
    """Draws what the run's weights can do, or plots what the experiment's tables hold."""
    pictures, lines = list[Picture](), iter(list[str]())
    with refusing():
        check(asked, to, options)
        out = Path(absolute("out", str(out)) or out)
        options["data_root"] = absolute("data-root", options["data_root"])
        storage, kinds = storage_at(options["storage"]), split_names("kinds", options["kinds"])
        tell_lost(storage, name)
        if wanted is None:
            tell_fresh(storage, name)
        if asked is not None:
            wanted = results.find_run(storage, name, wanted) if wanted is not None else None
            runs = [wanted] if wanted else list(rank_runs(storage, name)["run"])
            stem = f"{wanted}-curves" if wanted else "curves"
            for quantity, png, text in curves(storage, name, split_names("curves", asked), runs):
                pictures.append((f"{stem}-{quantity}.png", partial(bytes, png), text))
        elif options["moves"]:
            run = results.find_run(storage, name, wanted) if wanted is not None else best_run(storage, name)
            for kind, gif, text in history(storage, name, run, kinds):
                pictures.append((f"{run}-history-{kind}.gif", partial(bytes, gif), text))
        else:
            run = checkpoint.find_run(storage, name, wanted) if wanted is not None else best_run(storage, name)
            state = checkpoint.load_best(storage, name, run, torch.device("cpu"))
            if options["dry_run"]:
                show(restore(state["config"]))
                return
            if options["translate"] is not None:
                place = absolute("translate", options["translate"]) or ""
                lines = translate(load_run(storage, name, run, options["device"]), place, to, out)
            else:
                data_hash = results.queries.data_hashes(storage, name, [run])[run]
                ended = run in set(results.outcomes(storage, name)["run"])
                drawn = of_weights(state, name, run, data_hash, kinds, {**options, "ended": ended})
                pictures = [(f"{run}-{end}", draw, text) for end, draw, text in drawn]
    for end, draw, text in pictures:
        write(out / f"{name}-{end}", draw(), text)
    with refusing(), writing(out):
        for line in lines:
            print(line)


def write(path: Path, content: bytes, text: str) -> None:
    """Writes a picture and says what it shows."""
    with writing(path.parent):
        put_local(path.absolute(), content)
    print(f"{path}  {text}")


if __name__ == "__main__":
    main()
