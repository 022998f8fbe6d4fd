"""The web application of one replica: routes, answers and refusals."""

from __future__ import annotations

import hmac
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route

from chandlery import __version__
from chandlery.example import read_example
from chandlery.inference import invocations, open_inference, openapi, seldon_v1
from chandlery.inference.answered import Answered, prediction_of
from chandlery.inference.batching import Batcher
from chandlery.inference.body import HEADER_LENGTH, read_binary, read_body, read_json
from chandlery.inference.compression import VARY, WORTHWHILE, pack
from chandlery.inference.exchange import Content, Exchange, Header
from chandlery.inference.feedback import FORWARDED, answered_id, judge, owner, read_feedback
from chandlery.inference.forwarding import forward
from chandlery.inference.metrics import CONTENT_TYPE, Metrics
from chandlery.inference.model import DATATYPES, ChandleryModel, count
from chandlery.inference.refusal import INTERNAL, Refused
from chandlery.inference.request_log import RequestLog
from chandlery.inference.settings import Settings
from chandlery.inference.shares import Shares
from chandlery.progress import report
from chandlery.recipe import Columns
from chandlery.resources.headers import MODEL_VERSION, PUID, REQUEST_ID, ROUTE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import Receive, Scope, Send

    RequestHandler = Callable[["ModelRequest"], Awaitable[Any]]
    Beside = Callable[["Replica"], Awaitable[Callable[[], Awaitable[None]]]]

LONGEST_ID = 128
PAGES = {
    "docs.html": "text/html; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
}
# The page loads from this server alone, runs no script but its own, and stands in no frame.
PAGE_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
JSON = b"application/json"
_HEADER_LENGTH = HEADER_LENGTH.encode()


@dataclass(slots=True)
class ModelRequest:
    """One request on its way through a handler.

    Attributes:
        http: the HTTP request.
        id: identifier: the caller's or ours.
        rows: number of rows; 0 until they are known.
        puid: the identifier in the answer; empty until there is one.
        prediction: what is kept of the answer for feedback.
        model_seconds: seconds in the model and its queue; negative until it was asked.
    """

    http: Exchange
    id: str
    rows: int = 0
    puid: str = ""
    prediction: bytes | None = None
    model_seconds: float = -1.0


