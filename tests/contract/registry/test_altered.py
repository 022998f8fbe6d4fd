"""Whoever can write to the artifact store alone, its index included, gets none of it imported."""

from __future__ import annotations

import contextlib
import hashlib
import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from chandlery.errors import ModelLoadError, RegistryError
from chandlery.model import LoadedModel
from chandlery.registry import download, registrations
from chandlery.registry.client import open_client
from chandlery.registry.register import register
from chandlery.registry.versions import INDEX_TAG
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


def alter_version(store: Path, name: str, which: str, marker: Path) -> None:
    """Alter the recipe, so that importing it leaves a mark, or one byte of the weights."""
    index = stored_file(store, name, "model.keras").parent.parent / "files.json"
    if which == "recipe":
        path = next(key for key in json.loads(index.read_text()) if "/recipe/" in key and key.endswith(".py"))
        code = f"\nopen({str(marker)!r}, 'w').close()\n".encode()
        alter(store, name, path, (index.parent / path).read_bytes() + code)
    else:
        content = stored_file(store, name, "model.keras").read_bytes()
        alter(store, name, "model/model.keras", bytes([content[0] ^ 1]) + content[1:])


@pytest.mark.parametrize("also", ["files", "tag", "no tag"])
@pytest.mark.parametrize("which", ["recipe", "weights"])
def test_an_altered_package_is_refused_before_anything_of_it_is_imported(
    store: Path, submit: Any, tmp_path: Path, which: str, also: str
) -> None:
    """Who can write to the artifact store alters files and index; who can write to MLflow the tag besides."""
    given = submit()
    register(given)
    marker = tmp_path / "imported"
    alter_version(store, given.name, which, marker)
    index = stored_file(store, given.name, "model.keras").parent.parent / "files.json"
    client = open_client()
    if also == "tag":
        digest = hashlib.sha256(index.read_bytes()).hexdigest()
        client.set_model_version_tag(given.name, "1", INDEX_TAG, digest)
    elif also == "no tag":
        client.delete_model_version_tag(given.name, "1", INDEX_TAG)
    with pytest.raises(
        RegistryError, match=rf"models:/{given.name}/1: files.json is not what was registered"
    ) as caught:
        LoadedModel(download(given.name, "1"))
    assert caught.value.hint
    assert not marker.exists()
    assert list((tmp_path / "artifacts" / "models" / given.name).iterdir()) == []


def test_the_mark_of_an_altered_recipe_shows_that_it_was_imported(
    store: Path, submit: Any, tmp_path: Path
) -> None:
    """What the test above relies on: without tag and record the same file is imported, and leaves its mark."""
    given = submit()
    register(given)
    marker = tmp_path / "imported"
    alter_version(store, given.name, "recipe", marker)
    open_client().delete_model_version_tag(given.name, "1", INDEX_TAG)
    registrations.remember(given.name, "1", "")
    with contextlib.suppress(ModelLoadError):  # this package has a recipe, but no model for TensorFlow
        LoadedModel(download(given.name, "1"))
    assert marker.exists()


def test_a_version_that_takes_the_number_of_a_deleted_one_is_recorded_anew(mlflow: str, submit: Any) -> None:
    first = submit()
    register(first)
    before = registrations.remembered(first.name, "1")
    open_client().delete_registered_model(first.name)
    register(submit("b", name=first.name))
    after = registrations.remembered(first.name, "1")
    assert before
    assert after
    assert before != after
    download(first.name, "1")


def test_an_index_names_no_file_outside_of_its_folder() -> None:
    module = import_module("chandlery.registry.download")
    with pytest.raises(RegistryError, match="outside"):
        list(module._wanted({"model/../../x": {"sha256": "0"}}, "model"))
