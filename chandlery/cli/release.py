"""`release promote`, `release rollback`: end a running canary early, with a reason."""

from __future__ import annotations

from chandlery import addresses
from chandlery.canary.decision.early_end import Decision
from chandlery.cli.output import print_json, visible


def end(deployment: str, decision: Decision, reason: str, by: str, namespace: str, *, as_json: bool) -> None:
    """End the canary of a deployment and print how it ended.

    Raises:
        NotFoundError: no such deployment.
        UserError: no canary is running there, or there is no reason.
        ChandleryError: it could not be ended; see `chandlery.canary.ending.end_early`.
    """
    from chandlery.canary.ending import end_early
    from chandlery.canary.target import version_of
    from chandlery.steps.serving.canary_record import record_canary

    where = namespace or addresses.endpoints().namespace
    ended = end_early(deployment, where, decision, reason, by)
    state, version = ended.state, version_of(ended.state.challenger)
    record_canary(ended.model_name, version, state.verdict, state.reason, state.ended_by)
    if as_json:
        print_json(
            {
                "deployment": deployment,
                "version": version,
                "verdict": state.verdict,
                "reason": state.reason,
                "by": state.ended_by,
                "serving": version_of(ended.serving),
                "changed": ended.changed,
            }
        )
        return
    already = "" if ended.changed else " already"
    print(visible(f"{state.challenger} {state.verdict.replace('_', ' ')}{already}: {state.reason}"))
    print(visible(f"{ended.serving} has all the traffic of {deployment}"))