class Replica:
    """One model behind its routes.

    Args:
        model: a loaded model.
        settings: how to serve it.
        beside: starts what else serves the replica, once its loop runs; returns what stops it.
    """

    def __init__(self, model: ChandleryModel, settings: Settings, beside: Beside | None = None) -> None:
        self.model = model
        self._beside = beside
        self.settings = settings
        self.draining = False
        self.batcher = Batcher(
            model.answers,
            settings.max_batch,
            settings.max_wait,
            settings.max_queue,
            settings.timeout,
            lambda rows: self.metrics.batch(rows),
        )
        self.metrics = Metrics(settings, model.version, lambda: len(self.batcher))
        self.log = RequestLog(
            settings.request_log,
            settings.predictor,
            {
                "predictor": settings.predictor,
                "model_name": model.name,
                "model_version": model.version,
                "runtime": model.runtime,
            }
            | ({"exact": "true"} if model.exact else {}),
        )
        self.answered = Answered(settings.request_log, settings.predictor, self.log.path)
        self._shares = Shares(settings.feedback_share)
        self._targets = () if isinstance(model.recipe.target, str) else model.recipe.targets()
        self._tags = model.tags()
        self._path = {settings.unit: settings.image}
        self._names = {settings.model_name, settings.unit}
        self._inputs = model.recipe.inputs()
        self._version = model.version
        self._headers: list[Header] = [
            (MODEL_VERSION.encode(), self._version.encode("latin-1", "replace")),
        ]
        if settings.predictor:
            self._headers.append((ROUTE.encode(), settings.predictor.encode("latin-1", "replace")))
        self._v1 = _Endpoint(self, "predictions", self._predict, seldon_v1.write_error)
        self._v2 = _Endpoint(self, "predictions", self._infer, _v2_error)

    def short_ways(self) -> dict[str, tuple[_Endpoint, dict[str, str]]]:
        """Return the endpoint and path parameters of every path to which predictions are posted."""
        named = {f"/v2/models/{name}/infer": (self._v2, {"model": name}) for name in self._names}
        return {path: (self._v1, {}) for path in ("/api/v1.0/predictions", "/predict")} | named

    def routes(self) -> list[Route]:
        """Return all routes, the busiest first."""
        predict, infer = self._v1, self._v2
        feedback = _Endpoint(self, "feedback", self._feedback, seldon_v1.write_error)
        v1_metadata = _Endpoint(self, "metadata", self._v1_metadata, seldon_v1.write_error)
        v1_health = _Endpoint(self, "status", self._v1_health, seldon_v1.write_error)
        v2_metadata = _Endpoint(self, "metadata", self._v2_metadata, _v2_error)
        v2_server = _Endpoint(self, "metadata", self._v2_server, _v2_error)
        v2_ready = _Endpoint(self, "status", self._v2_ready, _v2_error)
        v2_model_ready = _Endpoint(self, "status", self._v2_model_ready, _v2_error)
        index = _Endpoint(self, "metadata", self._repository_index, _v2_error)
        repository = _Endpoint(self, "metadata", self._refuse_loading, _v2_error)
        invoke = _Endpoint(self, "predictions", self._invoke, invocations.write_error)
        v1_model = _Endpoint(self, "predictions", self._predict_instances, _v2_error)
        post, both, get = ["POST"], ["POST", "GET"], ["GET"]
        return [
            # what Seldon's executor shows to the outside
            Route("/api/v1.0/predictions", predict, methods=post),
            Route("/v2/models/{model}/infer", infer, methods=post),
            Route("/v2/models/{model}/versions/{version}/infer", infer, methods=post),
            Route("/api/v1.0/feedback", feedback, methods=post),
            Route("/api/v0.1/predictions", predict, methods=post),
            Route("/api/v0.1/feedback", feedback, methods=post),
            # what it calls on a model container
            Route("/predict", predict, methods=both),
            Route("/send-feedback", feedback, methods=post),  # never by GET, which any web page can send
            Route("/health/ping", _pong, methods=get),
            Route("/health/status", v1_health, methods=get),
            Route("/api/v1.0/health/status", v1_health, methods=get),
            Route("/metadata", v1_metadata, methods=get),
            Route("/api/v1.0/metadata", v1_metadata, methods=get),
            Route("/api/v1.0/metadata/{model}", v1_metadata, methods=get),
            Route("/live", _pong, methods=get),
            Route("/ready", v2_ready, methods=get),
            # the rest of the Open Inference Protocol
            Route("/v2", v2_server, methods=get),
            Route("/v2/health/live", self._v2_live, methods=get),
            Route("/v2/health/ready", v2_ready, methods=get),
            Route("/v2/models/{model}", v2_metadata, methods=get),
            Route("/v2/models/{model}/versions/{version}", v2_metadata, methods=get),
            Route("/v2/models/{model}/ready", v2_model_ready, methods=get),
            Route("/v2/models/{model}/versions/{version}/ready", v2_model_ready, methods=get),
            Route("/v2/repository/index", index, methods=post),
            Route("/v2/repository/models/{model}/load", repository, methods=post),
            Route("/v2/repository/models/{model}/unload", repository, methods=post),
            # what `mlflow models serve` has
            Route("/invocations", invoke, methods=post),
            Route("/ping", self._ping, methods=get),
            Route("/health", self._ping, methods=get),
            Route("/version", _version, methods=get),
            # what KServe calls protocol v1, which is TensorFlow Serving's
            Route("/v1/models/{model}:predict", v1_model, methods=post),
            Route("/v1/models/{model}", v2_model_ready, methods=get),
            Route("/", _alive, methods=get),
            Route("/openapi.json", self._openapi, methods=get),
            Route("/docs", _page, methods=get),
            Route("/docs/{name}", _page, methods=get),
            Route("/prometheus", self._prometheus, methods=get),
            Route("/metrics", self._prometheus, methods=get),
        ]

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """Run the batcher and the request log beside the application."""
        self.log.start()
        stop = await self._beside(self) if self._beside is not None else None
        yield
        if stop is not None:
            await stop()
        await self.batcher.stop()
        await self.log.stop()

    def headers(self, request_id: str, status: int, retry_after: int, kind: bytes = JSON) -> list[Header]:
        """Return the headers of an answer.

        Args:
            request_id: identifier of the request.
            status: HTTP status.
            retry_after: seconds after which the caller may try again; 0: not sent.
            kind: content type.
        """
        headers = [(b"content-type", kind), *self.own_headers(request_id)]
        if retry_after:
            headers.append((b"retry-after", b"%d" % retry_after))
        if self.draining or status == 413:
            headers.append((b"connection", b"close"))
        return headers

    def own_headers(self, request_id: str) -> list[Header]:
        """Return the headers that say who answered which request."""
        identifier = request_id.encode("ascii")
        return [*self._headers, (REQUEST_ID.encode(), identifier), (PUID.encode(), identifier)]

    def request(self, http: Exchange) -> ModelRequest:
        """Begin a request: it has its caller's identifier, or a new one."""
        return ModelRequest(http, _request_id(http))

    def answered_call(
        self, service: str, method: str, call: ModelRequest, status: int, seconds: float
    ) -> None:
        """Count and log a request that has been answered.

        Args:
            service: predictions, feedback, status or metadata.
            method: HTTP method in lower case, or `grpc`.
            call: the request.
            status: HTTP status; of a call over gRPC that which HTTP would have.
            seconds: from arrival to answer.
        """
        self.metrics.request(service, method, status, seconds, call.model_seconds)
        if service == "predictions":
            self.log.add(call.id, call.rows, status, puid=call.puid, prediction=call.prediction)

    async def _ask(self, call: ModelRequest, rows: Any) -> Any:
        call.rows = count(rows)
        began = time.perf_counter()
        try:
            return await self.batcher.submit(rows, call.http.caller(), call.http.seconds_left())
        finally:
            call.model_seconds = time.perf_counter() - began

    async def _predict(self, call: ModelRequest) -> dict[str, Any]:
        return await self.predict(call, await read_json(call.http, self.settings.max_body))

    async def predict(self, call: ModelRequest, document: Any) -> dict[str, Any]:
        """Answer a SeldonMessage with a SeldonMessage, both as parsed JSON.

        Raises:
            Refused: it cannot be answered.
        """
        message = seldon_v1.read_message(document)
        data = message.data
        if data is None:
            if message.single is None:
                raise Refused(400, "request has no data; send data.ndarray, data.tensor or jsonData")
            data = seldon_v1.rows_of_single(message.single, self._inputs)
        answers = await self._ask(call, self.model.rows(data, message.names))
        self._remember(call, message.puid, answers)
        return seldon_v1.write_answer(answers, message, self._tags, self._path, call.puid)

    async def _infer(self, call: ModelRequest) -> dict[str, Any] | Content:
        self._check_model(call.http)
        if HEADER_LENGTH in call.http.headers:
            document, raw = await read_binary(call.http, self.settings.max_body)
            request = open_inference.read_request(document, self._inputs, raw)
        else:
            document = await read_json(call.http, self.settings.max_body)
            request = open_inference.read_request(document, self._inputs)
        answers = await self.infer(call, request)
        named = (self.model.name, self._version, call.puid)
        if not open_inference.wants_binary(request, answers):
            return open_inference.write_answer(answers, request, *named)
        response, tensors = open_inference.write_binary_answer(answers, request, *named)
        head = orjson.dumps(response)
        length = (_HEADER_LENGTH, b"%d" % len(head))
        return Content(b"".join([head, *tensors]), b"application/octet-stream", (length,))

    async def infer(self, call: ModelRequest, request: open_inference.InferRequest) -> Columns:
        """Return the answers to an inference request.

        Raises:
            Refused: it cannot be answered.
        """
        answers: Columns = await self._ask(call, self.model.checked(request.columns))
        self._remember(call, request.id, answers)
        return answers

    async def _invoke(self, call: ModelRequest) -> dict[str, Any]:
        kind = call.http.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "text/csv":
            body = await read_body(call.http, self.settings.max_body)
            invocation = invocations.read_csv(body, self._inputs)
        else:
            document = await read_json(call.http, self.settings.max_body)
            invocation = invocations.read_invocation(document, self._inputs)
        answers = await self._ask(call, self.model.checked(invocation.columns))
        self._remember(call, "", answers)
        return invocations.write_predictions(answers, invocation)

    async def _predict_instances(self, call: ModelRequest) -> dict[str, Any]:
        self._check_model(call.http)
        return await self._invoke(call)

    async def _repository_index(self, call: ModelRequest) -> list[dict[str, Any]]:
        state = "UNAVAILABLE" if self.draining else "READY"
        reason = "the server is stopping" if self.draining else ""
        return [{"name": self.model.name, "version": self._version, "state": state, "reason": reason}]

    async def _refuse_loading(self, call: ModelRequest) -> dict[str, Any]:
        raise Refused(
            400,
            f"this server serves {self.model.name!r} and neither loads nor unloads models; change the deployment",
            "NOT_SUPPORTED",
        )

    def _remember(self, call: ModelRequest, puid: str, answers: Columns) -> None:
        call.puid = puid or call.id
        if self.settings.request_log is None:
            return
        call.prediction = prediction_of(answers, bool(self._targets))
        for request_id in {call.id, call.puid}:
            self.answered.add(request_id, call.prediction)

    async def _feedback(self, call: ModelRequest) -> dict[str, Any]:
        return await self.feedback(call, await read_json(call.http, self.settings.max_body))

    async def feedback(self, call: ModelRequest, document: Any) -> dict[str, Any]:
        """Take a Feedback message, as parsed JSON, and count it once; returns the answer to it.

        Raises:
            Refused: it does not belong to an answer of this deployment, or brings no token.
        """
        self._check_token(call.http)
        request_id = answered_id(document)
        answer = await self.answered.find(request_id) if request_id else None
        if answer is None and self.settings.request_log is not None:
            raise Refused(
                404,
                f"no answer of this deployment has the id {request_id[:80]!r}"
                if request_id
                else "feedback does not name its answer; send back the response, or meta.puid",
                "UNKNOWN_ANSWER",
            )
        feedback = read_feedback(
            document,
            next(iter(self.model.answer_columns), ""),
            self._targets,
            answer.prediction if answer else None,
        )
        # The log knows who answered; without one, the feedback's own word counts.
        predictor = answer.predictor if answer else owner(feedback, call.http.headers)
        if predictor and self.settings.predictor and predictor != self.settings.predictor:
            if call.http.headers.get(FORWARDED):
                raise Refused(404, f"no predictor {predictor!r} takes feedback any more", "PREDICTOR_GONE")
            return await forward(self.settings, document, predictor, call.id)
        outcomes = judge(feedback, self.model.recipe)
        if answer is None or not answer.judged:  # a repeated message is answered alike and counted once
            if not self._shares.take(call.http.caller(), len(outcomes)):
                raise Refused(
                    429,
                    f"one client gives at most {self.settings.feedback_share:.0%} of the feedback that counts; "
                    "send it again when others have given theirs",
                    "SHARE",
                    retry_after=60,
                )
            self.metrics.feedback(feedback.reward, outcomes)
            if answer is not None:
                self.answered.judge(request_id)
                self.log.judged(request_id)
        return {
            "data": {"names": [], "ndarray": []},
            "meta": {"puid": feedback.request.puid or call.id, "tags": self._tags, "requestPath": self._path},
        }

    async def _v1_metadata(self, call: ModelRequest) -> dict[str, Any]:
        if "model" in call.http.parameters:
            self._check_model(call.http)
        return self.model.init_metadata()

    async def _v1_health(self, call: ModelRequest) -> dict[str, Any]:
        self._check_ready()
        health = self.model.health_status()
        return {
            "data": {"names": [], "tensor": {"shape": [len(health)], "values": health}},
            "meta": {"tags": self._tags, "requestPath": self._path},
        }

    async def _v2_server(self, call: ModelRequest) -> dict[str, Any]:
        return {"name": "chandlery", "version": __version__, "extensions": open_inference.EXTENSIONS}

    async def _v2_metadata(self, call: ModelRequest) -> dict[str, Any]:
        self._check_model(call.http)
        example = orjson.loads(self.model.example or b"{}")
        return {
            "name": self.model.name,
            "versions": [self.model.version],
            "platform": "chandlery",
            "inputs": [
                {
                    "name": column.name,
                    "datatype": DATATYPES[column.dtype],
                    "shape": [-1, *column.shape],
                    "parameters": {"description": column.description, "nullable": column.nullable}
                    | ({"minimum": column.minimum} if column.minimum is not None else {})
                    | ({"maximum": column.maximum} if column.maximum is not None else {})
                    | ({"allowed": list(column.allowed)} if column.allowed else {})
                    | ({"example": example[column.name][0]} if column.name in example else {}),
                }
                for column in self._inputs
            ],
            "outputs": self.model.outputs(),
        }

    async def _v2_ready(self, call: ModelRequest) -> dict[str, Any]:
        self._check_ready()
        return {"ready": True}

    async def _v2_model_ready(self, call: ModelRequest) -> dict[str, Any]:
        self._check_model(call.http)
        self._check_ready()
        return {"name": self.model.name, "ready": True}

    async def _openapi(self, request: Request) -> Response:
        # Made when it is asked for: what the model answers may be known only after its first request.
        example = read_example(self.model.folder, self._inputs)
        return Response(orjson.dumps(openapi.document(self.model, example)), media_type="application/json")

    async def _ping(self, request: Request) -> Response:
        return Response(b"\n", 503 if self.draining else 200, media_type="application/json")

    async def _v2_live(self, request: Request) -> Response:
        return Response(b'{"live":true}', media_type="application/json")

    async def _prometheus(self, request: Request) -> Response:
        return Response(self.metrics.text(), headers={"content-type": CONTENT_TYPE})

    def _check_token(self, http: Exchange) -> None:
        token = self.settings.feedback_token
        given = http.headers.get("authorization", "").removeprefix("Bearer ")
        if token and not hmac.compare_digest(given.encode(), token.encode()):
            raise Refused(
                401, "feedback needs the token of this deployment, as `authorization: Bearer ...`", "TOKEN"
            )

    def _check_ready(self) -> None:
        if self.draining:
            raise Refused(503, "the server is stopping", "STOPPING")

    def _check_model(self, http: Exchange) -> None:
        self.check_model(http.parameters["model"], http.parameters.get("version"))

    def check_model(self, name: str, version: str | None) -> None:
        """Check that this server has a model.

        Raises:
            Refused: it has another, or another version.
        """
        if name not in self._names:
            raise Refused(404, f"no model {name[:80]!r}; this server has {self.model.name!r}", "NOT_FOUND")
        if version is not None and version != self.model.version:
            raise Refused(
                404, f"no version {version[:80]!r}; this server has {self.model.version}", "NOT_FOUND"
            )


