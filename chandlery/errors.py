"""Errors: what was wrong, where, and what to do.

The command line turns a `UserError` into exit code 2 and any other `ChandleryError` into exit code 1,
printing `message` and, on a second line, `hint`. Inside a pipeline step either ends the step.
"""

from __future__ import annotations

import os

from chandlery.redaction import redacted


class ChandleryError(Exception):
    """A failure that we understand.

    Args:
        message: what was wrong and where, one line.
        hint: what to do about it, one line; empty when there is nothing to add.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        message, hint = redacted(message), redacted(hint)
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class UserError(ChandleryError):
    """The caller asked for something that cannot be: a wrong name, value, file or document."""

    exit_code = 2


class RecipeError(UserError):
    """A recipe cannot be found, cannot be loaded, breaks its contract or raised."""


class NotFoundError(UserError):
    """A named thing does not exist: repo, branch, commit, experiment, model version, deployment."""


class InvalidDocumentError(UserError):
    """An Experiment or SeldonDeployment document (or a spec that makes one) is not valid."""


class DataError(ChandleryError):
    """Versioned data could not be read or written; nothing half-written became visible."""


class ValidationFailedError(ChandleryError):
    """A dataset does not fit the recipe's schema."""


class SearchError(ChandleryError):
    """A hyperparameter search failed."""


class TrainingError(ChandleryError):
    """Training or evaluation failed."""


class RegistryError(ChandleryError):
    """MLflow refused or could not be reached."""


class ServingError(ChandleryError):
    """A deployment did not become what its document says."""


class ModelLoadError(ServingError):
    """A model package cannot be loaded or does not answer."""


class PlatformError(ChandleryError):
    """The laptop platform or an endpoint is not usable."""


class ConflictError(ChandleryError):
    """Somebody else changed the same thing, or holds it."""


class DeadlineError(ChandleryError):
    """A wait passed its deadline."""


class MissingExtraError(UserError):
    """A library that the work needs is not installed.

    Args:
        module: the module that is missing.
        extra: the extra of the package that brings it.
    """

    def __init__(self, module: str, extra: str) -> None:
        super().__init__(
            f"{module} is not installed, and this needs it", f"install it: pip install 'chandlery[{extra}]'"
        )


def missing_extra(error: ModuleNotFoundError) -> MissingExtraError | None:
    """Return the error to report in place of a failed import; None when no extra brings that module."""
    from chandlery.extras import extra_of

    name = error.name or ""
    extra = extra_of(name)
    return MissingExtraError(name, extra) if extra else None


def require_extra(extra: str, *modules: str) -> None:
    """Check that modules are installed, without importing them.

    Raises:
        MissingExtraError: one is not; the hint is the command that installs the extra.
    """
    import importlib.util

    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise MissingExtraError(module, extra)


def end_steps_plainly() -> None:
    """Let an uncaught ChandleryError end this process with its message and hint; other errors keep their traceback."""
    import sys
    from types import TracebackType

    usual = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        from chandlery import progress

        if isinstance(error, ModuleNotFoundError):
            error = missing_extra(error) or error
        if isinstance(error, ChandleryError):
            progress.report(
                "step.failed",
                f"error: {error}",
                error=error.message,
                hint=error.hint,
                exit_code=error.exit_code,
            )
        else:
            usual(kind, error, trace)
            progress.report("step.failed", "", error=f"{kind.__name__}: {error}", hint="", exit_code=1)

    sys.excepthook = hook


# In a step of a run (composition sets this variable) a ChandleryError ends the process with its two lines. A team's
# own component gets the same when it raises one: the hook is set where the classes are imported.
if os.environ.get("CHANDLERY_TASK"):
    end_steps_plainly()
