"""MLflow's own client, opened with a deadline instead of MLflow's four minutes of silent retries."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from chandlery.addresses import VARIABLES, require_mlflow
from chandlery.errors import RegistryError

if TYPE_CHECKING:
    from mlflow import MlflowClient

DEADLINE_SECONDS = 20.0  # how long a call is repeated while the server does not answer
ANSWER_SECONDS = 10.0  # how long one request waits for its answer
PAUSE_SECONDS = 0.5
MOST_COLLISIONS = 5  # repeats of a call that another process was faster with

# MLflow's own retries are switched off: `call` repeats, with a deadline over all tries. Telemetry goes nowhere.
ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": str(int(ANSWER_SECONDS)),
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}

P = ParamSpec("P")
T = TypeVar("T")


def open_client() -> MlflowClient:
    """Open MLflow's client on the configured tracking server.

    Importing it takes seconds and 150 MB; what only reads uses `chandlery.registry.reader`.

    Raises:
        PlatformError: no tracking server is configured.
    """
    address = require_mlflow()
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=address, registry_uri=address)


def call(function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Call a method of MLflow's client; repeat it while the server is away, `DEADLINE_SECONDS` at most.

    Only for calls that may be repeated: a server that dies may have done what it did not answer.

    Raises:
        RegistryError: the server cannot be reached, or refuses.
    """
    from mlflow.exceptions import MlflowException

    deadline = time.monotonic() + DEADLINE_SECONDS
    collisions = 0
    while True:
        try:
            return function(*arguments, **named)
        except MlflowException as error:
            collided = has_collided(error)
            collisions += collided
            if not is_away(error) and not (collided and collisions <= MOST_COLLISIONS):
                raise refused(str(error)) from error
            if time.monotonic() >= deadline:
                raise unreachable(str(error)) from error
        time.sleep(PAUSE_SECONDS)


def is_missing(error: BaseException) -> bool:
    """Return whether an MLflow error (or a RegistryError made of one) means that the object does not exist."""
    cause = error.__cause__ if isinstance(error, RegistryError) else error
    return getattr(cause, "error_code", "") == "RESOURCE_DOES_NOT_EXIST"


def is_away(error: BaseException) -> bool:
    """Return whether an MLflow error came from a server that is down, starting, or overloaded."""
    text = str(error)
    if "API request to" in text and (
        "failed with exception" in text or "failed with timeout" in text or "too many" in text
    ):
        return True
    status = getattr(error, "get_http_status_code", lambda: 0)()
    # MLflow gives the code INTERNAL_ERROR (500) to every error without a code of its own, its database being busy
    # included; repeating those costs a real error a few seconds and nothing else.
    return int(status) in (429, 500, 502, 503, 504)


def has_collided(error: BaseException) -> bool:
    """Return whether two processes wrote the same row at the same moment; the process that repeats its call finds the row.

    MLflow looks whether a row is there before it inserts it, and passes on its database's error when another process
    was faster.
    """
    text = str(error)
    return "IntegrityError" in text or "UniqueViolation" in text or "Duplicate entry" in text


def unreachable(detail: str) -> RegistryError:
    """Return the error for a server that does not answer, naming its address."""
    return RegistryError(
        f"MLflow at {require_mlflow()} does not answer: {_line(detail)}",
        f"start it with `chandlery up`, or set {VARIABLES['mlflow']} to a server that runs",
    )


def refused(detail: str) -> RegistryError:
    """Return the error for a request that the server answered with an error."""
    return RegistryError(
        f"MLflow at {require_mlflow()} refused: {_line(detail)}",
        "see the server's log (`chandlery logs mlflow`)",
    )


def _line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 300 else line[:300] + "..."
