"""Predictions over gRPC: the Open Inference Protocol and Seldon's services, beside HTTP and with the same answers.

Both ways share the model, the batches, the metrics, the request log and what is remembered for feedback.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import grpc
import numpy as np
from google.protobuf import json_format
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from chandlery import __version__
from chandlery.errors import PlatformError
from chandlery.inference import open_inference, rpc_messages
from chandlery.inference.app import ModelRequest, Replica, unforeseen
from chandlery.inference.binary import RAW_TYPES, encoded, read_raw, write_raw
from chandlery.inference.exchange import Exchange
from chandlery.inference.refusal import Refused
from chandlery.inference.seldon_v1 import is_shape, reshaped
from chandlery.progress import report

SPARE_BYTES = 64 * 1024  # around the largest body that HTTP takes
MOST_STREAMS = 256  # calls of one connection at a time; further ones wait in the client
IDLE_MS = 600_000
METADATA_BYTES = 8 * 1024  # of one call; beyond it calls are refused by chance, beyond twice as much always
SPARE_CALLS = 256  # health checks and those that are being read or written, beside the queue
LONGEST_DETAILS = 4096

_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    415: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
# Which field of InferTensorContents holds a datatype; FP16 and BF16 are sent as raw bytes alone.
_CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


async def start(replica: Replica) -> Callable[[], Awaitable[None]]:
    """Serve a replica over gRPC on its settings' `grpc_port`; call inside the running event loop.

    Returns:
        what stops it: new calls are refused, and those under way get the settings' `grace`.

    Raises:
        PlatformError: the port is taken.
    """
    settings = replica.settings
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", settings.max_body + SPARE_BYTES),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_concurrent_streams", MOST_STREAMS),
            ("grpc.max_connection_idle_ms", IDLE_MS),
            (
                "grpc.server_handshake_timeout_ms",
                round(1000 * settings.read_seconds),
            ),  # who connects and is silent
            ("grpc.max_metadata_size", METADATA_BYTES),
            ("grpc.absolute_max_metadata_size", 2 * METADATA_BYTES),
            ("grpc.so_reuseport", int(settings.workers > 1)),
        ],
        # Messages of calls that wait are in memory. More than the queue takes would be refused there.
        maximum_concurrent_rpcs=settings.max_queue + SPARE_CALLS,
    )
    services = _Services(replica)
    server.add_generic_rpc_handlers(services.handlers())
    checks = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    names = (rpc_messages.INFERENCE_SERVICE, *rpc_messages.SELDON_SERVICES)
    for name in ("", *names):
        await checks.set(name, health_pb2.HealthCheckResponse.SERVING)
    reflection.enable_server_reflection(
        (*names, health.SERVICE_NAME, reflection.SERVICE_NAME), server, rpc_messages.POOL
    )
    try:
        port = server.add_insecure_port(f"{settings.host}:{settings.grpc_port}")
    except RuntimeError as error:
        raise PlatformError(
            f"cannot listen on {settings.host}:{settings.grpc_port} for gRPC",
            "stop what listens there, or set PREDICTIVE_UNIT_GRPC_SERVICE_PORT; 0 is none",
        ) from error
    await server.start()
    report("server.grpc", f"serving gRPC on {settings.host}:{port}", port=port)

    async def stop() -> None:
        await checks.enter_graceful_shutdown()
        await server.stop(settings.grace)

    return stop


class _Services:
    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._inputs = replica.model.recipe.inputs()

    def handlers(self) -> tuple[Any, ...]:
        """Return the handlers of all services."""
        unary = {
            "ServerLive": ("status", self._server_live),
            "ServerReady": ("status", self._server_ready),
            "ModelReady": ("status", self._model_ready),
            "ServerMetadata": ("metadata", self._server_metadata),
            "ModelMetadata": ("metadata", self._model_metadata),
            "ModelInfer": ("predictions", self._model_infer),
            "RepositoryIndex": ("metadata", self._repository_index),
        }
        seldon = {
            "Predict": ("predictions", self._predict),
            "SendFeedback": ("feedback", self._send_feedback),
        }
        return (
            self._service(rpc_messages.INFERENCE_SERVICE, unary),
            *(self._service(name, seldon) for name in rpc_messages.SELDON_SERVICES),
        )

    def _service(
        self, name: str, methods: Mapping[str, tuple[str, Callable[[ModelRequest, Any], Awaitable[Any]]]]
    ) -> Any:
        declared = rpc_messages.POOL.FindServiceByName(name)
        handlers = {}
        for method, (service, handle) in methods.items():
            found = declared.FindMethodByName(method)
            handlers[method] = grpc.unary_unary_rpc_method_handler(
                self._guarded(f"/{name}/{method}", service, handle),
                request_deserializer=rpc_messages.message_class(found.input_type.full_name).FromString,
                response_serializer=rpc_messages.message_class(found.output_type.full_name).SerializeToString,
            )
        return grpc.method_handlers_generic_handler(name, handlers)

    def _guarded(
        self, path: str, service: str, handle: Callable[[ModelRequest, Any], Awaitable[Any]]
    ) -> Callable[[Any, Any], Awaitable[Any]]:
        """Return a handler that is timed, counted and logged as those of HTTP, and refuses with gRPC's codes."""
        replica = self._replica

        async def answer(request: Any, context: Any) -> Any:
            began = time.perf_counter()
            call = replica.request(_Rpc(path, context))
            refused: Refused | None = None
            response = None
            try:
                response = await handle(call, request)
            except Refused as error:
                refused = error
            except asyncio.CancelledError:
                raise  # the client is gone
            except Exception as error:
                refused = unforeseen(path, error)
            status = refused.status if refused else 200
            replica.answered_call(service, "grpc", call, status, time.perf_counter() - began)
            await context.send_initial_metadata(
                [
                    (name.decode(), value.decode("latin-1"))
                    for name, value in replica.own_headers(call.id)
                    if value.isascii()
                ]
            )
            if refused is not None:
                code = _CODES.get(refused.status, grpc.StatusCode.INTERNAL)
                await context.abort(code, refused.info[:LONGEST_DETAILS])
            return response

        return answer

    async def _server_live(self, call: ModelRequest, request: Any) -> Any:
        return _message("ServerLiveResponse")(live=True)

    async def _server_ready(self, call: ModelRequest, request: Any) -> Any:
        return _message("ServerReadyResponse")(ready=not self._replica.draining)

    async def _model_ready(self, call: ModelRequest, request: Any) -> Any:
        self._replica.check_model(request.name, request.version or None)
        return _message("ModelReadyResponse")(ready=not self._replica.draining)

    async def _server_metadata(self, call: ModelRequest, request: Any) -> Any:
        return _message("ServerMetadataResponse")(
            name="chandlery", version=__version__, extensions=open_inference.EXTENSIONS
        )

    async def _model_metadata(self, call: ModelRequest, request: Any) -> Any:
        self._replica.check_model(request.name, request.version or None)
        metadata = self._replica.model.init_metadata()
        del metadata["custom"]
        return _message("ModelMetadataResponse")(**metadata)

    async def _repository_index(self, call: ModelRequest, request: Any) -> Any:
        model, draining = self._replica.model, self._replica.draining
        state = "UNAVAILABLE" if draining else "READY"
        return _message("RepositoryIndexResponse")(
            models=[{"name": model.name, "version": model.version, "state": state}]
        )

    async def _model_infer(self, call: ModelRequest, request: Any) -> Any:
        replica = self._replica
        replica.check_model(request.model_name, request.model_version or None)
        asked = open_inference.InferRequest(
            open_inference.as_columns(_arrays(request), self._inputs),
            request.id,
            [output.name for output in request.outputs],
        )
        answers = await replica.infer(call, asked)
        raw = bool(request.raw_input_contents) or any(
            values.dtype == np.float16 for values in answers.values()
        )
        response = _message("ModelInferResponse")(
            model_name=replica.model.name, model_version=replica.model.version, id=call.puid
        )
        for name in open_inference.chosen(answers, asked):
            values = answers[name]
            datatype = open_inference.datatype_of(values)
            output = response.outputs.add(name=name, datatype=datatype, shape=values.shape)
            if raw:
                response.raw_output_contents.append(write_raw(values))
            elif datatype == "BYTES":
                output.contents.bytes_contents.extend(encoded(values))
            else:
                getattr(output.contents, _CONTENTS[datatype]).extend(values.ravel().tolist())
        return response

    async def _predict(self, call: ModelRequest, request: Any) -> Any:
        return self._seldon(await self._replica.predict(call, _document(request)))

    async def _send_feedback(self, call: ModelRequest, request: Any) -> Any:
        return self._seldon(await self._replica.feedback(call, _document(request)))

    def _seldon(self, answer: dict[str, Any]) -> Any:
        message = rpc_messages.message_class(f"{rpc_messages.SELDON}.SeldonMessage")
        return json_format.ParseDict(answer, message(), ignore_unknown_fields=True)


