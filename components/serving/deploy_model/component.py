"""deploy_model: serve a registered model version behind the gateway."""

from typing import NamedTuple

from kfp import dsl

from chandlery.catalog import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def deploy_model(
    model_name: str,
    version: str,
    document: dsl.Output[dsl.Artifact],
    deployment: str = "",
    namespace: str = "",
    strategy: str = "replace",
    weight: int = 0,
    protocol: str = "seldon",
    replicas: int = 1,
    image: str = "",
    cpu: str = "",
    memory: str = "",
    environment: dict = {},  # noqa: B006 (kfp reads the default, nothing changes it)
    deadline_seconds: float = 600.0,
) -> NamedTuple("DeployOutputs", [("endpoint", str), ("strategy", str), ("changed", str), ("reason", str)]):
    """Serve a model version as a SeldonDeployment and wait until it answers; what fails is undone.

    Args:
        model_name: registered model.
        version: its version, or an alias such as `champion`.
        document: the SeldonDeployment as it serves, YAML.
        deployment: deployment name; empty: the model's name.
        namespace: Kubernetes namespace; empty: the platform's.
        strategy: replace, canary, ab or shadow; the first version of a deployment always gets everything.
        weight: percent of the traffic for the new version (of a shadow: of the requests that it sees); 0: 5 for
            a canary, 50 for ab, 100 for a shadow.
        protocol: seldon or v2; a version beside another takes the other's.
        replicas: servers of each version.
        image: container image of the server; empty: the package's own.
        cpu: CPU request of a server; empty: 250m.
        memory: memory request of a server; empty: 1Gi.
        environment: further variables of the servers, such as CHANDLERY_MAX_BATCH.
        deadline_seconds: after this without an answer the deployment is put back as it was.

    Returns:
        endpoint: base URL of the deployment behind the gateway.
        strategy: the strategy used: replace where nothing served before.
        changed: yes, or no when the version was already deployed.
        reason: what was done and why, one sentence.
    """
    from chandlery.steps.serving.deploy_model import DeployRequest, deploy_model

    request = DeployRequest(
        model_name=model_name,
        version=version,
        deployment=deployment,
        namespace=namespace,
        strategy=strategy,
        weight=weight,
        protocol=protocol,
        replicas=replicas,
        image=image,
        cpu=cpu,
        memory=memory,
        environment=environment,
        deadline_seconds=deadline_seconds,
    )
    return deploy_model(request, document)
