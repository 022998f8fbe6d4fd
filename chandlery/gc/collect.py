"""The collection: read what points to what, list what may go, take each thing away under its lock, delete."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from chandlery import addresses, processes
from chandlery.errors import ConflictError
from chandlery.gc.candidate import Candidate, measured
from chandlery.gc.kinds.checkouts import checkout_candidates
from chandlery.gc.kinds.checkpoints import checkpoint_candidates
from chandlery.gc.kinds.chunks import chunk_candidates
from chandlery.gc.kinds.models import model_candidates
from chandlery.gc.kinds.runs import run_candidates
from chandlery.gc.kinds.searches import trial_candidates
from chandlery.gc.kinds.servers import server_candidates
from chandlery.gc.kinds.sources import source_candidates
from chandlery.gc.kinds.steps import step_candidates
from chandlery.gc.policy import Policy
from chandlery.gc.references import read_references
from chandlery.gc.survey import Survey
from chandlery.gc.trash import Trash
from chandlery.processes import marks
from chandlery.processes.locks import claimed
from chandlery.runs.launch import only_run
from chandlery.runs.record import all_runs


@dataclass(frozen=True)
class Collected:
    """Entries that were freed, or would be.

    Attributes:
        freed: the things, with their sizes.
        left: what was left alone, and why.
    """

    freed: tuple[Candidate, ...]
    left: tuple[str, ...]

    @property
    def bytes(self) -> int:
        """Bytes of all of them together."""
        return sum(candidate.bytes for candidate in self.freed)


def collect(policy: Policy, *, dry_run: bool = False) -> Collected:
    """Free what nothing needs any more in this home.

    It may be killed at any moment: what it had taken away is deleted by the next one.

    Args:
        policy: what may go.
        dry_run: free nothing; the result lists what would be freed.

    Raises:
        ConflictError: another collection is in progress in this home.
    """
    home = addresses.home()
    if not home.is_dir():
        return Collected((), ())
    with _only_collection(home):
        # Before the runs are locked: systems may take their time to answer. Anything that is made in that time is newer than
        # `policy.now`, so nothing of it is old enough to go.
        references = read_references()
        artifacts = addresses.endpoints().artifacts
        local = None if "://" in artifacts else Path(artifacts)
        trash = Trash([*([local] if local and local.is_dir() else []), home])
        with ExitStack() as stack:
            running = not _enter(stack, home)
            survey = Survey(home, local, policy, references, running, [*references.silent])
            candidates = tuple(measured(filter(survey.is_free, _list(survey, trash))))
            if dry_run:
                return Collected(candidates, tuple(survey.left))
            freed = tuple(candidate for candidate in candidates if _free(candidate, trash, survey))
        trash.empty()
        return Collected(freed, tuple(survey.left))


def _list(survey: Survey, trash: Trash) -> Iterator[Candidate]:
    yield from trash.leftovers()
    runs = run_candidates(survey)
    yield from runs
    yield from step_candidates(survey, runs)
    yield from checkout_candidates(survey)
    yield from source_candidates(survey)
    yield from model_candidates(survey)
    yield from checkpoint_candidates(survey)
    yield from trial_candidates(survey)
    yield from server_candidates(survey)
    yield from chunk_candidates()


def _free(candidate: Candidate, trash: Trash, survey: Survey) -> bool:
    if candidate.collect:
        return candidate.collect()
    try:
        if candidate.may_go and not candidate.may_go():
            return False
        if candidate.leased is None:
            _throw(candidate, trash)
            return True
        with marks.only_user(candidate.leased) as alone:
            # Somebody may have come, used it and gone since it was listed.
            if alone and survey.policy.old(marks.last_used(candidate.leased)):
                _throw(candidate, trash)
                return True
        return False
    except OSError as error:
        survey.left.append(f"{candidate.kind} {candidate.name}: {error}")
        return False


def _throw(candidate: Candidate, trash: Trash) -> None:
    for path in candidate.paths:
        trash.throw(path)


def _enter(stack: ExitStack, home: Path) -> bool:
    """Hold the lock of the runs until the stack is left; False when a run is in progress."""
    try:
        stack.enter_context(only_run(home))
    except ConflictError:
        return False
    # A command that was killed leaves its run to end by itself a moment later, without the lock.
    return not any(processes.is_running(record.process) for record in all_runs(home))


@contextmanager
def _only_collection(home: Path) -> Iterator[None]:
    with claimed(home / "gc.lock") as free:
        if not free:
            raise ConflictError(
                f"another collection is in progress in {home}", "let it finish, then run again"
            )
        yield
