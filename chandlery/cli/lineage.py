"""`lineage`: the whole thread of a thing, as a tree."""

from __future__ import annotations

from chandlery.cli.output import console, print_json, visible


def lineage(ref: str, *, as_json: bool) -> None:
    """Print the tree that `ref` belongs to.

    Raises:
        NotFoundError: nothing of that name; the message names the systems that were searched.
    """
    from rich.text import Text
    from rich.tree import Tree

    from chandlery.lineage import Node, trace

    root = trace(ref)
    if as_json:
        print_json(root.to_json())
        return

    def grow(node: Node, tree: Tree) -> None:
        for child in node.children:
            grow(child, tree.add(label(child)))

    def label(node: Node) -> Text:
        # Text and not markup: a branch or a message may hold brackets.
        text = Text.assemble(
            (node.kind, "bold"), " ", (visible(node.name), "bold green" if node.asked else "")
        )
        details = ", ".join(f"{key} {visible(value)}" for key, value in node.details.items() if value)
        return text.append(f"  {details}", style="dim") if details else text

    tree = Tree(label(root))
    grow(root, tree)
    console().print(tree)
