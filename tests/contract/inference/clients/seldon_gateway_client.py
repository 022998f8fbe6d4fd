"""Seldon's SeldonClient over gRPC through a gateway. Arguments: address, deployment, namespace."""

import json
import sys

import numpy as np
from seldon_core.seldon_client import SeldonClient

address, deployment, namespace = sys.argv[1:]
client = SeldonClient(
    deployment_name=deployment,
    namespace=namespace,
    gateway="ambassador",
    gateway_endpoint=address,
    transport="grpc",
    channel_credentials=None,
)


def predict(rows, names=("airport", "hour", "wind")):
    return client.predict(
        data=np.array(rows, dtype=object),
        names=list(names),
        payload_type="ndarray",
        client_return_type="proto",
    )


good = predict([["HAM", 7, 0.5], ["LEJ", 8, 30.25]])
bad = predict([["HAM", 7]], names=("airport", "hour"))
feedback = client.feedback(prediction_request=good.request, prediction_response=good.response, reward=1.0)
print(
    json.dumps(
        {
            "success": good.success,
            "answer": [
                [row.list_value.values[i].number_value for i in (0,)]
                for row in good.response.data.ndarray.values
            ]
            if good.success
            else str(good.msg),
            "refused": [bad.success, str(bad.msg)],
            "feedback": [feedback.success, str(feedback.msg)],
        }
    )
)
