"""Files and directories as listings show them, from the files of a view in byte order.

A directory exists by its files alone. Its size is their sum; its digest is B(digests of its direct children
in order), names not included, as in Pachyderm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple

from chandlery.embedded.pachd.store.layers import Entry

Digest = Callable[[Entry], bytes]


class Node(NamedTuple):
    """A file, or a directory (its path ends with a slash); `size` in bytes; `entry` of a file only."""

    path: str
    size: int
    digest: bytes
    entry: Entry | None

    @property
    def is_directory(self) -> bool:
        """Whether this is a directory."""
        return self.entry is None


@dataclass
class _Open:
    path: str
    digest: Any
    size: int = 0


def post_order(entries: Iterable[Entry], digest: Digest, root: str = "/") -> Iterator[Node]:
    """Yield every file, and every directory after its content, `root` (`/` or `/d/`) last.

    Nothing comes of no entries: an empty directory does not exist.
    """
    stack: list[_Open] = []
    for entry in entries:
        parent = entry.path[: entry.path.rindex("/") + 1]
        while stack and not parent.startswith(stack[-1].path):
            yield _close(stack)
        _open_down_to(stack, parent, root)
        node = Node(entry.path, entry.size, digest(entry), entry)
        stack[-1].size += node.size
        stack[-1].digest.update(node.digest)
        yield node
    while stack:
        yield _close(stack)


def pre_order(entries: Callable[[], Iterable[Entry]], digest: Digest, root: str = "/") -> Iterator[Node]:
    """Yield `root`, then every directory before its content. Reads the entries twice, keeps only the directories."""
    directories = {node.path: node for node in post_order(entries(), digest, root) if node.is_directory}
    seen: list[str] = []
    for entry in entries():
        parent = entry.path[: entry.path.rindex("/") + 1]
        while seen and not parent.startswith(seen[-1]):
            seen.pop()
        while not seen or seen[-1] != parent:
            below = seen[-1] if seen else ""
            directory = root if not seen else parent[: parent.index("/", len(below)) + 1]
            seen.append(directory)
            yield directories[directory]
        yield Node(entry.path, entry.size, digest(entry), entry)


def children(entries: Iterable[Entry], digest: Digest, directory: str) -> Iterator[Node]:
    """Yield the direct children of a directory (`/` or `/d/`) in order; `entries` are all the files below it."""
    for node in post_order(entries, digest, directory):
        inner = node.path[len(directory) :].rstrip("/")
        if inner and "/" not in inner:
            yield node


def _open_down_to(stack: list[_Open], parent: str, root: str) -> None:
    if not stack:
        stack.append(_Open(root, blake2b(digest_size=32)))
    while stack[-1].path != parent:
        above = stack[-1].path
        stack.append(_Open(parent[: parent.index("/", len(above)) + 1], blake2b(digest_size=32)))


def _close(stack: list[_Open]) -> Node:
    done = stack.pop()
    node = Node(done.path, done.size, done.digest.digest(), None)
    if stack:
        stack[-1].size += node.size
        stack[-1].digest.update(node.digest)
    return node
