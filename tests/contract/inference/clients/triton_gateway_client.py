"""tritonclient over gRPC through a gateway: the deployment is named by metadata. Arguments: address, deployment, namespace."""

import json
import sys

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

address, deployment, namespace = sys.argv[1:]
client = triton.InferenceServerClient(address)
named = {"seldon": deployment, "namespace": namespace}


def inputs(rows):
    columns = {
        "airport": ("BYTES", np.array(["HAM", "LEJ"], object)),
        "hour": ("INT64", np.array([7, 8, 9][:rows])),
        "wind": ("FP64", np.array([0.5, 30.25])),
    }
    made = []
    for name, (kind, values) in columns.items():
        made.append(triton.InferInput(name, list(values.shape), kind))
        made[-1].set_data_from_numpy(values)
    return made


def refusal(act):
    try:
        act()
    except InferenceServerException as refused:
        return refused.message()
    return ""


print(
    json.dumps(
        {
            "minutes": client.infer("flights", inputs(2), headers=named).as_numpy("minutes").tolist(),
            "ready": client.is_server_ready(headers=named),
            "inputs": [entry.name for entry in client.get_model_metadata("flights", headers=named).inputs],
            "refused": refusal(lambda: client.infer("flights", inputs(3), headers=named)),
            "nobody": refusal(lambda: client.infer("flights", inputs(2))),
        }
    )
)
