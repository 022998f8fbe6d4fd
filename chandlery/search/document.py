"""Builds the Experiment of a search: a typed document from a recipe's search space and a preset."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from chandlery.catalog import IMAGE
from chandlery.errors import InvalidDocumentError, UserError
from chandlery.numbers import whole
from chandlery.provenance import Provenance
from chandlery.recipe import Recipe, Value, load_recipe
from chandlery.resources import EXPERIMENT
from chandlery.resources.experiment import MAX_NAME_LENGTH, check_experiment
from chandlery.resources.experiment_space import dimensions, grid_size, to_katib
from chandlery.resources.port import Document
from chandlery.search.presets import load_preset

if TYPE_CHECKING:
    from kubeflow_katib_api import models as katib


CONTAINER = "training-container"
SEEDED = ("random", "grid", "tpe", "multivariate-tpe", "cmaes")  # the algorithms that take random_state

_DIGEST_LENGTH = 10


@dataclass(frozen=True)
class SearchRequest:
    """What to search.

    Attributes:
        recipe: recipe reference, pinned or not.
        repo: repo of the training data.
        commit: commit id of the training data.
        algorithm: name of a preset in katib/, or path of an Experiment in YAML.
        max_trials: trials to finish; a grid has no more than its points.
        parallel_trials: trials at a time.
        max_failed_trials: failed trials (those without the metric included) at which the search fails; 0: the first.
        goal: value of the objective at which to stop; None for none.
        early_stopping: stop bad trials early (medianstop); False leaves it to the preset.
        seed: random_state of the algorithm.
        fixed: parameters that every trial gets; a name in the search space is taken out of the search.
        image: image of the trial's container, unless the preset's own is to stay: "".
    """

    recipe: str
    repo: str
    commit: str
    algorithm: str = "tpe"
    max_trials: int = 12
    parallel_trials: int = 2
    max_failed_trials: int = 3
    goal: float | None = None
    early_stopping: bool = False
    seed: int = 0
    fixed: Mapping[str, Value] = field(default_factory=dict)
    image: str = IMAGE


@dataclass(frozen=True)
class SearchParameters:
    """The parameters of `tune_hyperparameters` that are plain values.

    Attributes:
        recipe: recipe reference.
        algorithm: preset of katib/, or path of an Experiment.
        max_trials: trials to finish.
        parallel_trials: trials at a time.
        max_failed_trials: failed trials at which the search fails.
        goal: value of the objective at which to stop; "" for none.
        early_stopping: stop bad trials early.
        parameters: hyperparameters that every trial gets, taken out of the search; numbers arrive from KFP as floats.
        seed: seed of the algorithm.
        deadline_seconds: seconds to wait for the search.
    """

    recipe: str
    algorithm: str = "tpe"
    max_trials: int = 12
    parallel_trials: int = 2
    max_failed_trials: int = 3
    goal: str = ""
    early_stopping: bool = False
    parameters: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    deadline_seconds: int = 3600

    def request(self, repo: str, commit: str) -> SearchRequest:
        """Return the search of these parameters on a data commit.

        Raises:
            UserError: the goal is not a number, or a fixed parameter is neither a number nor a text.
        """
        return SearchRequest(
            recipe=self.recipe,
            repo=repo,
            commit=commit,
            algorithm=self.algorithm,
            max_trials=self.max_trials,
            parallel_trials=self.parallel_trials,
            max_failed_trials=self.max_failed_trials,
            goal=_goal(self.goal),
            early_stopping=self.early_stopping,
            seed=self.seed,
            fixed={name: _value(value) for name, value in self.parameters.items()},
        )


def build_experiment(request: SearchRequest, record: Provenance, *, namespace: str = "default") -> Document:
    """Return the Experiment for `request`: everything that will be submitted, nothing submitted.

    Its name comes from run, task and the whole content, so that a retry of a step finds its own earlier Experiment,
    and a step with any other input does not. Without a run id equal inputs give equal names.

    Args:
        request: what to search.
        record: provenance, written into the annotations; run and task go into the name.
        namespace: Kubernetes namespace.

    Raises:
        InvalidDocumentError: empty space, impossible bounds, bad counts.
        RecipeError: the recipe cannot be loaded.
        UserError: no such preset.
    """
    from kubeflow_katib_api import models as katib

    loaded = load_recipe(request.recipe)
    model = _typed(load_preset(request.algorithm))
    spec = model.spec
    space = to_katib([p for p in loaded.recipe.search_space if p.name not in request.fixed])
    spec.parameters = [
        katib.V1beta1ParameterSpec(
            name=parameter["name"],
            parameter_type=parameter["parameterType"],
            feasible_space=katib.V1beta1FeasibleSpace(**parameter["feasibleSpace"]),
        )
        for parameter in space
    ]
    spec.objective = _objective(loaded.recipe, spec.objective, request.goal)
    most = request.max_trials
    if spec.algorithm.algorithm_name == "grid":  # Katib takes no more trials than the grid has points
        most = min(most, grid_size(dimensions(space)))
    spec.max_trial_count = most
    spec.parallel_trial_count = min(request.parallel_trials, most)
    spec.max_failed_trial_count = min(request.max_failed_trials, most)
    _seed(spec.algorithm, request.seed)
    if request.early_stopping and spec.early_stopping is None:
        spec.early_stopping = katib.V1beta1EarlyStoppingSpec(
            algorithm_name="medianstop",
            algorithm_settings=[
                katib.V1beta1EarlyStoppingSetting(name="min_trials_required", value="3"),
                katib.V1beta1EarlyStoppingSetting(name="start_step", value="4"),
            ],
        )
    names = [parameter.name for parameter in spec.parameters]
    template = spec.trial_template
    template.trial_parameters = [katib.V1beta1TrialParameterSpec(name=name, reference=name) for name in names]
    _set_command(template, request, loaded.reference, names)

    body = spec.to_dict()
    digest = hashlib.sha256(
        json.dumps([record.run_id, record.task, namespace, body], sort_keys=True).encode()
    ).hexdigest()[:_DIGEST_LENGTH]
    name = f"{_slug(loaded.class_name)}-{digest}"
    record = record.with_(
        recipe=loaded.reference,
        recipe_digest=loaded.digest,
        data_repo=request.repo,
        data_commit=request.commit,
        experiment=name,
    )
    document: Document = {
        "apiVersion": EXPERIMENT.api_version,
        "kind": EXPERIMENT.kind,
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"app.kubernetes.io/managed-by": "chandlery"},
            "annotations": record.annotations(),
        },
        "spec": body,
    }
    check_experiment(document)
    return document


def _typed(preset: Document) -> katib.V1beta1Experiment:
    from kubeflow_katib_api import models as katib
    from pydantic import ValidationError

    try:
        model = katib.V1beta1Experiment.from_dict(preset)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidDocumentError(f"the preset's {where}: {first['msg']}", "correct the preset") from error
    # The typed model drops an unknown field, so a misspelt one would go unnoticed.
    lost = _lost(preset, model.to_dict())
    if lost:
        raise InvalidDocumentError(f"the preset has an unknown field {lost}", "correct its name or its place")
    return model


def _lost(given: Any, kept: Any, path: str = "") -> str:
    if isinstance(given, dict):
        for key, value in given.items():
            if not isinstance(kept, dict) or key not in kept:
                return f"{path}.{key}".lstrip(".")
            if found := _lost(value, kept[key], f"{path}.{key}"):
                return found
    if isinstance(given, list):
        for index, (one, other) in enumerate(zip(given, kept, strict=True)):
            if found := _lost(one, other, f"{path}[{index}]"):
                return found
    return ""


def _objective(recipe: Recipe, preset: Any, goal: float | None) -> katib.V1beta1ObjectiveSpec:
    from kubeflow_katib_api import models as katib

    strategies = [strategy.value for strategy in preset.metric_strategies or []]
    best = "max" if recipe.maximise() else "min"
    return katib.V1beta1ObjectiveSpec(
        type="maximize" if recipe.maximise() else "minimize",
        objective_metric_name=recipe.objective,
        goal=goal,
        metric_strategies=[
            katib.V1beta1MetricStrategy(
                name=recipe.objective, value="latest" if strategies[:1] == ["latest"] else best
            )
        ],
    )


def _seed(algorithm: Any, seed: int) -> None:
    from kubeflow_katib_api import models as katib

    if algorithm.algorithm_name not in SEEDED:
        return
    others = [setting for setting in algorithm.algorithm_settings or [] if setting.name != "random_state"]
    algorithm.algorithm_settings = [
        *others,
        katib.V1beta1AlgorithmSetting(name="random_state", value=str(seed)),
    ]


def _set_command(template: Any, request: SearchRequest, reference: str, names: list[str]) -> None:
    pod = template.trial_spec["spec"]["template"]["spec"]
    container = next(c for c in pod["containers"] if c["name"] == template.primary_container_name)
    # -P: a trial works in the recipe's folder, and no file there takes the place of a module of the libraries.
    container["command"] = ["python", "-P", "-m", "chandlery.training.trial"]
    container["args"] = ["--recipe", reference, "--repo", request.repo, "--commit", request.commit]
    for name in names:
        container["args"] += ["--parameter", f"{name}=${{trialParameters.{name}}}"]
    for name, value in sorted(request.fixed.items()):
        container["args"] += ["--parameter", f"{name}={value}"]
    if request.image:
        container["image"] = request.image
    target = reference.partition(":")[0]
    if target.endswith(".py") and not os.path.isabs(target):
        container["workingDir"] = os.getcwd()  # what a relative path of a recipe is relative to


def _slug(class_name: str) -> str:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", class_name).replace("_", "-").lower()
    room = MAX_NAME_LENGTH - _DIGEST_LENGTH - 1
    return re.sub(r"[^-a-z0-9]|^[^a-z]+", "", words)[:room].strip("-") or "search"


def _goal(text: str) -> float | None:
    if not text:
        return None
    try:
        goal = float(text)
    except ValueError:
        goal = math.nan
    if not math.isfinite(goal):
        raise UserError(f"goal {text!r} is not a number", 'use a number such as "0.97", or "" for none')
    return goal


def _value(value: Any) -> Value:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int | float | str):
        return whole(value)
    raise UserError(f"a fixed parameter is {value!r}", "use numbers and strings")
