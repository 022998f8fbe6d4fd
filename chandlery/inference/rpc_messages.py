"""The messages of gRPC: of the Open Inference Protocol (package `inference`) and of Seldon (package `seldon.protos`).

They are declared here by name, type and number, as both projects publish them, and live in a pool of their own: a process
that has imported a client of either protocol as well keeps its classes.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, empty_pb2, message_factory, struct_pb2

INFERENCE, SELDON = "inference", "seldon.protos"
INFERENCE_SERVICE = f"{INFERENCE}.GRPCInferenceService"
# The executor's service, which clients call, and the one that it calls on a model container.
SELDON_SERVICES = (f"{SELDON}.Seldon", f"{SELDON}.Model")

_PARAMETERS = "map parameters = 4 InferParameter"
# "label? type name = number", where a type is protobuf's own or a message; `map` makes map<string, ...>; `|` begins a oneof.
_INFERENCE: dict[str, str] = {
    "ServerLiveRequest": "",
    "ServerLiveResponse": "bool live = 1",
    "ServerReadyRequest": "",
    "ServerReadyResponse": "bool ready = 1",
    "ModelReadyRequest": "string name = 1; string version = 2",
    "ModelReadyResponse": "bool ready = 1",
    "ServerMetadataRequest": "",
    "ServerMetadataResponse": "string name = 1; string version = 2; repeated string extensions = 3",
    "ModelMetadataRequest": "string name = 1; string version = 2",
    "ModelMetadataResponse": "string name = 1; repeated string versions = 2; string platform = 3; "
    "repeated ModelMetadataResponse.TensorMetadata inputs = 4; "
    "repeated ModelMetadataResponse.TensorMetadata outputs = 5",
    "ModelMetadataResponse.TensorMetadata": "string name = 1; string datatype = 2; repeated int64 shape = 3",
    "InferParameter": "|parameter_choice bool bool_param = 1; |parameter_choice int64 int64_param = 2; "
    "|parameter_choice string string_param = 3; |parameter_choice double double_param = 4; "
    "|parameter_choice uint64 uint64_param = 5",
    "InferTensorContents": "repeated bool bool_contents = 1; repeated int32 int_contents = 2; "
    "repeated int64 int64_contents = 3; repeated uint32 uint_contents = 4; repeated uint64 uint64_contents = 5; "
    "repeated float fp32_contents = 6; repeated double fp64_contents = 7; repeated bytes bytes_contents = 8",
    "ModelInferRequest": "string model_name = 1; string model_version = 2; string id = 3; "
    f"{_PARAMETERS}; repeated ModelInferRequest.InferInputTensor inputs = 5; "
    "repeated ModelInferRequest.InferRequestedOutputTensor outputs = 6; repeated bytes raw_input_contents = 7",
    "ModelInferRequest.InferInputTensor": "string name = 1; string datatype = 2; repeated int64 shape = 3; "
    f"{_PARAMETERS}; InferTensorContents contents = 5",
    "ModelInferRequest.InferRequestedOutputTensor": "string name = 1; map parameters = 2 InferParameter",
    "ModelInferResponse": "string model_name = 1; string model_version = 2; string id = 3; "
    f"{_PARAMETERS}; repeated ModelInferResponse.InferOutputTensor outputs = 5; "
    "repeated bytes raw_output_contents = 6",
    "ModelInferResponse.InferOutputTensor": "string name = 1; string datatype = 2; repeated int64 shape = 3; "
    f"{_PARAMETERS}; InferTensorContents contents = 5",
    "RepositoryIndexRequest": "string repository_name = 1; bool ready = 2",
    "RepositoryIndexResponse": "repeated RepositoryIndexResponse.ModelIndex models = 1",
    "RepositoryIndexResponse.ModelIndex": "string name = 1; string version = 2; string state = 3; string reason = 4",
}
_VALUE, _LIST = ".google.protobuf.Value", ".google.protobuf.ListValue"
_SELDON: dict[str, str] = {
    "SeldonMessage": "Status status = 1; Meta meta = 2; |data_oneof DefaultData data = 3; "
    f"|data_oneof bytes binData = 4; |data_oneof string strData = 5; |data_oneof {_VALUE} jsonData = 6",
    "DefaultData": f"repeated string names = 1; |data_oneof Tensor tensor = 2; |data_oneof {_LIST} ndarray = 3",
    "Tensor": "repeated int32 shape = 1; repeated double values = 2",
    "Meta": f"string puid = 1; map tags = 2 {_VALUE}; map routing = 3 int32; map requestPath = 4 string",
    "Status": "int32 code = 1; string info = 2; string reason = 3; Status.StatusFlag status = 4",
    "Feedback": "SeldonMessage request = 1; SeldonMessage response = 2; float reward = 3; SeldonMessage truth = 4",
}
_INFERENCE_METHODS = (
    "ServerLive",
    "ServerReady",
    "ModelReady",
    "ServerMetadata",
    "ModelMetadata",
    "ModelInfer",
    "RepositoryIndex",
)
_FIELD = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    name: getattr(_FIELD, f"TYPE_{name.upper()}")
    for name in ("bool", "int32", "int64", "uint32", "uint64", "float", "double", "string", "bytes")
}


def _pool() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    for known in (struct_pb2, empty_pb2):
        pool.AddSerializedFile(known.DESCRIPTOR.serialized_pb)
    inference = _file("inference.proto", INFERENCE, _INFERENCE)
    service = inference.service.add(name="GRPCInferenceService")
    for method in _INFERENCE_METHODS:
        _add_method(service, method, f".{INFERENCE}.{method}Request", f".{INFERENCE}.{method}Response")
    pool.Add(inference)
    seldon = _file("prediction.proto", SELDON, _SELDON)
    seldon.dependency.append(struct_pb2.DESCRIPTOR.name)
    flag = next(message for message in seldon.message_type if message.name == "Status").enum_type.add(
        name="StatusFlag"
    )
    flag.value.add(name="SUCCESS", number=0)
    flag.value.add(name="FAILURE", number=1)
    for name in SELDON_SERVICES:
        service = seldon.service.add(name=name.rpartition(".")[2])
        message = f".{SELDON}.SeldonMessage"
        _add_method(service, "Predict", message, message)
        _add_method(service, "SendFeedback", f".{SELDON}.Feedback", message)
    pool.Add(seldon)
    return pool


def _add_method(service: Any, name: str, request: str, response: str) -> None:
    service.method.add(name=name, input_type=request, output_type=response)


def _file(name: str, package: str, messages: dict[str, str]) -> Any:
    file = descriptor_pb2.FileDescriptorProto(name=name, package=package, syntax="proto3")
    made: dict[str, Any] = {}
    for full in sorted(messages, key=lambda full: full.count(".")):
        outer, _, last = full.rpartition(".")
        made[full] = made[outer].nested_type.add(name=last) if outer else file.message_type.add(name=last)
        for text in filter(None, messages[full].split("; ")):
            _add_field(made[full], text, package, full, messages)
    return file


def _add_field(message: Any, text: str, package: str, full: str, messages: dict[str, str]) -> None:
    words = text.split()
    oneof = words.pop(0)[1:] if words[0].startswith("|") else ""
    label = words.pop(0) if words[0] in ("repeated", "map") else ""
    kind = words[3] if label == "map" else words[0]
    name, number = (words[0], words[2]) if label == "map" else (words[1], words[3])
    field = message.field.add(name=name, number=int(number), label=_FIELD.LABEL_OPTIONAL)
    if label:
        field.label = _FIELD.LABEL_REPEATED
    if label == "map":
        entry = message.nested_type.add(name=f"{name[0].upper()}{name[1:]}Entry")
        entry.options.map_entry = True
        entry.field.add(name="key", number=1, label=_FIELD.LABEL_OPTIONAL, type=_FIELD.TYPE_STRING)
        _set_type(
            entry.field.add(name="value", number=2, label=_FIELD.LABEL_OPTIONAL), kind, package, messages
        )
        field.type, field.type_name = _FIELD.TYPE_MESSAGE, f".{package}.{full}.{entry.name}"
        return
    _set_type(field, kind, package, messages)
    if oneof:
        names = [found.name for found in message.oneof_decl]
        if oneof not in names:
            message.oneof_decl.add(name=oneof)
            names.append(oneof)
        field.oneof_index = names.index(oneof)


def _set_type(field: Any, kind: str, package: str, messages: dict[str, str]) -> None:
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
        return
    field.type = _FIELD.TYPE_MESSAGE if kind.startswith(".") or kind in messages else _FIELD.TYPE_ENUM
    field.type_name = kind if kind.startswith(".") else f".{package}.{kind}"


POOL = _pool()


@cache
def message_class(name: str) -> Any:
    """Return the class of a message by its full name, such as `inference.ModelInferRequest`."""
    return message_factory.GetMessageClass(POOL.FindMessageTypeByName(name))
