"""Custom resources of a laptop: a small API server's worth of semantics on one SQLite file."""

from chandlery.embedded.resources.store import EmbeddedStore

__all__ = ["EmbeddedStore"]
