"""replay_traffic: send labelled rows to a deployment and tell it which answers were right."""

from typing import NamedTuple

from kfp import dsl

from chandlery.catalog import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def replay_traffic(
    model_name: str,
    repo: str,
    report: dsl.Output[dsl.HTML],
    counts: dsl.Output[dsl.Metrics],
    ref: str = "master",
    deployment: str = "",
    namespace: str = "",
    part: str = "auto",
    rate: float = 100.0,
    seconds: float = 30.0,
    requests: int = 0,
    concurrency: int = 32,
    seed: int = 0,
) -> NamedTuple("ReplayOutputs", [("requests", int), ("failed", int), ("wrong", int)]):
    """Replay the labelled rows of a data commit against a deployment, with feedback on every answer.

    Rows, labels and the judgement of an answer come from the recipe of the version in force.

    Args:
        model_name: registered model.
        repo: Pachyderm repo of the labelled rows.
        report: HTML report.
        counts: requests, failures, wrong answers and latencies.
        ref: branch, commit or ancestor.
        deployment: deployment name; empty: the model's name.
        namespace: Kubernetes namespace; empty: the platform's.
        part: rows to draw from: test, validation or train split, all, or auto: the test split of the repo that the
            version in force was trained on, all rows of another.
        rate: requests per second at random moments; 0: each connection sends as soon as it was answered.
        seconds: time to replay for; 0: until `requests` are sent.
        requests: requests to send; 0: until `seconds` are over.
        concurrency: requests under way at most.
        seed: for the rows drawn and the moments.

    Returns:
        requests: requests sent.
        failed: of these, not answered.
        wrong: answers that were wrong.
    """
    from chandlery.steps.serving.replay_traffic import ReplayParameters, replay_traffic

    parameters = ReplayParameters(
        model_name=model_name,
        repo=repo,
        ref=ref,
        deployment=deployment,
        namespace=namespace,
        part=part,
        rate=rate,
        seconds=seconds,
        requests=requests,
        concurrency=concurrency,
        seed=seed,
    )
    return replay_traffic(parameters, report, counts)
