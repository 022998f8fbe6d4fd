"""The one small port for Kubernetes custom resources: apply, get, list, watch, delete."""

from chandlery.resources.port import EXPERIMENT, SELDON_DEPLOYMENT, TRIAL, Event, Kind, ResourceStore

__all__ = ["EXPERIMENT", "SELDON_DEPLOYMENT", "TRIAL", "Event", "Kind", "ResourceStore"]
