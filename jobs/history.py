"""The pictures that a run stored, as an animation: jobs.sample --history."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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
    ends = results.outcomes(storage, name)
    best = set(ends["best_epoch"][ends["run"] == run].dropna())
    for kind in kinds:
        rows = frame[frame["kind"] == kind]
        frames = [
            files.with_caption(png, f"{kind}, epoch {epoch:g}{', the best' if epoch in best else ''}")
            for png, epoch in zip(rows["png"], rows["epoch"], strict=True)
        ]
        epochs = f"epochs {rows['epoch'].iloc[0]:g} to {rows['epoch'].iloc[-1]:g}"
        yield kind, files.animate(frames, SHOWN), f"{kind} over training, {len(frames)} frames, {epochs}"
