"""train_and_deploy: the main job, from a data commit to a released model."""

from kfp import dsl

from chandlery.composition import add


@dsl.pipeline(
    name="train-and-deploy",
    description="Search, train, compare, register and release a model by canary, on a pinned data commit.",
)
def train_and_deploy(
    recipe: str,
    repo: str,
    model_name: str,
    ref: str = "master",
    deployment: str = "",
    algorithm: str = "tpe",
    max_trials: int = 8,
    parallel_trials: int = 2,
    early_stopping: bool = False,
    parameters: dict = {},  # noqa: B006 (kfp reads the default, nothing changes it)
    seed: int = 0,
    margin: float = 0.01,
    canary_weights: list = [5, 25, 50, 100],  # noqa: B006
    canary_margin: float = 2.0,
    primary: str = "wrong",
    guardrails: list = ["wrong", "errors", "slow", "refused"],  # noqa: B006
    canary_deadline_seconds: int = 3600,
    latency_objective_seconds: float = 0.5,
    traffic_repo: str = "",
    traffic_ref: str = "master",
    replay_rate: float = 0.0,
):
    """Train a model on a data commit and release it by canary.

    Args:
        recipe: recipe reference, `path/to/recipe.py:Class` or `package.module:Class`.
        repo: Pachyderm repo of the data.
        model_name: registered model.
        ref: branch, commit or ancestor of the data.
        deployment: deployment name; empty: the model's name.
        algorithm: search preset of katib/, or a path to an Experiment document.
        max_trials: trials of the search.
        parallel_trials: trials at a time.
        early_stopping: stop trials below the median of the others.
        parameters: hyperparameters that are fixed rather than searched.
        seed: seed of search and training.
        margin: how much worse than the champion the new model may be offline, in units of the objective.
        canary_weights: percentages of traffic that the new model gets, in order.
        canary_margin: rate ratio of bad events that a release must be shown to stay below.
        primary: metric on which the canary must show it: wrong, errors or slow; without feedback errors.
        guardrails: metrics that can roll the new model back: wrong, errors, slow, refused; the primary among them.
        canary_deadline_seconds: after this the canary is inconclusive and the champion stays.
        latency_objective_seconds: slower answers count as bad.
        traffic_repo: repo of recorded requests to replay during the canary; empty: live traffic alone.
        traffic_ref: branch or commit of that repo.
        replay_rate: requests per second to replay; 0 for none.
    """
    with dsl.ExitHandler(add("report_run", pipeline="train_and_deploy", model_name=model_name)):
        pinned = add("resolve_inputs", repo=repo, ref=ref, model_name=model_name)
        data = add("checkout_dataset", repo=repo, ref=pinned.outputs["commit"])
        valid = add("validate_dataset", dataset=data.outputs["dataset"], recipe=recipe)
        search = add(
            "tune_hyperparameters",
            dataset=data.outputs["dataset"],
            recipe=recipe,
            algorithm=algorithm,
            max_trials=max_trials,
            parallel_trials=parallel_trials,
            early_stopping=early_stopping,
            parameters=parameters,
            seed=seed,
        ).after(valid)
        trained = add(
            "train_model",
            dataset=data.outputs["dataset"],
            recipe=recipe,
            parameters=search.outputs["best_parameters"],
            experiment=search.outputs["experiment_name"],
            seed=seed,
        )
        evaluated = add("evaluate_model", dataset=data.outputs["dataset"], model=trained.outputs["model"])
        compared = add(
            "compare_models",
            dataset=data.outputs["dataset"],
            challenger=trained.outputs["model"],
            model_name=model_name,
            champion_version=pinned.outputs["champion_version"],
            margin=margin,
        )
        add(
            "record_run",
            commit=pinned.outputs["commit"],
            best_parameters=search.outputs["best_parameters"],
            decision=compared.outputs["decision"],
            reason=compared.outputs["reason"],
            champion_version=pinned.outputs["champion_version"],
            champion_score=compared.outputs["champion_score"],
            challenger_score=compared.outputs["challenger_score"],
            metric=compared.outputs["metric"],
            validation=valid.outputs["report"],
            search=search.outputs["report"],
            training=trained.outputs["curves"],
            evaluation=evaluated.outputs["report"],
            comparison=compared.outputs["report"],
        )
        with dsl.If(compared.outputs["decision"] != "worse", name="release"):
            registered = add(
                "register_model",
                model=trained.outputs["model"],
                model_name=model_name,
                metrics=evaluated.outputs["metrics"],
                evaluation=evaluated.outputs["report"],
                comparison=compared.outputs["report"],
                curves=trained.outputs["curves"],
                trials=search.outputs["trials"],
            )
            deployed = add(
                "deploy_model",
                model_name=model_name,
                version=registered.outputs["version"],
                deployment=deployment,
                strategy="canary",
            )
            canary = add(
                "run_canary",
                model_name=model_name,
                challenger_version=registered.outputs["version"],
                deployment=deployment,
                weights=canary_weights,
                margin=canary_margin,
                primary=primary,
                guardrails=guardrails,
                deadline_seconds=canary_deadline_seconds,
                latency_objective_seconds=latency_objective_seconds,
                traffic_repo=traffic_repo,
                traffic_ref=traffic_ref,
                replay_rate=replay_rate,
                seed=seed,
            ).after(deployed)
            # Whatever the canary left in charge is the champion: the new version, or still the old one.
            add("promote_model", model_name=model_name, version=canary.outputs["champion_version"])
