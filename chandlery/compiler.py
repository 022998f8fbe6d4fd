"""Compiles the catalog to KFP YAML and keeps what is published in step with its source.

Every component and pipeline folder holds two generated files: the compiled YAML (the published form, a golden
file) and a README. `python -m chandlery.compiler` writes them, `--check` lists those that differ.
"""

from __future__ import annotations

import argparse
import difflib
import importlib.util
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from chandlery import variables
from chandlery.catalog import IMAGE, Entry, Input, Output, described, entries, inputs, load_package, outputs
from chandlery.errors import ChandleryError, UserError
from chandlery.files import write_text


def compile_entry(entry: Entry, target: Path) -> None:
    """Compile a component's or pipeline's Python source to `target`.

    Raises:
        UserError: the source has no function of the entry's name, or kfp refuses it.
    """
    from kfp import compiler

    function = getattr(_load(entry), entry.name, None)
    if function is None:
        raise UserError(
            f"{entry.source}: no function named {entry.name!r}", "folder and function share one name"
        )
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        # The file's own name does not enter the YAML; only a package ending in .yaml is accepted.
        partial = Path(scratch) / "package.yaml"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                compiler.Compiler().compile(function, str(partial))
            except (TypeError, ValueError) as error:
                raise UserError(
                    f"{entry.source}: kfp cannot compile it: {error}", "see the component rules"
                ) from error
        os.replace(partial, target)


def relocate(text: str, registry: str = "", digests: dict[str, str] | None = None) -> str:
    """Return a compiled YAML with its images taken from another registry, pinned by digest where one is given.

    Args:
        text: compiled YAML.
        registry: prefix put before each of our images; empty for none.
        digests: `sha256:...` by image name without registry and tag.
    """
    name = IMAGE.rpartition(":")[0]
    image = f"{registry.rstrip('/')}/{IMAGE}" if registry else IMAGE
    digest = (digests or {}).get(name, "")
    if digest:
        image = f"{image.rpartition(':')[0]}@{digest}"
    return text.replace(f"image: {IMAGE}\n", f"image: {image}\n")


def readme(entry: Entry) -> str:
    """Return the entry's README, made from its compiled YAML and its metadata."""
    spec = load_package(entry.package)
    description = spec["root"].get("description") or spec["pipelineInfo"].get("description", "")
    if not description:
        description = next(
            (c.get("description", "") for c in spec.get("components", {}).values() if c.get("description")),
            "",
        )
    settings = entry.metadata
    lines = [f"# {entry.name}", "", entry.summary, ""]
    body = description.strip()
    if body and body != entry.summary:
        lines += [body, ""]
    lines += [
        "## Inputs",
        "",
        *_inputs(inputs(spec)),
        "",
        "## Outputs",
        "",
        *_outputs(described(entry, outputs(spec))),
        "",
    ]
    if entry.kind == "component":
        lines += [
            "## On a cluster",
            "",
            f"- caching: {'on (pure: equal inputs, equal outputs)' if entry.pure else 'off (it acts on the world)'}",
            f"- cpu {settings['cpu']} to {settings['cpu_limit']}, memory {settings['memory']} to {settings['memory_limit']}",
            f"- timeout {settings['timeout_seconds']} s, retries {settings.get('retries', 0)}",
            "",
        ]
    text = example(entry, spec)
    if text.startswith("add("):
        lines += ["## Example", "", "In a pipeline, with `from chandlery.composition import add`:", ""]
        lines += ["```python", text, "```", "", *_tags(settings)]
    else:
        lines += ["## Example", "", "```sh", text, "```", "", *_tags(settings)]
    lines += ["Generated from the source and `metadata.yaml` by `make golden`; edit those.", ""]
    return "\n".join(lines)


