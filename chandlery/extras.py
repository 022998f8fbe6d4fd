"""The extras of the package: which of them brings a library."""

from __future__ import annotations

# Module -> the smallest extra that brings it. The base brings what compiles, submits, lists and shows.
EXTRA_OF = {
    "pachyderm_sdk": "steps",
    "betterproto": "steps",
    "grpc": "steps",
    "mlflow": "steps",
    "kubeflow_katib_api": "steps",
    "httpx": "steps",
    "aiohttp": "steps",
    "orjson": "steps",
    "psutil": "steps",
    "numpy": "steps",
    "scipy": "steps",
    "matplotlib": "steps",
    "tensorflow": "train",
    "keras": "train",
    "pandera": "train",
    "pandas": "train",
    "pyarrow": "train",
    "sklearn": "sklearn",
    "skops": "sklearn",
    "xgboost": "xgboost",
    "ai_edge_litert": "serve-light",
    "starlette": "serve-light",
    "uvicorn": "serve-light",
    "prometheus_client": "serve-light",
    "optuna": "laptop",
    "hyperopt": "laptop",
    "cmaes": "laptop",
    "cel": "laptop",
    "flask": "laptop",
    "boto3": "s3",
    "botocore": "s3",
    "google.cloud.storage": "gcs",
}


def extra_of(module: str) -> str:
    """Return the smallest extra that brings a module; empty when none does."""
    return EXTRA_OF.get(module) or EXTRA_OF.get(module.partition(".")[0], "")
