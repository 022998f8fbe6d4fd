"""The whole life of a model on one machine: champion, challenger, bad challenger, nothing new.

The tests of this file are one story and run in order.
"""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .conftest import BAD_RECIPE, RECIPE, Laptop, asked, release

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def commit(laptop: Laptop, source: Path, repo: str) -> dict[str, Any]:
    return dict(
        laptop.json("run", "commit_dataset", "-p", f"source={source}", "-p", f"repo={repo}")["outputs"]
    )


def traffic(laptop: Laptop) -> dict[str, int]:
    """Weight by predictor of the one deployment."""
    (deployment,) = laptop.json("status")["deployments"]
    assert (deployment["name"], deployment["status"]["state"]) == ("digits", "Available")
    return dict(deployment["predictors"])


def test_the_first_data_commit_makes_a_champion(laptop: Laptop, folders: dict[str, Path]) -> None:
    assert commit(laptop, folders["traffic"], "digits-traffic")["changed"]
    first = commit(laptop, folders["history-1"], "digits")
    again = commit(laptop, folders["history-1"], "digits")
    assert first["changed"]
    assert not again["changed"]
    assert again["commit"] == first["commit"]
    document = laptop.json(*release(RECIPE))
    facts = document["summary"]["facts"]
    assert facts["data commit"] == first["commit"]
    assert facts["comparison"].startswith("first")
    assert facts["model version"] == "1"
    assert traffic(laptop) == {"v1": 100}


def test_the_printed_curl_line_works_when_pasted(laptop: Laptop) -> None:
    runs = sorted((laptop.home / "artifacts" / "runs").glob("train-and-deploy-*/summary.json.txt"))
    curl = json.loads(runs[-1].read_text())["curl"]
    done = subprocess.run(curl, shell=True, capture_output=True, text=True, timeout=30, check=True)
    assert "digit" in done.stdout


def test_a_better_challenger_is_promoted_on_evidence(laptop: Laptop, folders: dict[str, Path]) -> None:
    commit(laptop, folders["history-2"], "digits")
    document = laptop.json(*release(RECIPE))
    facts = document["summary"]["facts"]
    assert facts["comparison"].startswith("better")
    assert facts["canary verdict"] == "promoted", facts
    assert facts["model version"] == "2"
    assert traffic(laptop) == {"v2": 100}
    page = Path(document["summary"]["report"]).read_text()
    for part in (
        "Data validation",
        "Hyperparameter search",
        "Training",
        "Evaluation",
        "Comparison",
        "Canary",
    ):
        assert part in page


def test_nothing_new_comes_from_the_cache_and_releases_nothing(laptop: Laptop) -> None:
    laptop.json(*release(RECIPE))  # the champion has moved since: compared once more
    document = laptop.json(*release(RECIPE))
    states = {name: task["state"] for name, task in document["tasks"].items()}
    pure = (
        "checkout_dataset",
        "validate_dataset",
        "tune_hyperparameters",
        "train_model",
        "evaluate_model",
        "compare_models",
    )
    assert {states[name] for name in pure} == {"cached"}
    assert document["summary"]["facts"]["comparison"].startswith("same")
    assert document["seconds"] < 60
    assert traffic(laptop) == {"v2": 100}
    versions = laptop.call("lineage", "models:/digits/3")
    assert versions.returncode == 2


def test_a_challenger_trained_on_corrupted_labels_is_rolled_back(laptop: Laptop) -> None:
    document = laptop.json(*release(BAD_RECIPE))
    facts = document["summary"]["facts"]
    assert document["state"] == "succeeded"
    assert facts["canary verdict"] == "rolled_back", facts
    assert "wrong" in facts["evidence"]
    assert traffic(laptop) == {"v2": 100}
    assert asked(laptop.json("lineage", "models:/digits@champion"))["name"] == "models:/digits/2"


