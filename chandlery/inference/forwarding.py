"""Feedback that reached the wrong predictor goes once through the gateway to the right one."""

from __future__ import annotations

from typing import Any

import orjson

from chandlery.inference.feedback import FORWARDED
from chandlery.inference.refusal import Refused
from chandlery.inference.settings import Settings
from chandlery.resources.headers import REQUEST_ID, ROUTE

TIMEOUT_SECONDS = 5.0


async def forward(settings: Settings, document: Any, predictor: str, request_id: str) -> dict[str, Any]:
    """Pass feedback on to the predictor that it is for.

    Args:
        settings: where the gateway is and which deployment this is.
        document: the Feedback message.
        predictor: name of the predictor.
        request_id: identifier of this request.

    Returns:
        the other predictor's answer.

    Raises:
        Refused: no gateway is known (404), it cannot be reached (502), or the other predictor refused.
    """
    if not settings.gateway:
        raise Refused(
            404, f"feedback for predictor {predictor!r}; this is {settings.predictor!r}", "OTHER_PREDICTOR"
        )
    import httpx

    address = f"{settings.gateway}/seldon/{settings.namespace}/{settings.deployment}/api/v1.0/feedback"
    headers = {
        ROUTE: predictor,
        FORWARDED: settings.predictor,
        REQUEST_ID: request_id,
        "content-type": "application/json",
    }
    if settings.feedback_token:
        headers["authorization"] = f"Bearer {settings.feedback_token}"
    async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS) as client:
        try:
            response = await client.post(address, content=orjson.dumps(document), headers=headers)
        except httpx.HTTPError as error:
            raise Refused(
                502, f"feedback for {predictor!r} could not be passed on: {error}", "GATEWAY"
            ) from error
    try:
        answer = orjson.loads(response.content)
    except orjson.JSONDecodeError as error:
        raise Refused(502, f"the gateway answered {response.status_code} without JSON", "GATEWAY") from error
    if response.status_code != 200 or not isinstance(answer, dict):
        status = answer.get("status", {}) if isinstance(answer, dict) else {}
        info = status.get("info", "") if isinstance(status, dict) else ""
        raise Refused(
            response.status_code, f"predictor {predictor!r}: {info or response.status_code}", "GATEWAY"
        )
    return answer
