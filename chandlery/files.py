"""Files that are whole or absent: readers, writers and kills at any moment never leave a part of one."""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path
from typing import Any


def write_text(path: Path, text: str, *, mode: int | None = None) -> None:
    """Write a text file in one step: readers see the old content or the new, never a part.

    It is written beside the target first, under a hidden name that no pattern for the target's suffix matches and
    no other writer has, on this machine or on another that shares the folder.

    Args:
        path: file to write or replace; its folder is made when it is missing.
        text: its content, written as UTF-8.
        mode: permissions, such as 0o600, in force before the content is there; None: the user's usual ones.

    Raises:
        OSError: it could not be written; the old content stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial-{uuid.uuid4().hex}")
    try:
        if mode is not None:
            partial.touch(mode=mode)
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_json(path: Path, document: Any, *, indent: int | None = 2) -> None:
    """Write a JSON file in one step, as `write_text` does.

    Args:
        path: file to write or replace.
        document: what it holds.
        indent: spaces per level; None for a single line.

    Raises:
        OSError: it could not be written; the old content stays.
        TypeError: the document holds what JSON does not know; the old content stays.
    """
    write_text(path, json.dumps(document, indent=indent))
