"""Model packages for the rounds that register: each a few kilobytes that differ by a digest."""

from __future__ import annotations

from pathlib import Path

from chandlery import provenance
from chandlery.registry.submission import About, Submission, submission
from tests.line import write_package


def make_package(folder: Path, digest: str) -> None:
    """Write a model package to `folder`."""
    record = provenance.Provenance(data_repo="lines", data_commit=digest[:32], recipe="recipe.py:Line")
    write_package(folder, digest, digest.encode() * 2000, record)


def submission_of(folder: Path, model: str, digest: str) -> Submission:
    """Return what `register_model` would submit of the package in `folder`."""
    page = folder.parent / f"{folder.name}.html"
    page.write_text("<p>evaluation</p>")
    return submission(
        name=model,
        package=folder,
        record=provenance.current().with_(model_digest=digest),
        metrics={"mae": 0.3},
        experiment={"evaluation.html": page},
        about=About("Draws a line.", "geometry", "Interpolation.", "Not beyond x = 10."),
    )
