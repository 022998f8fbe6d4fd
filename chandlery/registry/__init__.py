"""Versions: MLflow runs, registered models and their aliases."""

from chandlery.registry.download import download
from chandlery.registry.versions import (
    VersionInfo,
    champion,
    reproduce_command,
    resolve,
    version_info,
    versions,
)

__all__ = [
    "VersionInfo",
    "champion",
    "download",
    "reproduce_command",
    "resolve",
    "version_info",
    "versions",
]
