"""`lineage`: the whole thread of a thing, as a tree."""

from __future__ import annotations

from chandlery.cli.output import console, print_json


def lineage(ref: str, *, as_json: bool) -> None:
    """Print the tree that `ref` belongs to.

    Raises:
        NotFoundError: nothing of that name; the message names the systems that were searched.
    """
    from rich.tree import Tree

    from chandlery.lineage import Node, trace

    root = trace(ref)
    if as_json:
        print_json(root.to_json())
        return

    def grow(node: Node, tree: Tree) -> None:
        for child in node.children:
            grow(child, tree.add(label(child)))

    def label(node: Node) -> str:
        details = ", ".join(f"{key} {value}" for key, value in node.details.items() if value)
        name = f"[bold green]{node.name}[/bold green]" if node.asked else node.name
        return f"[bold]{node.kind}[/bold] {name}" + (f"  [dim]{details}[/dim]" if details else "")

    tree = Tree(label(root))
    grow(root, tree)
    console().print(tree)
