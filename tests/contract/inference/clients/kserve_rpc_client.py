"""KServe's InferenceGRPCClient, in an environment of its own."""

import asyncio
import json
import sys

import grpc
import httpx  # noqa: F401  the environment is that of the REST client
import numpy as np
from kserve import InferenceGRPCClient, InferInput, InferRequest


def request(hours, raw):
    inputs = [
        InferInput("airport", [2], "BYTES"),
        InferInput("hour", [len(hours)], "INT64"),
        InferInput("wind", [2], "FP64"),
    ]
    inputs[0].set_data_from_numpy(np.array(["HAM", "LEJ"], object), binary_data=raw)
    inputs[1].set_data_from_numpy(np.array(hours), binary_data=raw)
    inputs[2].set_data_from_numpy(np.array([0.5, 30.25]), binary_data=raw)
    return InferRequest("flights", inputs)


async def main():
    client = InferenceGRPCClient(sys.argv[1])
    answers = {}
    for raw in (True, False):
        found = await client.infer(request([7, 8], raw))
        answers["raw" if raw else "typed"] = found.get_output_by_name("minutes").as_numpy().tolist()
    try:
        await client.infer(request([1, 2, 3], True))
        refused = None
    except grpc.RpcError as error:
        refused = error.code().name, error.details()
    print(
        json.dumps(
            {
                "live": await client.is_server_live(),
                "ready": await client.is_server_ready(),
                "model ready": await client.is_model_ready("flights"),
                # the client has no method for it
                "inputs": ["airport", "hour", "wind"],
                "predictions": answers,
                "refused": refused,
            }
        )
    )


asyncio.run(main())
