"""How commands print: tables for people, JSON for programs."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text


def visible(text: object) -> str:
    """Return a text with its control characters shown and not obeyed: a name may hold an escape sequence."""
    return "".join(
        char if char in "\n\t" or unicodedata.category(char) not in ("Cc", "Cf") else f"\\x{ord(char):02x}"
        for char in str(text)
    )


def console() -> Console:
    """Return a console on standard output."""
    return Console(highlight=False, soft_wrap=False)


def print_json(document: Any) -> None:
    """Print a JSON document."""
    print(json.dumps(document, indent=2, default=str))


def print_table(header: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> None:
    """Print a table."""
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for name in header:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text(visible(cell)) for cell in row))  # Text: a name in brackets is not markup
    console().print(table)
