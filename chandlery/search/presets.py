"""Preset documents: complete Experiments in katib/, or a team's own, that a search starts from."""

from __future__ import annotations

from pathlib import Path

import chandlery
from chandlery.errors import InvalidDocumentError, UserError
from chandlery.resources.experiment import check_experiment
from chandlery.resources.port import Document


def preset_names() -> list[str]:
    """Return the names of the presets that ship with the package."""
    return sorted(path.stem for path in _folder().glob("*.yaml"))


def load_preset(reference: str) -> Document:
    """Load a preset.

    Args:
        reference: name of a shipped preset (`tpe`), or path of a YAML file that holds an Experiment.

    Raises:
        UserError: there is no such preset or file.
        InvalidDocumentError: the file holds no valid Experiment.
    """
    import yaml

    is_path = reference.endswith((".yaml", ".yml"))
    path = Path(reference) if is_path else _folder() / f"{reference}.yaml"
    if not path.is_file() or (not is_path and reference not in preset_names()):
        raise UserError(
            f"no search preset {reference!r}",
            f"valid: {', '.join(preset_names())}, or the path of an Experiment in YAML",
        )
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        where = " ".join(str(error).split())
        raise InvalidDocumentError(f"{path}: not valid YAML: {where}", "correct the file") from error
    if not isinstance(document, dict):
        raise InvalidDocumentError(f"{path}: holds no document", "put one Experiment into it")
    check_experiment(document)
    return document


def _folder() -> Path:
    # In a wheel the documents lie inside the package, in a checkout beside it.
    package = Path(chandlery.__file__).parent
    shipped = package / "_assets" / "katib"
    return shipped if shipped.is_dir() else package.parent / "katib"
