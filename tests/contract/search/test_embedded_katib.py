"""The embedded Katib controller: what an Experiment's author relies on."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from chandlery.embedded.experiments import run_controller, status
from chandlery.errors import PlatformError
from chandlery.resources import EXPERIMENT, TRIAL


def trials(store):
    return store.list(TRIAL, "default")


def states(store):
    return [status.state_of(trial) for trial in trials(store)]


def condition(document, type_):
    return next(c for c in document["status"]["conditions"] if c["type"] == type_)


def assignments(store):
    return [{a["name"]: a["value"] for a in trial["spec"]["parameterAssignments"]} for trial in trials(store)]


def processes_of(home: Path) -> list[psutil.Process]:
    """Returns every process that belongs to a trial below `home`, wrapper or program."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if any(str(home.parent) in word for word in words) and process.pid != os.getpid():
            found.append(process)
    return found


def wait_until(what, seconds=120.0):
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


class TestEnds:
    def test_all_trials_done(self, store, controller, make_experiment, wait_for):
        store.apply(make_experiment("write('accuracy', x * (2 if y == 'a' else 1))"))
        done = wait_for()["status"]
        assert done["trials"] == done["trialsSucceeded"] == 4
        assert "trialsRunning" not in done
        assert condition({"status": done}, "Succeeded")["reason"] == "ExperimentMaxTrialsReached"
        assert condition({"status": done}, "Running")["status"] == "False"
        assert done["startTime"] <= done["completionTime"]
        best = done["currentOptimalTrial"]
        values = {
            t["metadata"]["name"]: float(t["status"]["observation"]["metrics"][0]["max"])
            for t in trials(store)
        }
        assert best["bestTrialName"] == max(values, key=values.get)
        assert {a["name"] for a in best["parameterAssignments"]} == {"x", "y"}

    def test_minimize_takes_the_least(self, store, controller, make_experiment, wait_for):
        objective = {"type": "minimize", "objectiveMetricName": "loss"}
        store.apply(make_experiment("write('loss', x)", objective=objective))
        best = wait_for()["status"]["currentOptimalTrial"]
        assert best["observation"]["metrics"][0]["min"] == min(a["x"] for a in assignments(store))

    def test_goal_reached_ends_it_and_kills_the_rest(
        self, store, controller, make_experiment, wait_for, home
    ):
        objective = {"type": "maximize", "objectiveMetricName": "accuracy", "goal": 0.5}
        code = """
        import os
        if sys.argv[0] and os.path.exists(sys.argv[0] + '.taken'):
            time.sleep(60)
        open(sys.argv[0] + '.taken', 'w').close()
        time.sleep(0.5)
        write('accuracy', 0.9)
        """
        store.apply(make_experiment(code, objective=objective))
        done = wait_for()
        assert condition(done, "Succeeded")["reason"] == "ExperimentGoalReached"
        assert sorted(states(store)) == ["Killed", "Succeeded"]
        assert done["status"]["killedTrialList"]
        assert processes_of(home) == []

    def test_every_trial_fails(self, store, controller, make_experiment, wait_for):
        store.apply(make_experiment("sys.exit('no such layer')"))
        done = wait_for()
        assert (
            condition(done, "Failed")["message"]
            == "Experiment has failed because max failed count has reached"
        )
        failed = [t for t in trials(store) if status.state_of(t) == "Failed"]
        assert "exit code 1: no such layer" in condition(failed[0], "Failed")["message"]
        assert "currentOptimalTrial" not in done["status"]

    def test_a_failure_or_two_below_the_limit_do_not_matter(
        self, store, controller, make_experiment, wait_for
    ):
        code = "sys.exit(1) if '0001' in os.environ.get('NAME', '') else write('accuracy', x)"
        experiment = make_experiment(code)
        template = experiment["spec"]["trialTemplate"]
        template["trialParameters"].append({"name": "name", "reference": "${trialSpec.Name}"})
        container = template["trialSpec"]["spec"]["template"]["spec"]["containers"][0]
        container["env"] = [{"name": "NAME", "value": "${trialParameters.name}"}]
        store.apply(experiment)
        done = wait_for()["status"]
        assert (done["trialsSucceeded"], done["trialsFailed"], done["trials"]) == (3, 1, 4)

    def test_a_trial_without_the_metric_counts_as_failed(self, store, controller, make_experiment, wait_for):
        store.apply(make_experiment("print('accuracy is high')", maxFailedTrialCount=1, parallelTrialCount=1))
        done = wait_for()
        assert status.is_set(done, "Failed")
        assert done["status"]["trialMetricsUnavailable"] == 1
        assert "accuracy=<number>" in condition(trials(store)[0], "MetricsUnavailable")["message"]

    def test_a_grid_ends_when_every_point_was_tried(self, store, controller, make_experiment, wait_for):
        parameters = [
            {
                "name": "x",
                "parameterType": "double",
                "feasibleSpace": {"min": "0", "max": "0.2", "step": "0.1"},
            },
            {"name": "y", "parameterType": "categorical", "feasibleSpace": {"list": ["a", "b"]}},
        ]
        algorithm = {"algorithmName": "grid"}
        store.apply(
            make_experiment(
                "write('accuracy', x)", parameters=parameters, algorithm=algorithm, maxTrialCount=None
            )
        )
        assert condition(wait_for(), "Succeeded")["reason"] == "ExperimentSuggestionEndReached"
        points = {(a["x"], a["y"]) for a in assignments(store)}
        assert points == {(x, y) for x in ("0.0", "0.1", "0.2") for y in "ab"}

    def test_a_trial_over_its_deadline_fails(self, store, controller, make_experiment, wait_for, home):
        experiment = make_experiment("time.sleep(60)", maxFailedTrialCount=1, parallelTrialCount=1)
        experiment["spec"]["trialTemplate"]["trialSpec"]["spec"]["activeDeadlineSeconds"] = 1
        store.apply(experiment)
        assert status.is_set(wait_for(), "Failed")
        assert "active longer than 1 s" in condition(trials(store)[0], "Failed")["message"]
        assert processes_of(home) == []


