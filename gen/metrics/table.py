"""The one table of metrics: what each is called, which way is good, and what it takes. Steering, searches, leaderboards
and pictures ask it; nobody repeats a direction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gen.checks import nearest

Direction = Literal["min", "max"]
WORST = 1e30  # size of the steering value of weights below the floor: finite, so that the run goes on, but last


@dataclass(frozen=True)
class Metric:
    """One metric. Its figures are called NAME/SUBJECT, such as mse/reconstructions, or NAME/SUBJECT/COLUMN for columns
    other than "image"."""

    name: str
    direction: Direction  # whether small or large values are good
    unit: str
    needs: tuple[str, ...]  # one of these capabilities of a model, by the names of the classes in `gen.capabilities`
    cost: Literal["cheap", "features", "passes"]  # cheap: at each tick; by an extractor's features; by many passes
    scale: tuple[str, ...] = ()  # settings, or groups of them, under whose values figures do not compare
    held_out: bool = False  # tells of a model and of held-out images alone: runs compare by it whichever images they
    # were trained on, if the held-out ones are the same
    floor: bool = False  # real held-out images have it too, in the place of fakes: what no model beats but by chance


LIKELIHOOD, CODES, LATENT = "model.likelihood", "model.codebook.codes", "model.latent"
CONDITIONING = "model.conditioning"  # log p(x|y) does not compare with log p(x)
MADE = ("Imitates", "Reconstructs")
FRECHET = "frechet"  # the distance in the features of the run; "frechet_classifier" says whose features they are

METRICS = {
    metric.name: metric
    for metric in (
        Metric("bound", "min", "nats an image", ("Likelihood",), "cheap", (LIKELIHOOD, CONDITIONING)),
        Metric("distortion", "min", "nats an image", ("Likelihood",), "cheap", (LIKELIHOOD, CONDITIONING)),
        Metric("rate", "min", "nats an image", ("Likelihood",), "cheap", (LIKELIHOOD, CODES, CONDITIONING)),
        Metric(
            "importance_bound", "min", "nats an image", ("ImportanceWeighted",), "passes", (LIKELIHOOD, CONDITIONING)
        ),
        Metric(
            "bits_per_dimension", "min", "bits a number", ("ImportanceWeighted",), "passes", (LIKELIHOOD, CONDITIONING)
        ),
        Metric("active_units", "max", "units", ("Encodes",), "cheap", (LATENT,)),
        Metric("unit_rate", "max", "nats an image", ("Encodes",), "passes", (LATENT,)),
        Metric("mse", "min", "squared, on the scale [-0.5, 0.5]", ("Reconstructs",), "cheap", held_out=True),
        Metric("psnr", "max", "dB", ("Reconstructs",), "passes", held_out=True),
        Metric("ssim", "max", "of 1", ("Reconstructs",), "passes", held_out=True),
        Metric("perplexity", "max", "codes", ("Quantises",), "cheap", (CODES,)),
        Metric("used", "max", "share of the codes", ("Quantises",), "cheap", (CODES,)),
        Metric("code_nats", "min", "nats a code", ("PredictsCodes",), "cheap"),
        Metric("accuracy", "max", "share of the images", ("Classifies",), "cheap", held_out=True),
        Metric(FRECHET, "min", "squared, in features", MADE, "features", floor=True),
        Metric("fid", "min", "squared, in Inception's features", MADE, "features", floor=True),
        Metric("kid", "min", "squared, in features", ("Imitates",), "features", floor=True),
        Metric("kid_spread", "min", "squared, in features", ("Imitates",), "features", floor=True),
        Metric("precision", "max", "share of the fakes", ("Imitates",), "features", floor=True),
        Metric("recall", "max", "share of the real images", ("Imitates",), "features", floor=True),
        Metric("density", "max", "real neighbourhoods a fake", ("Imitates",), "features", floor=True),
        Metric("coverage", "max", "share of the real images", ("Imitates",), "features", floor=True),
        Metric("inception_score", "max", "classes", ("Imitates",), "features", floor=True),
        Metric("modes", "max", "classes", ("Imitates",), "features"),
        Metric("mode_share", "max", "share of the classes", ("Imitates",), "features"),
        Metric("mode_entropy", "max", "nats", ("Imitates",), "features"),
        Metric("mode_divergence", "min", "nats", ("Imitates",), "features"),
        Metric("conditional_accuracy", "max", "share of the fakes", ("Conditional",), "features"),
    )
}


def is_known(name: str) -> bool:
    """Whether `name`, of a figure or of a metric, belongs to a metric in the table."""
    own = name.partition("/")[0]
    return own in METRICS or own.startswith(f"{FRECHET}_")


def metric(name: str) -> Metric:
    """The metric of a name, which may be a figure's. ValueError for an unknown one (names the nearest)."""
    own = name.partition("/")[0]
    kind = FRECHET if own.startswith(f"{FRECHET}_") else own
    if not is_known(name):
        raise ValueError(f"metric {own!r} is not known; nearest valid: {nearest(own, METRICS)}")
    return METRICS[kind]


def direction(name: str, said: str | None = None) -> Direction:
    """Whether small ("min") or large ("max") values of a figure are good. ValueError if `said` claims the other."""
    found = metric(name).direction
    if said and said != found:
        size = {"min": "small", "max": "large"}[found]
        raise ValueError(f"mode={said} contradicts the metric: of {name} {size} values are good; leave the mode out")
    return found


def frechet_name(features: str) -> str:
    """What the Frechet distance in an extractor's features is called: "fid" in Inception's 2,048 only."""
    return "fid" if features == "inception" else f"{FRECHET}_{features.partition(':')[0]}"
