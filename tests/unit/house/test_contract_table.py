"""The table of the contract suites: what is in which column, and that two processes fill one table."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONTRACT = Path(__file__).parents[2] / "contract"
SUITE = '''
import pytest

@pytest.fixture(params=["embedded", pytest.param("there", marks=pytest.mark.real("CHANDLERY_TEST_PACHD"))])
def value(request):
    return {"embedded": 1, "there": 2}[request.param]

def test_both_hold(value):
    assert value

@pytest.mark.parametrize("wanted", [1, 2])
def test_one_case_fails(value, wanted):
    """A | cell shows the worst."""
    assert value == wanted

@pytest.mark.differs("embedded", "it is one")
def test_known_to_differ(value):
    assert value == 2

@pytest.mark.differs("embedded", "it is not so")
def test_stated_but_not_so(value):
    assert value

class TestItsOwn:
    def test_of_one_column(self):
        assert True

@pytest.fixture
def broken():
    raise OSError("no")

def test_a_broken_fixture(broken):
    assert True
'''


@pytest.fixture
def table(tmp_path: Path):
    """Run a small suite in two processes; returns the rows by behaviour, the whole output, the written table."""

    def run(**environment: str) -> tuple[dict[str, list[str]], str, str]:
        folder = tmp_path / "contract"
        (folder / "data").mkdir(parents=True, exist_ok=True)
        for name in ("__init__.py", "conftest.py", "table.py"):
            shutil.copy(CONTRACT / name, folder)
        (folder / "data" / "test_small.py").write_text(SUITE)
        (tmp_path / "pytest.ini").write_text(
            "[pytest]\naddopts = --strict-markers --import-mode=importlib\nmarkers = network"
        )
        command = [sys.executable, "-m", "pytest", "contract", "-n", "2", "-p", "no:cacheprovider"]
        done = subprocess.run(
            [*command, "--contract-table", "--contract-markdown", "table.md"],
            cwd=tmp_path,
            env={k: v for k, v in os.environ.items() if not k.startswith(("CHANDLERY_", "PYTEST_"))}
            | environment,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert (tmp_path / "table.md").is_file(), done.stdout + done.stderr
        written = (tmp_path / "table.md").read_text()
        lines = [line for line in written.splitlines() if line.startswith("| ")][1:]
        cells = [line.strip("| ").replace("\\|", "!").split(" | ") for line in lines]
        return {name: outcomes for name, *outcomes in cells}, done.stdout, written

    return run


def test_without_an_address_the_real_column_is_not_run(table):
    rows, printed, written = table()
    assert rows == {
        "both hold": ["ok", "not run [1]"],
        "A ! cell shows the worst": ["FAILED", "not run [1]"],
        "known to differ": ["differs (stated) [2]", "not run [1]"],
        "stated but not so": ["FAILED", "not run [1]"],
        "its own: of one column": ["ok", "-"],
        "a broken fixture": ["FAILED", "-"],
    }
    for shown in (printed, written):
        assert "Versioned data" in shown
        assert "[1] needs a pachd: CHANDLERY_TEST_PACHD" in shown
        assert "[2] it is one" in shown
        assert "embedded: 3 FAILED, 1 differs (stated), 2 ok" in shown
        assert "real: 4 not run" in shown


def test_with_one_both_are_side_by_side(table):
    rows, _, _ = table(CHANDLERY_TEST_PACHD="grpc://127.0.0.1:1")
    assert rows["both hold"] == ["ok", "ok"]
    assert rows["known to differ"] == ["differs (stated) [1]", "ok"]
    assert rows["A ! cell shows the worst"] == ["FAILED", "FAILED"]
