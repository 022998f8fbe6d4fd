"""What can go wrong between the Kubernetes store and its API server."""

from pathlib import Path

import pytest

from chandlery.errors import ConflictError, InvalidDocumentError, PlatformError
from chandlery.resources import TRIAL
from chandlery.resources.kubernetes import KubernetesStore


def trial(name: str = "one"):
    return {
        "apiVersion": TRIAL.api_version,
        "kind": "Trial",
        "metadata": {"name": name, "namespace": "n"},
        "spec": {"a": 1},
    }


@pytest.fixture
def remote(api_server, tmp_path: Path):
    store = KubernetesStore(config_file=str(api_server.kubeconfig(tmp_path)))
    yield store
    store.close()


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, PlatformError),
        (403, PlatformError),
        (409, ConflictError),
        (422, InvalidDocumentError),
        (500, PlatformError),
        (503, PlatformError),
    ],
)
def test_a_refusal_becomes_a_typed_error_with_its_message(remote, api_server, status: int, error: type):
    api_server.failures.append(status)
    with pytest.raises(error, match="as asked for"):
        remote.apply(trial())


def test_a_document_that_its_schema_does_not_fit_is_the_users_mistake(remote, api_server):
    """A document that does not fit the kind's schema is the user's mistake, though the server says 500."""
    api_server.failures.append(500)
    api_server.failure_text = (
        "failed to create typed patch object (n/one; kubeflow.org/v1beta1, Kind=Trial): .spec.colour: field not"
        " declared in schema"
    )
    with pytest.raises(InvalidDocumentError, match=r"\.spec\.colour"):
        remote.apply(trial())


def test_a_server_that_is_not_there(api_server, tmp_path: Path):
    store = KubernetesStore(config_file=str(api_server.kubeconfig(tmp_path)))
    api_server.socket.close()
    with pytest.raises(PlatformError, match="does not answer"):
        store.get(TRIAL, "one", "n")
    store.close()


def test_no_such_context(api_server, tmp_path: Path):
    with pytest.raises(PlatformError, match="nowhere"):
        KubernetesStore("nowhere", config_file=str(api_server.kubeconfig(tmp_path)))


def test_no_such_file(tmp_path: Path):
    with pytest.raises(PlatformError, match="configuration"):
        KubernetesStore(config_file=str(tmp_path / "none"))


def test_a_broken_watch_goes_on_where_it_was(remote, api_server):
    since = remote.apply(trial("first"))["metadata"]["resourceVersion"]
    for name in ("a", "b", "c"):
        remote.apply(trial(name))
    api_server.break_watch_after = 1
    events = remote.watch(TRIAL, "n", since=since, deadline=10)
    assert [next(events).document["metadata"]["name"] for _ in range(3)] == ["a", "b", "c"]
    events.close()


def test_a_watch_from_a_version_that_is_gone(remote):
    with pytest.raises(ConflictError, match="newer"):
        list(remote.watch(TRIAL, "n", since="1000000", deadline=1))


def test_a_watch_outlives_a_server_error(remote, api_server):
    since = remote.apply(trial("first"))["metadata"]["resourceVersion"]
    remote.apply(trial("second"))
    api_server.failures.append(503)
    event = next(remote.watch(TRIAL, "n", since=since, deadline=10))
    assert event.document["metadata"]["name"] == "second"


def test_a_status_written_between_read_and_write_is_tried_again(remote, api_server):
    remote.apply(trial())
    api_server.failures += [0, 409, 0, 409]  # read, write, read, write
    assert remote.update_status({**trial(), "status": {"x": 1}})["status"] == {"x": 1}
    assert [method for method, _ in api_server.requests] == ["PATCH", *["GET", "PUT"] * 3]
