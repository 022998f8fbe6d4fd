"""rollback_deployment: take challengers out, or bring an earlier version back."""

from typing import NamedTuple

from kfp import dsl

from chandlery.catalog import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def rollback_deployment(
    deployment: str,
    document: dsl.Output[dsl.Artifact],
    to_version: str = "",
    reason: str = "",
    namespace: str = "",
    deadline_seconds: float = 300.0,
) -> NamedTuple(
    "RollbackOutputs", [("version", str), ("previous_version", str), ("changed", str), ("reason", str)]
):
    """Make one version serve alone again: the stable one, or the one named. Done again it changes nothing.

    Args:
        deployment: deployment name.
        document: the SeldonDeployment as it serves, YAML.
        to_version: version or alias to go back to; empty: the stable version, challengers and shadow are removed.
        reason: why; kept on the deployment.
        namespace: Kubernetes namespace; empty: the platform's.
        deadline_seconds: longest wait until it serves.

    Returns:
        version: version that serves alone now.
        previous_version: the stable version before.
        changed: yes, or no when it served alone already.
        reason: what was done and why, one sentence.
    """
    from chandlery.steps.serving.rollback_deployment import rollback_deployment

    return rollback_deployment(deployment, namespace, to_version, reason, deadline_seconds, document)
