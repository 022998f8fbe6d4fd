"""How a call fails: a gRPC status code and a text, the same whichever face the call came through."""

from __future__ import annotations

import errno
import sqlite3

from grpc import StatusCode

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class ServiceError(Exception):
    """A refusal with its gRPC status.

    Args:
        code: gRPC status code. Most of pachd's own refusals are plain errors, which a client sees as UNKNOWN.
        text: what a client reads from `details()`.
    """

    def __init__(self, code: StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


def not_found(text: str) -> ServiceError:
    """Return a NOT_FOUND refusal."""
    return ServiceError(StatusCode.NOT_FOUND, text)


def already_exists(text: str) -> ServiceError:
    """Return an ALREADY_EXISTS refusal."""
    return ServiceError(StatusCode.ALREADY_EXISTS, text)


def unknown(text: str) -> ServiceError:
    """Return an UNKNOWN refusal, the code of every plain error of pachd."""
    return ServiceError(StatusCode.UNKNOWN, text)


def internal(text: str) -> ServiceError:
    """Return an INTERNAL refusal."""
    return ServiceError(StatusCode.INTERNAL, text)


def invalid(text: str) -> ServiceError:
    """Return an INVALID_ARGUMENT refusal."""
    return ServiceError(StatusCode.INVALID_ARGUMENT, text)


def unimplemented(what: str) -> ServiceError:
    """Return an UNIMPLEMENTED refusal; `what` names the RPC or the option."""
    return ServiceError(StatusCode.UNIMPLEMENTED, f"{what} is not implemented by the embedded pachd")


def from_exception(error: Exception) -> ServiceError:
    """Return the refusal that stands for an error of the machine (disk, database), or for a defect of this implementation."""
    if isinstance(error, ServiceError):
        return error
    if isinstance(error, OSError):
        code = StatusCode.RESOURCE_EXHAUSTED if error.errno in _FULL else StatusCode.UNKNOWN
        return ServiceError(code, str(error))
    if isinstance(error, sqlite3.OperationalError):
        if "full" in str(error):
            return ServiceError(StatusCode.RESOURCE_EXHAUSTED, f"no space left on device: {error}")
        if "locked" in str(error) or "busy" in str(error):
            return ServiceError(StatusCode.UNAVAILABLE, f"the store is busy: {error}")
        return ServiceError(StatusCode.UNKNOWN, f"the store cannot be read or written: {error}")
    if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.IntegrityError):
        return ServiceError(StatusCode.DATA_LOSS, f"the store is damaged: {error}")
    return ServiceError(StatusCode.INTERNAL, f"defect of the embedded pachd: {error!r}")
