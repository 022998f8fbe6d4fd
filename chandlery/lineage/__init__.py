"""The thread through the five systems: from any thing to the data, the run, the model, the deployment it belongs to."""

from chandlery.lineage.node import Node
from chandlery.lineage.trace import trace

__all__ = ["Node", "trace"]
