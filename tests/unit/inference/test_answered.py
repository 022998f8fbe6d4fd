"""Feedback counts for an answer that the deployment gave, once, judged by what was answered and not by what is claimed."""

from __future__ import annotations

import asyncio
import time

import orjson
import pytest

from chandlery.inference import answered
from chandlery.inference.answered import Answered, prediction_of
from tests.unit.inference.test_feedback import FEEDBACK, outcomes

PREDICT = "/api/v1.0/predictions"
ROW = {"jsonData": {"airport": ["HAM"], "hour": [7], "wind": [1.0]}}  # answered with 9 minutes


@pytest.fixture
def client(make_client, tmp_path, monkeypatch):
    monkeypatch.setattr(answered, "APART", 0.02)
    return make_client(request_log=tmp_path / "log")


def ask(client, **headers):
    answer = client.post(PREDICT, json=ROW, headers=headers)
    assert answer.status_code == 200
    return answer.json()


def test_the_id_alone_is_enough(client):
    puid = ask(client)["meta"]["puid"]
    assert client.post(FEEDBACK, json={"meta": {"puid": puid}, "truth": 9.4}).status_code == 200
    puid = ask(client)["meta"]["puid"]
    assert client.post(FEEDBACK, json={"meta": {"puid": puid}, "truth": [99]}).status_code == 200
    assert outcomes(client) == {"right": 1, "wrong": 1}


def test_a_repeated_message_counts_once(client):
    answer = ask(client)
    for _ in range(3):
        assert client.post(FEEDBACK, json={"response": answer, "reward": 1}).status_code == 200
    assert outcomes(client) == {"right": 1, "wrong": 0}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"reward": 0}, "does not name its answer"),
        ({"meta": {"puid": "forged"}, "reward": 0}, "no answer of this deployment has the id 'forged'"),
        ({"response": {"meta": {"puid": "x" * 500}, "jsonData": {"minutes": [1]}}, "truth": 9}, "no answer"),
        ({"response": {"id": "v2-id", "outputs": [{"name": "minutes", "data": [1]}]}, "truth": 9}, "'v2-id'"),
    ],
)
def test_forged_feedback_is_refused_and_counted_nowhere(client, body, words):
    refused = client.post(FEEDBACK, json=body)
    assert refused.status_code == 404
    assert words in refused.text
    assert not any(outcomes(client).values())


def test_what_was_answered_is_judged_not_what_the_message_claims(client):
    answer = ask(client)
    answer["jsonData"]["minutes"] = [99.0]
    client.post(FEEDBACK, json={"response": answer, "truth": 99.0})
    assert outcomes(client) == {"right": 0, "wrong": 1}


def test_an_identifier_of_the_callers_own(client):
    client.post(PREDICT, json=ROW | {"meta": {"puid": "mine"}}, headers={"x-request-id": "header-id"})
    assert client.post(FEEDBACK, json={"meta": {"puid": "mine"}, "reward": 1}).status_code == 200
    assert outcomes(client) == {"right": 1, "wrong": 0}


def test_answers_of_a_server_that_has_ended(make_client, tmp_path, monkeypatch):
    monkeypatch.setattr(answered, "APART", 0.02)
    log = tmp_path / "log"
    log.mkdir()
    now = time.time()
    lines = [
        {
            "request_id": "old-1",
            "time": now,
            "predictor": "v3",
            "rows": 1,
            "status": 200,
            "prediction": [9.0],
        },
        {
            "request_id": "old-2",
            "time": now,
            "predictor": "v3",
            "rows": 1,
            "status": 200,
            "prediction": [9.0],
        },
        {"request_id": "old-2", "time": now, "predictor": "v3", "judged": True},
        {
            "request_id": "late",
            "time": now - answered.SECONDS - 9,
            "predictor": "v3",
            "rows": 1,
            "status": 200,
        },
        {"request_id": "bad", "time": now, "predictor": "v3", "rows": 0, "status": 400},
        {
            "request_id": "other",
            "time": now,
            "predictor": "v2",
            "rows": 1,
            "status": 200,
            "prediction": [9.0],
        },
    ]
    (log / "v3-1.jsonl").write_bytes(b"torn\n" + b"".join(orjson.dumps(line) + b"\n" for line in lines))
    client = make_client(request_log=log)
    statuses = {
        name: client.post(FEEDBACK, json={"meta": {"puid": name}, "truth": 9.0}).status_code
        for name in ("old-1", "old-2", "late", "bad", "other")
    }
    # The answer of another predictor is passed on to it; there is no gateway here.
    assert statuses == {"old-1": 200, "old-2": 200, "late": 404, "bad": 404, "other": 404}
    assert outcomes(client) == {"right": 1, "wrong": 0}


def test_feedback_with_a_token(make_client, tmp_path):
    client = make_client(request_log=tmp_path / "log", feedback_token="s3cret")
    body = {"meta": {"puid": ask(client)["meta"]["puid"]}, "reward": 1}
    assert client.post(FEEDBACK, json=body).status_code == 401
    assert client.post(FEEDBACK, json=body, headers={"authorization": "Bearer wrong"}).status_code == 401
    assert not any(outcomes(client).values())
    assert client.post(FEEDBACK, json=body, headers={"authorization": "Bearer s3cret"}).status_code == 200


def test_without_a_request_log_feedback_says_for_itself_what_it_judges(make_client):
    client = make_client()
    assert client.post(FEEDBACK, json={"reward": 1}).status_code == 200


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(answered, "REMEMBERED", 3)
    known = Answered(None, "v1", None)
    for number in range(5):
        known.add(str(number), b"[1]")
    found = [asyncio.run(known.find(str(number))) is not None for number in range(5)]
    assert found[-3:] == [True] * 3
    for number in range(5, 12):
        known.add(str(number), b"[1]")
    found = [asyncio.run(known.find(str(number))) is not None for number in range(12)]
    assert 3 <= sum(found) <= 6
    assert found[-3:] == [True] * 3


def test_several_targets(make_client, tmp_path):
    from chandlery.inference.feedback import read_feedback

    kept = [{"price": 10.0, "days": 2.0}, {"price": 20.0, "days": 3.0}]
    for truth in (
        {"price": [11, 21], "days": [2, 4]},
        {"jsonData": {"price": [11, 21], "days": [2, 4]}},
        [{"price": 11, "days": 2}, {"price": 21, "days": 4}],
    ):
        found = read_feedback({"truth": truth}, "price", ("price", "days"), kept)
        assert found.predictions == kept
        assert found.truths == [{"price": 11, "days": 2}, {"price": 21, "days": 4}]


def test_large_answers_are_not_kept():
    import numpy as np

    small, large = {"a": np.arange(3.0), "b": np.arange(3)}, {"a": np.zeros(1000)}
    assert prediction_of(small, several=False) == b"[0.0,1.0,2.0]"
    assert prediction_of(small, several=True) == b'[{"a":0.0,"b":0},{"a":1.0,"b":1},{"a":2.0,"b":2}]'
    assert prediction_of(large, several=False) is None