def _message(name: str) -> Any:
    return rpc_messages.message_class(f"{rpc_messages.INFERENCE}.{name}")


class _Rpc(Exchange):
    """A call over gRPC, as the handlers of HTTP see a request."""

    __slots__ = ("_context",)

    def __init__(self, path: str, context: Any) -> None:
        metadata = context.invocation_metadata() or ()
        super().__init__(
            {
                "method": "POST",
                "path": path,
                "path_params": {},
                "headers": [
                    (name.encode(), value.encode()) for name, value in metadata if isinstance(value, str)
                ],
                "query_string": b"",
                "client": (_host(context.peer()), 0),
            },
            _no_body,
            _no_answer,
        )
        self._context = context

    def seconds_left(self) -> float:
        """Return the seconds until the call's deadline; infinite where it has none."""
        left = self._context.time_remaining()
        return math.inf if left is None else max(0.0, float(left))


async def _no_body() -> Any:
    raise RuntimeError("a call over gRPC has no body")


async def _no_answer(message: Any) -> None:
    raise RuntimeError("a call over gRPC is not answered over HTTP")


def _host(peer: str) -> str:
    """Return the host of gRPC's `ipv4:127.0.0.1:5000`."""
    return peer.partition(":")[2].rpartition(":")[0]


def _document(message: Any) -> dict[str, Any]:
    document: dict[str, Any] = json_format.MessageToDict(message)
    return document


