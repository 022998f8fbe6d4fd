"""Asking a deployment: the URL paths that Seldon has behind its gateway, in either protocol.

Rows and answers are `Columns`. The header `x-seldon-route` of an answer names the predictor; feedback sends it back, so
that it reaches the predictor that answered.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import shlex
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote, urlsplit

import numpy as np
import orjson

from chandlery.errors import DeadlineError, ServingError, UserError
from chandlery.example import readable
from chandlery.files import write_text
from chandlery.recipe import Columns, Value
from chandlery.resources.headers import MODEL_VERSION, REQUEST_ID, ROUTE
from chandlery.resources.seldon_deployment import PROTOCOLS

if TYPE_CHECKING:
    import aiohttp


LONGEST_BODY = 2000  # characters of a request in a command line; longer ones go into a file

_V2_TYPES = {
    "b": "BOOL",
    "U": "BYTES",
    "O": "BYTES",
    "i8": "INT64",
    "i4": "INT32",
    "i2": "INT16",
    "i1": "INT8",
    "u8": "UINT64",
    "u4": "UINT32",
    "u2": "UINT16",
    "u1": "UINT8",
    "f4": "FP32",
    "f8": "FP64",
    "f2": "FP16",
}
_NUMPY_TYPES = {
    "BOOL": "bool",
    "INT64": "int64",
    "INT32": "int32",
    "INT16": "int16",
    "INT8": "int8",
    "UINT64": "uint64",
    "UINT32": "uint32",
    "UINT16": "uint16",
    "UINT8": "uint8",
    "FP64": "float64",
    "FP32": "float32",
    "FP16": "float16",
}


@dataclass(frozen=True)
class DeploymentAddress:
    """Where a deployment takes predictions.

    Attributes:
        gateway: base URL of the gateway.
        namespace: namespace of the deployment.
        deployment: its name.
        protocol: `seldon` or `v2`.
        model: name of the model, in the path of protocol v2.

    Raises:
        UserError: the gateway is not a URL, the protocol is unknown, or v2 without a model.
    """

    gateway: str
    namespace: str
    deployment: str
    protocol: str = "seldon"
    model: str = ""

    def __post_init__(self) -> None:
        """Refuse an address that cannot be."""
        if self.protocol not in PROTOCOLS:
            raise UserError(f"unknown protocol {self.protocol!r}", f"valid protocols: {', '.join(PROTOCOLS)}")
        if self.protocol == "v2" and not self.model:
            raise UserError("protocol v2 needs the name of the model", "it is part of the path")
        parts = urlsplit(self.gateway)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UserError(f"gateway {self.gateway!r} is not a URL", "use http://host:port")


@dataclass(frozen=True)
class Answer:
    """Answer to one request.

    Attributes:
        request_id: id that the request and its feedback carry.
        route: predictor that answered, `v12`; empty when none did.
        version: model version that answered.
        answers: answer columns, n rows each; empty unless the status is 200.
        status: HTTP status.
        seconds: from sending to the whole answer.
        error: the other side's message, when the status is not 200.
    """

    request_id: str
    route: str
    version: str
    answers: Columns
    status: int
    seconds: float
    error: str = ""
    _body: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def ok(self) -> bool:
        """The request was answered."""
        return self.status == 200


class Endpoint:
    """One deployment behind the gateway, for many calls from any number of threads; connections are kept.

    Args:
        address: where the deployment is.
        deadline: seconds for one call.

    """

    def __init__(
        self,
        address: DeploymentAddress,
        deadline: float = 30.0,
    ) -> None:
        self._wire = _Wire(address)
        self._deadline = deadline
        self._local = threading.local()

    @property
    def url(self) -> str:
        """Base URL of the deployment."""
        return self._wire.base

    def predict(self, rows: Columns, request_id: str = "", route: str = "") -> Answer:
        """Ask for the answers of n rows.

        Args:
            rows: one array per input column.
            request_id: id to use; empty for a new one.
            route: predictor to ask, `v12`; empty for the weights to decide.

        Returns:
            the answer; one with another status than 200 holds the error and does not raise.

        Raises:
            DeadlineError: no answer in time.
            ServingError: the gateway cannot be reached.
        """
        headers = self._wire.headers(request_id, route)
        began = time.perf_counter()
        status, received, body = self._post(self._wire.predict_path, self._wire.encode(rows), headers)
        return self._wire.answer(status, received, body, headers[REQUEST_ID], time.perf_counter() - began)

    def feedback(self, answer: Answer, truth: Any = None, reward: float | None = None) -> int:
        """Send the predictor that gave `answer` the truth, or a reward.

        Args:
            answer: an answer with status 200.
            truth: true value of each row (array or list of n), several targets by name; None when only a reward is
                known.
            reward: 0 (bad) to 1 (good); None leaves it to the truth.

        Returns:
            the HTTP status.

        Raises:
            DeadlineError: no answer in time.
            ServingError: the gateway cannot be reached.
        """
        headers = self._wire.headers(answer.request_id, answer.route)
        body = self._wire.feedback_body(answer, truth, reward)
        return self._post(self._wire.feedback_path, body, headers)[0]

    def send(self, body: bytes, route: str = "") -> tuple[int, Mapping[str, str], bytes]:
        """Send the body of a prediction request as it is.

        Args:
            body: JSON of the address's protocol.
            route: predictor to ask, `v12`; empty for the weights to decide.

        Returns:
            HTTP status, headers by lower-case name, body of the answer.

        Raises:
            DeadlineError: no answer in time.
            ServingError: the gateway cannot be reached.
        """
        return self._post(self._wire.predict_path, body, self._wire.headers("", route))

    def close(self) -> None:
        """Close the connection of this thread."""
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            self._local.connection = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _post(
        self, path: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[int, Mapping[str, str], bytes]:
        # A kept connection may have been closed by the other side: that one failure is tried again on a new connection.
        for fresh in (False, True):
            connection = None if fresh else getattr(self._local, "connection", None)
            reused = connection is not None
            if connection is None:
                connection = self._wire.connect(self._deadline)
            try:
                # A server that refuses a body for its size closes the connection early; its answer can still be read.
                with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                    connection.request("POST", path, body, dict(headers))
                response = connection.getresponse()
                content = response.read()
            except TimeoutError as error:
                self._drop(connection)
                raise self._wire.late(path, self._deadline) from error
            except (OSError, http.client.HTTPException) as error:
                self._drop(connection)
                if reused:
                    continue
                raise self._wire.unreachable(error) from error
            self._local.connection = connection
            return response.status, {k.lower(): v for k, v in response.getheaders()}, content
        raise AssertionError("unreachable: a fresh connection either answers or raises")

    def _drop(self, connection: http.client.HTTPConnection) -> None:
        connection.close()
        self._local.connection = None


class AsyncEndpoint:
    """The same for an event loop, with many calls in flight over kept connections. Use as `async with`.

    Args:
        address: where the deployment is.
        deadline: seconds for one call.
        connections: most connections at once.
    """

    def __init__(
        self,
        address: DeploymentAddress,
        deadline: float = 30.0,
        connections: int = 64,
    ) -> None:
        self._wire = _Wire(address)
        self._deadline = deadline
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        import aiohttp

        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._connections),
            timeout=aiohttp.ClientTimeout(total=self._deadline),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def predict(self, rows: Columns, request_id: str = "", route: str = "") -> Answer:
        """See `Endpoint.predict`."""
        headers = self._wire.headers(request_id, route)
        began = time.perf_counter()
        status, received, body = await self._post(self._wire.predict_path, self._wire.encode(rows), headers)
        return self._wire.answer(status, received, body, headers[REQUEST_ID], time.perf_counter() - began)

    async def feedback(self, answer: Answer, truth: Any = None, reward: float | None = None) -> int:
        """See `Endpoint.feedback`."""
        headers = self._wire.headers(answer.request_id, answer.route)
        body = self._wire.feedback_body(answer, truth, reward)
        return (await self._post(self._wire.feedback_path, body, headers))[0]

    async def _post(
        self, path: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[int, Mapping[str, str], bytes]:
        import aiohttp

        if self._session is None:
            raise UserError("the endpoint is not open", "use it as `async with AsyncEndpoint(...)`")
        try:
            async with self._session.post(self._wire.origin + path, data=body, headers=headers) as response:
                content = await response.read()
                return response.status, {k.lower(): v for k, v in response.headers.items()}, content
        except TimeoutError as error:
            raise self._wire.late(path, self._deadline) from error
        except aiohttp.ClientError as error:
            raise self._wire.unreachable(error) from error


def curl_line(address: DeploymentAddress, rows: Columns, folder: Path) -> str:
    """Return a `curl` command that asks for the answers of `rows`, ready to be pasted into a shell.

    Args:
        address: the deployment to ask.
        rows: one array per input column.
        folder: where a request too long for a line is written, as `<deployment>.json`, for the command to refer to.

    Raises:
        UserError: unknown protocol, or v2 without a model.
    """
    wire = _Wire(address)
    body = readable(orjson.loads(wire.encode(rows)))
    if len(body) > LONGEST_BODY:
        file = folder.resolve() / f"{address.deployment}.json"
        write_text(file, body)
        body = f"@{file}"
    return (
        f"curl -s {shlex.quote(wire.origin + wire.predict_path)} -H 'content-type: application/json' "
        f"-d {shlex.quote(body)}"
    )


class _Wire:
    """Paths and bodies of one deployment in one protocol; knows no connection."""

    def __init__(self, address: DeploymentAddress) -> None:
        parts = urlsplit(address.gateway)
        assert parts.hostname  # checked by the address
        self._secure, self._host, self._port = parts.scheme == "https", parts.hostname, parts.port
        self._v2 = address.protocol == "v2"
        self.origin = f"{parts.scheme}://{parts.netloc}"
        prefix = f"{parts.path.rstrip('/')}/seldon/{quote(address.namespace)}/{quote(address.deployment)}"
        self.base = self.origin + prefix
        self.predict_path = prefix + (
            f"/v2/models/{quote(address.model, safe='')}/infer" if self._v2 else "/api/v1.0/predictions"
        )
        # Protocol v2 has no feedback of its own; our server takes Seldon's on the same port.
        self.feedback_path = f"{prefix}/api/v1.0/feedback"

    def connect(self, deadline: float) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        return kind(self._host, self._port, timeout=deadline)

    def unreachable(self, error: Exception) -> ServingError:
        return ServingError(
            f"the gateway at {self.origin} cannot be reached: {error or type(error).__name__}",
            "start the platform with `chandlery up`, or set CHANDLERY_GATEWAY",
        )

    def late(self, path: str, deadline: float) -> DeadlineError:
        return DeadlineError(
            f"{self.origin}{path}: no answer within {deadline:g} s",
            "is the model overloaded? `chandlery status` shows it",
        )

    def headers(self, request_id: str, route: str) -> dict[str, str]:
        headers = {
            "content-type": "application/json",
            REQUEST_ID: request_id or str(uuid.uuid4()),
        }
        if route:
            headers[ROUTE] = route
        if token := os.environ.get("CHANDLERY_FEEDBACK_TOKEN"):
            headers["authorization"] = f"Bearer {token}"
        return headers

    def encode(self, rows: Columns) -> bytes:
        if self._v2:
            return orjson.dumps({"inputs": [_tensor(name, np.asarray(a)) for name, a in rows.items()]})
        return orjson.dumps({"jsonData": {name: _listed(np.asarray(a)) for name, a in rows.items()}})

    def answer(
        self, status: int, headers: Mapping[str, str], body: bytes, request_id: str, seconds: float
    ) -> Answer:
        document = _json(body)
        answers: Columns = {}
        error = ""
        if status == 200:
            answers = _v2_columns(document) if self._v2 else _v1_columns(document)
        else:
            error = _error(document, body)
        return Answer(
            request_id=headers.get(REQUEST_ID, request_id),
            route=headers.get(ROUTE, ""),
            version=headers.get(MODEL_VERSION, ""),
            answers=answers,
            status=status,
            seconds=seconds,
            error=error,
            _body=document if status == 200 else {},
        )

    def feedback_body(self, answer: Answer, truth: Any, reward: float | None) -> bytes:
        """Seldon's feedback message. The response carries the puid and the predictor, even where a proxy drops headers."""
        meta = dict(answer._body.get("meta") or {})
        meta["puid"] = answer.request_id
        meta["tags"] = {**(meta.get("tags") or {}), "predictor": answer.route}
        document: dict[str, Any] = {
            "response": {"meta": meta, "jsonData": {k: _listed(v) for k, v in answer.answers.items()}}
        }
        if isinstance(truth, Mapping):
            document["truth"] = {
                "jsonData": {k: _listed(np.atleast_1d(np.asarray(v))) for k, v in truth.items()}
            }
        elif truth is not None:
            document["truth"] = {"data": {"ndarray": _listed(np.atleast_1d(np.asarray(truth)))}}
        if reward is not None:
            document["reward"] = float(reward)
        return orjson.dumps(document)


