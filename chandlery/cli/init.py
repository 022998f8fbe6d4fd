"""`init`: a team's own small repository, which works as made."""

from __future__ import annotations

import re
from pathlib import Path

from chandlery import __version__
from chandlery.catalog import assets
from chandlery.errors import UserError
from chandlery.files import write_text

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_SUFFIX = ".template"


def init(name: str) -> None:
    """Write the project below the working directory and print what to do next.

    Args:
        name: lower-case words with dashes; also the name of the repo of data and of the model.

    Raises:
        UserError: the name is not valid, or the folder exists.
    """
    if not _NAME.fullmatch(name):
        raise UserError(
            f"{name!r} is not a project's name", "use lower-case words with dashes, such as late-trains"
        )
    folder = Path(name)
    if folder.exists():
        raise UserError(f"{folder.resolve()} exists already", "choose another name, or another folder")
    words = {
        "NAME": name,
        "CLASS": "".join(part.capitalize() for part in name.split("-")),
        "VERSION": __version__,
    }
    root = assets("examples") / "project"
    for path in sorted(root.rglob(f"*{_SUFFIX}")):
        text = path.read_text(encoding="utf-8")
        for word, value in words.items():
            text = text.replace(f"@{word}@", value)
        target = folder / path.relative_to(root).with_suffix("")
        if target.name == "gitignore":
            target = target.with_name(".gitignore")
        write_text(target, text)
        print(f"wrote {target}")
    print(f"\ncd {name}, then follow README.md")