def _arrays(request: Any) -> dict[str, np.ndarray]:
    """Return the tensors of a ModelInferRequest by name.

    Raises:
        Refused: a type or shape is unknown, or there are too many or too few values.
    """
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise Refused(
            400, f"{len(raw)} raw_input_contents for {len(request.inputs)} inputs; send one for each"
        )
    if not request.inputs:
        raise Refused(400, "the request has no inputs")
    arrays: dict[str, np.ndarray] = {}
    for number, entry in enumerate(request.inputs):
        what = f"input {entry.name[:80]!r}"
        if entry.name in arrays:
            raise Refused(400, f"{what} is there twice")
        shape = list(entry.shape)
        if not is_shape(shape):
            raise Refused(400, f"{what} has shape {shape[:8]}; expected whole numbers, such as [n]")
        if entry.datatype not in _CONTENTS and entry.datatype not in RAW_TYPES:
            raise Refused(
                400,
                f"{what} has datatype {entry.datatype[:40]!r}; valid: {', '.join((*_CONTENTS, 'FP16', 'BF16'))}",
            )
        arrays[entry.name] = (
            read_raw(memoryview(raw[number]), entry.datatype, shape, what)
            if raw
            else _typed(entry, shape, what)
        )
    return arrays


def _typed(entry: Any, shape: list[int], what: str) -> np.ndarray:
    field = _CONTENTS.get(entry.datatype)
    if field is None:
        raise Refused(
            400, f"{what} is {entry.datatype}, which has no typed contents; send raw_input_contents"
        )
    values = getattr(entry.contents, field)
    if entry.datatype == "BYTES":
        try:
            array = np.array([value.decode() for value in values] or [""], dtype=object)[: len(values)]
        except UnicodeDecodeError as error:
            raise Refused(400, f"{what} holds a text that is not UTF-8: {error.reason}") from error
        return reshaped(array, shape, what)
    array = np.array(values)
    cast = array.astype(open_inference.TYPES[entry.datatype])
    if entry.datatype.startswith(("INT", "UINT")) and not np.array_equal(cast, array):
        raise Refused(400, f"{what} is {entry.datatype} and holds a value that is not")
    return reshaped(cast, shape, what)