class TestRefuses:
    @pytest.mark.parametrize(
        ("change", "says"),
        [
            (
                {"algorithm": {"algorithmName": "enas"}},
                "valid here: random, grid, tpe, multivariate-tpe, cmaes, sobol",
            ),
            (
                {
                    "algorithm": {
                        "algorithmName": "tpe",
                        "algorithmSettings": [{"name": "gama", "value": "1"}],
                    }
                },
                "gamma",
            ),
            (
                {
                    "parameters": [
                        {"name": "x", "parameterType": "int", "feasibleSpace": {"min": "3", "max": "1"}}
                    ]
                },
                "min 3 > max 1",
            ),
            ({"metricsCollectorSpec": {"collector": {"kind": "Push"}}}, "StdOut, File"),
            ({"parameters": []}, "empty"),
        ],
    )
    def test_what_it_cannot_run(self, store, controller, make_experiment, wait_for, change, says):
        store.apply(make_experiment("write('accuracy', x)", **change))
        done = wait_for()
        assert says in condition(done, "Failed")["message"]
        assert [s for s in states(store) if s != "Killed"] == []

    def test_another_kind_of_trial(self, store, controller, make_experiment, wait_for):
        experiment = make_experiment("write('accuracy', x)")
        experiment["spec"]["trialTemplate"]["trialSpec"] |= {
            "apiVersion": "kubeflow.org/v1",
            "kind": "PyTorchJob",
        }
        store.apply(experiment)
        assert "batch/v1 Job" in condition(wait_for(), "Failed")["message"]

    def test_one_bad_experiment_does_not_stop_another(self, store, controller, make_experiment, wait_for):
        bad = make_experiment("", name="bad")
        bad["spec"]["trialTemplate"] = {"nonsense": True}
        store.apply(bad)
        store.apply(make_experiment("write('accuracy', x)", name="good"))
        assert status.is_set(wait_for("good"), "Succeeded")
        assert status.is_set(wait_for("bad"), "Failed")

    def test_a_store_that_is_a_cluster(self, monkeypatch, tmp_path):
        monkeypatch.setenv("CHANDLERY_RESOURCES", "kubernetes://")
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
        with pytest.raises(PlatformError):
            run_controller(threading.Event())


