"""The embedded Katib controller: what an Experiment's author relies on."""

from chandlery.embedded.experiments import status
from chandlery.resources import EXPERIMENT, TRIAL


def states(store):
    return [status.state_of(trial) for trial in store.list(TRIAL, "default")]


def test_a_search_runs_to_its_end(store, controller, make_experiment, wait_for):
    store.apply(make_experiment("write('accuracy', x * (2 if y == 'a' else 1))"))
    done = wait_for()
    assert status.is_set(done, "Succeeded")
    assert done["status"]["trials"] == done["status"]["trialsSucceeded"] == 4
    print(done["status"])
    print(states(store))
