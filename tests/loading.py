"""Loads a Python file that is not in a package: a component's source, an example's script."""

from __future__ import annotations

import importlib.util
import types
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def load_source(path: Path) -> types.ModuleType:
    """Return the module of a file, made anew at each call."""
    spec = importlib.util.spec_from_file_location(f"source_{path.parent.name}_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load_component(family: str, name: str) -> Any:
    """Return the component function of `components/<family>/<name>/component.py`."""
    return getattr(load_source(ROOT / "components" / family / name / "component.py"), name)


def load_example(name: str) -> types.ModuleType:
    """Return the module of `examples/<name>/data.py`, which writes the example's data."""
    return load_source(ROOT / "examples" / name / "data.py")
