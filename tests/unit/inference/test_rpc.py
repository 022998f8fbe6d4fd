"""Protects: gRPC gives the answers of HTTP, refuses with gRPC's codes, and is counted, logged and stopped alike."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import numpy as np
import orjson
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from chandlery.inference import rpc, rpc_messages
from chandlery.inference.app import create_app
from chandlery.inference.rpc_messages import INFERENCE_SERVICE, message_class
from chandlery.processes.ports import free_port

ROWS = {
    "airport": ("BYTES", [b"HAM", b"LEJ"]),
    "hour": ("INT64", [7, 8]),
    "wind": ("FP64", [0.5, 30.25]),
}
FIELDS = {"BYTES": "bytes_contents", "INT64": "int64_contents", "FP64": "fp64_contents", "FP16": ""}


def request_of(shape: tuple[int, ...] = (2,), raw: bool = False, **options: Any) -> Any:
    message = message_class("inference.ModelInferRequest")(model_name="flights", **options)
    for name, (datatype, values) in ROWS.items():
        entry = message.inputs.add(name=name, datatype=datatype, shape=shape)
        if raw:
            content = (
                b"".join(len(v).to_bytes(4, "little") + v for v in values)
                if datatype == "BYTES"
                else np.array(values, {"INT64": "<i8", "FP64": "<f8"}[datatype]).tobytes()
            )
            message.raw_input_contents.append(content)
        else:
            getattr(entry.contents, FIELDS[datatype]).extend(values)
    return message


@pytest.fixture
def served(make_model: Any, tmp_path: Any) -> Any:
    """Run a scenario against a replica that serves gRPC: `served(scenario, **settings)`."""

    def run(scenario: Any, **settings: Any) -> Any:
        port = free_port()
        model = make_model(grpc_port=port, **settings)
        app = create_app(model, model.settings, rpc.start)

        async def main() -> Any:
            async with (
                app.state.replica.lifespan(app),
                grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
            ):
                return await scenario(channel, app.state.replica)

        return asyncio.run(main())

    return run


async def call(
    channel: Any, method: str, message: Any, service: str = INFERENCE_SERVICE, **options: Any
) -> Any:
    found = rpc_messages.POOL.FindServiceByName(service).FindMethodByName(method)
    unary = channel.unary_unary(
        f"/{service}/{method}",
        request_serializer=lambda m: m if isinstance(m, bytes) else m.SerializeToString(),
        response_deserializer=message_class(found.output_type.full_name).FromString,
    )
    return await unary(message, **options)


def refusal(served: Any, message: Any, method: str = "ModelInfer", **options: Any) -> tuple[Any, str]:
    async def scenario(channel: Any, replica: Any) -> Any:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(channel, method, message, **options)
        return refused.value.code(), refused.value.details()

    found: tuple[Any, str] = served(scenario)
    return found


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("shape", [(2,), (2, 1)])
def test_it_answers_as_http_does(served: Any, raw: bool, shape: tuple[int, ...]) -> None:
    async def scenario(channel: Any, replica: Any) -> Any:
        answer = await call(channel, "ModelInfer", request_of(shape, raw, id="mine"))
        return answer, replica.model.answers(
            replica.model.rows({"airport": ["HAM", "LEJ"], "hour": [7, 8], "wind": [0.5, 30.25]})
        )

    answer, expected = served(scenario)
    assert (answer.model_name, answer.model_version, answer.id) == ("flights", "3", "mine")
    assert [output.name for output in answer.outputs] == list(expected)
    for number, output in enumerate(answer.outputs):
        values = expected[output.name]
        assert tuple(output.shape) == values.shape
        if raw:
            assert np.frombuffer(answer.raw_output_contents[number], values.dtype).tolist() == values.tolist()
        else:
            contents = next(c for _, c in output.contents.ListFields())
            assert list(contents) == values.tolist()


def test_who_answered_is_told_counted_and_logged(served: Any, tmp_path: Any) -> None:
    async def scenario(channel: Any, replica: Any) -> Any:
        found = channel.unary_unary(f"/{INFERENCE_SERVICE}/ModelInfer")(
            request_of().SerializeToString(), metadata=(("x-request-id", "r-1"),)
        )
        headers = dict(await found.initial_metadata())
        await found
        return headers, replica.metrics.text().decode(), replica.log.path

    headers, metrics, path = served(scenario, request_log=tmp_path / "log")
    assert headers["x-request-id"] == "r-1"
    assert headers["x-seldon-route"] == "v3"
    (line,) = [
        line
        for line in metrics.splitlines()
        if line.startswith("seldon_api_executor_server_requests_seconds_count")
    ]
    assert 'code="200",' in line
    assert 'method="grpc"' in line
    assert 'service="predictions"' in line
    (logged,) = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    assert (logged["request_id"], logged["rows"], logged["status"]) == ("r-1", 2, 200)


def test_metadata_and_health(served: Any) -> None:
    def empty(method: str, **fields: Any) -> Any:
        return message_class(f"inference.{method}Request")(**fields)

    async def scenario(channel: Any, replica: Any) -> Any:
        check = health_pb2_grpc.HealthStub(channel).Check
        before = (await check(health_pb2.HealthCheckRequest(service=INFERENCE_SERVICE))).status
        found = [
            await call(channel, "ServerLive", empty("ServerLive")),
            await call(channel, "ServerReady", empty("ServerReady")),
            await call(channel, "ModelReady", empty("ModelReady", name="flights")),
            await call(channel, "ServerMetadata", empty("ServerMetadata")),
            await call(channel, "ModelMetadata", empty("ModelMetadata", name="flights", version="3")),
            await call(channel, "RepositoryIndex", empty("RepositoryIndex")),
        ]
        replica.draining = True
        return before, found, (await call(channel, "ServerReady", empty("ServerReady"))).ready

    before, (live, ready, model_ready, server, model, index), draining = served(scenario)
    assert before == health_pb2.HealthCheckResponse.SERVING
    assert live.live
    assert ready.ready
    assert model_ready.ready
    assert not draining
    assert server.name == "chandlery"
    assert [(t.name, t.datatype, list(t.shape)) for t in model.inputs] == [
        ("airport", "BYTES", [-1]),
        ("hour", "INT64", [-1]),
        ("wind", "FP64", [-1]),
    ]
    assert [(m.name, m.version, m.state) for m in index.models] == [("flights", "3", "READY")]


def _changed(change: Any) -> Any:
    message = request_of()
    change(message)
    return message


REFUSED = [
    (lambda m: m.inputs[0].shape.__setitem__(0, 3), "'airport' has 2 values, which do not make shape [3]"),
    (lambda m: m.inputs[0].shape.__setitem__(0, -1), "'airport' has shape [-1]"),
    (lambda m: setattr(m.inputs[1], "datatype", "INT4"), "'hour' has datatype 'INT4'"),
    (lambda m: setattr(m.inputs[2], "datatype", "FP16"), "'wind' is FP16, which has no typed contents"),
    (lambda m: setattr(m.inputs[1], "name", "wind"), "input 'wind' is there twice"),
    (lambda m: m.inputs[0].contents.bytes_contents.__setitem__(0, b"\xff"), "not UTF-8"),
    (lambda m: m.ClearField("inputs"), "the request has no inputs"),
    (lambda m: m.raw_input_contents.append(b""), "1 raw_input_contents for 3 inputs"),
    (lambda m: m.outputs.add(name="other"), "no output 'other'"),
]


@pytest.mark.parametrize(("change", "says"), REFUSED)
def test_bad_requests_are_refused_in_words(served: Any, change: Any, says: str) -> None:
    code, details = refusal(served, _changed(change))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert says in details


def test_other_models_and_versions(served: Any) -> None:
    request = message_class("inference.ModelInferRequest")
    code, details = refusal(served, request(model_name="other"))
    assert (code, details) == (
        grpc.StatusCode.NOT_FOUND,
        "no model 'other'; this server has 'flights'",
    )
    code, _ = refusal(served, request(model_name="flights", model_version="9"))
    assert code == grpc.StatusCode.NOT_FOUND


def test_a_deadline_that_has_passed_is_not_computed(served: Any) -> None:
    async def scenario(channel: Any, replica: Any) -> Any:
        submitted = []
        submit = replica.batcher.submit

        async def watched(rows: Any, caller: str, within: float) -> Any:
            submitted.append(within)
            return await submit(rows, caller, within)

        replica.batcher.submit = watched
        await call(channel, "ModelInfer", request_of(), timeout=5)
        await call(channel, "ModelInfer", request_of())
        return submitted

    limited, unlimited = served(scenario)
    assert 4 < limited <= 5.1
    assert unlimited == float("inf")


def test_a_message_that_is_too_large_is_refused(served: Any) -> None:
    code, _ = refusal(served, b"x" * (11 * 1024 * 1024))
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_garbage_is_refused_and_the_server_goes_on(served: Any) -> None:
    async def scenario(channel: Any, replica: Any) -> Any:
        with pytest.raises(grpc.aio.AioRpcError):
            await call(channel, "ModelInfer", b"\xff\xff\xff")
        return await call(channel, "ModelInfer", request_of())

    assert len(served(scenario).outputs) > 0


def test_seldons_service_predicts(served: Any) -> None:
    message = message_class("seldon.protos.SeldonMessage")()
    message.data.names.extend(["hour", "wind", "airport"])
    message.data.ndarray.extend([[7, 0.5, "HAM"], [8, 30.25, "LEJ"]])
    message.meta.puid = "p-1"

    async def scenario(channel: Any, replica: Any) -> Any:
        return await call(channel, "Predict", message, service="seldon.protos.Seldon"), await replica.predict(
            replica.request(_exchange()),
            {"data": {"names": ["hour", "wind", "airport"], "ndarray": [[7, 0.5, "HAM"], [8, 30.25, "LEJ"]]}},
        )

    answer, expected = served(scenario)
    assert answer.meta.puid == "p-1"
    assert answer.meta.tags["model_version"].string_value == "3"
    assert list(answer.data.names) == expected["data"]["names"]
    assert [list(row) for row in answer.data.ndarray] == expected["data"]["ndarray"]


def test_seldons_service_refuses(served: Any) -> None:
    message = message_class("seldon.protos.SeldonMessage")()
    code, details = refusal(served, message, "Predict", service="seldon.protos.Model")
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert "request has no data" in details


def test_feedback_counts_for_an_answer_that_was_given(served: Any, tmp_path: Any) -> None:
    feedback = message_class("seldon.protos.Feedback")

    async def scenario(channel: Any, replica: Any) -> Any:
        given = await call(channel, "ModelInfer", request_of(id="mine"))
        assert given.id == "mine"
        sent = feedback(reward=1.0)
        sent.response.meta.puid = "mine"
        await call(channel, "SendFeedback", sent, service="seldon.protos.Seldon")
        sent.response.meta.puid = "forged"
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(channel, "SendFeedback", sent, service="seldon.protos.Seldon")
        return refused.value.code(), replica.metrics.text().decode()

    code, metrics = served(scenario, request_log=tmp_path / "log")
    assert code == grpc.StatusCode.NOT_FOUND
    (count,) = [line for line in metrics.splitlines() if line.startswith("seldon_api_model_feedback_total")]
    assert count.endswith(" 1.0")


def test_reflection_tells_every_service_and_message(served: Any) -> None:
    from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

    async def scenario(channel: Any, replica: Any) -> Any:
        def read() -> Any:
            with grpc.insecure_channel(f"127.0.0.1:{replica.settings.grpc_port}") as own:
                database = ProtoReflectionDescriptorDatabase(own)
                file = database.FindFileContainingSymbol(INFERENCE_SERVICE)
                return set(database.get_services()), [method.name for method in file.service[0].method]

        return await asyncio.to_thread(read)

    services, methods = served(scenario)
    assert services >= {INFERENCE_SERVICE, "seldon.protos.Seldon", "grpc.health.v1.Health"}
    assert "ModelInfer" in methods


def _exchange() -> Any:
    from chandlery.inference.exchange import Exchange

    return Exchange(
        {"method": "POST", "path": "/", "path_params": {}, "headers": [], "query_string": b""},
        None,  # type: ignore[arg-type]
        None,  # type: ignore[arg-type]
    )
