"""The summary of a run, from the notes of its steps: an HTML report, and the facts that the command line shows."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chandlery.files import write_json, write_text
from chandlery.report import Report, show
from chandlery.runs.journal import Note, read_notes, run_folder

SUMMARY = "summary.json.txt"  # not *.json: that is what notes are


@dataclass(frozen=True)
class Summary:
    """A run in a few lines.

    Attributes:
        run_id: the run.
        pipeline: pipeline name.
        model_name: the model that it was about.
        state: SUCCEEDED or FAILED.
        facts: what a reader wants first, name to value, in order.
        report: path of the HTML report.
        curl: a command line that calls the endpoint; empty when nothing serves.
    """

    run_id: str
    pipeline: str
    model_name: str
    state: str
    facts: dict[str, str] = field(default_factory=dict)
    report: str = ""
    curl: str = ""


def write_summary(pipeline: str, model_name: str, state: str, run_id: str) -> str:
    """Write a run's report and summary into its record and return the report, HTML.

    Args:
        pipeline: pipeline name.
        model_name: the model that the run was about.
        state: SUCCEEDED or FAILED.
        run_id: the run; empty outside of a run: nothing is written.
    """
    notes = read_notes(run_id) if run_id else []
    page = render(pipeline, model_name, state, run_id, notes)
    if not run_id:
        return page
    folder = run_folder(run_id)
    path = folder / "report.html"
    write_text(path, page)
    curl = _merged(notes).get("curl", "")
    summary = Summary(run_id, pipeline, model_name, state, facts(notes), str(path), curl)
    write_json(folder / SUMMARY, summary.__dict__)
    return page


def read_summary(run_id: str) -> Summary | None:
    """Return the summary of a run, or None when it has none (yet)."""
    try:
        document = json.loads((run_folder(run_id) / SUMMARY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return Summary(**document)


def facts(notes: list[Note]) -> dict[str, str]:
    """Return what a reader wants to know first, from the notes of a run."""
    values = _merged(notes)
    lines: dict[str, str] = {}
    if values.get("commit"):
        lines["data commit"] = str(values["commit"])
    if values.get("best_parameters"):
        lines["best hyperparameters"] = ", ".join(
            f"{k}={show(v)}" for k, v in values["best_parameters"].items()
        )
    metric = values.get("metric", "score")
    if values.get("champion_version"):
        lines[f"{metric} of the champion"] = (
            f"{show(values['champion_score'])} (version {values['champion_version']})"
        )
    if "challenger_score" in values:
        lines[f"{metric} of the new model"] = show(values["challenger_score"])
    if values.get("decision"):
        lines["comparison"] = f"{values['decision']}: {values.get('reason', '')}"
    if values.get("verdict"):
        lines["canary verdict"] = str(values["verdict"])
        lines["evidence"] = str(values.get("verdict_reason", ""))
    if values.get("model_version"):
        lines["model version"] = str(values["model_version"])
    if values.get("serving_version"):
        lines["serving now"] = f"version {values['serving_version']}"
    if values.get("endpoint"):
        lines["endpoint"] = str(values["endpoint"])
    return lines


def render(pipeline: str, model_name: str, state: str, run_id: str, notes: list[Note]) -> str:
    """Return the HTML report of a run."""
    values = _merged(notes)
    page = Report(f"{pipeline}: {model_name}", f"run {run_id or '(no id)'}, {state.lower()}")
    verdict = values.get("verdict", "")
    if state != "SUCCEEDED":
        page.verdict("The run failed; the notes below are of the steps that finished.", "bad")
    elif verdict:
        kind = {"promoted": "good", "rolled_back": "bad"}.get(str(verdict), "neutral")
        page.verdict(f"{str(verdict).replace('_', ' ')}: {values.get('verdict_reason', '')}", kind)  # type: ignore[arg-type]
    elif values.get("decision"):
        page.verdict(f"{values['decision']}: {values.get('reason', '')}", "neutral")
    page.facts("In short", facts(notes))
    if values.get("curl"):
        page.code("Call it", str(values["curl"]))
    for found in notes:
        for title, path in found.reports.items():
            page.embed(title, _body(Path(path)))
    return page.html()


def _merged(notes: list[Note]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for found in notes:
        merged.update(found.values)
    return merged


def _body(path: Path) -> str:
    """Return the sections of a report page of ours, without its frame."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        return "<p>(this report is no longer there)</p>"
    match = re.search(r"</header>(.*)</main>", text, flags=re.DOTALL)
    return match[1] if match else f"<pre>{path}</pre>"
