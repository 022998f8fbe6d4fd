"""The state of a canary: everything that must outlive the process that watches it.

It is kept as JSON in an annotation of the SeldonDeployment, so that whoever runs the step again finds the same
epochs and the same baselines.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from chandlery.canary.decision.policy import ReleasePolicy
from chandlery.errors import InvalidDocumentError
from chandlery.resources.counts import Counts

ANNOTATION = "chandlery.io/canary"
SCHEMA_VERSION = 1
MAX_LOOKS = 240  # an annotation is small: past this every other look is forgotten

Phase = Literal["shifting", "observing", "finishing", "finished"]
Verdict = Literal["", "promoted", "rolled_back", "inconclusive"]


@dataclass(frozen=True)
class Epoch:
    """A stretch of time under one weight.

    Attributes:
        weight: the challenger's share of traffic, percent.
        opened: seconds under observation when the weight was in force.
        champion: what was counted of the champion.
        challenger: what was counted of the challenger.
    """

    weight: int
    opened: float
    champion: Counts = field(default_factory=Counts)
    challenger: Counts = field(default_factory=Counts)

    @property
    def share(self) -> float:
        """The challenger's share of the traffic, in (0, 1)."""
        return self.weight / 100


@dataclass(frozen=True)
class EvidencePoint:
    """The evidence at one moment, for the plot.

    Attributes:
        at: seconds under observation.
        weight: percent.
        promote: log e-value for promotion.
        rollback: log e-value against each guard-rail.
        requests: counted so far, both variants.
    """

    at: float
    weight: int
    promote: float
    rollback: dict[str, float]
    requests: int


@dataclass(frozen=True)
class CanaryState:
    """One canary from its first weight to its verdict.

    Attributes:
        run: id of the run that started it; empty when there is none.
        champion: predictor that answered before.
        challenger: predictor that is being released.
        policy: what it is judged by; fixed at the start.
        stage: index into the policy's weights.
        phase: `shifting` to the weight of the stage, `observing`, `finishing` (decided, not yet carried out), `finished`.
        epochs: one for each weight that came into force.
        last: cumulative counters at the last look, champion and challenger.
        elapsed: seconds under observation; time when nobody looked does not count.
        proven: the primary metric has passed; it cannot be unproven.
        unready_since: elapsed seconds at which the challenger was first seen not ready; negative when it is ready.
        verdict: what was decided.
        reason: why, one sentence with numbers.
        ended_by: who ended it early; empty: the evidence or the deadline did.
        looks: evidence over time, thinned.
        holder: process that watches it now.
        heartbeat: when the holder last wrote, seconds since 1970.
    """

    run: str
    champion: str
    challenger: str
    policy: ReleasePolicy
    stage: int = 0
    phase: Phase = "shifting"
    epochs: tuple[Epoch, ...] = ()
    last: tuple[Counts, Counts] = (Counts(), Counts())
    elapsed: float = 0.0
    proven: bool = False
    unready_since: float = -1.0
    verdict: Verdict = ""
    reason: str = ""
    ended_by: str = ""
    looks: tuple[EvidencePoint, ...] = field(default=())
    holder: str = ""
    heartbeat: float = 0.0

    @property
    def weight(self) -> int:
        """The challenger's weight at this stage, percent."""
        return self.policy.weights[self.stage]

    def with_(self, **changes: Any) -> CanaryState:
        """Return a copy with the given fields changed."""
        return replace(self, **changes)

    def totals(self) -> tuple[Counts, Counts]:
        """Return what was counted over all epochs: champion, challenger."""
        champion = challenger = Counts()
        for epoch in self.epochs:
            champion, challenger = champion + epoch.champion, challenger + epoch.challenger
        return champion, challenger

    def remember(self, look: EvidencePoint) -> CanaryState:
        """Return the state with one more look; old ones are thinned when there are many."""
        looks = (*self.looks, look)
        return self.with_(looks=looks[:-1:2] + looks[-1:] if len(looks) > MAX_LOOKS else looks)

    def to_json(self) -> str:
        """Return the annotation's text."""
        document = {"schema": SCHEMA_VERSION, **asdict(self), "policy": self.policy.to_json()}
        return json.dumps(document, separators=(",", ":"), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> CanaryState:
        """Return the state of an annotation.

        Raises:
            InvalidDocumentError: the text is not such a state.
        """
        try:
            return cls._parse(json.loads(text))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InvalidDocumentError(
                f"annotation {ANNOTATION}: not the state of a canary: {error}",
                "remove it to start the canary anew",
            ) from error

    @classmethod
    def _parse(cls, document: Mapping[str, Any]) -> CanaryState:
        values = dict(document)
        version = values.pop("schema")
        if version != SCHEMA_VERSION:
            raise ValueError(f"schema {version}, this release reads {SCHEMA_VERSION}")
        champion, challenger = values["last"]
        values["policy"] = ReleasePolicy.from_json(values["policy"])
        values["last"] = (Counts(**champion), Counts(**challenger))
        values["epochs"] = tuple(
            Epoch(e["weight"], e["opened"], Counts(**e["champion"]), Counts(**e["challenger"]))
            for e in values["epochs"]
        )
        values["looks"] = tuple(EvidencePoint(**look) for look in values["looks"])
        return cls(**values)
