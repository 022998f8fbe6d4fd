"""A model server without a model: the paths and signals of the real one, in a third of a second.

What it does is in MODEL_URI: `standin:?fail=1` does not load, `slow=0.2` answers late, `status=500` answers badly,
`start=1` takes a second to load, `wrong=0.1` gives a wrong echo to one in ten, `full=0.5` refuses half with 503, `dies=20` exits after 20
answers.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from urllib.parse import parse_qs, urlsplit

from aiohttp import web

BEHAVIOUR = {k: float(v[0]) for k, v in parse_qs(urlsplit(os.environ["MODEL_URI"]).query).items()}
PREDICTOR = os.environ["PREDICTOR_ID"]
FEEDBACK: Counter[str] = Counter()
READY = True
KEPT: list[object] = []  # what lives as long as the process
ANSWERS = 0


async def predict(request: web.Request) -> web.Response:
    """Echo the request with the name of who answered."""
    global ANSWERS
    body = await request.read()
    await asyncio.sleep(BEHAVIOUR.get("slow", 0))
    ANSWERS += 1
    if random.random() < BEHAVIOUR.get("full", 0):
        return web.json_response({"error": "full"}, status=503, headers={"retry-after": "1"})
    if "dies" in BEHAVIOUR and BEHAVIOUR["dies"] < ANSWERS:
        print("out of memory", file=sys.stderr, flush=True)
        os._exit(1)
    echo = json.loads(body).get("jsonData", {}).get("x", [])
    answer = {
        "jsonData": {"echo": [-1] * len(echo) if random.random() < BEHAVIOUR.get("wrong", 0) else echo},
        "meta": {"puid": request.headers.get("x-request-id", ""), "tags": {"predictor": PREDICTOR}},
    }
    return web.json_response(
        answer,
        status=int(BEHAVIOUR.get("status", 200)),
        headers={"x-model-version": os.environ["MODEL_VERSION"]},
    )


async def infer(request: web.Request) -> web.Response:
    """Answer protocol v2."""
    await request.read()
    outputs = [{"name": "who", "shape": [1], "datatype": "BYTES", "data": [PREDICTOR]}]
    return web.json_response({"model_name": request.match_info["model"], "outputs": outputs})


async def feedback(request: web.Request) -> web.Response:
    """Count feedback by its reward."""
    document = await request.json()
    FEEDBACK["right" if document.get("reward", 0) >= 0.5 else "wrong"] += 1
    return web.json_response({"meta": {"tags": {"predictor": PREDICTOR}}})


async def prometheus(request: web.Request) -> web.Response:
    """Tell the counts as the real server does."""
    own = f'deployment_name="{os.environ["SELDON_DEPLOYMENT_ID"]}",predictor_name="{PREDICTOR}"'
    lines = [f'chandlery_feedback_total{{{own},outcome="{o}"}} {n}' for o, n in FEEDBACK.items()]
    return web.Response(text="\n".join(lines) + "\n")


async def health(request: web.Request) -> web.Response:
    """Tell whether it is ready."""
    return web.Response(status=200 if READY or request.path.endswith("live") else 503)


async def serve_rpc(port: int) -> None:
    """Echo over gRPC; `bad` is refused, and a stand-in with `status=500` fails."""
    import grpc

    async def predict(request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        if request == b"bad":
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "bad rows")
        if BEHAVIOUR.get("status", 200) >= 500:
            await context.abort(grpc.StatusCode.INTERNAL, "a defect")
        return PREDICTOR.encode()

    methods = {"ModelInfer": grpc.unary_unary_rpc_method_handler(predict)}
    handler = grpc.method_handlers_generic_handler("inference.GRPCInferenceService", methods)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((handler,))
    server.add_insecure_port(f"{os.environ['HOST']}:{port}")
    await server.start()
    KEPT.append(server)


async def serve() -> None:
    """Serve until SIGTERM, then drain."""
    global READY
    if rpc_port := int(os.environ.get("PREDICTIVE_UNIT_GRPC_SERVICE_PORT") or 0):
        await serve_rpc(rpc_port)
    application = web.Application()
    application.router.add_post("/api/v1.0/predictions", predict)
    application.router.add_post("/v2/models/{model}/infer", infer)
    application.router.add_post("/api/v1.0/feedback", feedback)
    application.router.add_get("/prometheus", prometheus)
    application.router.add_get("/v2/health/{what}", health)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=5, keepalive_timeout=600)
    await runner.setup()
    await web.TCPSite(
        runner, os.environ["HOST"], int(os.environ["PREDICTIVE_UNIT_HTTP_SERVICE_PORT"])
    ).start()
    await stop.wait()
    READY = False
    await asyncio.sleep(float(os.environ["CHANDLERY_DRAIN_DELAY_SECONDS"]))
    await runner.cleanup()


if __name__ == "__main__":
    time.sleep(BEHAVIOUR.get("start", 0))
    if BEHAVIOUR.get("fail"):
        print("models:/digits/13: weights.bin is damaged", file=sys.stderr)
        print("train the model again", file=sys.stderr)
        sys.exit(1)
    asyncio.run(serve())
