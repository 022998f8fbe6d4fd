"""What `--help` shows beyond typer's own: examples at the end, and for `run NAME` the inputs of that entry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from typer.core import TyperCommand

WORDS = {
    "STRING": "text",
    "NUMBER_INTEGER": "whole number",
    "NUMBER_DOUBLE": "number",
    "BOOLEAN": "true or false",
    "LIST": "list",
    "STRUCT": "structure",
}
_GIVEN = "chandlery.arguments"


def examples(*lines: str) -> str:
    """Return the epilog of a command: examples, one a line, as they are typed."""
    # \b keeps the lines as they are.
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


class RunCommand(TyperCommand):
    """`chandlery run`: its help is that of the component or pipeline named before `--help`, if one is."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Keep the words, because `--help` is handled before the name is."""
        ctx.meta[_GIVEN] = list(args)
        return super().parse_args(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help of the entry that is named, or of the command.

        Raises:
            NotFoundError: no such component or pipeline; suggests the closest names.
        """
        target = self._target(ctx)
        if not target:
            super().format_help(ctx, formatter)
            return
        from chandlery import catalog, compiler

        entry = None if target.endswith((".yaml", ".yml")) else catalog.find(target)
        spec = catalog.load_package(entry.package if entry else Path(target).resolve())
        name = entry.name if entry else target
        formatter.write_usage(f"chandlery run {name}", "[-p INPUT=VALUE]... [OPTIONS]")
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(entry.summary if entry else "A compiled pipeline or component.")
        with formatter.section("Inputs"):
            formatter.write_dl([_row(item) for item in catalog.inputs(spec)] or [("none", "")])
        self.format_options(ctx, formatter)
        if entry:
            text = compiler.example(entry, spec)
            formatter.write_paragraph()
            with formatter.indentation():
                formatter.write_text(examples(*text.splitlines()))

    def _target(self, ctx: Any) -> str:
        found, _, _ = self.make_parser(ctx).parse_args(list(ctx.meta.get(_GIVEN, ())))
        return str(found.get("target") or "")


def _row(item: Any) -> tuple[str, str]:
    description = " ".join(str(item.description).split())
    if item.artifact:
        return (
            f"{item.name} <{item.type.removeprefix('system.')}>",
            "an artifact of another step: run a pipeline that makes one",
        )
    state = "[required]" if item.required else f"[default: {_shown(item.default)}]"
    return f"{item.name} <{WORDS.get(item.type, item.type)}>", f"{description}  {state}".strip()


def _shown(default: Any) -> str:
    if isinstance(default, str):
        return default or "empty"
    return json.dumps(default)