class TestMetrics:
    @pytest.mark.parametrize(("strategy", "value"), [("min", 0.1), ("max", 0.9), ("latest", 0.5)])
    def test_strategies(self, store, controller, make_experiment, wait_for, strategy, value):
        objective = {
            "type": "maximize",
            "objectiveMetricName": "accuracy",
            "additionalMetricNames": ["loss"],
            "metricStrategies": [{"name": "accuracy", "value": strategy}],
            "goal": value,
        }
        code = "for v in (0.9, 0.1, 0.5): write('accuracy', v)"
        store.apply(
            make_experiment(
                code, objective=objective, maxTrialCount=1, parallelTrialCount=1, maxFailedTrialCount=1
            )
        )
        done = wait_for()
        # The goal equals the value by the strategy, so only the right strategy reaches it from below or above.
        assert condition(done, "Succeeded")["reason"] == "ExperimentGoalReached"
        metrics = done["status"]["currentOptimalTrial"]["observation"]["metrics"]
        assert metrics[0] == {"name": "accuracy", "min": "0.1", "max": "0.9", "latest": "0.5"}
        assert metrics[1]["latest"] == "unavailable"

    @pytest.mark.parametrize("format_", ["TEXT", "JSON"])
    def test_file_collector(self, store, controller, make_experiment, wait_for, format_, home):
        collector = {
            "collector": {"kind": "File"},
            "source": {"fileSystemPath": {"path": "/var/log/katib/m.log", "kind": "File", "format": format_}},
        }
        code = """
        line = 'accuracy=%s' % x if sys.argv[4] == 'TEXT' else '{"accuracy": "%s", "epoch": 1}' % x
        print('accuracy=77')
        open(sys.argv[3], 'a').write(line + '\\n')
        """
        experiment = make_experiment(code, metricsCollectorSpec=collector)
        run = experiment["spec"]["trialTemplate"]["trialSpec"]
        run["spec"]["template"]["spec"]["containers"][0]["args"] = ["/var/log/katib/m.log", format_]
        store.apply(experiment)
        assert wait_for()["status"]["trialsSucceeded"] == 4
        for trial, given in zip(trials(store), assignments(store), strict=True):
            assert float(trial["status"]["observation"]["metrics"][0]["latest"]) == float(given["x"])

    def test_a_file_that_trials_would_share_is_refused(self, store, controller, make_experiment, wait_for):
        file = {"path": "/tmp/shared.log", "kind": "File", "format": "TEXT"}
        collector = {"collector": {"kind": "File"}, "source": {"fileSystemPath": file}}
        store.apply(make_experiment("write('accuracy', x)", metricsCollectorSpec=collector))
        assert "/tmp/shared.log" in condition(wait_for(), "Failed")["message"]


class TestEarlyStopping:
    CODE = """
    index = int(os.environ['NAME'][-4:])
    for epoch in range(6):
        write('accuracy', 0.1 if index >= 2 else 0.5 + epoch / 10)
        time.sleep(0.02 if index < 2 else 0.4)
    """

    def experiment(self, make_experiment):
        stopping = {
            "algorithmName": "medianstop",
            "algorithmSettings": [
                {"name": "min_trials_required", "value": "2"},
                {"name": "start_step", "value": "3"},
            ],
        }
        experiment = make_experiment(self.CODE, earlyStopping=stopping)
        template = experiment["spec"]["trialTemplate"]
        template["trialParameters"].append({"name": "name", "reference": "${trialSpec.Name}"})
        container = template["trialSpec"]["spec"]["template"]["spec"]["containers"][0]
        container["env"] = [{"name": "NAME", "value": "${trialParameters.name}"}]
        return experiment

    def test_a_bad_trial_is_stopped(self, store, controller, make_experiment, wait_for, home):
        store.apply(self.experiment(make_experiment))
        done = wait_for()["status"]
        # Trial 2 starts when the result of trial 0 alone is certain, so only trial 3 has a rule.
        assert done["earlyStoppedTrialList"] == ["search-0003"]
        stopped = trials(store)[3]
        rule = stopped["spec"]["earlyStoppingRules"][0]
        assert rule == {"name": "accuracy", "value": repr(0.6), "comparison": "less", "startStep": 3}
        assert stopped["status"]["observation"]["metrics"][0]["latest"] == "0.1"
        log = home / "experiments" / "default" / "search" / "search-0003" / "trial.log"
        assert log.read_text().count("accuracy") < 6
        assert processes_of(home) == []

    @pytest.mark.parametrize("type_", ["maximize", "minimize"])
    def test_in_parallel_it_stops_the_trials_that_the_recorded_curves_name(
        self, store, controller, make_experiment, wait_for, home, type_
    ):
        least, start_step, parallel = 2, 3, 3
        code = """
        for epoch in range(5):
            write('accuracy', x + epoch * (0.02 if y == 'a' else -0.02))
            time.sleep(0.01 + 0.08 * (int(x * 1000) % 3))
        """
        settings = {"min_trials_required": least, "start_step": start_step}
        stopping = {
            "algorithmName": "medianstop",
            "algorithmSettings": [{"name": k, "value": str(v)} for k, v in settings.items()],
        }
        objective = {"type": type_, "objectiveMetricName": "accuracy"}
        store.apply(
            make_experiment(
                code,
                objective=objective,
                earlyStopping=stopping,
                parallelTrialCount=parallel,
                maxTrialCount=9,
            )
        )
        wait_for()
        # What the rule says, computed plainly from the logs: a trial knows all trials but the parallel - 1 before it.
        curves, expected = [], []
        for index, trial in enumerate(trials(store)):
            log = home / "experiments" / "default" / "search" / trial["metadata"]["name"] / "trial.log"
            curves.append([float(line.partition("=")[2]) for line in log.read_text().splitlines()])
            known = range(max(0, index - parallel + 1))
            firsts = [curves[i][:start_step] for i in known if not expected[i]]
            means = [sum(first) / len(first) for first in firsts]
            best = (max if type_ == "maximize" else min)(curves[index][:start_step])
            mean = sum(means) / len(means) if len(means) >= least else best
            expected.append(best < mean if type_ == "maximize" else best > mean)
        assert [state == "EarlyStopped" for state in states(store)] == expected
        assert set(expected) == {True, False}


