"""run_canary: release a deployed challenger step by step, or roll it back."""

from typing import NamedTuple

from kfp import dsl

from chandlery.catalog import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def run_canary(
    model_name: str,
    challenger_version: str,
    report: dsl.Output[dsl.HTML],
    evidence: dsl.Output[dsl.Metrics],
    deployment: str = "",
    namespace: str = "",
    weights: list = [5, 25, 50, 100],  # noqa: B006 (kfp reads the default, nothing changes it)
    alpha: float = 0.05,
    beta: float = 0.05,
    margin: float = 2.0,
    primary: str = "wrong",
    guardrails: list = ["wrong", "errors", "slow", "refused"],  # noqa: B006
    minimum_requests: int = 50,
    deadline_seconds: int = 3600,
    look_seconds: float = 0.0,
    grace_seconds: float = 0.0,
    label_grace_seconds: float = 0.0,
    design_effect: float = 1.0,
    latency_objective_seconds: float = 0.5,
    traffic_repo: str = "",
    traffic_ref: str = "master",
    replay_rate: float = 0.0,
    seed: int = 0,
    decision: str = "auto",
    decision_reason: str = "",
) -> NamedTuple(
    "CanaryOutputs", [("verdict", str), ("reason", str), ("released", str), ("champion_version", str)]
):
    """Walk a challenger through traffic weights and promote it or roll it back, on evidence valid at every look.

    Args:
        model_name: registered model.
        challenger_version: its version that is deployed beside the champion.
        report: HTML report with the evidence over time.
        evidence: e-values, rates and counts at the end.
        deployment: deployment name; empty: the model's name.
        namespace: Kubernetes namespace; empty: the platform's.
        weights: the challenger's shares of traffic in percent, rising, ending in 100.
        alpha: probability of rolling back a challenger that is not worse, over all guard-rails.
        beta: probability of promoting a challenger that is `margin` times as bad, or worse.
        margin: rate ratio of bad events that a promotion must exclude.
        primary: metric on which a promotion must prove it: wrong, errors or slow.
        guardrails: metrics that can roll back: wrong, errors, slow, refused.
        minimum_requests: requests of the challenger at each weight (judged ones, when the primary is wrong).
        deadline_seconds: time under observation after which the champion stays and the canary is inconclusive.
        look_seconds: time between looks; 0: 1 s, or 10 s where the counters come from Prometheus.
        grace_seconds: time after a weight change that is not counted; 0: 1 s, or 60 s with Prometheus.
        label_grace_seconds: the same for feedback, at least as long as labels take to arrive; 0: 2 s, or 60 s.
        design_effect: requests that make one independent fact; 1 where requests are independent, more where
            sessions fail as a whole: the sum of their squared sizes over the sum of their sizes.
        latency_objective_seconds: slower answers are bad ones.
        traffic_repo: Pachyderm repo of labelled rows to replay meanwhile; empty: live traffic alone.
        traffic_ref: branch or commit of that repo.
        replay_rate: requests per second to replay; 0: live traffic alone.
        seed: of the replay.
        decision: auto: by the evidence; promote or rollback: end the canary that is running so, now. Another run may
            be watching it.
        decision_reason: why it ends early; recorded with the verdict.

    Returns:
        verdict: promoted, rolled_back, inconclusive or nothing_to_do.
        reason: why, in one sentence with numbers.
        released: yes when the challenger has all the traffic now, else no.
        champion_version: version that has all the traffic now.
    """
    from chandlery.steps.serving.run_canary import CanaryParameters, run_canary

    parameters = CanaryParameters(
        model_name=model_name,
        challenger_version=challenger_version,
        deployment=deployment,
        namespace=namespace,
        weights=weights,
        alpha=alpha,
        beta=beta,
        margin=margin,
        primary=primary,
        guardrails=guardrails,
        minimum_requests=minimum_requests,
        deadline_seconds=deadline_seconds,
        look_seconds=look_seconds,
        grace_seconds=grace_seconds,
        label_grace_seconds=label_grace_seconds,
        design_effect=design_effect,
        latency_objective_seconds=latency_objective_seconds,
        traffic_repo=traffic_repo,
        traffic_ref=traffic_ref,
        replay_rate=replay_rate,
        seed=seed,
        decision=decision,
        decision_reason=decision_reason,
    )
    return run_canary(parameters, report, evidence)