class _Endpoint:
    """An ASGI application of one route: times and counts a handler, and turns its exceptions into refusals."""

    def __init__(
        self,
        replica: Replica,
        service: str,
        handler: RequestHandler,
        write_error: Callable[[Refused], dict[str, Any]],
    ) -> None:
        self._replica = replica
        self._service = service
        self._handler = handler
        self._write_error = write_error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        http = Exchange(scope, receive, send)
        call = self._replica.request(http)
        status, retry_after = 200, 0
        kind, more = JSON, []
        try:
            answer = await self._handler(call)
            if type(answer) is Content:
                content, kind, more = answer.body, answer.kind, list(answer.headers)
            else:
                content = orjson.dumps(answer)
        except Refused as refused:
            status, retry_after = refused.status, refused.retry_after
            content = orjson.dumps(self._write_error(refused))
        except Exception as error:
            status = 500
            content = orjson.dumps(self._write_error(unforeseen(http.path, error)))
        if len(content) >= WORTHWHILE:
            more.append(VARY)
            content, encoding = await pack(content, http.headers.get("accept-encoding", ""))
            if encoding:
                more.append((b"content-encoding", encoding.encode()))
        replica, seconds = self._replica, time.perf_counter() - began
        replica.answered_call(self._service, http.method.lower(), call, status, seconds)
        headers = replica.headers(call.id, status, retry_after, kind)
        await http.answer(status, headers + more if more else headers, content)


