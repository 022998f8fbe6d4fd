"""Registration: one version for one model digest, complete or invisible, however often and by whomever it is tried.

Everything is uploaded before the version exists, to a place of this attempt's own (an MLflow logged model). Creating
the version is the one step that counts, and the server numbers versions, so of several attempts with one digest the
lowest number wins and the others withdraw. The tag `chandlery.state`, set last, makes the winner visible. Whoever finds
the lowest version without that tag (its maker was killed) sets it: nothing else can be missing.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from chandlery import progress
from chandlery.errors import RegistryError
from chandlery.registry import registrations, tracking
from chandlery.registry.bundle import CARD, write_bundle
from chandlery.registry.client import call, is_missing, open_client
from chandlery.registry.download import INDEX
from chandlery.registry.submission import Submission
from chandlery.registry.versions import (
    CHALLENGER,
    COMPLETE,
    DIGEST_TAG,
    INDEX_TAG,
    MODEL_ID_TAG,
    STATE_TAG,
    VersionInfo,
    find,
    model_aliases,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient

PENDING = "pending"
MODEL_TYPE = "chandlery"


@dataclass(frozen=True)
class Registered:
    """The outcome of a registration.

    Attributes:
        version: the model's version.
        created: this call made it; otherwise the same model was registered before.
        run_id: MLflow run that the version belongs to.
    """

    version: str
    created: bool
    run_id: str


def register(given: Submission) -> Registered:
    """Register a model and let alias `challenger` point to it.

    The alias stays when the version is champion already.

    Raises:
        RegistryError: MLflow cannot be reached, or refuses; nothing half registered is visible.
    """
    known = _winner(given)
    if known is not None and known.state == COMPLETE:
        progress.report("registry.known", f"the same model is registered as {known.uri}")
        _point(open_client(), known)
        return Registered(known.version, False, known.run_id)
    client = open_client()
    _ensure_model(client, given)
    source = ""
    if known is None:
        run_id = _run_of(client, given)
        if not given.seed:
            given = replace(given, seed=call(client.get_run, run_id).data.params.get("seed", ""))
        given = replace(given, record=given.record.with_(mlflow_run_id=run_id))
        with tempfile.TemporaryDirectory(prefix="chandlery-register-") as folder:
            bundle = Path(folder) / "bundle"
            write_bundle(given, bundle)
            try:
                source = _submit(client, given, run_id, bundle)
            except RegistryError:
                # Somebody else may have finished first and cleared our attempt away.
                known = _winner(given)
                if known is None or known.state != COMPLETE:
                    raise
    winner = _decide_winner(client, given)
    _point(client, winner)
    created = winner.source == source
    progress.report(
        "registry.registered", f"{winner.uri} is registered" if created else f"{winner.uri} stands"
    )
    return Registered(winner.version, created, winner.run_id)


def _submit(client: MlflowClient, given: Submission, run_id: str, bundle: Path) -> str:
    """Upload the bundle and create a pending version; return where its artifacts are."""
    experiment = call(client.get_run, run_id).info.experiment_id
    index = hashlib.sha256((bundle / INDEX).read_bytes()).hexdigest()
    logged = call(
        client.create_logged_model,
        experiment,
        name=given.name,
        source_run_id=run_id,
        tags=given.tags(),
        params={name: str(value) for name, value in given.manifest.parameters.items()},
        model_type=MODEL_TYPE,
    )
    started = time.monotonic()
    call(client.log_model_artifacts, logged.model_id, str(bundle))
    size = sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file())
    progress.report(
        "registry.uploaded",
        f"uploaded {size / 2**20:.1f} MiB in {time.monotonic() - started:.1f} s",
        bytes=size,
    )
    _log_metrics(client, given, run_id, logged.model_id)
    call(client.finalize_logged_model, logged.model_id, "READY")
    call(
        client.create_model_version,
        given.name,
        source=logged.artifact_location,
        run_id=run_id,
        tags=given.tags() | {STATE_TAG: PENDING, MODEL_ID_TAG: logged.model_id, INDEX_TAG: index},
        description=(bundle / CARD).read_text(encoding="utf-8"),
        await_creation_for=0,
        model_id=logged.model_id,
    )
    return str(logged.artifact_location)


def _decide_winner(client: MlflowClient, given: Submission) -> VersionInfo:
    """Let the lowest version of this digest win, make it visible, and clear the other attempts away."""
    claims = _claims(given)
    if not claims:
        raise RegistryError(
            f"the version just registered of {given.name!r} is gone", "it was deleted: register it again"
        )
    winner, *losers = claims
    for loser in losers:
        _delete_version(client, loser)
    labels = given.tags() | winner.tags | {"chandlery.model_version": winner.version}
    if winner.state != COMPLETE:
        registrations.remember(winner.name, winner.version, winner.tags.get(INDEX_TAG, ""))
        for key, value in labels.items():
            if winner.tags.get(key) != value:
                call(client.set_model_version_tag, given.name, winner.version, key, value)
        call(client.set_model_version_tag, given.name, winner.version, STATE_TAG, COMPLETE)
    _clear_attempts(client, winner)
    return winner


def _point(client: MlflowClient, winner: VersionInfo) -> None:
    aliases = model_aliases(winner.name)
    if winner.version not in aliases.values():
        call(client.set_registered_model_alias, winner.name, CHALLENGER, winner.version)


def _winner(given: Submission) -> VersionInfo | None:
    claims = _claims(given)
    return claims[0] if claims else None


def _claims(given: Submission) -> list[VersionInfo]:
    return find({DIGEST_TAG: given.manifest.digest}, model_name=given.name, incomplete=True)


def _ensure_model(client: MlflowClient, given: Submission) -> None:
    from mlflow.exceptions import MlflowException

    def create() -> None:
        try:
            client.create_registered_model(given.name, tags=_model_tags(given))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    call(create)


def _model_tags(given: Submission) -> dict[str, str]:
    known = {"owner": given.about.owner, "task": given.manifest.task}
    return {name: value for name, value in known.items() if value}


def _run_of(client: MlflowClient, given: Submission) -> str:
    """Return the MLflow run that the version belongs to: its training's, or one made here."""
    run_id = given.record.mlflow_run_id
    if run_id and _exists(client, run_id):
        if given.record.data_commit:
            tracking.on_run(client, run_id).log_dataset(given.record, given.record.data_repo, 0)
        return run_id
    key = f"register/{given.name}/{given.manifest.digest}"
    with tracking.run(f"register {given.name}", key=key, record=given.record) as run:
        run.log_parameters(given.manifest.parameters)
        if given.record.data_commit:
            run.log_dataset(given.record, given.record.data_repo, 0)
    return run.id


