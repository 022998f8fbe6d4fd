"""KServe's InferenceRESTClient, in an environment of its own."""

import asyncio
import json
import sys

import httpx
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig

base = sys.argv[1]


def request(hours, binary):
    inputs = [
        InferInput("airport", [2], "BYTES"),
        InferInput("hour", [len(hours)], "INT64"),
        InferInput("wind", [2], "FP16" if binary else "FP64"),
    ]
    inputs[0].set_data_from_numpy(np.array(["HAM", "LEJ"], object), binary_data=binary)
    inputs[1].set_data_from_numpy(np.array(hours), binary_data=binary)
    inputs[2].set_data_from_numpy(
        np.array([0.5, 30.25], "float16" if binary else "float64"), binary_data=binary
    )
    return InferRequest("flights", inputs)


async def main():
    v2 = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))
    v1 = InferenceRESTClient(RESTConfig(protocol="v1", retries=0))
    answers = {}
    for binary in (True, False):
        found = await v2.infer(base, request([7, 8], binary), model_name="flights")
        answers["raw" if binary else "json"] = found.get_output_by_name("minutes").as_numpy().tolist()
    rows = {"instances": [["HAM", 7, 0.5], ["LEJ", 8, 30.25]]}
    old = await v1.infer(base, rows, model_name="flights")
    answers["v1"] = [row["minutes"] for row in old["predictions"]]
    try:
        await v2.infer(base, request([1, 2, 3], True), model_name="flights")
        refused = None
    except httpx.HTTPStatusError as error:
        refused = error.response.status_code, str(error)
    print(
        json.dumps(
            {
                "live": await v2.is_server_live(base) and await v1.is_server_live(base),
                "ready": await v2.is_server_ready(base),
                "model ready": await v2.is_model_ready(base, "flights")
                and await v1.is_model_ready(base, "flights"),
                "inputs": [
                    entry["name"] for entry in httpx.get(f"{base}/v2/models/flights").json()["inputs"]
                ],
                "predictions": answers,
                "refused": refused,
            }
        )
    )


asyncio.run(main())
