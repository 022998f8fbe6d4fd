from collections.abc import Iterator
from pathlib import Path

import pytest

from chandlery.embedded.resources import EmbeddedStore
from chandlery.resources import ResourceStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ResourceStore]:
    store = EmbeddedStore(tmp_path / "resources")
    yield store
    store.close()


@pytest.fixture
def namespace() -> str:
    return "contract"
