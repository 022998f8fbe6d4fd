"""Names and paths: what pachd accepts, and how it writes them."""

from __future__ import annotations

import posixpath
import re

from chandlery.embedded.pachd.store.failure import ServiceError, unimplemented, unknown

_NAME = re.compile(r"[a-zA-Z0-9_-]+\Z")
_PROJECT = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]*\Z")
_COMMIT_ID = re.compile(r"[0-9a-f]{12}4[0-9a-f]{19}\Z")
_PRINTABLE = re.compile(r"[ -~]+\Z")
_RESERVED = re.compile(r"[*?\[\]{}!()@+^]")

MAX_PROJECT = 51
DEFAULT_DATUM = "default"


def check_name(kind: str, name: str) -> str:
    """Return `name` when it may name a repo or branch (`kind`).

    Raises:
        ServiceError: UNKNOWN with the rule that it breaks.
    """
    if not _NAME.match(name):
        raise unknown(
            f"{kind} name ({name}) invalid: only alphanumeric characters, underscores, and dashes are allowed"
        )
    return name


def check_project(name: str) -> str:
    """Return `name` when it may name a project.

    Raises:
        ServiceError: UNKNOWN with the rule that it breaks.
    """
    if not _PROJECT.match(name) or len(name) > MAX_PROJECT:
        raise unknown(
            f"project name ({name}) invalid: must start with an alphanumeric character, hold only alphanumeric "
            f"characters, underscores and dashes, and be at most {MAX_PROJECT} characters long"
        )
    return name


def is_commit_id(text: str) -> bool:
    """Return whether `text` has the form of a commit id (a version 4 UUID without dashes)."""
    return bool(_COMMIT_ID.match(text))


def clean(path: str) -> str:
    """Return `path` absolute, without doubled or trailing slashes and without `.` and `..` elements."""
    return posixpath.normpath("/" + path.lstrip("/"))


def check_signs(path: str) -> str:
    """Return `path` as it is, when it has only the signs that a path may have.

    Raises:
        ServiceError: UNKNOWN, text beginning `path (...) invalid:`.
    """
    if not _PRINTABLE.match(path):
        raise _bad_path(path, "only printable ASCII characters allowed")
    reserved = _RESERVED.search(path)
    if reserved:
        raise _bad_path(path, f"globbing character ({reserved[0]}) not allowed in path")
    if any(element in (".", "..") for element in path.split("/")):
        raise _bad_path(path, "relative file paths are not allowed")
    return path


def check_path(path: str) -> str:
    """Return `path` cleaned, when a file may be stored under it.

    Raises:
        ServiceError: UNKNOWN, text beginning `path (...) invalid:`.
    """
    cleaned = clean(check_signs(path))
    if cleaned == "/":
        raise _bad_path(path, "it names no file")
    return cleaned


def check_datum(datum: str) -> None:
    """Refuse a datum key other than the default one; what several of them mean together is not imitated here."""
    if datum not in ("", DEFAULT_DATUM):
        raise unimplemented(f"a datum key other than {DEFAULT_DATUM!r} (here {datum!r})")


def as_directory(cleaned: str) -> str:
    """Return a cleaned path in the form that directories are listed under: with a trailing slash."""
    return cleaned if cleaned.endswith("/") else cleaned + "/"


def subtree(directory: str) -> tuple[str, str]:
    """Return the half-open range of the paths below a directory (`/d/`) in byte order."""
    return directory, directory[:-1] + chr(ord("/") + 1)


def _bad_path(path: str, why: str) -> ServiceError:
    return unknown(f"path ({path}) invalid: {why}")
