"""Beside optuna and hyperopt alone, on the same function with the same number of trials: as good, and mostly the very same."""

import statistics
import warnings

import pytest

from chandlery.embedded.experiments.suggestions import Past, make_suggester, needs_results

TRIALS = 30
SEEDS = range(7)
NAMES = ("x", "y")
LOW, HIGH = -1.0, 1.0


def loss(x: float, y: float) -> float:
    return (x - 0.3) ** 2 + (y + 0.2) ** 2


def ours(algorithm: str, seed: int, parallel: int = 1) -> list[tuple[float, ...]]:
    settings = [] if algorithm == "sobol" else [{"name": "random_state", "value": str(seed)}]
    document = {
        "metadata": {"uid": "u"},
        "spec": {
            "algorithm": {"algorithmName": algorithm, "algorithmSettings": settings},
            "objective": {"type": "minimize", "objectiveMetricName": "loss"},
            "parallelTrialCount": parallel,
            "parameters": [
                {
                    "name": name,
                    "parameterType": "double",
                    "feasibleSpace": {"min": str(LOW), "max": str(HIGH)},
                }
                for name in NAMES
            ],
        },
    }
    suggester = make_suggester(document)
    past: list[Past] = []
    points = []
    for index in range(TRIALS):
        known = max(0, index - parallel + 1) if needs_results(document) else 0
        assignments = suggester.suggest(past, known)
        assert assignments is not None
        points.append(tuple(float(assignments[name]) for name in NAMES))
        past.append(Past(assignments, known, loss(*points[-1])))
    return points


def optuna_alone(algorithm: str, seed: int) -> list[tuple[float, ...]]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = {
            "random": lambda: optuna.samplers.RandomSampler(seed=seed),
            "multivariate-tpe": lambda: optuna.samplers.TPESampler(
                seed=seed, multivariate=True, constant_liar=True
            ),
            "cmaes": lambda: optuna.samplers.CmaEsSampler(seed=seed),
            "sobol": lambda: optuna.samplers.QMCSampler(
                scramble=False, seed=0, warn_independent_sampling=False
            ),
        }[algorithm]()
    study = optuna.create_study(sampler=sampler)
    study.optimize(
        lambda trial: loss(*(trial.suggest_float(name, LOW, HIGH) for name in NAMES)), n_trials=TRIALS
    )
    return [tuple(trial.params[name] for name in NAMES) for trial in study.trials]


def hyperopt_alone(seed: int) -> list[tuple[float, ...]]:
    import hyperopt
    import numpy as np

    trials = hyperopt.Trials()
    hyperopt.fmin(
        lambda point: loss(*(point[name] for name in NAMES)),
        {name: hyperopt.hp.uniform(name, LOW, HIGH) for name in NAMES},
        algo=hyperopt.tpe.suggest,
        max_evals=TRIALS,
        trials=trials,
        rstate=np.random.default_rng(seed),
        show_progressbar=False,
        verbose=False,
    )
    return [tuple(trial["misc"]["vals"][name][0] for name in NAMES) for trial in trials.trials]


def median_of_bests(searches: list[list[tuple[float, ...]]]) -> float:
    return statistics.median(min(loss(*point) for point in points) for points in searches)


@pytest.mark.parametrize("algorithm", ["random", "multivariate-tpe", "cmaes", "sobol"])
def test_one_trial_at_a_time_is_the_search_that_optuna_alone_makes(algorithm):
    for seed in (0, 3):
        for mine, theirs in zip(ours(algorithm, seed), optuna_alone(algorithm, seed), strict=True):
            assert mine == pytest.approx(theirs, abs=1e-9)


def test_tpe_finds_no_worse_than_hyperopt_alone():
    assert median_of_bests([ours("tpe", seed) for seed in SEEDS]) <= median_of_bests(
        [hyperopt_alone(seed) for seed in SEEDS]
    )


@pytest.mark.parametrize("algorithm", ["tpe", "multivariate-tpe", "cmaes"])
def test_two_trials_at_a_time_still_find_better_than_chance(algorithm):
    chance = median_of_bests([ours("random", seed) for seed in SEEDS])
    assert median_of_bests([ours(algorithm, seed, parallel=2) for seed in SEEDS]) < chance