class TestDeterminism:
    @pytest.mark.parametrize("algorithm", ["random", "tpe", "multivariate-tpe", "cmaes", "sobol"])
    @pytest.mark.slow
    def test_equal_seeds_give_equal_searches_whatever_finishes_first(
        self, store, controller, make_experiment, wait_for, algorithm
    ):
        parameters = [
            {"name": name, "parameterType": "double", "feasibleSpace": {"min": "0", "max": "1"}}
            for name in ("x", "y")
        ]
        settings = [] if algorithm == "sobol" else [{"name": "random_state", "value": "7"}]
        runs = {"one": 0, "two": 1}
        for run, slow in runs.items():
            code = f"time.sleep(0.2 * ((int(x * 1000) + {slow}) % 2)); write('accuracy', x - (float(y) - 0.3) ** 2)"
            store.apply(
                make_experiment(
                    code,
                    name=run,
                    parameters=parameters,
                    maxTrialCount=6,
                    algorithm={"algorithmName": algorithm, "algorithmSettings": settings},
                )
            )
        found = []
        for run in runs:
            assert status.is_set(wait_for(run), "Succeeded")
            mine = store.list(TRIAL, "default", f"katib.kubeflow.org/experiment={run}")
            found.append([[a["value"] for a in trial["spec"]["parameterAssignments"]] for trial in mine])
        assert found[0] == found[1]
        assert len({tuple(values) for values in found[0]}) == 6


