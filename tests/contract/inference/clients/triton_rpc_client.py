"""tritonclient[grpc], in an environment of its own."""

import json
import sys

import numpy as np
from tritonclient.grpc import InferenceServerClient, InferInput
from tritonclient.utils import InferenceServerException

client = InferenceServerClient(sys.argv[1])


def inputs(shape=(2,), wind="FP64"):
    rows = {
        "airport": ("BYTES", np.array(["HAM", "LEJ"], object)),
        "hour": ("INT64", np.array([7, 8])),
        "wind": (wind, np.array([0.5, 30.25], {"FP64": "float64", "FP16": "float16"}[wind])),
    }
    made = []
    for name, (kind, values) in rows.items():
        made.append(InferInput(name, list(shape), kind))
        made[-1].set_data_from_numpy(values.reshape(shape))
    return made


def minutes(**options):
    asked = options.pop("inputs", None) or inputs()
    return client.infer("flights", asked, **options).as_numpy("minutes").tolist()


def error(act):
    try:
        act()
    except InferenceServerException as refused:
        return refused.status(), refused.message()
    return None


wrong = InferInput("hour", [3], "INT64")
wrong.set_data_from_numpy(np.array([1, 2, 3]))
print(
    json.dumps(
        {
            "live": client.is_server_live(),
            "ready": client.is_server_ready(),
            "model ready": client.is_model_ready("flights"),
            "inputs": [entry.name for entry in client.get_model_metadata("flights").inputs],
            "predictions": {
                "raw": minutes(),
                "columns": minutes(inputs=inputs((2, 1))),
                "half": minutes(inputs=inputs(wind="FP16")),
                "gzip": minutes(compression_algorithm="gzip"),
                "deadline": minutes(client_timeout=10),
            },
            "refused": error(lambda: client.infer("flights", [inputs()[0], wrong, inputs()[2]])),
        }
    )
)
