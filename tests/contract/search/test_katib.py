"""What a search does on any Katib."""

from collections.abc import Sequence

import pytest

from .backends import Katib, Trial, algorithm

MINIMISE = {"type": "minimize", "objectiveMetricName": "loss"}
BOWL = "write('loss', (x - 0.3) ** 2 + (y + 0.2) ** 2)"
GRID = [
    {
        "name": name,
        "parameterType": "double",
        "feasibleSpace": {"min": "-1", "max": "1", "step": "0.5"},
    }
    for name in ("x", "y")
]
# algorithm -> settings, trials, and the loss that one of them reaches. Each is what the worst of 15 seeds reaches.
TARGETS = {
    "random": ({"random_state": 2}, 30, 0.1),
    "grid": ({"random_state": 2}, 25, 0.0801),  # its best point is (0.5, 0)
    "tpe": ({"random_state": 2}, 30, 0.06),
    "multivariate-tpe": ({"random_state": 2}, 30, 0.03),
    "cmaes": ({"random_state": 2}, 40, 0.01),
    "sobol": ({}, 30, 0.05),
}
SEEDED = [name for name, (settings, _, _) in TARGETS.items() if settings]


class TestSeeds:
    @pytest.mark.parametrize("name", SEEDED)
    def test_equal_seeds_give_equal_assignments_in_equal_order(self, katib: Katib, name: str):
        runs = {"one": 7, "two": 7, "three": 8}
        for run, random_state in runs.items():
            _submit(katib, run, name, random_state=random_state)
        one, two, three = (_assignments(katib, run) for run in runs)
        assert one == two
        assert one != three

    def test_sobol_gives_everybody_the_same_points(self, katib: Katib):
        for run in ("one", "two"):
            _submit(katib, run, "sobol")
        assert _assignments(katib, "one") == _assignments(katib, "two")


@pytest.mark.parametrize("name", TARGETS)
def test_an_algorithm_reaches_its_target_in_the_stated_number_of_trials(katib: Katib, name: str):
    settings, most, target = TARGETS[name]
    katib.submit(
        "bowl",
        BOWL,
        objective={**MINIMISE, "goal": target},
        algorithm=algorithm(name, **settings),
        maxTrialCount=most,
        parameters=GRID if name == "grid" else _plane(),
    )
    assert katib.reason("bowl") == "ExperimentGoalReached"
    assert min(t.objective for t in katib.trials("bowl") if t.objective is not None) <= target


def test_trials_overlap(katib: Katib):
    """As many trials run at once as parallelTrialCount says, and never more."""
    katib.submit(
        "overlap",
        "write('began', time.time()); time.sleep(1); write('score', x); write('ended', time.time())",
        objective={
            "type": "maximize",
            "objectiveMetricName": "score",
            "additionalMetricNames": ["began", "ended"],
        },
        parallelTrialCount=2,
        maxTrialCount=4,
    )
    katib.reason("overlap")
    spans = [(trial.metrics["began"], trial.metrics["ended"]) for trial in katib.trials("overlap")]
    assert len(spans) == 4
    assert max(sum(began <= at < ended for began, ended in spans) for at, _ in spans) == 2


class TestEarlyStopping:
    START_STEP, LEAST = 3, 2

    @pytest.mark.parametrize("type_", ["maximize", "minimize"])
    def test_it_stops_the_trials_that_the_median_rule_names_and_no_other(self, katib: Katib, type_: str):
        katib.submit(
            "stopping",
            """
            for step in range(6):
                write("score", x + step * y / 10)
                time.sleep(0.03)
            """,
            objective={"type": type_, "objectiveMetricName": "score"},
            earlyStopping=algorithm("medianstop", min_trials_required=self.LEAST, start_step=self.START_STEP),
            parallelTrialCount=1,
            maxTrialCount=8,
        )
        katib.reason("stopping")
        trials = katib.trials("stopping")
        curves = [_curve(trial) for trial in trials]
        assert [trial.state == "EarlyStopped" for trial in trials] == self.plain_rule(curves, type_)
        assert {trial.state for trial in trials} == {"Succeeded", "EarlyStopped"}

    def plain_rule(self, curves: Sequence[Sequence[float]], type_: str) -> list[bool]:
        """Return which of the trials, run one after another, the rule stops: written from Katib's description."""
        best, worse = (max, lambda a, b: a < b) if type_ == "maximize" else (min, lambda a, b: a > b)
        averages: list[float] = []
        stopped = []
        for curve in curves:
            first = curve[: self.START_STEP]
            stop = len(averages) >= self.LEAST and worse(best(first), sum(averages) / len(averages))
            if not stop:
                averages.append(sum(first) / len(first))
            stopped.append(stop)
        return stopped


def _submit(katib: Katib, run: str, name: str, **settings: object) -> None:
    katib.submit(
        run,
        "write('score', x - y * y)",
        algorithm=algorithm(name, **settings),
        parameters=GRID if name == "grid" else _plane(),
        parallelTrialCount=1,
        maxTrialCount=4,
    )


def _assignments(katib: Katib, run: str) -> list[dict[str, str]]:
    katib.reason(run)
    return [trial.assignments for trial in katib.trials(run)]


def _plane() -> list[dict[str, object]]:
    return [{**parameter, "feasibleSpace": {"min": "-1", "max": "1"}} for parameter in GRID]


def _curve(trial: Trial) -> list[float]:
    x, y = (float(trial.assignments[name]) for name in ("x", "y"))
    return [x + step * y / 10 for step in range(6)]
