"""A search from its submission to its result, on the embedded Katib."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from chandlery.embedded.experiments import status
from chandlery.errors import DeadlineError, InvalidDocumentError, SearchError
from chandlery.resources import EXPERIMENT, TRIAL
from chandlery.search import cancel, experiment, observe, run_search, submit


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(experiment, "_POLL_SECONDS", 0.05)


def test_it_finds_the_best(store, controller, make_experiment):
    found = run_search(store, make_experiment("write('accuracy', x)"), deadline_seconds=60)
    assert found.objective == max(trial.objective for trial in found.trials)
    assert found.parameters["x"] == found.objective
    assert isinstance(found.parameters["y"], str)
    assert [trial.state for trial in found.trials] == ["Succeeded"] * 4
    assert found.best in [trial.name for trial in found.trials]


def test_a_retry_takes_the_finished_one(store, controller, make_experiment):
    document = make_experiment("write('accuracy', x)")
    first = run_search(store, document, deadline_seconds=60)
    version = store.get(EXPERIMENT, "search", "default")["metadata"]["resourceVersion"]
    assert run_search(store, document, deadline_seconds=60) == first
    assert store.get(EXPERIMENT, "search", "default")["metadata"]["resourceVersion"] == version


def test_a_retry_continues_the_running_one(store, controller, make_experiment):
    document = make_experiment("time.sleep(0.3); write('accuracy', x)")
    uid = submit(store, document)["metadata"]["uid"]
    assert run_search(store, document, deadline_seconds=60).document["metadata"]["uid"] == uid


def test_a_failed_one_fails_with_what_its_trial_said_and_a_retry_tries_again(
    store, controller, make_experiment, tmp_path
):
    code = f"os.path.exists({str(tmp_path / 'mended')!r}) or sys.exit('no such layer'); write('accuracy', x)"
    document = make_experiment(code)
    with pytest.raises(SearchError, match="max failed count") as caught:
        run_search(store, document, deadline_seconds=60)
    assert "exit code 1: no such layer" in caught.value.message
    assert status.is_set(store.get(EXPERIMENT, "search", "default"), "Failed")  # there to be looked at
    (tmp_path / "mended").touch()
    assert len(run_search(store, document, deadline_seconds=60).trials) == 4


def test_a_trial_that_prints_no_metric_says_so(store, controller, make_experiment):
    with pytest.raises(SearchError, match="accuracy=<number>"):
        run_search(store, make_experiment("print('done')"), deadline_seconds=60)


def test_past_its_deadline_it_is_cancelled(store, controller, make_experiment):
    with pytest.raises(DeadlineError, match="within 1 s"):
        run_search(store, make_experiment("time.sleep(60)"), deadline_seconds=1)
    assert store.list(EXPERIMENT, "default") == []


def test_deleted_while_it_runs(store, controller, make_experiment):
    document = submit(store, make_experiment("time.sleep(60)"))
    threading.Timer(0.3, lambda: store.delete(EXPERIMENT, "search", "default")).start()
    with pytest.raises(SearchError, match="was deleted"):
        observe(store, document["metadata"]["name"], "default", deadline_seconds=30)


def test_without_a_controller_it_says_so(store, make_experiment, monkeypatch):
    monkeypatch.setattr(experiment, "TAKE_UP_SECONDS", 0.2)
    with pytest.raises(DeadlineError, match="no controller"):
        run_search(store, make_experiment("write('accuracy', x)"), deadline_seconds=60)
    assert store.list(EXPERIMENT, "default") == []


def test_what_is_not_valid_creates_nothing(store, make_experiment):
    with pytest.raises(InvalidDocumentError):
        run_search(store, make_experiment("", maxTrialCount=0), deadline_seconds=1)
    assert store.list(EXPERIMENT, "default") == []


def test_cancel_twice_is_not_an_error(store, make_experiment):
    submit(store, make_experiment(""))
    assert [found["metadata"]["name"] for found in store.list(EXPERIMENT, "default")] == ["search"]
    for _ in range(2):
        cancel(store, "search", "default")
        assert store.list(EXPERIMENT, "default") == []


def test_progress_names_every_trial_and_says_that_it_waits(
    store, controller, make_experiment, monkeypatch, tmp_path
):
    import json

    monkeypatch.setattr(experiment, "HEARTBEAT_SECONDS", 0.1)
    monkeypatch.setenv("CHANDLERY_EVENTS", str(tmp_path / "events"))
    run_search(store, make_experiment("time.sleep(0.4); write('accuracy', x)"), deadline_seconds=60)
    events = [json.loads(line) for line in (tmp_path / "events").read_text().splitlines()]
    finished = [event for event in events if event["event"] == "trial.finished"]
    assert [event["ended"] for event in finished] == [1, 2, 3, 4]
    assert all(set(event["parameters"]) == {"x", "y"} and event["objective"] > 0 for event in finished)
    assert any(event["event"] == "experiment.waiting" for event in events)


def test_sigterm_cancels(store, controller, make_experiment, home):
    submit(store, make_experiment("time.sleep(60)"))
    step = textwrap.dedent(
        """
        import sys
        from chandlery.platform import open_resources
        from chandlery.resources import EXPERIMENT
        from chandlery.search import run_search
        store = open_resources()
        run_search(store, store.get(EXPERIMENT, "search", "default"), deadline_seconds=60)
        """
    )
    process = subprocess.Popen([sys.executable, "-u", "-c", step], stdout=subprocess.PIPE, env=os.environ)
    assert b"found, continuing" in process.stdout.readline()
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 143
    assert store.list(EXPERIMENT, "default") == []
    deadline = time.monotonic() + 15
    while store.list(TRIAL, "default"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
