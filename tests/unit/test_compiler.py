"""Relocated images, generated examples, golden files, the maker of new components."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from chandlery import catalog, compiler
from chandlery.canary.parameters import CanaryParameters
from chandlery.errors import NotFoundError
from tests.loading import ROOT, load_source

TEXT = f"    container:\n      image: {catalog.IMAGE}\n"


@pytest.mark.parametrize(
    ("registry", "digests", "image"),
    [
        ("", {}, catalog.IMAGE),
        ("registry.example/team/", {}, f"registry.example/team/{catalog.IMAGE}"),
        ("r", {"chandlery/chandlery-python": "sha256:ab"}, "r/chandlery/chandlery-python@sha256:ab"),
        ("", {"other": "sha256:ab"}, catalog.IMAGE),
    ],
)
def test_images_can_be_relocated_and_pinned(registry: str, digests: dict[str, str], image: str) -> None:
    assert compiler.relocate(TEXT, registry, digests) == f"    container:\n      image: {image}\n"


def test_an_unknown_name_suggests_the_closest() -> None:
    with pytest.raises(NotFoundError) as caught:
        catalog.find("train_and_depoly")
    assert "train_and_deploy" in caught.value.hint


def test_golden_files_are_not_refreshed_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    monkeypatch.setattr(sys, "argv", ["compiler"])
    assert compiler.main() == 2


@pytest.mark.slow
def test_the_whole_catalog_is_up_to_date() -> None:
    assert compiler.refresh(check=True) == []


def maker() -> Any:
    return load_source(ROOT / "scripts" / "new_component.py")


@pytest.mark.parametrize("name", ["", "train", "Train_Model", "train-model", "train_model"])
def test_a_new_component_needs_a_free_verb_and_noun(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert maker().main("training", name) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 2


def run_in_copy(copy: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {"PYTHONPATH": str(copy), "PATH": "/usr/bin:/bin", "HOME": str(copy)}
    return subprocess.run(
        [sys.executable, *command], cwd=copy, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the parts of the checkout that a new component touches."""
    for name in ("chandlery", "components", "scripts", "pyproject.toml", "README.md"):
        subprocess.run(["cp", "-r", str(ROOT / name), str(tmp_path / name)], check=True)
    return tmp_path


@pytest.mark.slow
def test_a_new_component_works_as_made(checkout: Path) -> None:
    """Made and compiled, it passes every check of `make lint` and its own test, untouched."""
    made = [
        "components/data/count_rows/component.py",
        "chandlery/steps/data/count_rows.py",
        "tests/unit/steps/data/test_count_rows.py",
    ]
    for command in (
        ["scripts/new_component.py", "data", "count_rows"],
        ["-m", "chandlery.compiler"],
        ["-m", "chandlery.compiler", "--check"],
        ["-m", "ruff", "check", *made],
        ["-m", "ruff", "format", "--check", *made],
        ["-m", "mypy", "-m", "chandlery.steps.data.count_rows"],
        ["-m", "pytest", "-q", "-p", "no:cacheprovider", made[-1]],
    ):
        done = run_in_copy(checkout, *command)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout
    readme = (checkout / "components/data/count_rows/README.md").read_text()
    assert "| `Output` | STRING | the text, in capitals. |" in readme


@pytest.mark.parametrize(
    ("family", "name", "says"),
    [
        ("cli", "count_rows", "families: data, search, training, registry, serving, run"),
        ("", "", "families: data"),
        ("data", "count", "a verb and a noun"),
        ("data", "Count_Rows", "a verb and a noun"),
        ("data", "commit_dataset", "exists already"),
    ],
)
def test_a_new_component_that_cannot_be_is_refused(
    family: str, name: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert maker().main(family, name) == 2
    assert says in capsys.readouterr().err


def test_the_pipeline_hands_the_question_of_the_canary_on() -> None:
    """A team without feedback sets `primary=errors` on the pipeline; the defaults are those of the canary itself."""
    spec = catalog.load_package(catalog.find("train_and_deploy").package)
    given = {item.name: item.default for item in catalog.inputs(spec)}
    own = catalog.inputs(catalog.load_package(catalog.find("run_canary").package))
    default = {item.name: item.default for item in own}
    (task,) = [
        part["dag"]["tasks"]["run-canary"]
        for part in spec["components"].values()
        if "run-canary" in part.get("dag", {}).get("tasks", {})
    ]
    for name in ("primary", "guardrails"):
        assert given[name] == default[name] == _plain(getattr(CanaryParameters("m", "1"), name))
        assert task["inputs"]["parameters"][name] == {"componentInputParameter": f"pipelinechannel--{name}"}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
