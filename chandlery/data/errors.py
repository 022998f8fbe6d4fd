"""What Pachyderm's client raises, as our typed errors: the one place that knows codes and texts.

pachd answers most mistakes with code UNKNOWN and only a text, so texts are matched where the code is not enough.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import grpc

from chandlery import addresses
from chandlery.errors import (
    ChandleryError,
    ConflictError,
    DataError,
    DeadlineError,
    NotFoundError,
    PlatformError,
    UserError,
)

_FULL = ("no space left", "disk is full", "disk full", "disk quota", "quota exceeded")


@contextmanager
def translated(action: str) -> Iterator[None]:
    """Turn what the SDK raises in the block into a `ChandleryError`.

    Args:
        action: what is being done, to begin the message with: `commit to digits@master`.
    """
    try:
        yield
    except grpc.RpcError as error:
        raise _typed(action, error) from error
    except ConnectionError as error:
        raise _unreachable(action, _first_line(str(error))) from error
    except ValueError as error:
        # PFSFile wraps the server's error when a stream is opened.
        if isinstance(error.__cause__, grpc.RpcError):
            raise _typed(action, error.__cause__) from error
        raise


def says_missing(error: grpc.RpcError) -> bool:
    """Return whether pachd refused because there is no such thing: by the code, or only by the text."""
    if hasattr(error, "code") and error.code() == grpc.StatusCode.NOT_FOUND:
        return True
    text = ((error.details() if hasattr(error, "details") else "") or "").lower()
    return "not found" in text or "invalid offset" in text  # of an ancestor that there is not


def _typed(action: str, error: grpc.RpcError) -> ChandleryError:
    code = error.code() if hasattr(error, "code") else grpc.StatusCode.UNKNOWN
    text = _first_line((error.details() if hasattr(error, "details") else "") or str(error))
    message = f"{action}: {text}"
    lower = text.lower()
    if code == grpc.StatusCode.UNAVAILABLE and "not finished" not in lower:
        return _unreachable(action, text)
    if code == grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineError(message, "is pachd under load? run again, or give it longer")
    if code in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
        return PlatformError(message, "set PACH_PYTHON_AUTH_TOKEN to a token with the repoWriter role")
    if says_missing(error):
        return NotFoundError(message, "see what exists with `pachctl list repo` or the message's own list")
    if code == grpc.StatusCode.RESOURCE_EXHAUSTED or any(word in lower for word in _FULL):
        return DataError(message, f"free space at {addresses.endpoints().data}; nothing was committed")
    if "unexpectedly resulted in rollback" in lower:  # a real pachd beside another busy writer
        return ConflictError(message, "pachd is busy: run again")
    if code == grpc.StatusCode.ALREADY_EXISTS or "already finished" in lower or "not been finished" in lower:
        return ConflictError(message, "another process works on the same branch: run again")
    if code == grpc.StatusCode.UNIMPLEMENTED:
        return PlatformError(message, f"the server at {addresses.endpoints().data} does not have this call")
    if code == grpc.StatusCode.INVALID_ARGUMENT or " invalid" in lower:
        return UserError(message, "names hold letters, digits, '-' and '_'; paths printable ASCII")
    return DataError(message, "nothing was committed; run again, and see the server's log if it stays")


def _unreachable(action: str, text: str) -> PlatformError:
    address = addresses.endpoints().data
    return PlatformError(
        f"{action}: pachd at {address} cannot be reached: {text}",
        f"check {addresses.VARIABLES['data']}={address} with `chandlery doctor`",
    )


def _first_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0] if lines else "no details"
