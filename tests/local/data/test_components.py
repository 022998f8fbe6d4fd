"""The data components as processes, as a pipeline runs them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chandlery import data, provenance
from tests.components import FailedRunError
from tests.loading import ROOT

pytestmark = pytest.mark.slow

Run = Callable[..., Any]
RECIPE = f"{ROOT}/examples/digits/recipe.py:Digits"


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """Return a folder with forty scans."""
    folder = tmp_path / "digits"
    folder.mkdir()
    write(folder, np.arange(40) % 10)
    return folder


def write(folder: Path, labels: np.ndarray, ink: int = 3) -> None:
    table = np.column_stack([np.full((len(labels), 64), ink), labels])
    np.savetxt(folder / "part.csv", table, fmt="%d", delimiter=",", header="x", comments="")


def test_commit_dataset(run: Run, digits: Path, tmp_path: Path) -> None:
    values = run("commit_dataset", source=str(digits), repo="digits", message="first")
    assert values["changed"] is True
    assert values["files"] == 1
    assert values["bytes"] == (digits / "part.csv").stat().st_size
    assert (data.checkout("digits", values["commit"]) / "part.csv").read_bytes() == (
        digits / "part.csv"
    ).read_bytes()


def test_checkout_dataset(run: Run, digits: Path, tmp_path: Path) -> None:
    made = data.commit(str(digits), "digits")
    made_by_step = run("checkout_dataset", repo="digits", ref="master")
    dataset = made_by_step.pop("dataset")
    assert (Path(dataset.path) / "part.csv").read_bytes() == (digits / "part.csv").read_bytes()
    record = provenance.read(dataset.metadata)
    assert (record.data_repo, record.data_branch, record.data_commit) == ("digits", "master", made.commit)
    assert dataset.metadata["chandlery.content"] == data.fetch("digits", "master").content
    assert made_by_step == {"commit": made.commit, "files": 1, "bytes": made.bytes}


def test_resolve_inputs(run: Run, digits: Path, tmp_path: Path) -> None:
    made = data.commit(str(digits), "digits")
    assert run("resolve_inputs", repo="digits", ref="master") == {
        "commit": made.commit,
        "champion_version": "",
    }


def test_validate_dataset_lets_good_data_through(run: Run, digits: Path, tmp_path: Path) -> None:
    made = run("validate_dataset", str(digits), {"chandlery.data_commit": "c0ffee"}, recipe=RECIPE)
    report = made["report"]
    assert made["rows"] == 40
    assert provenance.read(report.metadata).data_commit == "c0ffee"
    assert provenance.read(report.metadata).recipe.startswith(RECIPE + "@")
    assert "40 rows fit the schema" in Path(report.path).read_text()


def test_validate_dataset_stops_bad_data_and_reports_it(run: Run, digits: Path, tmp_path: Path) -> None:
    write(digits, np.array([1, 2, 12, 3]), ink=17)
    with pytest.raises(FailedRunError, match="more failed checks"):
        run("validate_dataset", str(digits), recipe=RECIPE)
    assert not list((tmp_path / "outputs").rglob("output_metadata.json"))
    (page,) = (tmp_path / "outputs").glob("*/validate-dataset/*/report")
    text = page.read_text()
    assert "checks failed on 4 rows" in text
    assert "<td>label</td><td>is one of 0, 1, 2, 3, 4, 5, 6, 7, 8, 9</td><td>1</td><td>2: 12</td>" in text
    assert "<td>pixels.63</td><td>at most 16</td><td>4</td>" in text


def test_a_missing_branch_fails_the_step_in_two_lines(run: Run, digits: Path) -> None:
    data.commit(str(digits), "digits")
    with pytest.raises(FailedRunError, match="no branch 'main' in repo 'digits'"):
        run("resolve_inputs", repo="digits", ref="main")
