"""The pictures that a run stored, as an animation: jobs.sample --history."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

from PIL import Image

from gen import results
from gen.pictures import files

SHOWN = 400  # milliseconds of a frame


def history(storage: results.Storage, name: str, run: str, wanted: Sequence[str]) -> Iterator[tuple[str, bytes, str]]:
    """One animation a kind of picture: the kind, its GIF file and a description. A frame for each of the weights whose
    pictures are stored, in the order of training. `wanted`: kinds; none: all that are stored of two weights or more.
    ValueError if there are fewer than two frames, or for a kind that is not stored."""
    frame = results.samples(storage, name, run=run)
    frame = frame.sort_values(["step", "attempt"], kind="stable").drop_duplicates(["kind", "step"])
    counts = frame["kind"].value_counts()
    stored = ", ".join(f"{kind} ({count})" for kind, count in counts.items()) or "none"
    kinds = list(wanted) or [kind for kind in sorted(counts.index) if counts[kind] > 1]
    if not kinds or any(counts.get(kind, 0) < 2 for kind in kinds):
        raise ValueError(
            f"run {run} of {name} has too few pictures to show its history, which takes two; stored: {stored}; "
            "train with --set evaluate.pictures=1 to store them at every tick"
        )
    ends, begun = (
        table[table["run"] == run] for table in (results.outcomes(storage, name), results.runs(storage, name))
    )
    best, about = set(ends["best_epoch"].dropna()), begun.iloc[0]
    for kind in kinds:
        rows = frame[frame["kind"] == kind]
        epochs = f"epochs {rows['epoch'].iloc[0]:g} to {rows['epoch'].iloc[-1]:g}"
        of = f"of {about['entry']} on {about['data']}; run {run} of {name}"
        texts = [f"{kind}, epoch {epoch:g}{', the best' * (epoch in best)}, {of}" for epoch in rows["epoch"]]
        text = f"{kind} over training, {len(rows)} frames, {epochs}, {of}"
        yield kind, files.animate(captioned(list(rows["png"]), texts), SHOWN, text), text


def captioned(pictures: Sequence[bytes], texts: Sequence[str]) -> list[Image.Image]:
    """The images of PNG files, each below its caption; all captions are of as many lines, so that nothing jumps."""
    images = [Image.open(io.BytesIO(png)) for png in pictures]
    lines = max(len(files.caption_rows(text, image.width)) for image, text in zip(images, texts, strict=True))
    return [files.with_caption(image, text, lines) for image, text in zip(images, texts, strict=True)]
