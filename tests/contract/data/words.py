"""Short words for what every test of this suite does: name a file, read it, change some, list them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Any

from pachyderm_sdk import Client
from pachyderm_sdk.api import pfs

GENEROUS_SECONDS = 60.0


def branch(repo: Any, name: str = "master") -> Any:
    """A branch of a repo."""
    return pfs.Branch(name=name, repo=repo)


def commit(repo: Any, id_: str) -> Any:
    """A commit of a repo, by id or by any other reference."""
    return pfs.Commit(repo=repo, id=id_)


def file(of: Any, path: str) -> Any:
    """A file of a commit."""
    return pfs.File(commit=of, path=path)


def read(client: Client, of: Any, path: str) -> bytes:
    """The content of a file."""
    content: bytes = client.pfs.pfs_file(file(of, path)).read()
    return content


def listed(client: Client, of: Any, path: str = "/") -> list[str]:
    """What a directory holds directly."""
    return paths(client.pfs.list_file(file=file(of, path)))


def files(client: Client, of: Any, path: str = "/") -> list[str]:
    """All files below a directory, without the directories."""
    infos = client.pfs.walk_file(file=file(of, path))
    return [info.file.path for info in infos if info.file_type == pfs.FileType.FILE]


def paths(infos: Iterable[Any]) -> list[str]:
    """The paths of a listing, in its order."""
    return [info.file.path for info in infos]


def modify(client: Client, target: Any, *operations: Any) -> None:
    """Send operations as one ModifyFile stream."""
    client.pfs.modify_file(iter([pfs.ModifyFileRequest(set_commit=target), *operations]))


def add(path: str, data: bytes) -> Any:
    """The operation that appends to a file."""
    return pfs.ModifyFileRequest(add_file=pfs.AddFile(path=path, raw=data))


def delete(path: str) -> Any:
    """The operation that deletes a file, or a directory when the path ends with a slash."""
    return pfs.ModifyFileRequest(delete_file=pfs.DeleteFile(path=path))


def digest(data: bytes) -> bytes:
    """BLAKE2b-256."""
    return blake2b(data, digest_size=32).digest()


def is_open(info: Any) -> bool:
    """Whether a CommitInfo is of a commit that nobody has finished yet."""
    return bool(info.finishing.timestamp() == 0 and info.finished.timestamp() == 0)


def eventually(holds: Callable[[], bool]) -> bool:
    """Wait until something holds; tell whether it did in good time."""
    deadline = time.monotonic() + GENEROUS_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
