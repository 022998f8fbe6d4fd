"""Kubeflow Pipelines on one machine: runs a compiled pipeline as KFP's driver, launcher and Argo run it on a cluster."""
