"""One thing in the thread, with what came of it below."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

NodeKind = Literal["data commit", "run", "experiment", "trial", "model version", "deployment", "request"]


@dataclass(frozen=True)
class Node:
    """One thing.

    Attributes:
        kind: what it is.
        name: the name by which `trace` finds it again.
        details: facts by name, for people; empty values are left out.
        children: what came of it.
        asked: it is what was asked for.
    """

    kind: NodeKind
    name: str
    details: Mapping[str, str] = field(default_factory=dict)
    children: tuple[Node, ...] = ()
    asked: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form, children included."""
        return {
            "kind": self.kind,
            "name": self.name,
            "details": {name: value for name, value in self.details.items() if value},
            "asked": self.asked,
            "children": [child.to_json() for child in self.children],
        }

    def find(self, kind: NodeKind) -> list[Node]:
        """Return all nodes of a kind in this tree, from the top."""
        own = [self] if self.kind == kind else []
        return own + [found for child in self.children for found in child.find(kind)]
