"""What all tests share."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# Schemas of other projects are not ours to ship: they lie beside the checkout where somebody put them.
SCHEMAS = Path(__file__).parents[2] / "shared" / "schemas"


@pytest.fixture(scope="session")
def upstream_schema() -> Callable[[str], dict[str, Any]]:
    """Read a published schema of Katib or Seldon by its file name; skip where it is not at hand."""

    def read(name: str) -> dict[str, Any]:
        path = SCHEMAS / name
        if not path.is_file():
            pytest.skip(f"the upstream schema {name} is not beside the checkout (it is not ours to ship)")
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found

    return read
