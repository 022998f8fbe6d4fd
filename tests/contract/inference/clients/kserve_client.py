"""KServe's clients, in an environment of their own: REST for an address `http://...`, gRPC for another."""

import asyncio
import json
import sys

import grpc
import httpx
import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig

address = sys.argv[1]


def request(hours, raw, wind="float64"):
    inputs = [
        InferInput("airport", [2], "BYTES"),
        InferInput("hour", [len(hours)], "INT64"),
        InferInput("wind", [2], {"float16": "FP16", "float64": "FP64"}[wind]),
    ]
    inputs[0].set_data_from_numpy(np.array(["HAM", "LEJ"], object), binary_data=raw)
    inputs[1].set_data_from_numpy(np.array(hours), binary_data=raw)
    inputs[2].set_data_from_numpy(np.array([0.5, 30.25], wind), binary_data=raw)
    return InferRequest("flights", inputs)


def minutes(found):
    return found.get_output_by_name("minutes").as_numpy().tolist()


async def over_rest():
    v2 = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))
    v1 = InferenceRESTClient(RESTConfig(protocol="v1", retries=0))
    rows = {"instances": [["HAM", 7, 0.5], ["LEJ", 8, 30.25]]}
    old = await v1.infer(address, rows, model_name="flights")
    try:
        await v2.infer(address, request([1, 2, 3], True, "float16"), model_name="flights")
        refused = None
    except httpx.HTTPStatusError as error:
        refused = error.response.status_code, str(error)
    return {
        "live": await v2.is_server_live(address) and await v1.is_server_live(address),
        "ready": await v2.is_server_ready(address),
        "model ready": await v2.is_model_ready(address, "flights")
        and await v1.is_model_ready(address, "flights"),
        "inputs": [entry["name"] for entry in httpx.get(f"{address}/v2/models/flights").json()["inputs"]],
        "predictions": {
            "raw": minutes(await v2.infer(address, request([7, 8], True, "float16"), model_name="flights")),
            "json": minutes(await v2.infer(address, request([7, 8], False), model_name="flights")),
            "v1": [row["minutes"] for row in old["predictions"]],
        },
        "refused": refused,
    }


async def over_grpc():
    client = InferenceGRPCClient(address)
    try:
        await client.infer(request([1, 2, 3], True))
        refused = None
    except grpc.RpcError as error:
        refused = error.code().name, error.details()
    return {
        "live": await client.is_server_live(),
        "ready": await client.is_server_ready(),
        "model ready": await client.is_model_ready("flights"),
        # the client has no method for it
        "inputs": ["airport", "hour", "wind"],
        "predictions": {
            "raw": minutes(await client.infer(request([7, 8], True))),
            "typed": minutes(await client.infer(request([7, 8], False))),
        },
        "refused": refused,
    }


print(json.dumps(asyncio.run(over_rest() if address.startswith("http://") else over_grpc())))
