"""A package is looked at before anything of it runs: what cannot run is refused in two lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chandlery.embedded.pipelines import package
from chandlery.errors import ChandleryError, InvalidDocumentError, NotFoundError
from tests.unit.pipelines.specs import pipeline, task, text, work

NEEDS = work({"n": {"parameterType": "NUMBER_INTEGER"}})


def refused(content: str) -> str:
    with pytest.raises(InvalidDocumentError) as error:
        package.parse(content, "p.yaml")
    assert error.value.hint
    assert "\n" not in error.value.message
    return error.value.message


@pytest.mark.parametrize(
    "content", ["", "[]", "a: b", "{", "root: {}\n", "pipelineInfo: {name: x}\nroot: 3\n", "\0", "a: &a [*a]"]
)
def test_what_is_no_pipeline(content: str) -> None:
    refused(content)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (pipeline({"t": task()}, schemaVersion="2.2.0"), "schema version 2.2.0"),
        (pipeline({"t": task()}, schemaVersion="3"), "schema version 3"),
        (pipeline({"t": task("comp-none")}), "component 'comp-none', which is not there"),
        (
            pipeline({"t": task()}, deploymentSpec={"executors": {}}),
            "executor 'exec-work', which is not there",
        ),
        (pipeline({}), "no task that is not an exit task"),
        (pipeline({"t": task(dependentTasks=["u"])}), "depends on 'u', which is not a task"),
        (pipeline({"t": task(dependentTasks=["t"])}), "depends on itself"),
        (
            pipeline({"a": task(dependentTasks=["b"]), "b": task(dependentTasks=["a"]), "c": task()}),
            "tasks of root wait for each other: a, b",
        ),
        (pipeline({"t": task()}, {"comp-work": NEEDS}), "is not given the input n"),
        (
            pipeline(
                {"t": task(inputs={"parameters": {"n": {"componentInputParameter": "n"}}})},
                {"comp-work": NEEDS},
            ),
            "reads the input 'n', which its pipeline does not have",
        ),
        (
            pipeline({"t": task(inputs={"parameters": {"n": {"magic": 1}}})}, {"comp-work": NEEDS}),
            "its input n has no source that is known",
        ),
        (
            pipeline({"t": task("comp-a")}, {"comp-a": {"dag": {"tasks": {"t": task("comp-a")}}}}),
            "contains itself",
        ),
        (pipeline({"t": task(artifactIterator={"itemInput": "x"})}), "loops over a list of artifacts"),
        (pipeline({"t": task()}, pipelineInfo={"name": "My Pipeline"}), "no name of a pipeline"),
        (pipeline({"t": task()}, pipelineInfo={"name": "a" * 129}), "no name of a pipeline"),
        (pipeline({"t": 3}), "not a PipelineSpec"),
        (pipeline({"t": task()}, root={"dag": {"tasks": [1]}}), "not a PipelineSpec"),
    ],
)
def test_what_cannot_run(spec: dict[str, Any], says: str) -> None:
    assert says in refused(text(spec))


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        package.read(tmp_path / "none.yaml")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ChandleryError):
        package.read(tmp_path / "bytes")


def test_platform_document_brings_kubernetes_settings() -> None:
    platform = {
        "platforms": {
            "kubernetes": {"deploymentSpec": {"executors": {"exec-work": {"activeDeadlineSeconds": 5}}}}
        }
    }
    found = package.parse(f"{text(pipeline({'t': task()}))}\n---\n{text(platform)}")
    assert found.kubernetes(found.component(found.root["dag"]["tasks"]["t"])) == {"activeDeadlineSeconds": 5}


def test_an_input_that_kfp_compiles_from_nowhere_and_nobody_reads_is_left_out() -> None:
    inner = {
        "dag": {"tasks": {"t": task()}},
        "inputDefinitions": {"parameters": {"x": {"parameterType": "STRING"}}},
    }
    spec = pipeline(
        {"h": task("comp-inner", inputs={"parameters": {"x": {"componentInputParameter": "nowhere"}}})},
        {"comp-inner": inner, "comp-work": work()},
    )
    assert package.parse(text(spec)).root["dag"]["tasks"]["h"]["inputs"]["parameters"] == {}


def test_dependencies_are_those_stated_and_those_read_from() -> None:
    found = package.dependencies(
        task(
            dependentTasks=["a"],
            inputs={
                "parameters": {
                    "x": {"taskOutputParameter": {"producerTask": "b", "outputParameterKey": "o"}}
                },
                "artifacts": {"y": {"taskOutputArtifact": {"producerTask": "a", "outputArtifactKey": "o"}}},
            },
        )
    )
    assert found == ["a", "b"]
