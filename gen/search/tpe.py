"""Tree-structured Parzen estimators (Bergstra et al. 2011) by Optuna: what the next configuration is learns from those
that ended. Optuna is imported where it is used, for few searches need it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from gen.search.samplers import Choice, Question, Questions, Sampler, Score, Settings

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial, Trial

Known = Mapping[str, tuple[Question, Any]]
"""Name of a question -> the question and its answer."""

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
        self.known: dict[int, Known] = {}  # number -> answers of a configuration that the study has not got yet
        self.scores: dict[int, Score] = {}  # number -> score of such a configuration
        self.study.add_trials([closed(questions.find(settings), score) for settings, score in learned])

    def propose(self, number: int) -> Settings:
        """What Optuna asks for, from the scores so far."""
        from optuna.samplers import TPESampler

        self.add_known()
        self.study.sampler = TPESampler(seed=(self.seed * 1_000_003 + number) % 2**32, constant_liar=True)
        trial = self.trials[number] = self.study.ask()
        return self.questions.ask(lambda name, question: suggest(trial, name, question))

    def begin(self, number: int, settings: Settings) -> None:
        """Hears of a configuration that somebody else chose, or that is on record: it runs."""
        self.known[number] = self.questions.find(settings)

    def learn(self, number: int, score: Score) -> None:
        """Closes the configuration with its score; a second score of one configuration is not heard."""
        if number in self.known:
            self.scores.setdefault(number, score)
        elif trial := self.trials.pop(number, None):
            self.close(trial, score)

    def add_known(self) -> None:
        """Brings the configurations that were begun elsewhere into the study, in the order of their numbers: those with
        a score as Optuna keeps closed trials, many at once, for one by one thousands would take half a minute."""
        for has_score, some in itertools.groupby(self.known.items(), lambda one: one[0] in self.scores):
            if has_score:
                self.study.add_trials([closed(known, self.scores[number]) for number, known in some])
            else:
                self.trials |= {number: self.open(known) for number, known in some}
        self.known, self.scores = {}, {}

    def open(self, known: Known) -> Trial:
        """A trial of Optuna's that runs, with these answers."""
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


def closed(known: Known, score: Score) -> FrozenTrial:
    """A trial of Optuna's with these answers as it would be after `Tpe.close`."""
    from optuna.trial import TrialState, create_trial

    values = [score.value, *score.others]
    whole = score.whole and all(map(math.isfinite, values))
    told = whole or (math.isfinite(score.value) and not score.others)
    return create_trial(
        state=TrialState.COMPLETE if whole else TrialState.PRUNED,
        values=values if told else None,
        params={name: answer for name, (_, answer) in known.items()},
        distributions={name: distribution(question) for name, (question, _) in known.items()},
        intermediate_values={int(score.epoch): score.value} if told and not whole else {},
    )


def distribution(question: Question) -> BaseDistribution:
    """What `suggest` asks of a question, as Optuna keeps it."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(question, Choice):
        return CategoricalDistribution(range(question.count))
    low, high, log, step = question.low, question.high, question.log, question.step
    if question.whole:
        return IntDistribution(int(low), int(high), log=log, step=1 if step is None else int(step))
    return FloatDistribution(low, high, log=log, step=step)


def suggest(trial: Trial, name: str, question: Question) -> Any:
    """Optuna's answer to a question."""
    if isinstance(question, Choice):
        return trial.suggest_categorical(name, range(question.count))
    if question.whole:
        step = 1 if question.step is None else int(question.step)
        return trial.suggest_int(name, int(question.low), int(question.high), step=step, log=question.log)
    return trial.suggest_float(name, question.low, question.high, step=question.step, log=question.log)
