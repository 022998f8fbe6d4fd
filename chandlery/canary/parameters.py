"""The parameters of a canary and of a replay, made once and handed on whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chandlery import addresses
from chandlery.canary.decision.early_end import VERDICTS, Decision, check_reason
from chandlery.canary.decision.policy import ReleasePolicy, guardrails
from chandlery.errors import UserError


@dataclass(frozen=True)
class CanaryParameters:
    """The parameters of `run_canary`; numbers of a list arrive from KFP as floats.

    Attributes:
        model_name: registered model.
        challenger_version: the version that is being released.
        deployment: name of the deployment; empty: the model's.
        namespace: Kubernetes namespace; empty: the endpoint's.
        weights: the challenger's shares of traffic in percent, rising, ending in 100.
        alpha: budget for rolling back a challenger that is not worse.
        beta: budget for promoting a challenger that is `margin` times as bad, or worse.
        margin: rate ratio of bad events that a promotion must exclude.
        primary: metric on which a promotion must prove it.
        guardrails: metrics that can roll back.
        minimum_requests: requests of the challenger at each weight.
        deadline_seconds: seconds under observation after which the canary is inconclusive.
        look_seconds: seconds between looks; 0: what suits the source of the counters.
        grace_seconds: seconds after a weight change that are not counted; 0 likewise.
        label_grace_seconds: the same for feedback; 0 likewise.
        design_effect: requests that make one independent fact.
        latency_objective_seconds: slower answers are bad ones.
        traffic_repo: Pachyderm repo of labelled rows to replay; empty: live traffic alone.
        traffic_ref: branch or commit of that repo.
        replay_rate: requests per second to replay; 0: live traffic alone.
        seed: seed of the replay.
        decision: `auto`: by the evidence; `promote` or `rollback`: end the canary that is running so, now.
        decision_reason: why it ends early; recorded.
    """

    model_name: str
    challenger_version: str
    deployment: str = ""
    namespace: str = ""
    weights: Sequence[float] = (5, 25, 50, 100)
    alpha: float = 0.05
    beta: float = 0.05
    margin: float = 2.0
    primary: str = "wrong"
    guardrails: Sequence[str] = ("wrong", "errors", "slow", "refused")
    minimum_requests: int = 50
    deadline_seconds: float = 3600.0
    look_seconds: float = 0.0
    grace_seconds: float = 0.0
    label_grace_seconds: float = 0.0
    design_effect: float = 1.0
    latency_objective_seconds: float = 0.5
    traffic_repo: str = ""
    traffic_ref: str = "master"
    replay_rate: float = 0.0
    seed: int = 0
    decision: str = "auto"
    decision_reason: str = ""

    def early_end(self) -> Decision | None:
        """Return how a person ends the canary; None when the evidence is to decide.

        Raises:
            UserError: the decision is unknown, or it has no reason, or there is a reason and no decision.
        """
        if self.decision == "auto":
            if self.decision_reason:
                raise UserError(
                    "canary: a decision_reason without a decision", "set decision to promote or rollback"
                )
            return None
        decision = next((known for known in VERDICTS if known == self.decision), None)
        if decision is None:
            raise UserError(f"canary decision {self.decision!r}", f"valid: auto, {', '.join(VERDICTS)}")
        check_reason(self.decision_reason)
        return decision

    def policy(self) -> ReleasePolicy:
        """Return the policy of these parameters.

        Raises:
            UserError: a value is out of range; the message lists the valid ones.
        """
        if any(float(weight) != int(weight) for weight in self.weights):
            raise UserError(
                f"canary weights {list(self.weights)}",
                "whole percentages: a gateway splits no finer than 1 %",
            )
        rails = guardrails(self.guardrails)
        primary = next((rail.metric for rail in rails if rail.metric == self.primary), None)
        if primary is None:
            raise UserError(
                f"canary: the primary metric {self.primary!r} is not among the guard-rails {list(self.guardrails)}",
                "what a promotion must prove must also be able to roll back",
            )
        pace = pace_of(self.look_seconds, self.grace_seconds, self.label_grace_seconds)
        return ReleasePolicy(
            weights=tuple(int(weight) for weight in self.weights),
            alpha=self.alpha,
            beta=self.beta,
            margin=self.margin,
            primary=primary,
            guardrails=rails,
            deadline_seconds=self.deadline_seconds,
            minimum_requests=self.minimum_requests,
            look_seconds=pace.look_seconds,
            grace_seconds=pace.grace_seconds,
            label_grace_seconds=pace.label_grace_seconds,
            design_effect=self.design_effect,
        )


@dataclass(frozen=True)
class ReplayParameters:
    """The parameters of `replay_traffic`.

    Attributes:
        model_name: registered model.
        repo: Pachyderm repo of the labelled rows.
        ref: branch, commit or ancestor.
        deployment: name of the deployment; empty: the model's.
        namespace: Kubernetes namespace; empty: the endpoint's.
        part: `test`, `validation` or `train` split, `all` rows, or `auto`.
        rate: requests per second; 0: as many as `concurrency` connections get answered.
        seconds: seconds to replay for; 0: until `requests` are sent.
        requests: requests to send; 0: until `seconds` are over.
        concurrency: requests under way at most.
        seed: seed of the rows drawn and of the moments.
    """

    model_name: str
    repo: str
    ref: str = "master"
    deployment: str = ""
    namespace: str = ""
    part: str = "auto"
    rate: float = 100.0
    seconds: float = 30.0
    requests: int = 0
    concurrency: int = 32
    seed: int = 0


@dataclass(frozen=True)
class Pace:
    """How often counters are worth reading, and how old they may be.

    Attributes:
        look_seconds: time between looks.
        grace_seconds: time after a weight change whose counts may belong to the weight before.
        label_grace_seconds: the same for feedback.
    """

    look_seconds: float
    grace_seconds: float
    label_grace_seconds: float


def pace_of(look_seconds: float, grace_seconds: float, label_grace_seconds: float) -> Pace:
    """Return the pace of a canary; 0 stands for what suits the source of the counters.

    The gateway's own counters are a second old at most. Prometheus scrapes every 15 to 30 s by custom, so a count seen
    now may be that of a minute ago.
    """
    usual = Pace(10.0, 60.0, 60.0) if addresses.endpoints().prometheus else Pace(1.0, 1.0, 2.0)
    return Pace(
        look_seconds or usual.look_seconds,
        grace_seconds or usual.grace_seconds,
        label_grace_seconds or usual.label_grace_seconds,
    )


# Inputs of a pipeline with a canary, and what they are to `run_canary`.
_PIPELINE_INPUTS = {
    "canary_weights": "weights",
    "canary_margin": "margin",
    "canary_deadline_seconds": "deadline_seconds",
    "primary": "primary",
    "guardrails": "guardrails",
}


def check_pipeline(arguments: Mapping[str, Any]) -> None:
    """Refuse arguments of a pipeline that its canary would refuse, a search and a training later.

    Args:
        arguments: by name; what is none of the canary's is passed over.

    Raises:
        UserError: a value is out of range; the message lists the valid ones.
    """
    given = {own: arguments[name] for name, own in _PIPELINE_INPUTS.items() if name in arguments}
    CanaryParameters("model", "1", **given).policy()
