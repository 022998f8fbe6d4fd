"""Seldon's SeldonClient, in an environment of its own."""

import json
import sys

import numpy as np
import requests
from seldon_core.seldon_client import SeldonClient

base = sys.argv[1]
host = base.removeprefix("http://")
names = ["airport", "hour", "wind"]
client = SeldonClient(gateway="seldon", transport="rest", gateway_endpoint=host, microservice_endpoint=host)
rows = np.array([["HAM", 7, 0.5], ["LEJ", 8, 30.25]], object)


def minutes(answer):
    assert answer.success, answer.msg
    response = answer.response
    if not isinstance(response, dict):  # the microservice's answer is protobuf in every form of the client
        return [row.list_value.values[0].number_value for row in response.data.ndarray.values]
    if "jsonData" in response:
        return [row["minutes"] for row in response["jsonData"]]
    return [row[0] for row in response["data"]["ndarray"]]


records = [{"airport": "HAM", "hour": 7, "wind": 0.5}, {"airport": "LEJ", "hour": 8, "wind": 30.25}]
good = client.predict(data=rows, payload_type="ndarray", names=names)
wrong = client.predict(data=rows[:, :2], payload_type="ndarray", names=names[:2])
# Its feedback takes the messages as protobuf alone.
messages = SeldonClient(gateway="seldon", transport="rest", gateway_endpoint=host, client_return_type="proto")
judged = messages.predict(data=rows, payload_type="ndarray", names=names)
feedback = messages.feedback(
    prediction_request=judged.request, prediction_response=judged.response, reward=1.0
)
print(
    json.dumps(
        {
            "live": requests.get(f"{base}/live", timeout=10).ok,
            "ready": requests.get(f"{base}/ready", timeout=10).ok,
            "model ready": requests.get(f"{base}/health/status", timeout=10).ok,
            "inputs": [
                entry["name"] for entry in requests.get(f"{base}/metadata", timeout=10).json()["inputs"]
            ],
            "predictions": {
                "ndarray": minutes(good),
                "records": minutes(client.predict(json_data=records)),
                "microservice": minutes(
                    client.microservice(data=rows, method="predict", payload_type="ndarray", names=names)
                ),
            },
            "feedback": feedback.success,
            "refused": [wrong.msg, wrong.response["status"]["info"]],
        }
    )
)
