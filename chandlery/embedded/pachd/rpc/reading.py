"""Files of one commit, as the reading RPCs need them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from chandlery.embedded.pachd.rpc import globs, messages, references, wire
from chandlery.embedded.pachd.rpc.calls import Call
from chandlery.embedded.pachd.store import layers, paths, tables, tree
from chandlery.embedded.pachd.store.database import version
from chandlery.embedded.pachd.store.failure import ServiceError, not_found
from chandlery.embedded.pachd.store.layers import Entry
from chandlery.embedded.pachd.store.store import Store
from chandlery.embedded.pachd.store.tables import Commit, Connection, State
from chandlery.embedded.pachd.store.tree import Node
from chandlery.protobuf import field


class Snapshot:
    """The files of one commit, while a read transaction is open.

    Args:
        store: the store.
        db: a connection within a transaction.
        commit: the commit.
        on_wire: `info` returns bytes.
    """

    def __init__(self, store: Store, db: Connection, commit: Commit, *, on_wire: bool = False) -> None:
        self.store = store
        self.on_wire = on_wire
        self.db = db
        self.commit = commit
        self.layers = layers.view(db, commit)
        self.message = messages.commit(db, commit)
        self._prefixes: tuple[bytes, bytes] | None = None

    @property
    def name(self) -> str:
        """The commit as messages for people name it."""
        return tables.name_of(self.db, self.commit)

    def digest(self, entry: Entry) -> bytes:
        """Return the digest of a file."""
        return self.store.chunks.digest(self.db, entry.chunks or b"", bool(entry.whole))

    def entries(self, directory: str = "/") -> Iterator[Entry]:
        """Yield the files below a directory (`/` or `/d/`)."""
        return layers.scan(self.db, self.layers, *paths.subtree(directory))

    def file(self, cleaned: str) -> Entry | None:
        """Return the file at a cleaned path, or None."""
        return layers.lookup(self.db, self.layers, cleaned)

    def content(self, entry: Entry, offset: int = 0, limit: int | None = None) -> Iterator[bytes]:
        """Yield the bytes of a file in pieces of at most 8 MiB."""
        return self.store.chunks.read(self.db, entry.chunks or b"", offset, limit)

    def small_contents(self, entries: Sequence[Entry]) -> list[bytes | None]:
        """Return, by few queries, the contents of those files that are in the database; None for the others."""
        return self.store.chunks.read_small(self.db, [entry.chunks or b"" for entry in entries])

    def file_node(self, entry: Entry) -> Node:
        """Return a file as a node."""
        return Node(entry.path, entry.size, self.digest(entry), entry)

    def inspect(self, path: str) -> Node | None:
        """Return the file or directory at a path, or None."""
        file, directory = self._resolve(path)
        if file:
            return file
        return next(
            (
                node
                for node in tree.post_order(self.entries(directory), self.digest, directory)
                if node.path == directory
            ),
            None,
        )

    def children(self, path: str) -> Iterator[Node]:
        """Yield what a directory holds directly; a file yields itself, a missing path nothing."""
        file, directory = self._resolve(path)
        if file:
            yield file
        else:
            yield from tree.children(self.entries(directory), self.digest, directory)

    def walk(self, path: str) -> Iterator[Node]:
        """Yield a directory, then everything below it, directories before their content; a file yields itself."""
        file, directory = self._resolve(path)
        if file:
            yield file
        else:
            yield from tree.pre_order(lambda: self.entries(directory), self.digest, directory)

    def glob(self, pattern: str) -> Iterator[Node]:
        """Yield the files and directories that a pattern matches, in order."""
        cleaned = paths.clean(pattern)
        if globs.is_literal(cleaned):
            found = self.inspect(cleaned)
            if found:
                yield found
            return
        matcher = globs.compile_glob(cleaned)
        yield from (node for node in self.walk(_search_root(cleaned)) if _matches(matcher, node.path))

    def matching_entries(self, pattern: str) -> Iterable[Entry]:
        """Return, lazily, the files that match or are below a match."""
        cleaned = paths.clean(pattern)
        matcher = globs.compile_glob(cleaned)
        if globs.is_literal(cleaned):
            entry = self.file(cleaned)
            return [entry] if entry else self.entries(paths.as_directory(cleaned))
        return (entry for entry in self.entries(_search_root(cleaned)) if _below_match(matcher, entry.path))

    def info(self, node: Node) -> Any:
        """Return the `FileInfo` of a node, as bytes when it goes over the wire."""
        if not self.on_wire:
            return self.message_of(node)
        if not self._prefixes:
            stamp = wire.timestamp(self.commit.finishing)
            self._prefixes = field(1, bytes(self.message)), field(3, stamp) if stamp else b""
        return wire.file_info(*self._prefixes, node)

    def message_of(self, node: Node) -> Any:
        """Return the `FileInfo` message of a node."""
        return messages.file_info(self.message, self.commit.finishing, node.path, node.size, node.digest)

    def _resolve(self, path: str) -> tuple[Node | None, str]:
        """Return the file at a path, None when there is not one, and the path as that of a directory."""
        cleaned = paths.clean(path)
        entry = self.file(cleaned)
        return self.file_node(entry) if entry else None, paths.as_directory(cleaned)


@contextmanager
def snapshot(call: Call, commit_message: Any) -> Iterator[Snapshot]:
    """Open the commit that a message means for reading; one that is being finished is waited for.

    Raises:
        ServiceError: NOT_FOUND, or UNKNOWN when it builds on an unfinished commit.
    """
    while True:
        with call.store.chunks.in_use(), call.store.database.connection() as db:
            seen = version(db)
            db.execute("BEGIN")
            commit = references.commit(db, commit_message)
            if tables.state_of(db, commit) is not State.FINISHING:
                yield Snapshot(call.store, db, commit, on_wire=call.on_wire)
                return
            db.execute("ROLLBACK")
            call.wait_for_change(db, seen)


def file_not_found(found: Snapshot, path: str) -> ServiceError:
    """Return the refusal for a missing file."""
    return not_found(
        f"file {path} not found in repo {tables.repo_by_pk(found.db, found.commit.repo)} at commit {found.commit.id}"
    )


def _search_root(pattern: str) -> str:
    prefix = globs.literal_prefix(pattern)
    return prefix[: prefix.rindex("/") + 1]


def _matches(matcher: re.Pattern[str], path: str) -> bool:
    # The root is the empty path here, so that `/*` means what is in it and not itself.
    return matcher.match(path.rstrip("/")) is not None


def matcher(pattern: str) -> Callable[[str], bool]:
    """Return a function that returns whether a pattern matches a path itself (`/f`, `/d/`)."""
    cleaned = paths.clean(pattern)
    compiled = globs.compile_glob(cleaned)
    return lambda path: path == cleaned == "/" or _matches(compiled, path)


def _below_match(matcher: re.Pattern[str], path: str) -> bool:
    at = len(path)
    while at > 0:
        if matcher.match(path[:at]):
            return True
        at = path.rfind("/", 0, at)
    return False
