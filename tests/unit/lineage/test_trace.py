"""Every kind of reference leads to the whole thread; what is not there, or does not answer, is said."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from chandlery.canary.decision.machine import begin
from chandlery.canary.decision.policy import ReleasePolicy
from chandlery.canary.decision.state import ANNOTATION
from chandlery.deployments.deployment import write_annotation
from chandlery.deployments.spec import ServingSpec, Variant, to_seldon
from chandlery.embedded.resources import EmbeddedStore
from chandlery.errors import NotFoundError
from chandlery.lineage import Node, trace
from chandlery.provenance import Provenance
from chandlery.registry.versions import COMPLETE, STATE_TAG
from chandlery.runs import RunFacts, note
from chandlery.runs.record import RunRecord, save

OLD, NEW = "a" * 12 + "4" + "a" * 19, "b" * 12 + "4" + "b" * 19


def record(run_id: str, commit: str) -> Provenance:
    return Provenance(run_id=run_id, data_repo="digits", data_commit=commit, mlflow_run_id=f"m-{run_id}")


def version(number: str, run_id: str, commit: str, *aliases: str) -> dict[str, Any]:
    tags = record(run_id, commit).metadata() | {STATE_TAG: COMPLETE, "chandlery.model_digest": number * 8}
    return {
        "name": "digits",
        "version": number,
        "aliases": list(aliases),
        "creation_timestamp": 1000,
        "tags": [{"key": key, "value": value} for key, value in tags.items()],
    }


VERSIONS = [version("1", "run-1", OLD, "champion"), version("2", "run-2", NEW, "challenger")]


class Registry(BaseHTTPRequestHandler):
    """The four questions of MLflow's REST API that a trace asks."""

    def do_GET(self) -> None:
        asked = {key: values[0] for key, values in parse_qs(urlsplit(self.path).query).items()}
        kind = urlsplit(self.path).path.removeprefix("/api/2.0/mlflow/")
        if kind == "model-versions/search":
            self.answer({"model_versions": [v for v in VERSIONS if self.matches(v, asked["filter"])]})
        elif kind == "model-versions/get":
            self.one([v for v in VERSIONS if (v["name"], v["version"]) == (asked["name"], asked["version"])])
        elif kind == "registered-models/alias":
            self.one([v for v in VERSIONS if asked["alias"] in v["aliases"]])
        else:
            self.one([])

    def matches(self, entry: dict[str, Any], terms: str) -> bool:
        tags = {tag["key"]: tag["value"] for tag in entry["tags"]}
        wanted = [term.removeprefix("tags.").split(" = ") for term in terms.split(" and ")]
        return all(tags.get(key.strip("`"), entry.get(key)) == value.strip("'") for key, value in wanted)

    def one(self, found: list[dict[str, Any]]) -> None:
        if found:
            self.answer({"model_version": found[0]})
        else:
            self.answer({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no"}, 404)

    def answer(self, body: dict[str, Any], status: int = 200) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Two runs: the first trained the champion on an older commit, the second the challenger in the canary."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    for name in ("CHANDLERY_ARTIFACTS", "CHANDLERY_DATA", "CHANDLERY_RESOURCES", "CHANDLERY_NAMESPACE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CHANDLERY_HOME", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(
        "chandlery.lineage.sources.Sources._commit", lambda *_: None
    )  # no pachd: see the slow test
    for run_id, commit in (("run-1", OLD), ("run-2", NEW)):
        save(tmp_path, RunRecord(run_id, "train_and_deploy", "package.yaml", "digest", {}, started=5))
        with monkeypatch.context() as patch:
            patch.setenv("CHANDLERY_RUN_ID", run_id)
            note(RunFacts(commit=commit), task="record_run")
    store = EmbeddedStore(tmp_path / "resources")
    store.apply(experiment("digits-1", record("run-2", NEW)))
    store.apply(trial("digits-1-a", "digits-1", "0.97"))
    spec = ServingSpec(
        name="digits",
        namespace="default",
        model_name="digits",
        variants=(Variant("1", "models:/digits/1", 75), Variant("2", "models:/digits/2", 25)),
        strategy="canary",
    )
    store.apply(to_seldon(spec))
    store.close()
    log = tmp_path / "requests" / "default" / "digits" / "v2-7.jsonl"
    write(log, entry("q-1", "v2", "2"), entry("q-10", "v2", "2"), entry("old", "v1", "1"))
    with log.open("ab") as out:
        out.write(b'{"request_id": "torn", "ti')
    yield tmp_path
    server.shutdown()
    server.server_close()


def write(path: Path, *documents: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(document) + "\n" for document in documents))


def entry(request_id: str, predictor: str, number: str) -> dict[str, Any]:
    fields = {"predictor": predictor, "model_name": "digits", "model_version": number}
    return {"request_id": request_id, "time": 9.0, **fields, "rows": 3, "status": 200}


def experiment(name: str, made: Provenance) -> dict[str, Any]:
    return {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"name": name, "namespace": "default", "annotations": made.annotations()},
        "spec": {"objective": {"type": "maximize", "objectiveMetricName": "accuracy"}},
    }


def trial(name: str, of: str, _: str) -> dict[str, Any]:
    return {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Trial",
        "metadata": {"name": name, "namespace": "default", "labels": {"katib.kubeflow.org/experiment": of}},
        "spec": {"parameterAssignments": [{"name": "lr", "value": "0.1"}]},
    }