def _exists(client: MlflowClient, run_id: str) -> bool:
    try:
        call(client.get_run, run_id)
    except RegistryError as error:
        if is_missing(error):
            return False
        raise
    return True


def _log_metrics(client: MlflowClient, given: Submission, run_id: str, model_id: str) -> None:
    """Tie the figures to the logged model and its data, which is what MLflow's comparison of models shows."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    data = given.record.data_repo if given.record.data_commit else None
    digest = given.record.data_commit[:32] or None
    metrics = [
        Metric(
            name, value, now, 0, model_id=model_id, dataset_name=data, dataset_digest=digest, run_id=run_id
        )
        for name, value in given.metrics.items()
    ]
    call(client.log_batch, run_id, metrics=metrics)


def _delete_version(client: MlflowClient, info: VersionInfo) -> None:
    try:
        call(client.delete_model_version, info.name, info.version)
    except RegistryError as error:
        if not is_missing(error):
            raise


def _clear_attempts(client: MlflowClient, winner: VersionInfo) -> None:
    """Delete logged models that earlier or concurrent attempts with this digest left; `mlflow gc` frees their space."""
    if not winner.model_id:
        return
    experiment = call(client.get_logged_model, winner.model_id).experiment_id
    attempts = call(
        client.search_logged_models,
        [experiment],
        filter_string=f"tags.`{DIGEST_TAG}` = '{winner.digest}' AND name = '{winner.name}'",
    )
    for attempt in attempts:
        if attempt.model_id != winner.model_id:
            try:
                call(client.delete_logged_model, attempt.model_id)
            except RegistryError as error:
                if not is_missing(error):
                    raise
