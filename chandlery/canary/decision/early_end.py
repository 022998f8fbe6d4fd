"""A person's request to end a canary early, and the annotation that carries it.

It is kept in an annotation of the SeldonDeployment beside the canary's state. So it reaches whoever watches the canary,
wherever that process runs, and is still there when the process is killed before it acts.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Literal

from chandlery.canary.decision.state import CanaryState
from chandlery.errors import UserError

ANNOTATION = "chandlery.io/canary-end"
LONGEST_REASON = 1000  # characters: an annotation is small

Decision = Literal["promote", "rollback"]
VERDICTS: dict[Decision, Literal["promoted", "rolled_back"]] = {
    "promote": "promoted",
    "rollback": "rolled_back",
}


@dataclass(frozen=True)
class EarlyEnd:
    """The request.

    Attributes:
        decision: `promote` or `rollback`.
        reason: why, in the person's words, one line.
        person: who asked.
        time: when, seconds since 1970.
        challenger: predictor of the canary that is meant.
        run: run of the canary that is meant.

    Raises:
        UserError: an unknown decision, no reason, or one that is too long.
    """

    decision: Decision
    reason: str
    person: str
    time: float
    challenger: str
    run: str

    def __post_init__(self) -> None:
        """Refuse what cannot be recorded."""
        if self.decision not in VERDICTS:
            raise UserError(f"canary decision {self.decision!r}", f"valid: {', '.join(VERDICTS)}")
        check_reason(self.reason)

    def means(self, state: CanaryState) -> bool:
        """Return whether the request is for this canary, and not for an earlier one of the deployment."""
        return (self.challenger, self.run) == (state.challenger, state.run)

    def to_json(self) -> str:
        """Return the annotation's text."""
        return json.dumps(asdict(self), separators=(",", ":"), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> EarlyEnd | None:
        """Return the request of an annotation; None when there is none that can be read."""
        try:
            return cls(**json.loads(text))
        except (ValueError, TypeError, UserError):
            return None


def check_reason(reason: str) -> None:
    """Refuse a reason that says nothing or that cannot be kept.

    Raises:
        UserError: it is empty, too long, or holds characters that are not shown.
    """
    if not reason.strip():
        raise UserError(
            "a canary that ends early needs a reason", "it is recorded: say what the numbers do not show"
        )
    if len(reason) > LONGEST_REASON or not reason.isprintable():
        raise UserError(
            f"the reason has {len(reason)} characters, or characters that are not shown",
            f"one line of at most {LONGEST_REASON} characters",
        )
