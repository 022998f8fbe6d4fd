"""`client`: the code that asks a deployment, with a row that it answers."""

from __future__ import annotations

import http.client
import json
import shlex
from typing import Any
from urllib.parse import quote, urlsplit

from chandlery import addresses
from chandlery.errors import NotFoundError, ServingError, UserError
from chandlery.example import readable

LANGUAGES = ("python", "curl", "typescript")
TIMEOUT = 30.0  # seconds


def client(deployment: str, language: str) -> None:
    """Print code in a language, or in all of them when none is named.

    Raises:
        UserError: the language is unknown.
        NotFoundError: no such deployment.
        ServingError: it cannot be reached, or does not describe itself.
    """
    if language and language not in LANGUAGES:
        raise UserError(f"unknown language {language!r}", f"valid: {', '.join(LANGUAGES)}")
    prefix = f"/seldon/{quote(addresses.endpoints().namespace)}/{quote(deployment, safe='')}"
    base = addresses.require_gateway().rstrip("/") + prefix
    records = _example(_describe(base, deployment), deployment)
    parts = [snippet(name, base, records) for name in ([language] if language else LANGUAGES)]
    print("\n\n".join(parts))


def snippet(language: str, base: str, records: list[dict[str, Any]]) -> str:
    """Return code that posts rows to `/invocations` of the deployment at `base` and prints its predictions.

    Args:
        language: one of `LANGUAGES`.
        base: URL of the deployment.
        records: the rows, objects of JSON.
    """
    url = f"{base}/invocations"
    body = readable({"dataframe_records": records})
    if language == "curl":
        return f"curl -sS {shlex.quote(url)} -H 'content-type: application/json' -d {shlex.quote(body)}"
    if language == "python":
        return "\n".join(
            [
                "import json",
                "import urllib.request",
                "",
                f"rows = json.loads({json.dumps(readable(records))})",
                "request = urllib.request.Request(",
                f"    {json.dumps(url)},",
                '    data=json.dumps({"dataframe_records": rows}).encode(),',
                '    headers={"content-type": "application/json"},',
                ")",
                "with urllib.request.urlopen(request, timeout=10) as answer:",
                '    print(json.load(answer)["predictions"])',
            ]
        )
    return "\n".join(
        [
            f"const rows = {readable(records)};",
            f"const answer = await fetch({json.dumps(url)}, {{",
            '  method: "POST",',
            '  headers: { "content-type": "application/json" },',
            "  body: JSON.stringify({ dataframe_records: rows }),",
            "});",
            "if (!answer.ok) throw new Error(await answer.text());",
            "console.log((await answer.json()).predictions);",
        ]
    )


def _describe(base: str, deployment: str) -> dict[str, Any]:
    parts = urlsplit(base)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=TIMEOUT)
    try:
        connection.request("GET", f"{parts.path}/openapi.json")
        response = connection.getresponse()
        status, content = response.status, response.read()
    except (OSError, http.client.HTTPException) as error:
        raise ServingError(
            f"the gateway at {parts.scheme}://{parts.netloc} cannot be reached: {error}",
            "start the platform with `chandlery up`, or set CHANDLERY_GATEWAY",
        ) from error
    finally:
        connection.close()
    if status == 404:
        raise NotFoundError(f"no deployment {deployment!r} at {base}", "`chandlery status` lists deployments")
    try:
        found = json.loads(content) if status == 200 else None
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ServingError(
            f"{base}/openapi.json answered {status} without a description", "see `chandlery status`"
        )
    return found


def _example(description: dict[str, Any], deployment: str) -> list[dict[str, Any]]:
    try:
        content = description["paths"]["/invocations"]["post"]["requestBody"]["content"]["application/json"]
        records: list[dict[str, Any]] = content["examples"]["records"]["value"]["dataframe_records"]
    except (KeyError, TypeError) as error:
        raise ServingError(
            f"{deployment} describes no example row: its rows are too large for one",
            "see docs/serving.md for the forms of a request",
        ) from error
    return records
