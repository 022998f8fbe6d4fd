"""A downloaded package is complete and checked, or absent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chandlery.errors import RegistryError
from chandlery.registry import download, version_info
from chandlery.registry.aliases import promote
from chandlery.registry.register import register

pytestmark = pytest.mark.slow


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_what_was_registered_comes_back(mlflow: str, submit: Any, tmp_path: Path) -> None:
    given = submit()
    register(given)
    promote(given.name, "1")
    folder = download(given.name, "champion")
    assert files(folder) == files(given.package)
    assert folder.parent == tmp_path / "artifacts" / "models" / given.name
    assert folder.name.startswith("1-")


def test_it_is_fetched_once(mlflow: str, submit: Any) -> None:
    given = submit()
    register(given)
    folder = download(given.name, "1")
    stamp = (folder / "model.keras").stat().st_mtime_ns
    assert download(given.name, "1") == folder
    assert (folder / "model.keras").stat().st_mtime_ns == stamp


def test_a_bucket_of_artifacts_leaves_the_cache_at_home(
    mlflow: str, submit: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given = submit()
    register(given)
    monkeypatch.setenv("CHANDLERY_ARTIFACTS", "gs://somewhere/else")
    assert download(given.name, "1").is_relative_to(tmp_path / "cache" / "models")


def test_a_damaged_artifact_is_refused(store: Path, submit: Any, tmp_path: Path) -> None:
    given = submit()
    register(given)
    stored = stored_file(store, given.name, "model.keras")
    stored.write_bytes(b"b" * stored.stat().st_size)
    with pytest.raises(RegistryError, match="checksum") as caught:
        download(given.name, "1")
    assert caught.value.hint
    kept = tmp_path / "artifacts" / "models" / given.name
    assert list(kept.iterdir()) == []


def test_a_missing_artifact_is_refused(store: Path, submit: Any) -> None:
    given = submit()
    register(given)
    stored_file(store, given.name, "model.keras").unlink()
    with pytest.raises(RegistryError, match=r"model\.keras"):
        download(given.name, "1")


def test_many_processes_download_at_once(mlflow: str, submit: Any, children: Any) -> None:
    given = submit()
    register(given)
    barrier, found = children.barrier(4), children.queue()
    started = [children.start(_download, given.name, barrier, found) for _ in range(4)]
    folders = {found.get(timeout=120) for _ in started}
    for child in started:
        child.join(30)
    assert len(folders) == 1
    assert files(Path(folders.pop())) == files(given.package)


def stored_file(store: Path, name: str, file: str) -> Path:
    return store / version_info(name, "1").source.removeprefix("mlflow-artifacts:/") / "model" / file


def _download(name: str, barrier: Any, found: Any) -> None:
    barrier.wait(120)
    found.put(str(download(name, "1")))
    found.close()
    found.join_thread()
