"""`list`, `show`, `compile`: what is in the catalog."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path

from chandlery import catalog
from chandlery.cli.output import print_json, print_table
from chandlery.errors import UserError
from chandlery.files import write_text

DIGEST = re.compile(r"^sha256:[0-9a-f]{64}$")


def list_entries(*, as_json: bool) -> None:
    """Print the catalog."""
    entries = catalog.entries()
    if as_json:
        print_json(
            [{"name": e.name, "kind": e.kind, "family": e.family, "summary": e.summary} for e in entries]
        )
        return
    print_table(
        ["name", "family", "what it does"], [(e.name, e.family or e.kind, e.summary) for e in entries]
    )


def show(name: str, *, as_json: bool) -> None:
    """Print one entry."""
    from chandlery.compiler import example

    entry = catalog.find(name)
    spec = catalog.load_package(entry.package)
    found_in, images = catalog.inputs(spec), catalog.images(spec)
    found_out = catalog.described(entry, catalog.outputs(spec))
    if as_json:
        print_json(
            {
                "name": entry.name,
                "kind": entry.kind,
                "family": entry.family,
                "summary": entry.summary,
                "inputs": [asdict(item) for item in found_in],
                "outputs": [asdict(item) for item in found_out],
                "images": images,
                "package": str(entry.package),
                "example": example(entry, spec),
            }
        )
        return
    print(f"{entry.name} ({entry.family or entry.kind}): {entry.summary}\n")
    print_table(
        ["input", "type", "default", "what it is"],
        [
            (
                i.name,
                i.type,
                "required" if i.required else "" if i.artifact else repr(i.default),
                _line(i.description),
            )
            for i in found_in
        ],
    )
    if found_out:
        print()
        print_table(
            ["output", "type", "what it is"], [(o.name, o.type, _line(o.description)) for o in found_out]
        )
    print(f"\nimage    {', '.join(images)}\npackage  {entry.package}\n\n{example(entry, spec)}")


def compile_(name: str, output: Path | None, registry: str, digests: Path | None) -> None:
    """Write the published YAML of an entry, its images relocated or pinned.

    Raises:
        UserError: the digests file is not a JSON object of image name to `sha256:...`.
    """
    from chandlery.compiler import relocate

    entry = catalog.find(name)
    text = relocate(entry.package.read_text(encoding="utf-8"), registry, _digests(digests))
    if output is None:
        print(text, end="")
        return
    if not output.parent.is_dir():
        raise UserError(f"{output}: no folder {output.parent}", "make the folder, or choose another file")
    write_text(output, text)
    print(f"wrote {output}")


def _digests(path: Path | None) -> dict[str, str]:
    if path is None:
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path}: {error}", 'give a JSON file such as {"chandlery/chandlery-python": "sha256:..."}'
        ) from error
    if not isinstance(found, dict) or not all(DIGEST.match(str(value)) for value in found.values()):
        raise UserError(
            f"{path}: not a table of digests",
            'give a JSON file such as {"chandlery/chandlery-python": "sha256:..."}',
        )
    return {str(key): str(value) for key, value in found.items()}


def _line(text: str) -> str:
    return " ".join(text.split())