class _Application(Starlette):
    """Starlette, with a short way for predictions: its middleware and routing take longer than a small network."""

    def __init__(self, replica: Replica) -> None:
        super().__init__(
            routes=replica.routes(),
            lifespan=replica.lifespan,
            exception_handlers={404: _no_route, 405: _no_route},
        )
        self.router.redirect_slashes = False  # behind a gateway it would lead out of the deployment
        self._short = replica.short_ways()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            if scope["method"] == "POST":
                way = self._short.get(scope["path"])
                if way is not None:
                    endpoint, scope["path_params"] = way
                    await endpoint(scope, receive, send)
                    return
            elif scope["method"] == "OPTIONS":
                await _options(self.routes, scope)(scope, receive, send)
                return
        await super().__call__(scope, receive, send)


def _options(routes: Sequence[BaseRoute], scope: Scope) -> Response:
    """Answer OPTIONS: which methods a path takes. No other site is granted any of them."""
    found = [route for route in routes if isinstance(route, Route) and route.matches(scope)[0] != Match.NONE]
    methods = {method for route in found for method in route.methods or ()}
    if not methods:
        return Response(
            _no_route_body(scope["path"], 404, "no such path"), 404, media_type="application/json"
        )
    return Response(status_code=204, headers={"allow": ", ".join(sorted(methods | {"OPTIONS"}))})


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    why = "no such path" if error.status_code == 404 else f"{request.method} is not allowed here"
    headers = dict(error.headers or {})
    if "Allow" in headers:
        headers["allow"] = ", ".join(sorted({*headers.pop("Allow").split(", "), "OPTIONS"}))
    body = _no_route_body(request.url.path, error.status_code, why)
    return Response(body, error.status_code, headers, media_type="application/json")


