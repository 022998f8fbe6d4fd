"""Away in one step: a thing is renamed into a trash folder on its own file system, and deleted there.

A process that is killed between the two leaves the trash to the next collection.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

from chandlery.gc.candidate import Candidate

FOLDER = ".trash"


class Trash:
    """The trash folders of some roots.

    Args:
        roots: folders whose contents may be thrown away, the innermost first.
    """

    def __init__(self, roots: Iterable[Path]) -> None:
        self._roots = tuple(dict.fromkeys(roots))

    def throw(self, path: Path) -> None:
        """Take `path` away in one step; one that is gone is not an error.

        Raises:
            OSError: it cannot be renamed: it lies on another file system, or the folder may not be written.
        """
        root = next(root for root in self._roots if path.is_relative_to(root))
        (root / FOLDER).mkdir(exist_ok=True)
        try:
            os.rename(path, root / FOLDER / uuid.uuid4().hex)
        except FileNotFoundError:
            return

    def leftovers(self) -> Iterator[Candidate]:
        """Yield what a collection that was killed left."""
        for root in self._roots:
            if any_in(root / FOLDER):
                yield Candidate(
                    "trash",
                    str(root / FOLDER),
                    "a collection was killed before it was emptied",
                    collect=lambda: True,
                    paths=(root / FOLDER,),
                )

    def empty(self) -> None:
        """Delete everything that was thrown away."""
        for root in self._roots:
            shutil.rmtree(root / FOLDER, ignore_errors=True)


def any_in(folder: Path) -> bool:
    """Return whether a folder is there and has anything in it."""
    try:
        return any(folder.iterdir())
    except OSError:
        return False
