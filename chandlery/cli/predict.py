"""`predict`: one request to a deployment, as a user would send it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from chandlery import addresses
from chandlery.cli.output import print_json, print_table
from chandlery.errors import NotFoundError, ServingError, UserError

TIMEOUT = 30.0  # seconds


def predict(deployment: str, file: Path, route: str, *, as_json: bool) -> None:
    """Send the request in `file` and print the answer with who gave it.

    Raises:
        UserError: the file is not a request, or the server refused it (says what was expected).
        NotFoundError: no such deployment.
        ServingError: the server failed or did not answer.
    """
    import httpx

    body = _read(file)
    points = addresses.endpoints()
    base = f"{addresses.require_gateway()}/seldon/{points.namespace}/{deployment}"
    path = f"/v2/models/{deployment}/infer" if "inputs" in body else "/api/v1.0/predictions"
    headers = {"x-seldon-route": route} if route else {}
    try:
        answer = httpx.post(base + path, json=body, headers=headers, timeout=TIMEOUT)
    except httpx.HTTPError as error:
        raise ServingError(f"{base}: {error}", "is the platform up? `chandlery status`") from error
    if answer.status_code == 404 and "x-seldon-route" not in answer.headers:
        raise NotFoundError(f"no deployment {deployment!r} at {base}", "`chandlery status` lists deployments")
    if answer.status_code >= 500:
        raise ServingError(
            f"{deployment} answered {answer.status_code}: {answer.text[:300]}", "see `chandlery status`"
        )
    if answer.status_code >= 400:
        raise UserError(
            f"{deployment} refused the request ({answer.status_code}): {answer.text[:600]}",
            "mend the request",
        )
    who = {
        name: answer.headers.get(name, "") for name in ("x-request-id", "x-seldon-route", "x-model-version")
    }
    if as_json:
        print_json(
            {
                "answer": answer.json(),
                "request_id": who["x-request-id"],
                "route": who["x-seldon-route"],
                "model_version": who["x-model-version"],
            }
        )
        return
    print(json.dumps(answer.json(), indent=2))
    print_table(["request id", "predictor", "model version"], [tuple(who.values())])


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
