"""The summary of a run, from the notes of its steps: an HTML report, and the facts that the command line shows."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from chandlery.files import write_json, write_text
from chandlery.report import Report, VerdictKind, sections_of, show
from chandlery.runs.facts import RunFacts
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
    found = RunFacts.merged(note.facts for note in notes)
    summary = Summary(run_id, pipeline, model_name, state, facts(found), str(path), found.curl or "")
    write_json(folder / SUMMARY, summary.__dict__)
    return page


def read_summary(run_id: str) -> Summary | None:
    """Return the summary of a run, or None when it has none (yet)."""
    try:
        document = json.loads((run_folder(run_id) / SUMMARY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return Summary(**document)


def facts(found: RunFacts) -> dict[str, str]:
    """Return what a reader wants to know first of a run: name to text, in order."""
    lines: dict[str, str] = {}
    if found.commit:
        lines["data commit"] = found.commit
    if found.best_parameters:
        lines["best hyperparameters"] = ", ".join(f"{k}={show(v)}" for k, v in found.best_parameters.items())
    metric = found.metric or "score"
    if found.champion_version:
        lines[f"{metric} of the champion"] = (
            f"{show(found.champion_score)} (version {found.champion_version})"
        )
    if found.challenger_score is not None:
        lines[f"{metric} of the new model"] = show(found.challenger_score)
    if found.decision:
        lines["comparison"] = f"{found.decision}: {found.reason or ''}"
    if found.verdict:
        lines["canary verdict"] = found.verdict
        lines["evidence"] = found.verdict_reason or ""
    if found.model_version:
        lines["model version"] = found.model_version
    if found.serving_version:
        lines["serving now"] = f"version {found.serving_version}"
    if found.endpoint:
        lines["endpoint"] = found.endpoint
    return lines


_COLOURS: dict[str, VerdictKind] = {"promoted": "good", "rolled_back": "bad"}


def render(pipeline: str, model_name: str, state: str, run_id: str, notes: list[Note]) -> str:
    """Return the HTML report of a run."""
    found = RunFacts.merged(note.facts for note in notes)
    page = Report(f"{pipeline}: {model_name}", f"run {run_id or '(no id)'}, {state.lower()}")
    if state != "SUCCEEDED":
        page.verdict("The run failed; the notes below are of the steps that finished.", "bad")
    elif found.verdict:
        text = f"{found.verdict.replace('_', ' ')}: {found.verdict_reason or ''}"
        page.verdict(text, _COLOURS.get(found.verdict, "neutral"))
    elif found.decision:
        page.verdict(f"{found.decision}: {found.reason or ''}", "neutral")
    page.facts("In short", facts(found))
    if found.curl:
        page.code("Call it", found.curl)
    for note in notes:
        for title, path in note.reports.items():
            page.embed(title, _sections(Path(path)))
    return page.html()


def _sections(path: Path) -> str:
    try:
        page = path.read_text(encoding="utf-8")
    except OSError:
        return "<p>(this report is no longer there)</p>"
    return sections_of(page) or f"<pre>{escape(str(path))}</pre>"
