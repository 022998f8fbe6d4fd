# No postponed annotations: kfp reads those of a pipeline.
"""The first half of the demo in a folder whose name has all that a shell would trip over."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from kfp import compiler, components, dsl

from tests.loading import ROOT, load_example

COMMAND = "import sys; from chandlery.cli.main import main; sys.argv[0] = 'chandlery'; sys.exit(main())"


def component(family: str, name: str):  # type: ignore[no-untyped-def]
    return components.load_component_from_file(str(ROOT / "components" / family / name / "component.yaml"))


def chandlery(folder: Path, *arguments: str, home: str | None = None) -> subprocess.CompletedProcess[str]:
    variables = {name: value for name, value in os.environ.items() if name != "CHANDLERY_HOME"}
    return subprocess.run(
        [sys.executable, "-c", COMMAND, *arguments],
        cwd=folder,
        env=variables | ({"CHANDLERY_HOME": home} if home else {}),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ['it\'s "q" $x `y` ü & (z);%s', "deep/" * 12 + "x" * 120])
def test_checkout_validation_and_training(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name / "project"
    folder.mkdir(parents=True)
    load_example("digits").write(folder / "data set")
    (folder / "recipe.py").write_text((ROOT / "examples/digits/recipe.py").read_text())
    checkout = component("data", "checkout_dataset")
    validate = component("data", "validate_dataset")
    train = component("training", "train_model")

    @dsl.pipeline(name="first-half")
    def first_half() -> None:
        data = checkout(repo="digits", ref="master").outputs["dataset"]
        checked = validate(dataset=data, recipe="recipe.py:Digits")
        train(dataset=data, recipe="recipe.py:Digits", parameters={"epochs": 1}).after(checked)

    compiler.Compiler().compile(first_half, str(folder / "first half.yaml"))
    assert yaml.safe_load_all((folder / "first half.yaml").read_text())
    committed = chandlery(
        folder, "run", "commit_dataset", "-p", "source=data set/history-1", "-p", "repo=digits"
    )
    assert committed.returncode == 0, committed.stderr
    done = chandlery(folder, "run", "first half.yaml")
    try:
        assert done.returncode == 0, done.stdout + done.stderr
        assert "train_model" in done.stdout
        below = folder / "sub folder"
        below.mkdir()
        status = chandlery(below, "status")
        assert "first-half" in status.stdout
        assert not (below / ".chandlery").exists()
    finally:
        chandlery(folder, "down")


@pytest.mark.slow
def test_a_read_only_source_is_committed(tmp_path: Path) -> None:
    source = tmp_path / "read only"
    load_example("digits").write(source)
    for path in [source, *source.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        done = chandlery(tmp_path, "run", "commit_dataset", "-p", f"source={source}", "-p", "repo=digits")
        assert done.returncode == 0, done.stderr
    finally:
        for path in [source, *source.rglob("*")]:
            path.chmod(0o755)


def test_a_deleted_working_directory_is_told_in_two_lines(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    script = f"import os; os.chdir({str(gone)!r}); os.rmdir({str(gone)!r}); {COMMAND}"
    done = subprocess.run(
        [sys.executable, "-c", script, "status"],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == "error: the working directory was deleted\nchange to another folder\n"
