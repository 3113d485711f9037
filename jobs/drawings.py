"""What jobs.sample is asked to draw of stored weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from gen.data.dataset import check_trained_on, open_dataset
from gen.distributed.machine import resolve_device
from gen.engine.build import build_model
from gen.engine.surface import check_plane, loss_surface
from gen.phase import Model
from gen.pictures import Scene, choose_kinds, paint
from gen.pictures.files import plot_png
from gen.pictures.surface import plot_surface
from gen.record import checkpoint
from gen.zoo import restore
from jobs.progress import decode_here

Picture = tuple[str, Callable[[], bytes], str]  # the end of the file's name, what draws the file, and what it shows
LINES = ("interpolation", "animation")  # the kinds that --interpolate draws
PLANE = ("player", "points", "span")  # options that say what --surface plots


def check(asked: str | None, to: str | None, options: dict[str, Any]) -> None:
    """ValueError if options ask for pictures that do not go together."""
    said = [
        *(["--curves"] if asked is not None else []),
        *(["--history"] if options["moves"] else []),
        *(f"--{option}" for option in ("surface", "interpolate") if options[option]),
        *(["--translate"] if options["translate"] is not None else []),
    ]
    if len(said) > 1:
        raise ValueError(f"{' and '.join(said)} draw different things; say one of them")
    for option in PLANE:
        if options[option] is not None and not options["surface"]:
            raise ValueError(f"{option}={options[option]} belongs to --surface; say that too, or leave it out")
    if to is not None and "--translate" not in said:
        raise ValueError(f"to={to} belongs to --translate; say that too, or leave it out")
    if options["pairs"] and "--translate" in said:
        raise ValueError(f"pair={options['pairs'][0]} does not go with --translate, which draws no lines; leave it out")
    if options["kinds"] is not None and {*said} & {"--surface", "--interpolate", "--translate"}:
        raise ValueError(f"kinds={options['kinds']} does not go with {said[0]}, which draws one thing; leave it out")


def of_weights(
    state: dict[str, Any], experiment: str, run: str, data_hash: str, names: list[str], options: dict[str, Any]
) -> list[Picture]:
    """The pictures of stored weights, each with its caption. ValueError where the model or its data do not allow one
    that is asked for."""
    config, device, split = restore(state["config"]), resolve_device(options["device"]), options["split"]
    dataset = open_dataset(config.data, options["data_root"], options["download"], runner=decode_here)
    check_trained_on(dataset, run, data_hash)
    model = build_model(config, dataset, torch.device("cpu"))
    checkpoint.put_weights(model, state["weights"], run)
    model.to(device).eval()
    scene = Scene(dataset, device, next(model.parameters()).dtype, split, [pair(text) for text in options["pairs"]])
    epoch = f"epoch {state['epoch']:g}{'' if options['ended'] else ', the best so far of a run that has not ended'}"
    drawn = f"of {config.entry} on {dataset.name}, {epoch}, {split} images; run {run} of {experiment}"
    if options["surface"]:
        plane = {key: options[key] for key in PLANE if options[key] is not None}
        player = check_plane(model, **plane)
        text = f"loss of the {player} {drawn}"
        return [(f"surface-{player}.png", partial(draw_surface, model, scene, config.train.batch, plane, text), text)]
    kinds = choose_kinds(model, list(LINES) if options["interpolate"] else names)
    if scene.pairs and not any(kind.has_pairs(model) for kind in kinds):
        raise ValueError(
            f"pair={options['pairs'][0]}: no picture here joins two images of {config.entry}; leave it out"
        )
    if not kinds:
        raise ValueError(f"{config.entry} makes no images, and there is nothing to draw but --surface and --curves")
    texts = [f"{kind.name}{f' ({shows})' if (shows := kind.shows(model)) else ''} {drawn}" for kind in kinds]
    return [
        (f"{kind.name}.{kind.suffix}", partial(paint, kind, model, replace(scene, caption=text)), text)
        for kind, text in zip(kinds, texts, strict=True)
    ]


def draw_surface(model: Model, scene: Scene, count: int, plane: dict[str, Any], title: str) -> bytes:
    """The plot of a player's loss on `count` images of the scene."""
    found = loss_surface(model, scene.some(count), **plane)
    return plot_png(plot_surface(found.steps.numpy(), found.losses.numpy(), title), title)


def pair(text: str) -> tuple[int, int]:
    """I,J as two numbers; ValueError if it is not that."""
    numbers = [int(part) if part.strip().isdecimal() else -1 for part in text.split(",")]
    if len(numbers) != 2 or min(numbers) < 0:
        raise ValueError(f"pair {text!r} is not I,J: two numbers of images, such as 0,1")
    return numbers[0], numbers[1]
