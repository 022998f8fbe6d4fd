"""The model card: what a registered version is, for a person that decides whether to use it.

Sections after Mitchell et al., Model Cards for Model Reporting (FAT* 2019).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from chandlery.example import example_text
from chandlery.model import light_runtime
from chandlery.registry.submission import Submission
from chandlery.registry.versions import command

NOT_STATED = "Not stated."


def model_card(given: Submission) -> str:
    """Return the card as Markdown."""
    record, manifest = given.record, given.manifest
    sections = [
        f"# {given.name}",
        given.about.description or f"A {manifest.task} model of recipe `{record.recipe or manifest.recipe}`.",
        _section(
            "Model",
            _table(
                ("", ""),
                [
                    ("task", manifest.task),
                    ("owner", given.about.owner or NOT_STATED),
                    ("recipe", f"`{record.recipe or manifest.recipe}`"),
                    ("hyperparameters", f"`{json.dumps(manifest.parameters, sort_keys=True)}`"),
                    ("seed", given.seed or NOT_STATED),
                    ("digest", f"`{manifest.digest}`"),
                    *(("light runtime", told) for told in [light_runtime(manifest)] if told),
                ],
            ),
        ),
        _section("Inputs", _table(("column", "type", "shape of a row", "what it is"), _inputs(given))),
        *_example(given),
        _section("Answer", _answer(given)),
        _section("Data", _data(given)),
        _section("Figures", _figures(given)),
        _section("Intended use", given.about.intended_use or NOT_STATED),
        _section("Limits", given.about.limits or NOT_STATED),
        _section(
            "Train it again",
            f"```\n{command(f'sha256:{manifest.digest}')}\n```\n"
            "It fetches the recipe, the data commit, the hyperparameters and the seed of this version, trains, and says "
            "whether the result is the same model. The exact environment is in `model/requirements.txt`.",
        ),
        _section("Lineage", _table(("", ""), _lineage(given))),
    ]
    return "\n\n".join(sections) + "\n"


def _inputs(given: Submission) -> list[Sequence[object]]:
    return [
        (f"`{c['name']}`", c["dtype"], c["shape"] or "scalar", c.get("description", ""))
        for c in given.manifest.inputs
    ]


def _example(given: Submission) -> list[str]:
    text = example_text(given.package)
    if not text:
        return []
    return [_section("Example", f"A row of the validation data:\n\n```json\n{text}\n```")]


def _answer(given: Submission) -> str:
    if given.manifest.task == "multilabel":
        return f"Any of {len(given.manifest.classes)} labels: {', '.join(given.manifest.classes)}."
    if given.manifest.classes:
        return f"One of {len(given.manifest.classes)} classes: {', '.join(given.manifest.classes)}."
    targets = ", ".join(given.recipe.targets())
    return f"A number: {targets}." if given.manifest.task == "regression" else f"{targets}."


def _data(given: Submission) -> str:
    record = given.record
    if not record.data_commit:
        return "Not from versioned data: this version cannot be trained again from its record alone."
    return (
        f"Repo `{record.data_repo}` at commit `{record.data_commit}`. Rows are split by a hash of their content into "
        "training (70 %), validation (15 %) and test (15 %)."
    )


def _figures(given: Submission) -> str:
    rows = [(name, f"{value:.4g}") for name, value in sorted(given.metrics.items())]
    text = _table(("metric", "value"), rows)
    text += f"\n\nObjective: `{given.recipe.objective}`. Names without `test_` are of the validation split."
    if given.slices:
        header = tuple(given.slices[0])
        text += "\n\nBy slice, on the test split:\n\n" + _table(
            header, [tuple(_cell(row.get(name, "")) for name in header) for row in given.slices]
        )
    elif given.recipe.slices:
        text += f"\n\nFigures by {', '.join(given.recipe.slices)} are in `experiment/evaluation.html`."
    return text


def _lineage(given: Submission) -> list[Sequence[object]]:
    names = {
        "run_id": "run",
        "data_commit": "data commit",
        "experiment": "experiment",
        "trial": "trial",
        "mlflow_run_id": "MLflow run",
        "git_commit": "git commit",
        "image": "image",
    }
    return [(label, f"`{value}`") for name, label in names.items() if (value := getattr(given.record, name))]


def _section(title: str, body: str) -> str:
    return f"## {title}\n\n{body}"


def _table(header: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    lines = [_row(header), _row(["---"] * len(header)), *(_row(row) for row in rows)]
    return "\n".join(lines)


def _row(cells: Sequence[object]) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
