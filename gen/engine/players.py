"""What is watched of a game of players at a tick, beside what training logs."""

from __future__ import annotations

import torch
from torch import Tensor

from gen.capabilities import Imitates, Plays, has
from gen.config import RunConfig
from gen.data.dataset import Dataset
from gen.data.stream import rows_of
from gen.distributed.machine import seed
from gen.engine.collapse import Scales
from gen.engine.step import Stepper
from gen.metrics.variety import variety
from gen.phase import Model

NOISE = 0x706C6179  # seeds what is watched, with the run's seed: the same noise at every tick
HELD_OUT, FAKES = range(2)  # seed the two kinds of it


class Spectator:
    """Looks at the players of one run, always at the same held-out images and with the same noise. All workers look,
    and the numbers are rank 0's, so that they decide alike."""

    def __init__(self, config: RunConfig, dataset: Dataset, stepper: Stepper, most: int) -> None:
        """`most`: images that a tick may measure."""
        self.config, self.dataset, self.stepper = config, dataset, stepper
        self.count = min(config.watch.images, most, dataset.length("validation"))
        model = stepper.model
        self.scales = Scales(dict(model.scales), dict(model.sums)) if has(model, Plays) else Scales()

    def held_out(self) -> dict[str, float]:
        """What the players log on held-out images: the weights that play, not their average, and BatchNorm by the
        batch, as in training. So the two differ by the images alone."""
        stepper, size = self.stepper, self.stepper.config.batch
        model, found = stepper.model, list[dict[str, Tensor]]()
        assert has(model, Plays)
        stepper.freezer.freeze()
        for index in range(max(self.count // size, 1)):
            batch = self._batch(index * size, min((index + 1) * size, self.count))
            seed(stepper.device, NOISE, self.config.seed, HELD_OUT, index)
            with torch.no_grad(), stepper.precision():
                found.append(model.held_out(batch))
        return self._total({name: torch.stack([logs[name] for logs in found]).mean() for name in found[0]})

    def fakes(self, model: Model) -> dict[str, float]:
        """How much the fakes of one fixed set of latents vary, of a model in evaluation mode; none if it makes none."""
        if not has(model, Imitates):
            return {}
        size, made = self.config.evaluate.batch, list[Tensor]()
        for index, start in enumerate(range(0, self.count, size)):
            batch = self._batch(start, min(start + size, self.count))
            seed(self.stepper.device, NOISE, self.config.seed, FAKES, index)
            with torch.no_grad():
                columns = model.imitate(batch)
            made.append(torch.cat([columns[name].flatten(1) for name in model.imitated], dim=1))
        variance, distance = variety(torch.cat(made))
        return self._total({"generator/variance": variance, "generator/distance": distance})

    def _batch(self, start: int, stop: int) -> dict[str, Tensor]:
        """Validation images at positions of the split's mixture, so that all classes are among them."""
        dtype = next(self.stepper.model.parameters()).dtype
        return rows_of(self.dataset, "validation", torch.arange(start, stop), self.stepper.device, dtype, mix=True)

    def _total(self, logs: dict[str, Tensor]) -> dict[str, float]:
        """The scalars of rank 0."""
        values = torch.stack([value.double() for value in logs.values()])
        if self.stepper.workers.rank:
            values.zero_()
        self.stepper.workers.total([values])
        return dict(zip(logs, values.tolist(), strict=True))