def _no_route_body(path: str, status: int, why: str) -> bytes:
    refused = Refused(status, f"{why}; see /docs for what this server answers", "NOT_FOUND")
    if path.startswith(("/api/", "/predict", "/send-feedback")):
        return orjson.dumps(seldon_v1.write_error(refused))
    return orjson.dumps(_v2_error(refused))


def unforeseen(path: str, error: Exception) -> Refused:
    """Return the refusal of a request that raised. The caller learns that it is our fault; the log learns which."""
    report("request.failed", f"{path}: {type(error).__name__}: {error}")
    return Refused(500, "internal error; see the server's log", INTERNAL)


def create_app(model: ChandleryModel, settings: Settings, beside: Beside | None = None) -> Starlette:
    """Return the application of one replica; its state is in `app.state.replica`.

    Args:
        model: a loaded model.
        settings: how to serve it.
        beside: starts what else serves the replica; see `Replica`.
    """
    replica = Replica(model, settings, beside)
    app = _Application(replica)
    app.state.replica = replica
    return app


async def _alive(request: Request) -> Response:
    return Response(b'{"status":"alive"}', media_type="application/json")


async def _page(request: Request) -> Response:
    name = request.path_params.get("name", "docs.html")
    kind = PAGES.get(name)
    if kind is None:
        raise HTTPException(404)
    body = (Path(__file__).parent / "page" / name).read_bytes()
    return Response(body, headers={"content-type": kind, **PAGE_HEADERS})


async def _version(request: Request) -> Response:
    return Response(__version__, media_type="text/plain")


async def _pong(request: Request) -> Response:
    return Response(b"pong", media_type="text/plain")


def _v2_error(refused: Refused) -> dict[str, Any]:
    return {"error": refused.info}


def _request_id(http: Exchange) -> str:
    given = http.headers.get(REQUEST_ID) or http.headers.get(PUID) or ""
    # An id of a caller goes into a header and a log only when it is printable and short.
    if 0 < len(given) <= LONGEST_ID and given.isascii() and given.isprintable():
        return given
    return os.urandom(16).hex()
