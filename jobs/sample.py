"""Draws a run's best weights: python -m jobs.sample --storage results --name vqvae-mnist --out pictures

Whatever the model can do, or the --kinds asked for: fakes beside real images, originals over reconstructions, a row a
class, lines between the latents of two images, a plane of latents, a map of codes and their use. With --curves it plots
metrics by epoch instead, training beside validation, of all runs: --curves distortion,mse/reconstructions
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import torch

from gen import results
from gen.data.dataset import check_trained_on, open_dataset
from gen.distributed.machine import resolve_device
from gen.engine.build import build_model
from gen.pictures import KINDS, Scene, choose_kinds, paint
from gen.record import checkpoint
from gen.results.best import best_run, rank_runs
from gen.zoo import restore
from jobs.curves import curves
from jobs.options import Job, refusing, show, split_names


@click.command(cls=Job, help=__doc__)
@click.option("--storage", default="results", show_default=True, help="Folder or URI of tables and checkpoints.")
@click.option("--name", required=True, help="Experiment.")
@click.option("--run", "wanted", help="Run; default: the best one of the experiment; of --curves: all of them.")
@click.option("--kinds", help=f"Of {', '.join(kind.name for kind in KINDS)}; default: all that the model can do.")
@click.option("--pair", "pairs", multiple=True, metavar="I,J", help="Two images of the split: the ends of a line.")
@click.option("--curves", "asked", metavar="NAME,NAME", help="Plot metrics by epoch instead.")
@click.option("--split", type=click.Choice(["train", "validation", "test"]), default="test", show_default=True)
@click.option("--data-root", type=click.Path(), help="Folder of the originals, if they are not in the cache.")
@click.option("--download", is_flag=True, help="Fetch the originals if they are missing.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--out", type=click.Path(path_type=Path), default=Path(), help="Folder for the pictures.")
@click.option("--dry-run", is_flag=True, help="Print the run's resolved config as JSON and stop.")
def main(name: str, wanted: str | None, asked: str | None, out: Path, **options: Any) -> None:
    """Loads the run and draws what it can do, or plots the experiment's curves."""
    with refusing():
        storage, device = results.Storage(options["storage"]), resolve_device(options["device"])
        if asked is not None:
            runs = [wanted] if wanted else list(rank_runs(storage, name)["run"])
            for quantity, png, text in list(curves(storage, name, split_names("curves", asked), runs)):
                write(out / "-".join([name, *([wanted] if wanted else []), "curves", f"{quantity}.png"]), png, text)
            return
        run = wanted or best_run(storage, name)
        state = checkpoint.load_best(storage, name, run, device)
        config = restore(state["config"])
        if options["dry_run"]:
            show(config)
            return
        dataset = open_dataset(config.data, options["data_root"], options["download"])
        check_trained_on(dataset, run, results.runs(storage, name).set_index("run")["data_hash"][run])
        model = build_model(config, dataset, torch.device("cpu"))
        dtype, split = next(model.parameters()).dtype, options["split"]
        scene = Scene(dataset, device, dtype, split, [pair(text) for text in options["pairs"]])
        kinds = choose_kinds(model, split_names("kinds", options["kinds"]))
        if scene.pairs and not any(kind.has_pairs(model) for kind in kinds):
            raise ValueError(
                f"pair={options['pairs'][0]}: no picture here joins two images of {config.entry}; leave it out"
            )
    model.load_state_dict(state["weights"])
    model.to(device).eval()
    for kind in kinds:
        shown = f" ({shows})" if (shows := kind.shows(model)) else ""
        text = f"{kind.name}{shown} of {config.entry} on {dataset.name}, epoch {state['epoch']:g}, {split} images"
        write(out / f"{name}-{run}-{kind.name}.{kind.suffix}", paint(kind, model, scene), text)


def write(path: Path, content: bytes, text: str) -> None:
    """Writes a picture and says what it shows."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise click.ClickException(
            f"out={path.parent} cannot be written ({error.strerror}); name another folder by --out"
        ) from error
    print(f"{path}  {text}")


def pair(text: str) -> tuple[int, int]:
    """I,J as two numbers; ValueError if it is not that."""
    numbers = [int(part) if part.strip().isdecimal() else -1 for part in text.split(",")]
    if len(numbers) != 2 or min(numbers) < 0:
        raise ValueError(f"pair {text!r} is not I,J: two numbers of images, such as 0,1")
    return numbers[0], numbers[1]


if __name__ == "__main__":
    main()