def test_served_answers_are_the_recipes_own(laptop: Laptop, folders: dict[str, Path], tmp_path: Path) -> None:
    """The registered version behind the gateway, against the recipe's functions and Keras in this very process."""
    import keras

    from chandlery.recipe import load_recipe

    recipe = load_recipe(RECIPE).recipe
    rows = recipe.load(folders["traffic"])
    pixels = rows["pixels"][:40]
    packages = sorted((laptop.home / "artifacts" / "models" / "digits").glob("2-*/model.keras"))
    assert packages, "deploying a version brings its package here"
    model = keras.models.load_model(packages[0])
    for some in (pixels[:1], pixels):
        request = tmp_path / "request.json"
        tensor = {
            "name": "pixels",
            "shape": list(some.shape),
            "datatype": "FP32",
            "data": some.ravel().tolist(),
        }
        request.write_text(json.dumps({"inputs": [tensor]}))
        served = laptop.json("predict", "digits", str(request))
        outputs = {item["name"]: item for item in served["answer"]["outputs"]}
        features = recipe.featurize({"pixels": some})
        rows_alone = [np.asarray(model(features[i : i + 1], training=False)) for i in range(len(features))]
        expected = recipe.answer(np.concatenate(rows_alone))
        assert outputs["digit"]["data"] == expected["digit"].tolist()
        confidence = np.array(outputs["confidence"]["data"], dtype="float32")
        # Batches and the light runtime round otherwise: docs/serving.md.
        np.testing.assert_allclose(confidence, expected["confidence"], rtol=1e-5)


def wait_for_request(laptop: Laptop, request_id: str) -> None:
    """Wait until the request log, which is written each second, holds a request."""
    limit = time.monotonic() + 30
    while laptop.call("lineage", request_id).returncode:
        assert time.monotonic() < limit, "the request was never logged"
        time.sleep(0.2)


def test_a_request_leads_back_to_its_data_and_forward_again(laptop: Laptop, tmp_path: Path) -> None:
    request = tmp_path / "request.json"
    request.write_text(json.dumps({"data": {"ndarray": [[0.0] * 64]}}))
    answered = laptop.json("predict", "digits", str(request))
    assert answered["route"] == "v2"
    head = laptop.json("run", "resolve_inputs", "-p", "repo=digits", "-p", "model_name=digits")["outputs"]
    assert head["champion_version"] == "2"
    wait_for_request(laptop, answered["request_id"])
    for ref in (
        answered["request_id"],
        "digits",
        "models:/digits/2",
        head["commit"],
        f"digits@{head['commit']}",
    ):
        text = json.dumps(laptop.json("lineage", ref))
        assert head["commit"] in text, ref
        assert "v2" in text or '"2"' in text or "/2" in text, ref


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (
            [
                "run",
                "train_and_deploy",
                "-p",
                "recipe=nowhere.py:Digits",
                "-p",
                "repo=digits",
                "-p",
                "model_name=digits",
            ],
            2,
            "no file",
        ),
        (release(RECIPE, repo="nothing"), 2, "nothing"),
        (release(RECIPE, ref="nobranch"), 2, "nobranch"),
        (release(RECIPE, algorithm="oracle"), 2, "oracle"),
        (["predict", "nobody", "README.md"], 2, "not JSON"),
        (["lineage", "models:/digits/99"], 2, "99"),
        (["lineage", "no-such-thing"], 2, "no-such-thing"),
        (["show", "nothing"], 2, "nothing"),
        (["logs", "../../etc/passwd"], 2, "no log"),
    ],
)
def test_bad_input_is_two_lines_and_changes_nothing(
    laptop: Laptop, words: list[str], code: int, message: str
) -> None:
    before = traffic(laptop)
    done = laptop.call(*words)
    assert done.returncode == code, done.stdout + done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    lines = [line for line in done.stderr.strip().splitlines() if not line.startswith("log: ")]
    assert 1 <= len(lines) <= 2, done.stderr
    assert traffic(laptop) == before


def test_the_doctor_finds_everything_well(laptop: Laptop) -> None:
    assert laptop.call("doctor").returncode == 0
