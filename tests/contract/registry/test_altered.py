"""Whoever can write to the artifact store alone, its index included, gets none of it imported."""

from __future__ import annotations

import hashlib
import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from chandlery.errors import RegistryError
from chandlery.model import LoadedModel
from chandlery.registry import download
from chandlery.registry.register import register
from tests.contract.registry.test_download import stored_file

pytestmark = pytest.mark.slow


def alter(store: Path, name: str, path: str, content: bytes) -> None:
    """Replace a stored artifact, and its digest in the index beside it."""
    index = stored_file(store, name, "model.keras").parent.parent / "files.json"
    document = json.loads(index.read_text())
    (key,) = [key for key in document if key.endswith(path)]
    (index.parent / key).write_bytes(content)
    document[key]["sha256"] = hashlib.sha256(content).hexdigest()
    index.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")


@pytest.mark.parametrize("which", ["recipe", "weights"])
def test_an_altered_package_is_refused_before_anything_of_it_is_there(
    store: Path, submit: Any, tmp_path: Path, which: str
) -> None:
    given = submit()
    register(given)
    marker = tmp_path / "imported"
    index = stored_file(store, given.name, "model.keras").parent.parent / "files.json"
    if which == "recipe":
        path = next(key for key in json.loads(index.read_text()) if "/recipe/" in key and key.endswith(".py"))
        code = f"\nopen({str(marker)!r}, 'w').close()\n".encode()
        alter(store, given.name, path, (index.parent / path).read_bytes() + code)
    else:
        content = stored_file(store, given.name, "model.keras").read_bytes()
        alter(store, given.name, "model/model.keras", bytes([content[0] ^ 1]) + content[1:])
    with pytest.raises(
        RegistryError, match=rf"models:/{given.name}/1: files.json is not what was registered"
    ) as caught:
        LoadedModel(download(given.name, "1"))
    assert caught.value.hint
    assert not marker.exists()
    assert list((tmp_path / "artifacts" / "models" / given.name).iterdir()) == []


def test_an_index_names_no_file_outside_of_its_folder() -> None:
    module = import_module("chandlery.registry.download")
    with pytest.raises(RegistryError, match="outside"):
        list(module._wanted({"model/../../x": {"sha256": "0"}}, "model"))
