"""What is put together for a version before anything is sent."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from chandlery.errors import UserError
from chandlery.model import Manifest
from chandlery.provenance import Provenance
from chandlery.registry.bundle import write_bundle
from chandlery.registry.card import model_card
from chandlery.registry.submission import About, Submission, submission
from chandlery.steps.registry.register_model import _figures

DIGITS = Path(__file__).parents[3] / "examples" / "digits" / "recipe.py"


@pytest.fixture
def given(tmp_path: Path) -> Submission:
    package = tmp_path / "package"
    (package / "recipe").mkdir(parents=True)
    (package / "recipe" / "recipe.py").write_bytes(DIGITS.read_bytes())
    (package / "model.keras").write_bytes(b"weights")
    (package / "example.json").write_text('{"pixels": [[0.0, 3.5]]}\n')
    (package / "requirements.txt").write_text("keras==3\n")
    trained = Provenance(run_id="run-1", data_repo="digits", data_commit="ab" * 16, git_commit="c0ffee")
    manifest = Manifest(
        digest="d" * 64,
        recipe="recipe.py:Digits",
        recipe_digest="r" * 16,
        task="classification",
        parameters={"units": 64},
        inputs=[{"name": "pixels", "dtype": "float32", "shape": [64], "description": "ink | of each"}],
        classes=list("0123456789"),
        metrics={"accuracy": 0.9},
        provenance=trained.metadata(),
    )
    (package / "chandlery.json").write_text(json.dumps({"schema_version": 1, **manifest.__dict__}))
    report = tmp_path / "report"
    report.write_text("<p>")
    return submission(
        "digits",
        package,
        Provenance(run_id="run-2", task="register-model", image="chandlery@sha256:1"),
        {"accuracy": 0.95},
        {"evaluation.html": report},
        About(owner="us"),
        "7",
        [{"column": "label", "value": 3, "accuracy": 0.5}],
    )


def test_the_training_record_stands_and_gaps_are_filled(given: Submission) -> None:
    assert given.record.run_id == "run-1"
    assert given.record.image == "chandlery@sha256:1"
    assert given.record.model_digest == "d" * 64
    assert given.tags()["chandlery.data_commit"] == "ab" * 16
    assert given.tags()["owner"] == "us"
    assert given.tags()["chandlery.seed"] == "7"
    assert given.metrics == {"accuracy": 0.9, "test_accuracy": 0.95}


def test_the_index_names_every_file_with_its_checksum(given: Submission, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    write_bundle(given, folder)
    index = json.loads((folder / "files.json").read_text())
    present = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()} - {"files.json"}
    assert set(index) == present
    for path, entry in index.items():
        assert hashlib.sha256((folder / path).read_bytes()).hexdigest() == entry["sha256"]
        assert (folder / path).stat().st_size == entry["size"]
    assert {
        "data.json",
        "generation.json",
        "tags.json",
        "model_card.md",
        "experiment/metrics.json",
    } <= present


def test_the_generation_code_names_the_search_space(given: Submission, tmp_path: Path) -> None:
    write_bundle(given, tmp_path / "bundle")
    made = json.loads((tmp_path / "bundle" / "generation.json").read_text())
    assert [p["name"] for p in made["search_space"]] == ["learning_rate", "units", "dropout", "activation"]
    assert made["command"] == f"python -m chandlery.registry.reproduce sha256:{'d' * 64}"


def test_the_card_has_its_sections_and_keeps_tables_whole(given: Submission) -> None:
    card = model_card(given)
    sections = [line for line in card.splitlines() if line.startswith("## ")]
    assert sections == [
        "## Model",
        "## Inputs",
        "## Example",
        "## Answer",
        "## Data",
        "## Figures",
        "## Intended use",
        "## Limits",
        "## Train it again",
        "## Lineage",
    ]
    assert "| `pixels` | float32 | [64] | ink \\| of each |" in card
    assert '```json\n{"pixels": [[0.0, 3.5]]}\n```' in card
    assert "| test_accuracy | 0.95 |" in card
    assert "| label | 3 | 0.5 |" in card
    assert "Not stated." in card
    assert "One of 10 classes" in card


@pytest.mark.parametrize("text", ["", "not json", "[]", '{"rows": 3}'])
def test_figures_of_another_origin_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "metrics"
    path.write_text(text)
    with pytest.raises(UserError, match="metrics at"):
        _figures(path)
