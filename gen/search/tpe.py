"""Tree-structured Parzen estimators (Bergstra et al. 2011) by Optuna: what the next configuration is learns from those
that ended. Optuna is imported where it is used, for few searches need it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from gen.search.samplers import Choice, Question, Questions, Sampler, Score, Settings

if TYPE_CHECKING:
    from optuna.trial import Trial

DIRECTIONS: dict[str, Literal["minimize", "maximize"]] = {"min": "minimize", "max": "maximize"}
INSTALL = "sampler=tpe needs Optuna: pip install 'genfleet[search]', or pip install 'optuna>=5,<6'"


def check_installed() -> None:
    """ValueError, which says how to install it, where Optuna is not there."""
    try:
        import optuna  # noqa: F401
    except ImportError:
        raise ValueError(INSTALL) from None


class Tpe(Sampler):
    """Optuna's TPE. A run that was stopped early counts as one that Optuna pruned: behind all that went to their end,
    the later it was stopped the better. One that failed counts as the worst. Configurations that still run count as
    bad ones (`constant_liar`), so that several at a time spread out.

    Of several objectives, the first and the `others` with the modes of these, it is the multi-objective one (Ozaki et
    al. 2020), which seeks the Pareto set; of a run that was stopped early nothing but that counts then. It is taken
    instead of NSGA-II, for it learns from every run that ended, in whatever order, on spaces with conditions, and needs
    no generations for which slots would wait.

    `learned`: configurations of an earlier search on the same space, with what became of them. Each proposal has a
    generator of its own, by the seed and its number.
    """

    learns = True

    def __init__(
        self,
        questions: Questions,
        seed: int,
        mode: str,
        learned: Iterable[tuple[Settings, Score]] = (),
        others: Sequence[str] = (),
    ) -> None:
        check_installed()
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.questions, self.seed = questions, seed
        self.study = optuna.create_study(directions=[DIRECTIONS[one] for one in (mode, *others)])
        self.several = bool(others)
        self.trials: dict[int, Trial] = {}  # number -> that of a configuration that was begun and of no score yet
        for settings, score in learned:
            self.close(self.open(settings), score)

    def propose(self, number: int) -> Settings:
        """What Optuna asks for, from the scores so far."""
        from optuna.samplers import TPESampler

        self.study.sampler = TPESampler(seed=(self.seed * 1_000_003 + number) % 2**32, constant_liar=True)
        trial = self.trials[number] = self.study.ask()
        return self.questions.ask(lambda name, question: suggest(trial, name, question))

    def begin(self, number: int, settings: Settings) -> None:
        """Adds a configuration that somebody else chose, or that is on record, as one that runs."""
        self.trials[number] = self.open(settings)

    def learn(self, number: int, score: Score) -> None:
        """Closes the configuration with its score; a second score of one configuration is not heard."""
        if trial := self.trials.pop(number, None):
            self.close(trial, score)

    def open(self, settings: Settings) -> Trial:
        """A trial of Optuna's with these settings, as far as they lie in the space."""
        known = self.questions.find(settings)
        self.study.enqueue_trial({name: answer for name, (_, answer) in known.items()})
        trial = self.study.ask()
        for name, (question, _) in known.items():
            suggest(trial, name, question)
        return trial

    def close(self, trial: Trial, score: Score) -> None:
        """Tells Optuna what became of a trial."""
        from optuna.trial import TrialState

        values = [score.value, *score.others]
        if score.whole and all(map(math.isfinite, values)):
            self.study.tell(trial, values)
            return
        if math.isfinite(score.value) and not self.several:  # Optuna takes no values by epoch of several objectives
            trial.report(score.value, int(score.epoch))
        self.study.tell(trial, state=TrialState.PRUNED)


def suggest(trial: Trial, name: str, question: Question) -> Any:
    """Optuna's answer to a question."""
    if isinstance(question, Choice):
        return trial.suggest_categorical(name, range(question.count))
    if question.whole:
        step = 1 if question.step is None else int(question.step)
        return trial.suggest_int(name, int(question.low), int(question.high), step=step, log=question.log)
    return trial.suggest_float(name, question.low, question.high, step=question.step, log=question.log)
