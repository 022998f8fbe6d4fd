"""A request that is not served, with the status and the words that the caller gets."""

from __future__ import annotations

BAD_DATA = "MICROSERVICE_BAD_DATA"
INTERNAL = "MICROSERVICE_INTERNAL_ERROR"
LONGEST = 500  # characters of a reason: it may name what the caller sent, which may be megabytes


class Refused(Exception):  # noqa: N818 - it is an answer, not a failure of the server
    """A request that gets an error answer.

    Args:
        status: HTTP status.
        info: what was wrong and what was expected, one line.
        reason: machine-readable reason, Seldon's names where Seldon has one.
        retry_after: seconds after which trying again makes sense; 0 when it does not.
    """

    def __init__(self, status: int, info: str, reason: str = BAD_DATA, retry_after: int = 0) -> None:
        info = info if len(info) <= LONGEST else f"{info[: LONGEST // 2]} ... {info[-LONGEST // 2 :]}"
        super().__init__(info)
        self.status = status
        self.info = info
        self.reason = reason
        self.retry_after = retry_after
