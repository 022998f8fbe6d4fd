"""Feedback: what a caller learnt later about a prediction, judged and counted where the prediction was made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from chandlery.inference.layout import array_of
from chandlery.inference.refusal import INTERNAL, Refused
from chandlery.inference.seldon_v1 import Message, read_message
from chandlery.numbers import whole
from chandlery.recipe import Recipe
from chandlery.resources.headers import ROUTE

REWARD_OF_RIGHT = 0.5  # the least reward that counts as a right prediction when the feedback holds no truth

# Marks feedback that one replica passed on, so that no two ever pass it to and fro.
FORWARDED = "x-chandlery-forwarded"


@dataclass(frozen=True)
class Feedback:
    """A Feedback message.

    Attributes:
        reward: how good the prediction was, at least 0; 1 is right.
        predictions: predicted values; empty when the message has no response.
        truths: true values; empty when the feedback holds none.
        predictor: the predictor that the response names; empty when it names none.
        request: the request part, for the form of the answer.
    """

    reward: float
    predictions: list[Any]
    truths: list[Any]
    predictor: str
    request: Message


def answered_id(document: Any) -> str:
    """Return the id of the answer that a feedback message is about; empty when it names none."""
    if not isinstance(document, dict):
        return ""
    response, request = document.get("response"), document.get("request")
    for part in (response, document, request):
        meta = part.get("meta") if isinstance(part, dict) else None
        puid = meta.get("puid") if isinstance(meta, dict) else None
        if isinstance(puid, str) and puid:
            return puid
    found = response.get("id") if isinstance(response, dict) else None  # the Open Inference Protocol
    return found if isinstance(found, str) else ""


def read_feedback(
    document: Any, answer: str, targets: tuple[str, ...] = (), known: list[Any] | None = None
) -> Feedback:
    """Read a Feedback message.

    Args:
        document: parsed JSON: request, response, truth, each a SeldonMessage, and reward. The response may also be one
            of the Open Inference Protocol.
        answer: name of the first answer column, the prediction; empty when not known.
        targets: names of the targets of a recipe with several; its predictions and truths are dicts by name.
        known: the predictions as they were answered; they count in place of those that the message tells.

    Raises:
        Refused: not a Feedback message, or truth and response have different lengths.
    """
    if not isinstance(document, dict):
        raise Refused(400, "feedback is not an object with request, response, truth and reward")
    given = {name for name in ("reward", "truth") if document.get(name) is not None}
    if not given:
        raise Refused(400, "feedback has neither reward nor truth")
    reward = _reward(document.get("reward"))
    response = read_message(document.get("response") or {}, "response")
    if targets:
        predictions = known or _named_rows(document.get("response"), ())
        truths = _named_rows(document.get("truth"), targets)
    else:
        predictions = known or _outputs(document.get("response"), answer) or _values(response, answer)
        truths = _values(read_message(_truth(document.get("truth")), "truth"), "")
    if truths and not predictions:
        raise Refused(
            400, "feedback has a truth and no response; send back the answer that it judges, or its meta.puid"
        )
    if truths and len(truths) != len(predictions):
        raise Refused(400, f"feedback has {len(truths)} truths for {len(predictions)} predictions")
    predictor = response.tags.get("predictor", "")
    return Feedback(
        reward=reward,
        predictions=predictions,
        truths=truths,
        predictor=predictor if isinstance(predictor, str) else "",
        request=read_message(document.get("request") or {}, "request"),
    )


def judge(feedback: Feedback, recipe: Recipe) -> list[bool]:
    """Return for each prediction whether it was wrong: by the recipe and the truth, or by the reward.

    Raises:
        Refused: the recipe cannot compare them.
    """
    if not feedback.truths:
        return [feedback.reward < REWARD_OF_RIGHT]
    try:
        return [
            bool(recipe.wrong(prediction, truth))
            for prediction, truth in zip(feedback.predictions, feedback.truths, strict=True)
        ]
    except (TypeError, ValueError) as error:
        raise Refused(400, f"truth and prediction cannot be compared: {error}") from error
    except Exception as error:
        raise Refused(
            500, f"the recipe's wrong() raised {type(error).__name__}: {error}", INTERNAL
        ) from error


def owner(feedback: Feedback, headers: Mapping[str, str]) -> str:
    """Return the name of the predictor that the feedback is for; empty when none is named."""
    return headers.get(ROUTE, "") or feedback.predictor


def _named_rows(value: Any, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return values by name for each row: of `{name: value}`, `{name: [values]}`, a list of such, or a jsonData of it.

    Raises:
        Refused: a name is missing or unknown, or the lists have different lengths; not where `names` is empty.
    """
    if isinstance(value, dict) and isinstance(value.get("jsonData"), (dict, list)):
        value = value["jsonData"]
    if value is None or (not names and not isinstance(value, dict)):
        return []
    if isinstance(value, list):
        return [row for one in value for row in _named_rows(one, names)]
    if not isinstance(value, dict) or (names and set(value) != set(names)):
        raise Refused(400, f"truth has to name {', '.join(names)}: {{{names[0]!r}: ...}}")
    listed = {name: item if isinstance(item, list) else [item] for name, item in value.items()}
    if len({len(items) for items in listed.values()}) > 1:
        raise Refused(400, "truth has lists of different lengths")
    rows = zip(*listed.values(), strict=True)
    return [dict(zip(listed, row, strict=True)) for row in rows]


def _reward(value: Any) -> float:
    if value is None:
        return 0.0
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not math.isfinite(value)
        or value < 0
    ):
        raise Refused(400, "reward is not a number of at least 0")
    return float(value)


def _truth(truth: Any) -> Any:
    """Accept a bare value or list beside a SeldonMessage: {"truth": 7}."""
    if truth is None:
        return {}
    if isinstance(truth, list):
        return {"data": {"ndarray": truth}}
    if isinstance(truth, (bool, int, float, str)):
        return {"data": {"ndarray": [truth]}}
    if isinstance(truth, dict) and isinstance(truth.get("strData"), str):
        return {"data": {"ndarray": [truth["strData"]]}}
    return truth


def _values(message: Message, column: str) -> list[Any]:
    """Return the named column of a message, or its first."""
    if message.data is None:
        return []
    if isinstance(message.data, dict):
        if not message.data:
            return []
        values = message.data.get(column, next(iter(message.data.values())))
        array = array_of(values if isinstance(values, list) else [values], "jsonData")
    else:
        array = message.data
        if array.ndim > 1:
            place = message.names.index(column) if column in message.names else 0
            table = array.reshape(len(array), -1) if array.size else array.reshape(0, 1)
            array = table[:, min(place, table.shape[1] - 1)]
    return _whole(array)


def _outputs(response: Any, answer: str) -> list[Any]:
    outputs = response.get("outputs") if isinstance(response, dict) else None
    if not isinstance(outputs, list):
        return []
    named = [o for o in outputs if isinstance(o, dict) and isinstance(o.get("data"), list)]
    chosen = [o for o in named if o.get("name") == answer] or named[:1]
    return _whole(array_of(chosen[0]["data"], "response.outputs")) if chosen else []


def _whole(array: np.ndarray) -> list[Any]:
    """Return the values; a table of mixed numbers made floats of whole ones, which `wrong` may distinguish."""
    return [whole(value) for value in np.ravel(array).tolist()]