def example(entry: Entry, spec: dict[str, Any]) -> str:
    """Return how to use the entry: a command line, or a task of a pipeline when its inputs are artifacts.

    Args:
        entry: the entry.
        spec: its compiled package, as `load_package` reads it.
    """
    given = entry.metadata.get("example") or {}
    artifacts = [item.name for item in inputs(spec) if item.artifact and item.required]
    if artifacts:
        values = [f'{name}=other.outputs["{name}"]' for name in artifacts]
        values += [f"{name}={value!r}".replace("'", '"') for name, value in given.items()]
        # One a line with a last comma, as the formatter, which looks into READMEs too, leaves it.
        return "\n    ".join([f'add(\n    "{entry.name}",', *(f"{value}," for value in values)]) + "\n)"
    words = [f"chandlery run {entry.name}"]
    for name, value in given.items():
        text = (
            value if isinstance(value, str) else yaml.safe_dump(value, default_flow_style=True).split("\n")[0]
        )
        quoted = f"'{name}={text}'" if any(c in str(text) for c in " {}[]*?&;") else f"{name}={text}"
        words.append(f"-p {quoted}")
    return " \\\n  ".join(words)


def generate(entry: Entry) -> dict[Path, str]:
    """Return the generated files of an entry with the content that they should have."""
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / "package.yaml"
        compile_entry(entry, target)
        return {entry.package: target.read_text(encoding="utf-8")}


def refresh(*, check: bool) -> list[str]:
    """Write (or only compare) the generated files of the whole catalog, components before pipelines.

    Returns:
        one unified diff per file that was not up to date.
    """
    drifted = []
    for path, text in _generated():
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        if before == text:
            continue
        lines = difflib.unified_diff(before.splitlines(True), text.splitlines(True), str(path), "generated")
        drifted.append("".join(lines))
        if not check or not path.exists():
            write_text(path, text)
    return drifted


def _generated() -> Iterator[tuple[Path, str]]:
    """Yield every generated file with the content that it should have, YAML before the README that is made from it."""
    for entry in entries():
        yield from generate(entry).items()
        yield entry.folder / "README.md", readme(entry)
    docs = Path(__file__).parent.parent / "docs"
    if docs.is_dir():
        yield docs / "settings.md", variables.document()


def main() -> int:
    """Command line: refresh the generated files, or with `--check` exit 1 when one has drifted."""
    parser = argparse.ArgumentParser(
        prog="python -m chandlery.compiler", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("--check", action="store_true", help="write nothing, show what has drifted")
    arguments = parser.parse_args()
    if not arguments.check and os.environ.get("CI"):
        print(
            "golden files are not refreshed in CI: run `make golden` and commit the result", file=sys.stderr
        )
        return 2
    try:
        drifted = refresh(check=arguments.check)
    except ChandleryError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    for diff in drifted:
        print(diff)
    print(f"{len(drifted)} generated files {'differ' if arguments.check else 'written'}")
    return 1 if drifted and arguments.check else 0


def _load(entry: Entry) -> Any:
    spec = importlib.util.spec_from_file_location(f"_chandlery_{entry.kind}_{entry.name}", entry.source)
    if spec is None or spec.loader is None:
        raise UserError(f"{entry.source} cannot be loaded", "it must be a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # inspect.getsource, which kfp uses, looks here
    spec.loader.exec_module(module)
    return module


def _inputs(items: list[Input]) -> list[str]:
    if not items:
        return ["None."]
    rows = ["| name | type | default | what it is |", "|---|---|---|---|"]
    for item in items:
        default = "required" if item.required else f"`{item.default!r}`" if not item.artifact else "none"
        rows.append(f"| `{item.name}` | {item.type} | {default} | {_cell(item.description)} |")
    return rows


def _outputs(items: list[Output]) -> list[str]:
    if not items:
        return ["None."]
    rows = ["| name | type | what it is |", "|---|---|---|"]
    return rows + [f"| `{item.name}` | {item.type} | {_cell(item.description)} |" for item in items]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _tags(settings: dict[str, Any]) -> list[str]:
    tags = settings.get("tags") or []
    return [f"Tags: {', '.join(tags)}.", ""] if tags else []


if __name__ == "__main__":
    sys.exit(main())
