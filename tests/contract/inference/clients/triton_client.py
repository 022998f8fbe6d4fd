"""tritonclient, in an environment of its own: over HTTP for an address `http://...`, over gRPC for another."""

import importlib
import json
import sys

import ml_dtypes
import numpy as np
from tritonclient.utils import InferenceServerException

address = sys.argv[1]
http = address.startswith("http://")
triton = importlib.import_module("tritonclient.http" if http else "tritonclient.grpc")
client = triton.InferenceServerClient(address.removeprefix("http://"))


def inputs(shape=(2,), wind="FP64", **options):
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
        made.append(triton.InferInput(name, list(shape), kind))
        made[-1].set_data_from_numpy(values.reshape(shape), **options)
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


def over_http():
    metadata = client.get_model_metadata("flights")
    packed = {
        name: minutes(request_compression_algorithm=name, response_compression_algorithm=name)
        for name in ("gzip", "deflate")
    }
    asked = [triton.InferRequestedOutput("minutes", binary_data=False)]
    return {
        "server": client.get_server_metadata()["extensions"],
        "inputs": [entry["name"] for entry in metadata["inputs"]],
        "index": client.get_model_repository_index(),
        "load": error(lambda: client.load_model("flights")),
    }, {
        "json": minutes(inputs=inputs(binary_data=False), outputs=asked),
        "bfloat16": minutes(inputs=inputs(wind="BF16")),
        **packed,
    }


def over_grpc():
    metadata = client.get_model_metadata("flights")
    return {"inputs": [entry.name for entry in metadata.inputs]}, {
        "gzip": minutes(compression_algorithm="gzip"),
        "deadline": minutes(client_timeout=10),
    }


wrong = triton.InferInput("hour", [3], "INT64")
wrong.set_data_from_numpy(np.array([1, 2, 3]))
said, predictions = over_http() if http else over_grpc()
print(
    json.dumps(
        {
            "live": client.is_server_live(),
            "ready": client.is_server_ready(),
            "model ready": client.is_model_ready("flights"),
            "predictions": {
                "raw": minutes(),
                "columns": minutes(inputs=inputs((2, 1))),
                "half": minutes(inputs=inputs(wind="FP16")),
                **predictions,
            },
            "refused": error(lambda: client.infer("flights", [inputs()[0], wrong, inputs()[2]])),
            **said,
        }
    )
)
