"""The body of `report_run`."""

from __future__ import annotations

from pathlib import Path

from chandlery import provenance
from chandlery.files import write_text
from chandlery.runs.summary import write_summary
from chandlery.steps.artifacts import Artifact


def report_run(pipeline: str, model_name: str, state: str, report: Artifact) -> None:
    """Write the run's report from its notes, and its summary into the run's record; see the component."""
    record = provenance.current()
    page = write_summary(pipeline, model_name, state, record.run_id)
    write_text(Path(report.path), page)
    report.metadata.update(record.metadata())
