"""A digest of a saved model's meaning: equal for two equal trainings, whichever process wrote the files.

Files of libraries hold what has no meaning: time stamps, addresses in memory, the order of a set, the bytes between the
fields of an array's records, how long a fit took. These are left out.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

BLOCK = 1 << 20
# Attributes of scikit-learn's estimators that differ from run to run and mean nothing for their predictions: seconds
# that a search took, and the address of a list.
VOLATILE = frozenset(
    {"mean_fit_time", "std_fit_time", "mean_score_time", "std_score_time", "refit_time_", "_stop_words_id"}
)


def digest(folder: Path) -> str:
    """Return the SHA-256 over the model in `folder`: names of the files, and what each means, in hex.

    A `.skops` archive counts by its objects, another ZIP archive by its members, any other file by its bytes.
    """
    total = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        total.update(path.relative_to(folder).as_posix().encode() + b"\0")
        total.update(_file(path))
    return total.hexdigest()


def _file(path: Path) -> bytes:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return _skops(archive) if "schema.json" in archive.namelist() else _zip(archive)
    found = hashlib.sha256()
    with path.open("rb") as source:
        while block := source.read(BLOCK):
            found.update(block)
    return found.digest()


def _zip(archive: zipfile.ZipFile) -> bytes:
    found = hashlib.sha256()
    for name in sorted(archive.namelist()):
        found.update(name.encode() + b"\0" + hashlib.sha256(archive.read(name)).digest())
    return found.digest()


def _skops(archive: zipfile.ZipFile) -> bytes:
    known: dict[str, str] = {}  # file in the archive -> digest of its content

    def content(name: str) -> str:
        if name not in known:
            known[name] = _array(archive.read(name))
        return known[name]

    schema = json.loads(archive.read("schema.json"))
    return hashlib.sha256(_text(_meaning(schema, content)).encode()).digest()


def _meaning(node: Any, content: Callable[[str], str]) -> Any:
    """Return a node of a skops schema without what has no meaning; nodes repeat in full what they share."""
    if isinstance(node, list):
        return [_meaning(item, content) for item in node]
    if not isinstance(node, dict):
        return node
    loader = node.get("__loader__")
    clean: dict[str, Any] = {}
    for key, value in node.items():
        if key in ("__id__", "_skops_version", "protocol"):
            continue
        if key == "file" and isinstance(value, str):
            clean[key] = content(value)
        elif loader == "SetNode" and key == "content":
            clean[key] = sorted((_meaning(item, content) for item in value), key=_text)
        elif loader == "DictNode" and key == "content":
            clean[key] = {
                name: _meaning(item, content) for name, item in value.items() if name not in VOLATILE
            }
        elif loader == "DictNode" and key == "key_types":
            # In the order of the entries, which has no meaning: told by the entries' sorted names instead.
            names = list(node.get("content", {}))
            types = [_meaning(item, content) for item in value.get("content", [])]
            paired = sorted(zip(names, types, strict=False), key=lambda pair: pair[0])
            clean[key] = [kind for name, kind in paired if name not in VOLATILE]
        else:
            clean[key] = _meaning(value, content)
    return clean


def _array(data: bytes) -> str:
    found = hashlib.sha256()
    if not data.startswith(b"\x93NUMPY"):
        if zipfile.is_zipfile(io.BytesIO(data)):  # a sparse matrix
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                for name in sorted(archive.namelist()):
                    found.update(name.encode() + b"\0" + _array(archive.read(name)).encode())
            return found.hexdigest()
        return hashlib.sha256(data).hexdigest()
    import numpy as np

    array = np.load(io.BytesIO(data), allow_pickle=False)
    found.update(f"{array.dtype.str}{array.shape}".encode())
    # Record by field: between the fields lie bytes that nobody ever wrote.
    for name in array.dtype.names or ("",):
        part = array[name] if name else array
        found.update(f"{name}{part.dtype.str}".encode())
        found.update(np.ascontiguousarray(part).tobytes())
    return found.hexdigest()


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
