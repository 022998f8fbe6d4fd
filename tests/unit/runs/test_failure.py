"""A run of somebody else's pipeline fails: the failing step, its last lines and what to do are told."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from kfp import compiler, dsl

from chandlery.runs.failure import explain

LOG = """[KFP Executor 2026-11-27 06:27:05,479 INFO]: Got executor_input:
{
    "inputs": {"parameterValues": {"n": 2}}
}
reading 17 rows
Traceback (most recent call last):
  File "x.py", line 9, in bad
KeyError: 'price'
a last word
"""
REASON = ["step load_table ended with code 1", "see log.txt"]


def test_failing_step_its_error_and_its_last_lines(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text(LOG)
    lines, said = explain(tmp_path / "log.txt", "root/load-table", REASON, 1)
    assert lines == ["step load_table failed: KeyError: 'price'", "correct the component, and run again"]
    assert said[0] == "reading 17 rows"
    assert said[-1] == "a last word"


def test_missing_module_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text(
        LOG.replace("KeyError: 'price'", "ModuleNotFoundError: No module named 'geo'")
    )
    lines, _ = explain(tmp_path / "log.txt", "root/load-table", REASON, 1)
    assert lines[1].startswith("install geo in this environment")


def test_step_that_printed_nothing_fails_with_the_words_of_the_engine(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text("")
    assert explain(tmp_path / "log.txt", "root/load-table", REASON, 1) == (REASON, [])


@pytest.mark.parametrize("content", [None, "", "\x00\xff"])
def test_log_that_says_nothing(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "log.txt").write_text(content)
    lines, _ = explain(tmp_path / "log.txt", "", [], 7)
    assert len(lines) == 2
    assert lines[0].startswith("the run failed before its first step")


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def fails(n: int) -> int:
    """Raises."""
    print("reading 17 rows")
    raise ValueError("no column 'price' in row 3")


@dsl.pipeline(name="foreign")
def foreign(n: int = 1) -> None:
    """One step that fails."""
    fails(n=n)


@pytest.mark.slow
def test_a_pipeline_that_is_not_ours_fails_in_words(tmp_path: Path) -> None:
    compiler.Compiler().compile(foreign, str(tmp_path / "foreign.yaml"))
    command = "import sys; from chandlery.cli.main import main; sys.argv[0] = 'chandlery'; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", command, "run", str(tmp_path / "foreign.yaml")],
        env={**os.environ, "CHANDLERY_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert "error: step fails failed: ValueError: no column 'price' in row 3" in done.stderr
    assert "reading 17 rows" in done.stderr
    assert "code 1" not in done.stderr