def names(node: Node) -> list[tuple[str, str]]:
    return [(node.kind, node.name)] + [found for child in node.children for found in names(child)]


THREAD = [
    ("data commit", f"digits@{NEW}"),
    ("run", "run-2"),
    ("experiment", "digits-1"),
    ("trial", "digits-1-a"),
    ("model version", "models:/digits/2"),
    ("deployment", "default/digits"),
]


@pytest.mark.parametrize(
    ("ref", "asked"),
    [
        ("run-2", ("run", "run-2")),
        ("models:/digits/2", ("model version", "models:/digits/2")),
        ("models:/digits@challenger", ("model version", "models:/digits/2")),
        ("digits-1", ("experiment", "digits-1")),
        ("m-run-2", ("model version", "models:/digits/2")),
        (NEW, ("data commit", f"digits@{NEW}")),
    ],
)
def test_any_reference_leads_to_the_whole_thread(home: Path, ref: str, asked: tuple[str, str]) -> None:
    root = trace(ref)
    assert names(root) == THREAD
    assert [(n.kind, n.name) for n in everything(root) if n.asked] == [asked]


def test_a_request_is_the_end_of_its_thread(home: Path) -> None:
    root = trace("q-1")
    assert names(root) == [*THREAD, ("request", "q-1")]
    (request,) = root.find("request")
    assert request.asked
    assert request.details["predictor"] == "v2"
    assert request.details["rows"] == "3"


def test_a_deployment_of_two_versions_shows_both_threads(home: Path) -> None:
    root = trace("digits")
    assert (root.kind, root.name, root.asked) == ("deployment", "default/digits", True)
    assert [child.name for child in root.children] == [f"digits@{OLD}", f"digits@{NEW}"]
    traffic = [node.details["traffic"] for child in root.children for node in child.find("deployment")]
    assert traffic == ["75 %", "25 %"]


def test_a_request_of_a_deployment_that_is_gone(home: Path) -> None:
    store = EmbeddedStore(home / "resources")
    from chandlery.resources import SELDON_DEPLOYMENT

    store.delete(SELDON_DEPLOYMENT, "digits", "default")
    store.close()
    root = trace("old")
    assert root.name == f"digits@{OLD}"
    (deployment,) = root.find("deployment")
    assert deployment.details["state"] == "no longer serves this version"
    assert [node.name for node in deployment.children] == ["old"]


def test_details_name_the_facts(home: Path) -> None:
    root = trace("run-2")
    assert root.find("run")[0].details["pipeline"] == "train_and_deploy"
    assert root.find("trial")[0].details["parameters"] == "lr=0.1"
    assert root.find("model version")[0].details["aliases"] == "challenger"


def test_json_holds_the_tree(home: Path) -> None:
    document = trace("run-2").to_json()
    assert json.loads(json.dumps(document)) == document
    assert document["children"][0]["children"][0]["kind"] == "experiment"
    assert document["children"][0]["asked"] is True


@pytest.mark.parametrize("ref", ["nothing", "torn", "digits@master", "models:/digits/9", "f" * 32])
def test_an_unknown_reference_says_where_was_searched(home: Path, ref: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        trace(ref)
    assert repr(ref) in caught.value.message
    assert caught.value.hint.startswith("searched: ")


def test_systems_that_do_not_answer_are_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    with pytest.raises(NotFoundError) as caught:
        trace("nothing")
    assert "MLflow at (not configured) (not readable: no mlflow endpoint" in caught.value.hint
    # And the rest is still shown.
    assert names(trace("run-2"))[:4] == [("data commit", f"digits@{NEW}"), *THREAD[1:4]]


def everything(node: Node) -> list[Node]:
    return [node] + [found for child in node.children for found in everything(child)]


def test_a_long_log_is_searched_across_blocks(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chandlery.lineage.requests.BLOCK", 64)
    assert trace("q-10").find("request")[0].name == "q-10"
    with pytest.raises(NotFoundError):
        trace("q-")


def test_how_a_canary_ended_is_part_of_the_thread(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the deployment while it serves, and with the version for good."""
    reason = "ended early by anna@host: a complaint (after 9 s)"
    state = begin("run-2", "v1", "v2", ReleasePolicy())
    store = EmbeddedStore(home / "resources")
    write_annotation(store, "digits", "default", ANNOTATION, state.to_json())
    root = trace("models:/digits/2")
    assert root.find("deployment")[0].details["canary"] == "v2 at 5 %"
    ended = state.with_(phase="finished", verdict="rolled_back", reason=reason)
    write_annotation(store, "digits", "default", ANNOTATION, ended.to_json())
    store.close()
    assert trace("models:/digits/2").find("deployment")[0].details["canary"] == f"v2 rolled back: {reason}"
    tags = {"chandlery.canary_verdict": "rolled_back", "chandlery.canary_reason": reason}
    tagged = [*VERSIONS[1]["tags"], *({"key": key, "value": value} for key, value in tags.items())]
    monkeypatch.setitem(VERSIONS[1], "tags", tagged)
    version = trace("models:/digits/2").find("model version")[0]
    assert version.details["canary"] == f"rolled back: {reason}"


def test_an_annotation_that_is_no_canary_is_left_out(home: Path) -> None:
    store = EmbeddedStore(home / "resources")
    write_annotation(store, "digits", "default", ANNOTATION, "{}")
    store.close()
    assert trace("models:/digits/2").find("deployment")[0].details["canary"] == ""
