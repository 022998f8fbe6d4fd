"""`chandlery init` writes a project that works as made, and writes nothing over what is there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from chandlery.cli.init import init
from chandlery.errors import UserError


def test_the_project_has_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    init("late-trains")
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert written == {
        f"late-trains/{name}"
        for name in (
            ".gitignore",
            "README.md",
            "data.py",
            "pyproject.toml",
            "recipe.py",
            "tests/test_recipe.py",
        )
    }
    for path in written:
        text = (tmp_path / path).read_text()
        assert "@NAME@" not in text
        assert "@CLASS@" not in text
        assert "@VERSION@" not in text
    assert "class LateTrains(Recipe)" in (tmp_path / "late-trains/recipe.py").read_text()


@pytest.mark.parametrize("name", ["", "Late", "late_trains", "../x", "a--b", "-a", "a b"])
def test_a_bad_name_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="not a project's name"):
        init(name)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    with pytest.raises(UserError, match="exists already"):
        init("mine")
    assert list((tmp_path / "mine").iterdir()) == []


@pytest.mark.slow
def test_its_own_test_passes_as_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    init("late-trains")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path / "late-trains",
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout
