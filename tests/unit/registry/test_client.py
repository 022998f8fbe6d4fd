"""A call of MLflow that another process was faster with is repeated; what the server refuses is not."""

from __future__ import annotations

import pytest
from mlflow.exceptions import RestException

from chandlery.errors import RegistryError
from chandlery.registry import client

COLLISION = "(sqlite3.IntegrityError) UNIQUE constraint failed: inputs.source_type, inputs.source_id"


@pytest.fixture(autouse=True)
def server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    monkeypatch.setattr(client, "PAUSE_SECONDS", 0.0)


class Method:
    """Answers with an error each time as long as there is one, then with 7."""

    def __init__(self, *messages: str) -> None:
        self.left = list(messages)
        self.calls = 0

    def __call__(self) -> int:
        self.calls += 1
        if self.left:
            raise RestException({"error_code": "BAD_REQUEST", "message": self.left.pop(0)})
        return 7


def test_one_who_was_slower_finds_the_row_there() -> None:
    assert client.call(Method(COLLISION, COLLISION)) == 7


def test_a_collision_that_stays_is_told() -> None:
    method = Method(*[COLLISION] * 100)
    with pytest.raises(RegistryError, match="IntegrityError"):
        client.call(method)
    assert method.calls == client.MOST_COLLISIONS + 1


def test_a_refusal_is_told_at_once() -> None:
    method = Method(COLLISION, "no such thing")
    with pytest.raises(RegistryError, match="no such thing"):
        client.call(method)
    assert method.calls == 2
