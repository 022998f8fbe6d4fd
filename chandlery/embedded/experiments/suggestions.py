"""Asks optuna or hyperopt, the libraries that Katib's own suggestion services use, for the next assignments.

Every suggestion is a function of the Experiment and of what was known when it was made: the results of the first
`known` trials. That number is kept with each trial, so a controller that was killed makes the same suggestions
again, and equal seeds give equal searches however the trials' run times fall.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from chandlery.errors import InvalidDocumentError, SearchError
from chandlery.resources.experiment import settings_of
from chandlery.resources.experiment_space import Dimension, dimensions, grid_size

ALGORITHMS = ("random", "grid", "tpe", "multivariate-tpe", "cmaes", "sobol")

_LEARNING = ("tpe", "multivariate-tpe", "cmaes")  # these look at results
_GRID_LIMIT = 100_000

Assignments = dict[str, str]


@dataclass(frozen=True)
class _Range:
    """Allowed values of a setting."""

    words: str
    least: float
    below: float = math.inf
    whole: bool = False
    more: bool = False  # more than `least`, not `least` itself

    def contains(self, number: float) -> bool:
        return (
            (number > self.least if self.more else number >= self.least)
            and number < self.below
            and (number.is_integer() or not self.whole)
        )


_SEED = _Range("a whole number from 0 to 2^32 - 1", 0, below=2**32, whole=True)
_COUNT = _Range("a whole number of at least 0", 0, whole=True)
# As Katib's own services hold them.
_SETTINGS: dict[str, dict[str, _Range]] = {
    "random": {"random_state": _SEED},
    "grid": {"random_state": _SEED},
    "tpe": {
        "random_state": _SEED,
        "gamma": _Range("a number between 0 and 1", 0, below=1, more=True),
        "prior_weight": _Range("a number above 0", 0, more=True),
        "n_EI_candidates": _Range("a whole number of at least 1", 1, whole=True),
    },
    "multivariate-tpe": {"random_state": _SEED, "n_startup_trials": _COUNT, "n_ei_candidates": _COUNT},
    "cmaes": {"random_state": _SEED, "sigma": _Range("a number above 0", 0, more=True)},
    "sobol": {},
}


@dataclass(frozen=True)
class Past:
    """An earlier trial.

    Attributes:
        assignments: parameter values by name, as text.
        known: number of trials whose results were known when it was suggested.
        objective: its objective; None while it runs and when it has none.
    """

    assignments: Assignments
    known: int
    objective: float | None


class Suggester(Protocol):
    """Makes the assignments of the trials of one Experiment."""

    def suggest(self, past: Sequence[Past], known: int) -> Assignments | None:
        """Return the assignments of the trial after `past`, from the results of its first `known`; None: no more."""
        ...


def needs_results(document: Mapping[str, Any]) -> bool:
    """Return whether what the next trial does depends on the results of earlier ones."""
    spec = document["spec"]
    return spec["algorithm"]["algorithmName"] in _LEARNING or bool(spec.get("earlyStopping"))


def make_suggester(document: Mapping[str, Any]) -> Suggester:
    """Return the suggester of an Experiment.

    Raises:
        InvalidDocumentError: the algorithm or one of its settings is not known here; lists those that are.
    """
    spec = document["spec"]
    name = spec["algorithm"]["algorithmName"]
    if name not in ALGORITHMS:
        raise InvalidDocumentError(f"unknown algorithm {name!r}", f"valid here: {', '.join(ALGORITHMS)}")
    space = dimensions(spec["parameters"])
    settings = _settings(name, settings_of(spec["algorithm"]))
    maximise = spec["objective"]["type"] == "maximize"
    if name == "sobol":
        return _Optuna(name, space, 0, maximise, settings)  # one sequence, the same for everybody
    # Without random_state the search differs from Experiment to Experiment, yet stays one search over restarts.
    seed = int(settings.pop("random_state", _hash(document["metadata"]["uid"])))
    if name == "grid":
        return _Grid(space, seed)
    if name == "tpe":
        parallel = int(spec.get("parallelTrialCount", 3))
        return _Hyperopt(space, seed, maximise, settings, startup=parallel)
    return _Optuna(name, space, seed, maximise, settings)


class _Optuna:
    """Random, multivariate TPE, CMA-ES and Sobol.

    Samplers carry state from ask to ask, so a study is replayed from its first trial when there is none in memory.
    """

    def __init__(
        self, name: str, space: Sequence[Dimension], seed: int, maximise: bool, settings: Mapping[str, float]
    ) -> None:
        self._name, self._space, self._seed, self._maximise, self._settings = (
            name,
            space,
            seed,
            maximise,
            settings,
        )
        self._start()

    def suggest(self, past: Sequence[Past], known: int) -> Assignments | None:
        if len(self._trials) > len(past):
            self._start()
        for index in range(len(self._trials), len(past)):
            self._report_results(past, past[index].known)
            if self._ask() != past[index].assignments:
                raise SearchError(
                    f"{self._name} no longer suggests what it suggested for trial {index}",
                    "the libraries changed while the search ran: delete the experiment and run it again",
                )
        self._report_results(past, known)
        assignments: Assignments = self._ask()
        return assignments

    def _start(self) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self._study = optuna.create_study(
                sampler=self._sampler(), direction="maximize" if self._maximise else "minimize"
            )
        self._distributions = {d.name: _distribution(d) for d in self._space}
        self._trials: list[Any] = []
        self._told = 0

    def _sampler(self) -> Any:
        from optuna import samplers

        if self._name == "random":
            return samplers.RandomSampler(seed=self._seed)
        if self._name == "multivariate-tpe":
            counts = {name: int(value) for name, value in self._settings.items()}
            # As Katib has it: what runs counts as bad, so that parallel trials keep away from one another.
            return samplers.TPESampler(seed=self._seed, multivariate=True, constant_liar=True, **counts)
        if self._name == "cmaes":
            return samplers.CmaEsSampler(seed=self._seed, sigma0=self._settings.get("sigma"))
        return samplers.QMCSampler(
            qmc_type="sobol", scramble=False, seed=self._seed, warn_independent_sampling=False
        )

    def _ask(self) -> Assignments:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trial = self._study.ask(fixed_distributions=self._distributions)
        self._trials.append(trial)
        if self._name not in _LEARNING:
            # Sobol's sequence begins only after a first finished trial; its value is not looked at.
            self._study.tell(trial, 0.0)
        return {d.name: _text(d, trial.params[d.name]) for d in self._space}

    def _report_results(self, past: Sequence[Past], known: int) -> None:
        import optuna

        if self._name not in _LEARNING:
            return
        for index in range(self._told, known):
            objective = past[index].objective
            if objective is None:
                self._study.tell(self._trials[index], state=optuna.trial.TrialState.FAIL)
            else:
                self._study.tell(self._trials[index], objective)
        self._told = max(self._told, known)


class _Hyperopt:
    """TPE as Katib runs it: random until one batch of trials is known, then Parzen estimators."""

    def __init__(
        self,
        space: Sequence[Dimension],
        seed: int,
        maximise: bool,
        settings: Mapping[str, float],
        startup: int,
    ) -> None:
        self._space, self._seed, self._maximise, self._startup = space, seed, maximise, startup
        self._settings = {k: int(v) if k == "n_EI_candidates" else v for k, v in settings.items()}

    def suggest(self, past: Sequence[Past], known: int) -> Assignments | None:
        import hyperopt

        domain = hyperopt.Domain(
            None, {d.name: _expression(d) for d in self._space}, pass_expr_memo_ctrl=None
        )
        trials = hyperopt.Trials()
        for index, one in enumerate(past[:known]):
            if one.objective is not None:
                trials.insert_trial_docs([self._document(trials, domain, index, one, one.objective)])
        trials.refresh()
        proposed = hyperopt.tpe.suggest(
            [len(past)],
            domain,
            trials,
            _hash(f"{self._seed}/{len(past)}") % 2**31,
            n_startup_jobs=self._startup,
            verbose=False,
            **self._settings,
        )
        values = {name: chosen[0] for name, chosen in proposed[0]["misc"]["vals"].items()}
        return {
            d.name: _text(d, d.values[int(values[d.name])] if d.values else values[d.name])
            for d in self._space
        }

    def _document(self, trials: Any, domain: Any, index: int, one: Past, objective: float) -> dict[str, Any]:
        import hyperopt

        values = {
            d.name: d.values.index(one.assignments[d.name]) if d.values else d.value(one.assignments[d.name])
            for d in self._space
        }
        misc = {
            "tid": index,
            "cmd": domain.cmd,
            "workdir": domain.workdir,
            "idxs": {name: [index] for name in values},
            "vals": {name: [value] for name, value in values.items()},
        }
        result = {"loss": -objective if self._maximise else objective, "status": hyperopt.STATUS_OK}
        document: dict[str, Any] = trials.new_trial_docs([index], [None], [result], [misc])[0]
        document["state"] = hyperopt.JOB_STATE_DONE
        return document


class _Grid:
    """Every combination once, in a seeded order."""

    def __init__(self, space: Sequence[Dimension], seed: int) -> None:
        import numpy as np

        size = grid_size(space)
        if size > _GRID_LIMIT:
            raise InvalidDocumentError(
                f"a grid of {size} combinations", f"use at most {_GRID_LIMIT}: larger steps"
            )
        names, axes = [dimension.name for dimension in space], [_points(dimension) for dimension in space]
        self._combinations = [dict(zip(names, values, strict=True)) for values in itertools.product(*axes)]
        self._order = np.random.default_rng(seed).permutation(size)

    def suggest(self, past: Sequence[Past], known: int) -> Assignments | None:
        if len(past) >= len(self._order):
            return None
        assignments: Assignments = self._combinations[self._order[len(past)]]
        return assignments


def _settings(algorithm: str, given: Mapping[str, str]) -> dict[str, float]:
    valid = _SETTINGS[algorithm]
    settings = {}
    for name, text in given.items():
        if (algorithm, name) == ("cmaes", "restart_strategy"):
            if text.lower() != "none":
                raise InvalidDocumentError(
                    f"restart_strategy {text!r} of cmaes does not run here", "valid here: none"
                )
            continue
        if name not in valid:
            raise InvalidDocumentError(
                f"unknown setting {name!r} of {algorithm}", f"valid here: {', '.join(valid) or 'none'}"
            )
        try:
            settings[name] = float(text)
        except ValueError:
            settings[name] = math.nan
        if not valid[name].contains(settings[name]):
            raise InvalidDocumentError(
                f"setting {name!r} of {algorithm} is {text!r}", f"use {valid[name].words}"
            )
    return settings


def _distribution(dimension: Dimension) -> Any:
    from optuna import distributions

    if dimension.values:
        return distributions.CategoricalDistribution(dimension.values)
    if dimension.type == "int":
        return distributions.IntDistribution(
            int(dimension.minimum), int(dimension.maximum), step=int(dimension.step) or 1
        )
    return distributions.FloatDistribution(
        dimension.minimum, dimension.maximum, log=dimension.log, step=dimension.step or None
    )


def _expression(dimension: Dimension) -> Any:
    from hyperopt import hp

    name, low, high = dimension.name, dimension.minimum, dimension.maximum
    if dimension.values:
        return hp.choice(name, dimension.values)
    if dimension.step:
        return hp.quniform(name, low, high, dimension.step)
    if dimension.log:
        return hp.loguniform(name, math.log(low), math.log(high))
    return hp.uniformint(name, low, high) if dimension.type == "int" else hp.uniform(name, low, high)


def _points(dimension: Dimension) -> list[str]:
    if dimension.values:
        return list(dimension.values)
    step = dimension.step or 1.0  # only an int, or a single point, has none
    return [_text(dimension, dimension.minimum + index * step) for index in range(dimension.points())]


def _text(dimension: Dimension, value: Any) -> str:
    if dimension.values:
        return str(value)
    # Rounding to a step may leave the bounds.
    inside = min(max(float(value), dimension.minimum), dimension.maximum)
    if dimension.type == "int":
        return str(round(inside))
    # Fifteen digits print 0.1 * 3 as 0.3 and lose nothing that training could notice.
    return repr(float(f"{inside:.15g}"))


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