class TestFaults:
    def test_deletion_kills_the_trials(self, store, controller, make_experiment, home):
        store.apply(make_experiment("time.sleep(60)"))
        wait_until(lambda: len(processes_of(home)) == 4)  # two trials: a wrapper and a program each
        store.delete(EXPERIMENT, "search", "default")
        wait_until(lambda: not trials(store) and not processes_of(home))

    def test_a_new_experiment_of_the_same_name_starts_afresh(
        self, store, controller, make_experiment, wait_for
    ):
        store.apply(make_experiment("write('accuracy', 0.9)"))
        wait_for()
        store.delete(EXPERIMENT, "search", "default")
        store.apply(make_experiment("write('accuracy', 0.2)"))
        best = wait_for()["status"]["currentOptimalTrial"]
        assert best["observation"]["metrics"][0]["max"] == "0.2"

    @pytest.mark.slow
    def test_a_killed_controller_is_succeeded_by_one_that_goes_on(
        self, store, make_experiment, wait_for, home, tmp_path
    ):
        count = tmp_path / "starts"
        code = f"""
        write('began', time.time())
        open({str(count)!r}, 'a').write(f'{{x}}\\n')
        time.sleep(0.8)
        write('accuracy', x)
        write('ended', time.time())
        """
        objective = {
            "type": "maximize",
            "objectiveMetricName": "accuracy",
            "additionalMetricNames": ["began", "ended"],
        }
        store.apply(make_experiment(code, objective=objective, maxTrialCount=6))
        for _ in range(3):
            process = start_controller()
            before = starts(count)
            wait_until(lambda before=before: starts(count) > before or is_over(store))
            process.send_signal(signal.SIGKILL)
            process.wait()
        process = start_controller()
        done = wait_for()["status"]
        process.terminate()
        assert process.wait(60) == 0
        assert done["trials"] == done["trialsSucceeded"] == 6
        # Adopted, not run again: each trial was started once.
        assert starts(count) == 6
        assert len(set(count.read_text().split())) == 6
        # Those that were adopted count: never more than two ran at once.
        seen = [trial["status"]["observation"]["metrics"] for trial in trials(store)]
        spans = [(float(began["latest"]), float(ended["latest"])) for _, began, ended in seen]
        assert max(sum(began <= at < ended for began, ended in spans) for at, _ in spans) <= 2
        assert processes_of(home) == []

    @pytest.mark.slow
    def test_a_stopped_controller_leaves_no_process_and_the_next_runs_its_trials_again(
        self, store, make_experiment, wait_for, home, tmp_path
    ):
        marker = tmp_path / "go"
        code = f"time.sleep(0 if os.path.exists({str(marker)!r}) else 60); write('accuracy', x)"
        store.apply(make_experiment(code))
        process = start_controller()
        wait_until(lambda: len(processes_of(home)) == 4)
        process.terminate()
        assert process.wait(60) == 0
        assert processes_of(home) == []
        assert states(store) == ["Running", "Running"]
        marker.touch()
        process = start_controller()
        done = wait_for()["status"]
        process.terminate()
        process.wait(60)
        assert done["trials"] == done["trialsSucceeded"] == 4

    def test_a_trial_whose_processes_are_killed_from_outside_runs_again(
        self, store, controller, make_experiment, wait_for, home, tmp_path
    ):
        marker = tmp_path / "go"
        code = f"time.sleep(0 if os.path.exists({str(marker)!r}) else 60); write('accuracy', x)"
        store.apply(make_experiment(code, maxTrialCount=1, parallelTrialCount=1, maxFailedTrialCount=1))
        wait_until(lambda: len(processes_of(home)) == 2)
        run = json.loads(next((home / "experiments").glob("*/*/*/process.json")).read_text())
        marker.touch()
        os.killpg(run["pid"], signal.SIGKILL)
        assert wait_for()["status"]["trialsSucceeded"] == 1

    def test_a_program_that_is_killed_while_its_wrapper_lives_runs_again_three_times_at_most(
        self, store, controller, make_experiment, wait_for, home
    ):
        code = "os.kill(os.getpid(), 9)"
        store.apply(make_experiment(code, maxTrialCount=1, parallelTrialCount=1, maxFailedTrialCount=1))
        status = wait_for()["status"]
        assert status["trialsFailed"] == 1
        (trial,) = trials(store)
        assert "killed 3 times" in trial["status"]["conditions"][-1]["message"]
        wait_until(lambda: not processes_of(home))

    def test_a_killed_wrapper_does_not_leave_its_program_behind(
        self, store, controller, make_experiment, wait_for, home
    ):
        store.apply(
            make_experiment("time.sleep(60)", maxTrialCount=1, parallelTrialCount=1, maxFailedTrialCount=1)
        )
        wait_until(lambda: len(processes_of(home)) == 2)
        run = json.loads(next((home / "experiments").glob("*/*/*/process.json")).read_text())
        os.kill(run["pid"], signal.SIGKILL)
        store.delete(EXPERIMENT, "search", "default")
        wait_until(lambda: not processes_of(home))

    def test_a_trial_that_ignores_sigterm_is_killed(self, store, controller, make_experiment, home):
        code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(90)"
        store.apply(make_experiment(code, maxTrialCount=1, parallelTrialCount=1, maxFailedTrialCount=1))
        wait_until(
            lambda: any("deaf" in p.read_text() for p in (home / "experiments").glob("*/*/*/trial.log"))
        )
        store.delete(EXPERIMENT, "search", "default")
        wait_until(lambda: not processes_of(home))

    def test_a_second_controller_waits_for_the_first(self, store, controller, make_experiment, wait_for):
        second = start_controller(stderr=subprocess.PIPE)
        assert b"another controller works" in second.stderr.readline()
        store.apply(make_experiment("write('accuracy', x)"))
        assert wait_for()["status"]["trials"] == 4
        second.terminate()
        second.communicate(timeout=60)
        assert second.returncode == 0


def start_controller(**options):
    return subprocess.Popen([sys.executable, "-m", "chandlery.embedded.experiments"], **options)


def starts(count: Path) -> int:
    return len(count.read_text().split()) if count.exists() else 0


def is_over(store) -> bool:
    return status.is_set(store.get(EXPERIMENT, "search", "default"), *status.TERMINAL_EXPERIMENT)
