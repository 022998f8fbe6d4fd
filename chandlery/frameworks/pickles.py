"""Refuses pickles: a pickle is a program that runs when it is read, and nothing here reads one."""

from __future__ import annotations

import zipfile
from pathlib import Path

from chandlery.errors import ModelLoadError

NAMES = frozenset({".pkl", ".pickle", ".joblib", ".dill", ".cloudpickle", ".pt", ".pth"})
ARRAY = b"\x93NUMPY"


def refuse_pickles(folder: Path) -> None:
    """Check that no file below `folder` is a pickle, by its name or by how it begins; archives are looked into.

    Raises:
        ModelLoadError: one is.
    """
    for path in sorted(folder.rglob("*")):
        if path.is_file() and _is_pickle(path):
            raise ModelLoadError(
                f"{path} is a pickle, which runs code when it is read, and is refused",
                "save the model as arrays, JSON or its library's own format",
            )


def _is_pickle(path: Path) -> bool:
    if path.suffix.lower() in NAMES:
        return True
    with path.open("rb") as source:
        if _begins_as_pickle(source.read(256)):
            return True
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if Path(member.filename).suffix.lower() in NAMES:
                return True
            with archive.open(member) as source:
                if _begins_as_pickle(source.read(256)):
                    return True
    return False


def _begins_as_pickle(head: bytes) -> bool:
    # Since protocol 2 the first byte is PROTO, the second its number. An array of objects is a pickle after a header.
    if len(head) > 1 and head[0] == 0x80 and 2 <= head[1] <= 5:
        return True
    return head.startswith(ARRAY) and b"'descr': '|O'" in head
