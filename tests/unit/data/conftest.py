"""A home of its own for every test, and a folder with names that Pachyderm refuses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from chandlery import data

if TYPE_CHECKING:
    from pachyderm_sdk import Client


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (
        "CHANDLERY_DATA",
        "CHANDLERY_ARTIFACTS",
        "CHANDLERY_RUN_ID",
        "CHANDLERY_TASK",
        "CHANDLERY_EVENTS",
    ):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "home"
    monkeypatch.setenv("CHANDLERY_HOME", str(folder))
    return folder


@pytest.fixture
def client(home: Path) -> Iterator[Client]:
    with data.connect() as opened:
        yield opened


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "class a").mkdir(parents=True)
    (folder / "class a" / "image (1).txt").write_bytes(b"one")
    (folder / "class a" / "naïve+[2].csv").write_bytes(b"1,2\n")
    (folder / "100% off").write_bytes(b"sale")
    (folder / "empty").write_bytes(b"")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder by its relative path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
