"""Adds catalog components to a KFP pipeline with the defaults of this catalog.

Resources, timeout, retry and caching come from the component's metadata; the run id comes through the downward
API, endpoints and credentials from one ConfigMap and one Secret. None of these changes what a task computes.
"""

from __future__ import annotations

from typing import Any

from chandlery.addresses import CONFIG_MAP, SECRET, VARIABLES
from chandlery.catalog import component, find

RUN_ID_FIELD = "metadata.labels['pipeline/runid']"

CREDENTIAL_VARIABLES = (
    "PACH_PYTHON_AUTH_TOKEN",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
)


def add(name: str, **arguments: Any) -> Any:
    """Add the component `name` to the pipeline under construction and return its task.

    Args:
        name: component name.
        arguments: its inputs: values, or outputs of other tasks.

    Raises:
        NotFoundError: no such component.
    """
    from kfp import kubernetes

    entry = find(name)
    task = component(name)(**arguments)
    settings = entry.metadata
    task.set_cpu_request(str(settings["cpu"])).set_cpu_limit(str(settings["cpu_limit"]))
    task.set_memory_request(str(settings["memory"])).set_memory_limit(str(settings["memory_limit"]))
    task.set_caching_options(entry.pure)
    retries = int(settings.get("retries", 0))
    if retries:
        task.set_retry(
            num_retries=retries, backoff_duration="10s", backoff_factor=2.0, backoff_max_duration="300s"
        )
    task.set_env_variable("CHANDLERY_TASK", name)
    kubernetes.set_timeout(task, seconds=int(settings["timeout_seconds"]))
    kubernetes.use_field_path_as_env(task, env_name="CHANDLERY_RUN_ID", field_path=RUN_ID_FIELD)
    kubernetes.use_config_map_as_env(
        task, CONFIG_MAP, {variable: variable for variable in VARIABLES.values()}, optional=True
    )
    kubernetes.use_secret_as_env(
        task, SECRET, {variable: variable for variable in CREDENTIAL_VARIABLES}, optional=True
    )
    return task
