"""Protects: one client of many gives a bounded part of the evidence, and a single client is not held up by default."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chandlery.inference.shares import FREE, Shares


@given(st.lists(st.tuples(st.sampled_from("abcde"), st.integers(1, 4)), max_size=400))
def test_no_client_has_more_than_its_share(sent: list[tuple[str, int]]) -> None:
    shares = Shares(0.3)
    counted: dict[str, int] = {}
    for client, predictions in sent:
        total = sum(counted.values()) + predictions
        if shares.take(client, predictions):
            counted[client] = counted.get(client, 0) + predictions
            assert counted[client] <= max(FREE, 0.3 * total)
        else:
            assert counted.get(client, 0) + predictions > max(FREE, 0.3 * total)


def test_without_a_bound_one_client_may_give_all() -> None:
    shares = Shares(1.0)
    assert all(shares.take("only", 1) for _ in range(1000))


def test_a_client_goes_on_when_others_have_given_theirs() -> None:
    shares = Shares(0.5)
    assert sum(shares.take("loud", 1) for _ in range(500)) == FREE
    for number in range(FREE + 1):
        assert shares.take(f"other {number}", 1)
    assert shares.take("loud", 1)


def test_a_forger_cannot_fill_the_evidence_of_a_server(make_client: Any, tmp_path: Any) -> None:
    client = make_client(request_log=tmp_path / "log", feedback_share=0.2)
    table = {"data": {"names": ["airport", "hour", "wind"], "ndarray": [["HAM", 7, 0.5]]}}

    def give(address: str) -> int:
        headers = {"x-forwarded-for": f"10.0.0.9, {address}"}
        answer = client.post("/api/v1.0/predictions", json=table, headers=headers).json()
        found = client.post("/api/v1.0/feedback", json={"response": answer, "reward": 0.0}, headers=headers)
        return int(found.status_code)

    statuses = [give("10.0.0.1") for _ in range(FREE + 5)]
    assert statuses == [200] * FREE + [429] * 5
    assert give("10.0.0.2") == 200
    (count,) = [
        line
        for line in client.get("/prometheus").text.splitlines()
        if line.startswith("seldon_api_model_feedback_total")
    ]
    assert count.endswith(f" {FREE + 1}.0")


def test_what_was_refused_may_come_again(
    make_client: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_client(request_log=tmp_path / "log", feedback_share=0.2)
    table = {"data": {"names": ["airport", "hour", "wind"], "ndarray": [["HAM", 7, 0.5]]}}
    answer = client.post("/api/v1.0/predictions", json=table).json()
    shares = client.app.state.replica._shares
    feedback = {"response": answer, "reward": 0.0}
    with monkeypatch.context() as patch:
        patch.setattr(shares, "take", lambda *_: False)
        refused = client.post("/api/v1.0/feedback", json=feedback)
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "60"
    assert client.post("/api/v1.0/feedback", json=feedback).status_code == 200
