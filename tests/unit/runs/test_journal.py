"""Notes of a run and the report made of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from kfp import dsl

from chandlery.report import Report
from chandlery.runs import RunFacts, note, read_notes, run_folder
from chandlery.runs.summary import read_summary
from chandlery.steps.run.record_run import record_run
from chandlery.steps.run.report_run import report_run


@pytest.fixture(autouse=True)
def in_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CHANDLERY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CHANDLERY_RUN_ID", "run-1")
    monkeypatch.setenv("CHANDLERY_TASK", "run_canary")
    return tmp_path


def test_a_note_written_again_is_one_note(in_a_run: Path) -> None:
    page = in_a_run / "page.html"
    Report("Canary").verdict("first", "good").write(page)
    note(RunFacts(verdict="inconclusive"), {"Canary": page})
    note(RunFacts(verdict="promoted"), {"Canary": page})
    (found,) = read_notes("run-1")
    assert found.task == "run_canary"
    assert found.facts == RunFacts(verdict="promoted")
    assert Path(found.reports["Canary"]).parent == run_folder("run-1")


def test_outside_a_run_nothing_is_written(in_a_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHANDLERY_RUN_ID")
    note(RunFacts(verdict="promoted"))
    assert not (in_a_run / "home").exists()


def test_the_report_shows_every_page_and_the_summary_what_comes_first(in_a_run: Path) -> None:
    page = in_a_run / "page.html"
    Report("Evaluation").table("Per digit", ["digit", "accuracy"], [["<3>", 0.91]]).write(page)
    facts = RunFacts(
        commit="c0ffee", decision="better", reason="it is", metric="accuracy", challenger_score=0.97
    )
    assert record_run(facts, {"Evaluation": str(page)}) == "better"
    note(
        RunFacts(verdict="rolled_back", verdict_reason="12 of 40 wrong", curl="curl http://x"), task="canary"
    )
    artifact = dsl.HTML(name="report", uri=str(in_a_run / "report.html"))
    report_run("train_and_deploy", "digits", "SUCCEEDED", artifact)
    html = Path(artifact.path).read_text()
    assert "Per digit" in html
    assert "&lt;3&gt;" in html
    assert 'class="verdict bad">rolled back: 12 of 40 wrong' in html
    summary = read_summary("run-1")
    assert summary is not None
    assert summary.facts["accuracy of the new model"] == "0.97"
    assert summary.facts["evidence"] == "12 of 40 wrong"
    assert summary.curl == "curl http://x"
    assert json.dumps(summary.__dict__)
    assert Path(summary.report).read_text() == html


def test_a_failed_run_still_has_a_report(in_a_run: Path) -> None:
    artifact = dsl.HTML(name="report", uri=str(in_a_run / "report.html"))
    report_run("train_and_deploy", "digits", "FAILED", artifact)
    assert "The run failed" in Path(artifact.path).read_text()
    assert read_summary("run-2") is None


def test_a_note_of_another_version_is_read_as_far_as_it_is_known(in_a_run: Path) -> None:
    note(RunFacts(verdict="promoted"))
    path = run_folder("run-1") / "run_canary.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps(document | {"values": document["values"] | {"a_later_fact": 1}}))
    assert [found.facts for found in read_notes("run-1")] == [RunFacts(verdict="promoted")]
