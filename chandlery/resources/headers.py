"""HTTP headers that the inference server, the gateway and the clients share."""

from __future__ import annotations

ROUTE = "x-seldon-route"  # the predictor that answered, or that is to answer
REQUEST_ID = "x-request-id"
MODEL_VERSION = "x-model-version"
PUID = "seldon-puid"  # Seldon's name for the id of a prediction
