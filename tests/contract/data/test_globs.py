"""Globs: which files and directories a pattern matches."""

from __future__ import annotations

import pytest
from grpc import StatusCode
from pachyderm_sdk.api import pfs

from .test_listings import TREE
from .words import paths


@pytest.fixture
def commit(master, put):
    return put(master, TREE)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("/*", ["/a-", "/a.x", "/a/", "/b", "/c/"]),
        ("*", ["/a-", "/a.x", "/a/", "/b", "/c/"]),
        ("/a*", ["/a-", "/a.x", "/a/"]),
        ("/?", ["/a/", "/b", "/c/"]),
        ("/a/*", ["/a/b/", "/a/f"]),
        ("/*/*", ["/a/b/", "/a/f", "/c/d/", "/c/h.csv"]),
        ("/**.csv", ["/c/d/e/g.csv", "/c/h.csv"]),
        ("/c/**", ["/c/d/", "/c/d/e/", "/c/d/e/g.csv", "/c/h.csv"]),
        ("/{b,a/f}", ["/a/f", "/b"]),
        ("/[ab]", ["/a/", "/b"]),
        ("/[a-b]", ["/a/", "/b"]),
        ("/[!ab]", ["/c/"]),
        ("/@(b|c)", ["/b", "/c/"]),
        ("/a?(.x)", ["/a.x", "/a/"]),
        ("/+(a|-)", ["/a-", "/a/"]),
        ("/", ["/"]),
        ("/a", ["/a/"]),
        ("/a/", ["/a/"]),
        ("/a/f", ["/a/f"]),
        ("/nothing*", []),
        ("/nothing", []),
    ],
)
def test_a_glob_matches(client, commit, pattern, expected):
    """`*` and `?` stop at a slash, `**` does not; sets, alternatives and groups; in byte order."""
    assert paths(client.pfs.glob_file(commit=commit, pattern=pattern)) == expected


def test_a_glob_of_everything(client, commit):
    """`/**` matches all files and directories below the root."""
    found = paths(client.pfs.glob_file(commit=commit, pattern="/**"))
    assert found == [
        "/a-", "/a.x", "/a/", "/a/b/", "/a/b/f", "/a/f", "/b", "/c/", "/c/d/", "/c/d/e/", "/c/d/e/g.csv", "/c/h.csv",
    ]  # fmt: skip


def test_a_glob_within_a_range_of_paths(client, commit):
    """GlobFile of a range has what lies from `lower` on and before `upper`."""
    limits = pfs.PathRange(lower="/a.x", upper="/c/h.csv")
    found = paths(client.pfs.glob_file(commit=commit, pattern="/*", path_range=limits))
    assert found == ["/a.x", "/a/", "/b", "/c/"]


UNCLOSED = [
    pytest.param("/{a,b", marks=pytest.mark.differs("real", "a real pachd does not refuse this one")),
    "/[ab",
]


@pytest.mark.parametrize("pattern", UNCLOSED)
def test_a_malformed_glob_is_refused(client, commit, refused, pattern):
    """A pattern that is not closed is refused."""
    refused(StatusCode.UNKNOWN, lambda: client.pfs.glob_file(commit=commit, pattern=pattern))


@pytest.mark.differs("real", "a real pachd has these")
def test_negated_groups_are_not_implemented(client, commit, refused):
    """A glob with `!(...)` is UNIMPLEMENTED."""
    refused(StatusCode.UNIMPLEMENTED, lambda: client.pfs.glob_file(commit=commit, pattern="/!(a)"))
