"""A survey of a home: what every kind of garbage is judged by."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from chandlery.gc.candidate import Candidate
from chandlery.gc.policy import Policy
from chandlery.gc.references import References
from chandlery.processes import marks


@dataclass
class Survey:
    """A survey of a home.

    Attributes:
        home: the home folder.
        artifacts: the artifact root when it is a folder of this machine, else None.
        policy: how old and how many.
        references: what points to what.
        running: a run is in progress, which may need anything that runs leave.
        left: what was left alone and why, for a person.
    """

    home: Path
    artifacts: Path | None
    policy: Policy
    references: References
    running: bool
    left: list[str] = field(default_factory=list)

    def is_free(self, candidate: Candidate) -> bool:
        """Return whether no process uses a thing; one that is used is listed as left alone."""
        if candidate.leased is None or not marks.is_used(candidate.leased):
            return True
        self.left.append(f"{candidate.kind} {candidate.name}: a process uses it")
        return False

    @property
    def ours(self) -> Path | None:
        """The artifact root when it belongs to this home alone: others may share one that lies elsewhere."""
        if self.artifacts is None or not self.artifacts.resolve().is_relative_to(self.home):
            return None
        return self.artifacts
