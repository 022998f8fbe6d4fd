# No postponed annotations: kfp reads those of a pipeline.
"""Files in the user's working directory that are named as modules of the standard library or of the libraries are."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from kfp import compiler, components, dsl

from tests.loading import ROOT, load_example

HOSTILE = (
    *("json", "typing", "types", "secrets", "random", "logging", "enum", "string", "calendar", "platform"),
    *("numpy", "kfp", "mlflow", "tensorflow", "keras", "pandas", "yaml", "requests", "grpc", "chandlery"),
)
COMMAND = "import sys; from chandlery.cli.main import main; sys.argv[0] = 'chandlery'; sys.exit(main())"


def component(family: str, name: str):  # type: ignore[no-untyped-def]
    return components.load_component_from_file(str(ROOT / "components" / family / name / "component.yaml"))


def chandlery(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    variables = {name: value for name, value in os.environ.items() if name != "CHANDLERY_HOME"}
    return subprocess.run(
        [sys.executable, "-P", "-c", COMMAND, *words],
        cwd=folder, env=variables, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def project(folder: Path) -> None:
    """Make a working directory: a recipe that imports a neighbour, data, and the hostile files."""
    load_example("digits").write(folder / "data")
    for name in HOSTILE:
        marker = folder / "marks" / name
        marker.parent.mkdir(exist_ok=True)
        (folder / f"{name}.py").write_text(
            f"open({str(marker)!r}, 'w').close()\nraise RuntimeError('{name}.py of the working directory')\n"
        )
    text = (ROOT / "examples/digits/recipe.py").read_text()
    (folder / "recipe.py").write_text(text + "\nfrom helpers import LIMIT\n\nassert LIMIT == 7\n")
    (folder / "helpers.py").write_text(
        "import json\n\nimport numpy as np\n\nLIMIT = int(np.int64(json.loads('7')))\n"
    )


@pytest.mark.slow
def test_a_file_of_the_working_directory_shadows_no_module(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    checkout = component("data", "checkout_dataset")
    validate = component("data", "validate_dataset")
    search = component("search", "tune_hyperparameters")
    train = component("training", "train_model")

    @dsl.pipeline(name="first-half")
    def first_half() -> None:
        recipe = "recipe.py:Digits"
        data = checkout(repo="digits", ref="master").outputs["dataset"]
        checked = validate(dataset=data, recipe=recipe)
        found = search(
            dataset=data, recipe=recipe, max_trials=2, parallel_trials=2, parameters={"epochs": 1}
        ).after(checked)
        train(dataset=data, recipe=recipe, parameters=found.outputs["best_parameters"])

    compiler.Compiler().compile(first_half, str(folder / "half.yaml"))
    project(folder)
    try:
        up = chandlery(folder, "up")
        assert up.returncode == 0, up.stderr
        done = chandlery(folder, "run", "commit_dataset", "-p", "source=data/history-1", "-p", "repo=digits")
        assert done.returncode == 0, done.stderr
        done = chandlery(folder, "run", "half.yaml")
        assert done.returncode == 0, done.stdout + done.stderr
        assert not list((folder / "marks").iterdir())
    finally:
        chandlery(folder, "down")
