"""MLServer's codecs, sent with requests, in an environment of their own."""

import json
import sys

import numpy as np
import pandas as pd
import requests
from mlserver.codecs import NumpyCodec, PandasCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse, MetadataModelResponse, Parameters

base = sys.argv[1]
frame = pd.DataFrame({"airport": ["HAM", "LEJ"], "hour": [7, 8], "wind": [0.5, 30.25]})


def post(request):
    return requests.post(
        f"{base}/v2/models/flights/infer", json=json.loads(request.model_dump_json()), timeout=10
    )


def answer(request):
    return InferenceResponse.model_validate_json(post(request).text)


with_pandas = PandasCodec.encode_request(frame)
by_codec = InferenceRequest(
    parameters=Parameters(content_type="np"),
    inputs=[
        StringCodec.encode_input("airport", ["HAM", "LEJ"]),
        NumpyCodec.encode_input("hour", np.array([7, 8])),
        NumpyCodec.encode_input("wind", np.array([[0.5], [30.25]])),
    ],
)
found = answer(by_codec)
decoded = {output.name: NumpyCodec.decode_output(output).ravel().tolist() for output in found.outputs}
wrong = post(PandasCodec.encode_request(frame[["airport", "hour"]]))
metadata = MetadataModelResponse.model_validate_json(
    requests.get(f"{base}/v2/models/flights", timeout=10).text
)
print(
    json.dumps(
        {
            "live": requests.get(f"{base}/v2/health/live", timeout=10).ok,
            "ready": requests.get(f"{base}/v2/health/ready", timeout=10).ok,
            "model ready": requests.get(f"{base}/v2/models/flights/ready", timeout=10).ok,
            "inputs": [entry.name for entry in metadata.inputs],
            "shapes": [entry.shape for entry in with_pandas.inputs],
            "predictions": {
                "pandas": PandasCodec.decode_response(answer(with_pandas))["minutes"].tolist(),
                "numpy": decoded["minutes"],
            },
            "refused": [wrong.status_code, wrong.json()["error"]],
        }
    )
)
