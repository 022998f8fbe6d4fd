"""Reading files and listings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from betterproto.lib.google.protobuf import BytesValue
from pachyderm_sdk.api import pfs

from chandlery.embedded.pachd.rpc import archive, references, wire
from chandlery.embedded.pachd.rpc.calls import Call, rpc
from chandlery.embedded.pachd.rpc.reading import Snapshot, file_not_found, snapshot
from chandlery.embedded.pachd.store import paths, tables
from chandlery.embedded.pachd.store.failure import invalid, unimplemented, unknown
from chandlery.embedded.pachd.store.tree import Node

_MAX_NUMBER = 100_000


@rpc("/pfs_v2.API/GetFile", pfs.GetFileRequest)
def get_file(call: Call, request: Any) -> Iterator[Any]:
    """Read one file from an offset on; its path is a glob that must match exactly one file."""
    if request.url:
        raise unimplemented("GetFile into a URL")
    if request.offset < 0:
        raise invalid(f"offset ({request.offset}) must not be negative")
    with snapshot(call, request.file.commit) as found:
        entry = found.file(paths.clean(request.file.path))
        if entry is None:
            entry = _only_match(found, request.file.path)
        for piece in found.content(entry, request.offset):
            call.check()
            yield wire.bytes_value(piece) if call.on_wire else BytesValue(value=piece)


def _only_match(found: Snapshot, path: str) -> Any:
    matches = []
    for node in found.glob(path):
        matches.append(node)
        if len(matches) > 1:
            raise unknown("matched multiple files. Use GetFileTAR instead")
    if not matches:
        raise file_not_found(found, path)
    if matches[0].entry is None:
        raise unknown("cannot get directory or non-regular file. Use GetFileTAR instead")
    return matches[0].entry


@rpc("/pfs_v2.API/GetFileTAR", pfs.GetFileRequest)
def get_file_tar(call: Call, request: Any) -> Iterator[Any]:
    """Read files and directories that a glob matches as one TAR stream."""
    if request.url:
        raise unimplemented("GetFileTAR into a URL")
    if request.offset:
        raise unimplemented("GetFileTAR with an offset")
    limits = request.path_range
    with snapshot(call, request.file.commit) as found:
        empty = True
        for piece in archive.stream(found, request.file.path, limits.lower, limits.upper):
            call.check()
            empty = False
            yield wire.bytes_value(piece) if call.on_wire else BytesValue(value=piece)
        if empty:
            raise file_not_found(found, request.file.path)


@rpc("/pfs_v2.API/InspectFile", pfs.InspectFileRequest)
def inspect_file(call: Call, request: Any) -> Any:
    """Describe one file or directory."""
    with snapshot(call, request.file.commit) as found:
        node = found.inspect(request.file.path)
        if node is None:
            raise file_not_found(found, request.file.path)
        return found.info(node)


@rpc("/pfs_v2.API/ListFile", pfs.ListFileRequest)
def list_file(call: Call, request: Any) -> Iterator[Any]:
    """Describe what a directory holds directly."""
    with snapshot(call, request.file.commit) as found:
        yield from _page(call, found, found.children(request.file.path), request)


@rpc("/pfs_v2.API/WalkFile", pfs.WalkFileRequest)
def walk_file(call: Call, request: Any) -> Iterator[Any]:
    """Describe a directory and everything below it."""
    with snapshot(call, request.file.commit) as found:
        nodes = found.walk(request.file.path)
        first = next(nodes, None)
        if first is None:
            if paths.clean(request.file.path) == "/":
                return
            raise file_not_found(found, request.file.path)
        yield from _page(call, found, _with(first, nodes), request)


@rpc("/pfs_v2.API/GlobFile", pfs.GlobFileRequest)
def glob_file(call: Call, request: Any) -> Iterator[Any]:
    """Describe the files and directories that a pattern matches."""
    limits = request.path_range
    with snapshot(call, request.commit) as found:
        for node in found.glob(request.pattern):
            call.check()
            if node.path >= limits.lower and (not limits.upper or node.path < limits.upper):
                yield found.info(node)


@rpc("/pfs_v2.API/DiffFile", pfs.DiffFileRequest)
def diff_file(call: Call, request: Any) -> Iterator[Any]:
    """Describe what differs below a path between two commits, by default between one and its parent."""
    with snapshot(call, request.new_file.commit) as new:
        old_message, old_path = request.old_file.commit, request.old_file.path
        if not (old_message.id or old_message.branch.name):
            if new.commit.parent is None:
                for node in new.walk(request.new_file.path):
                    yield pfs.DiffFileResponse(new_file=new.message_of(node))
                return
            parent = tables.commit_by_pk(new.db, new.commit.parent)
            old, old_path = Snapshot(call.store, new.db, parent, on_wire=call.on_wire), request.new_file.path
        else:
            old = Snapshot(call.store, new.db, references.commit(new.db, old_message), on_wire=call.on_wire)
        new_side = new.walk(request.new_file.path)
        old_side = old.walk(old_path)
        for after, before in _differences(new_side, old_side):
            call.check()
            response = pfs.DiffFileResponse()
            if after:
                response.new_file = new.message_of(after)
            if before:
                response.old_file = old.message_of(before)
            yield response


def _differences(new: Iterator[Node], old: Iterator[Node]) -> Iterator[tuple[Node | None, Node | None]]:
    after, before = next(new, None), next(old, None)
    while after or before:
        if before is None or (after and after.path < before.path):
            yield after, None
            after = next(new, None)
        elif after is None or before.path < after.path:
            yield None, before
            before = next(old, None)
        else:
            if after.digest != before.digest:
                yield after, before
            after, before = next(new, None), next(old, None)


def _page(call: Call, found: Snapshot, nodes: Iterator[Node], request: Any) -> Iterator[Any]:
    if request.number == 0 and request.reverse:
        raise unknown("number must be > 0 when reverse is true")
    if request.number > _MAX_NUMBER:
        raise unknown(f"cannot return more than {_MAX_NUMBER} files at a time")
    marker = request.pagination_marker.path
    if marker:
        nodes = (node for node in nodes if (node.path < marker if request.reverse else node.path > marker))
    if request.reverse:
        nodes = iter(reversed(list(nodes)))
    left = request.number or -1
    for node in nodes:
        if left == 0:
            return
        left -= 1
        call.check()
        yield found.info(node)


def _with(first: Node, rest: Iterator[Node]) -> Iterator[Node]:
    yield first
    yield from rest