def _tensor(name: str, array: np.ndarray) -> dict[str, Any]:
    key = array.dtype.kind if array.dtype.kind in "bUO" else f"{array.dtype.kind}{array.dtype.itemsize}"
    if key not in _V2_TYPES:
        raise UserError(f"column {name!r} has the type {array.dtype}", "use numbers, booleans or texts")
    return {
        "name": name,
        "shape": list(array.shape),
        "datatype": _V2_TYPES[key],
        "data": _listed(array.reshape(-1)),
    }


def _listed(array: np.ndarray) -> Any:
    listed: list[Value] = np.asarray(array).tolist()
    return listed


def _json(body: bytes) -> Mapping[str, Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return document if isinstance(document, dict) else {}


def _v2_columns(document: Mapping[str, Any]) -> Columns:
    return {
        o["name"]: np.asarray(o["data"], dtype=_NUMPY_TYPES.get(o["datatype"])).reshape(o["shape"])
        for o in document.get("outputs", [])
    }


def _v1_columns(document: Mapping[str, Any]) -> Columns:
    if isinstance(document.get("jsonData"), dict):
        return {name: np.asarray(values) for name, values in document["jsonData"].items()}
    data = document.get("data") or {}
    if "tensor" in data:
        values = np.asarray(data["tensor"]["values"]).reshape(data["tensor"]["shape"])
    else:
        values = np.asarray(data.get("ndarray", []), dtype=object)
    names = data.get("names") or []
    if values.ndim == 2 and len(names) == values.shape[1]:
        return {name: np.asarray(values[:, i].tolist()) for i, name in enumerate(names)}
    return {names[0] if names else "output": np.asarray(values.tolist())}


def _error(document: Mapping[str, Any], body: bytes) -> str:
    status = document.get("status")
    if isinstance(status, dict) and status.get("info"):
        return str(status["info"])
    if document.get("error"):
        return str(document["error"])
    return body[:500].decode(errors="replace").strip()
