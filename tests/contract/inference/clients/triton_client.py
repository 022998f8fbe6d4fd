"""tritonclient[http], in an environment of its own."""

import json
import sys

import ml_dtypes
import numpy as np
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

client = InferenceServerClient(sys.argv[1].removeprefix("http://"))


def inputs(shape=(2,), binary=True, wind="FP64"):
    rows = {
        "airport": ("BYTES", np.array(["HAM", "LEJ"], object)),
        "hour": ("INT64", np.array([7, 8])),
        "wind": (
            wind,
            np.array([0.5, 30.25], {"FP64": "float64", "FP16": "float16", "BF16": ml_dtypes.bfloat16}[wind]),
        ),
    }
    made = []
    for name, (kind, values) in rows.items():
        made.append(InferInput(name, list(shape), kind))
        made[-1].set_data_from_numpy(values.reshape(shape), binary_data=binary)
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
            "server": client.get_server_metadata()["extensions"],
            "inputs": [entry["name"] for entry in client.get_model_metadata("flights")["inputs"]],
            "index": client.get_model_repository_index(),
            "predictions": {
                "raw": minutes(),
                "json": minutes(
                    inputs=inputs(binary=False),
                    outputs=[InferRequestedOutput("minutes", binary_data=False)],
                ),
                "columns": minutes(inputs=inputs((2, 1))),
                "half": minutes(inputs=inputs(wind="FP16")),
                "bfloat16": minutes(inputs=inputs(wind="BF16")),
                "gzip": minutes(request_compression_algorithm="gzip", response_compression_algorithm="gzip"),
                "deflate": minutes(
                    request_compression_algorithm="deflate", response_compression_algorithm="deflate"
                ),
            },
            "refused": error(lambda: client.infer("flights", [inputs()[0], wrong, inputs()[2]])),
            "load": error(lambda: client.load_model("flights")),
        }
    )
)
