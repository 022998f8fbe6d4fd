"""Where the workers of a server share their metrics."""

from __future__ import annotations

SHARED_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"  # Prometheus' client reads it when it is imported
