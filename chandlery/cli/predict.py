"""`predict`: one request to a deployment, as a user would send it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from chandlery import addresses, platform
from chandlery.cli.output import print_json, print_table
from chandlery.errors import NotFoundError, ServingError, UserError

TIMEOUT = 30.0  # seconds


def predict(deployment: str, file: Path, route: str, *, as_json: bool) -> None:
    """Send the request in `file` and print the answer, with the predictor and the model version that gave it.

    Raises:
        UserError: the file is not a request, or the server refused it; the message names what was expected.
        NotFoundError: no such deployment.
        ServingError: the server failed or did not answer.
    """
    from chandlery.deployments.client import DeploymentAddress, Endpoint
    from chandlery.resources.headers import MODEL_VERSION, REQUEST_ID, ROUTE

    body = _read(file)
    namespace = addresses.endpoints().namespace
    v2 = "inputs" in body
    address = DeploymentAddress(
        addresses.require_gateway(),
        namespace,
        deployment,
        "v2" if v2 else "seldon",
        _model_of(deployment, namespace) if v2 else "",
    )
    with Endpoint(address, deadline=TIMEOUT) as endpoint:
        status, headers, answer = endpoint.send(json.dumps(body).encode(), route)
    text = answer.decode(errors="replace")
    if status == 404 and ROUTE not in headers:
        raise NotFoundError(
            f"no deployment {deployment!r} at {endpoint.url}", "`chandlery status` lists deployments"
        )
    if status >= 500:
        raise ServingError(f"{deployment} answered {status}: {text[:300]}", "see `chandlery status`")
    if status >= 400:
        raise UserError(f"{deployment} refused the request ({status}): {text[:600]}", "correct the request")
    source = {name: headers.get(name, "") for name in (REQUEST_ID, ROUTE, MODEL_VERSION)}
    if as_json:
        print_json(
            {
                "answer": json.loads(answer),
                "request_id": source[REQUEST_ID],
                "route": source[ROUTE],
                "model_version": source[MODEL_VERSION],
            }
        )
        return
    print(json.dumps(json.loads(answer), indent=2))
    print_table(["request id", "predictor", "model version"], [tuple(source.values())])


def _model_of(deployment: str, namespace: str) -> str:
    """Return the name of the model that a deployment serves: the path of protocol v2 holds it."""
    from chandlery.deployments.deployment import current

    store = platform.open_resources()
    try:
        spec = current(store, deployment, namespace)
    finally:
        store.close()
    if spec is None:
        raise NotFoundError(
            f"no deployment {deployment!r} in namespace {namespace}", "`chandlery status` lists deployments"
        )
    return spec.model_name


def _read(file: Path) -> dict[str, Any]:
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{file}: {error}", "give a JSON file with a request, or - for standard input"
        ) from error
    try:
        body = json.loads(text)
    except ValueError as error:
        raise UserError(
            f"{file}: not JSON: {error}", 'a request is {"inputs": [...]} or {"data": {"ndarray": [...]}}'
        ) from error
    if not isinstance(body, dict) or not ({"inputs", "data", "jsonData"} & set(body)):
        raise UserError(
            f"{file}: not a request", 'a request is {"inputs": [...]} or {"data": {"ndarray": [...]}}'
        )
    return body
