"""Protects: whatever arrives, the answer is a status below 600 in the protocol's form, never a traceback or a 500."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
WORDS = """data ndarray tensor shape values names jsonData meta tags puid inputs outputs name datatype parameters id
airport hour wind request response truth reward strData binData requestPath"""
keys = st.sampled_from(WORDS.split())
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=5),
    max_leaves=20,
)
tables = st.fixed_dictionaries({"data": st.fixed_dictionaries({"ndarray": documents, "names": documents})})
tensors = st.fixed_dictionaries(
    {
        "data": st.fixed_dictionaries(
            {
                "tensor": st.fixed_dictionaries(
                    {"shape": st.lists(st.integers(-2, 9)) | documents, "values": documents}
                )
            }
        )
    }
)
columns = st.fixed_dictionaries(
    {"jsonData": st.fixed_dictionaries({"airport": documents, "hour": documents, "wind": documents})}
)
inputs = st.fixed_dictionaries(
    {
        "inputs": st.lists(
            st.fixed_dictionaries(
                {
                    "name": st.sampled_from(["airport", "hour", "wind", "x"]),
                    "datatype": st.sampled_from(
                        ["BYTES", "BOOL", "INT8", "UINT64", "INT64", "FP16", "FP64", "X"]
                    ),
                    "shape": st.lists(st.integers(-1, 4), max_size=3),
                    "data": documents,
                }
            ),
            max_size=4,
        )
    }
)
feedback = st.fixed_dictionaries(
    {"reward": documents}, optional={"truth": documents, "response": documents | tables, "request": documents}
)


@pytest.mark.parametrize("path", ["/api/v1.0/predictions", "/v2/models/flights/infer", "/api/v1.0/feedback"])
def test_any_document(make_client, path):
    client = make_client()

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(documents | tables | tensors | columns | inputs | feedback)
    def ask(document):
        # json writes NaN and Infinity, which are not JSON: those must be refused as well.
        response = client.post(path, content=json.dumps(document).encode("utf-8", "surrogatepass"))
        answer = response.json()
        assert response.status_code in (200, 400), answer
        if response.status_code == 400:
            told = answer["error"] if path.startswith("/v2") else answer["status"]["info"]
            assert told
            assert "Traceback" not in told

    ask()


def test_any_bytes(make_client):
    client = make_client()

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        st.binary(max_size=64), st.sampled_from(["application/json", "application/x-www-form-urlencoded", ""])
    )
    def ask(body, kind):
        response = client.post("/predict", content=body, headers={"content-type": kind})
        assert response.status_code == 400
        assert response.json()["status"]["status"] == "FAILURE"

    ask()
