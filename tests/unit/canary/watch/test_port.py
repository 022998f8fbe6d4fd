"""What the status of a SeldonDeployment says of one predictor."""

from typing import Any

import pytest

from chandlery.canary.watch.port import health_of


def document(state: str, description: str = "", **available: int) -> dict[str, Any]:
    return {
        "spec": {"predictors": [{"name": "v1"}, {"name": "v12"}]},
        "status": {
            "state": state,
            "description": description,
            "deploymentStatus": {
                f"digits-{name}-0-digits": {"replicas": 2, "availableReplicas": count}
                for name, count in available.items()
            },
        },
    }


@pytest.mark.parametrize(
    ("found", "health"),
    [
        (document("Available", v1=2, v12=2), "ready"),
        (
            document(
                "Failed", "predictor v12: its server exited with 1 (3x)\nweights are damaged", v1=2, v12=0
            ),
            "failed",
        ),
        (document("Failed", "predictor v1: its server exited with 1 (3x)", v1=0, v12=2), "ready"),
        (document("Failed", "deployments are not progressing"), "failed"),
        (document("Failed", "Deployment digits-v12-0-digits has timed out progressing"), "failed"),
        (document("Creating", "v12 is starting", v1=2, v12=0), "unready"),
        (document("Creating", "v12 is starting", v1=2, v12=1), "ready"),
        (document("Creating", v1=0, v12=2), "ready"),
        ({"spec": {"predictors": [{"name": "v12"}]}}, "ready"),
    ],
)
def test_health(found: dict[str, Any], health: str) -> None:
    assert health_of(found, "digits", "v12")[0] == health


def test_the_reason_is_one_line_with_the_servers_own_words() -> None:
    text = health_of(
        document("Failed", "predictor v12: exited with 1\nweights are damaged"), "digits", "v12"
    )[1]
    assert text == "predictor v12: exited with 1 weights are damaged"
