"""Finds, describes, loads and checks components and pipelines."""

from __future__ import annotations

from chandlery import __version__

# The tag is the package version, never moved; registry and digest can be set when compiling. The name holds
# "python" because kfp's laptop runner warns about any image that does not.
IMAGE = f"chandlery/chandlery-python:{__version__}"
