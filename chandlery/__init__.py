"""Chandlery: Kubeflow Pipelines components that carry a model through its whole life."""

__version__ = "0.1.0"
