"""The limit of what Starlette can serve: `python -m benchmarks.echo PORT` reads JSON and answers with a constant."""

from __future__ import annotations

import sys

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

ANSWER = {
    "model_name": "digits",
    "outputs": [
        {"name": "digit", "shape": [1], "datatype": "INT64", "data": [7]},
        {"name": "confidence", "shape": [1], "datatype": "FP32", "data": [0.125]},
    ],
}


async def infer(request: Request) -> Response:
    """Answer without a model."""
    orjson.loads(await request.body())
    return Response(orjson.dumps(ANSWER), media_type="application/json")


async def ready(request: Request) -> Response:
    """Tell that it serves."""
    return Response(b"{}")


if __name__ == "__main__":
    routes = [Route("/v2/models/digits/infer", infer, methods=["POST"]), Route("/v2/health/ready", ready)]
    uvicorn.run(Starlette(routes=routes), port=int(sys.argv[1]), log_level="warning", access_log=False)
