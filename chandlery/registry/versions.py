"""Model versions as everyone else sees them: complete ones only, by number or by alias."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from chandlery import provenance
from chandlery.errors import NotFoundError, UserError
from chandlery.registry.reader import RegistryReader, tags

CHAMPION = "champion"
CHALLENGER = "challenger"

# A version is created with everything it needs already uploaded; this tag, set last, makes it visible.
STATE_TAG = "chandlery.state"
COMPLETE = "complete"
SEED_TAG = "chandlery.seed"
DIGEST_PREFIX = "sha256:"
DIGEST_TAG = "chandlery.model_digest"
INDEX_TAG = "chandlery.files_sha256"  # digest of files.json, which holds the digests of all artifacts
MODEL_ID_TAG = "chandlery.model_id"  # the registry of 3.17 does not keep the logged model's id


@dataclass(frozen=True)
class VersionInfo:
    """One version of a registered model.

    Attributes:
        name: name of the registered model.
        version: the version, a whole number as text.
        source: storage URI of its artifacts: `mlflow-artifacts:/...`, `s3://...`, `gs://...` or a path.
        run_id: MLflow run that made it.
        model_id: MLflow's id of the logged model.
        digest: digest of the model package.
        aliases: aliases that point to it.
        tags: all its tags.
        description: the model card.
        created: creation time, seconds since the epoch.
        state: `complete`, or anything else while its registration has not finished.
    """

    name: str
    version: str
    source: str
    run_id: str
    model_id: str
    digest: str
    aliases: tuple[str, ...]
    tags: dict[str, str] = field(repr=False)
    description: str = field(repr=False)
    created: float
    state: str

    @property
    def uri(self) -> str:
        """`models:/name/version`."""
        return f"models:/{self.name}/{self.version}"

    @property
    def provenance(self) -> provenance.Provenance:
        """Where the version came from."""
        return provenance.read(self.tags).with_(model_name=self.name, model_version=self.version)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "name": self.name,
            "version": self.version,
            "uri": self.uri,
            "source": self.source,
            "run_id": self.run_id,
            "digest": self.digest,
            "aliases": list(self.aliases),
            "created": self.created,
            "tags": self.tags,
        }


def champion(model_name: str) -> str:
    """Return the version that alias `champion` of a registered model points to; "" when there is none.

    Raises:
        PlatformError: no tracking server is configured.
        RegistryError: MLflow cannot be reached.
    """
    return aliased(model_name, CHAMPION)


def aliased(model_name: str, alias: str) -> str:
    """Return the version that an alias of a registered model points to; "" when there is none."""
    with RegistryReader() as reader:
        answer = reader.get("registered-models/alias", name=model_name, alias=alias)
    return str(answer["model_version"]["version"]) if answer else ""


def resolve(uri: str) -> tuple[str, str]:
    """Return (name, version) of `models:/name/3`, `models:/name@alias` or the same without `models:/`.

    Raises:
        UserError: the URI has another form.
        NotFoundError: no such alias; names those that exist. A version number is not looked up.
    """
    name, version, alias = parse(uri)
    if version:
        return name, version
    found = aliased(name, alias)
    if not found:
        info = model_aliases(name)
        have = ", ".join(f"{a} -> {v}" for a, v in sorted(info.items())) or "none"
        raise NotFoundError(f"model {name!r} has no alias {alias!r}", f"aliases that exist: {have}")
    return name, found


def parse(uri: str) -> tuple[str, str, str]:
    """Split a model URI into name, version and alias; one of the last two is "".

    Raises:
        UserError: the URI has another form.
    """
    body = uri.removeprefix("models:").lstrip("/")
    if "@" in body:
        name, _, alias = body.rpartition("@")
        version = ""
    else:
        name, _, version = body.rpartition("/")
        alias = ""
    if not name or not (alias or (version.isdecimal() and version.isascii())):
        raise UserError(f"{uri!r} is not a model URI", "use models:/name/3 or models:/name@champion")
    return name, version, alias


def model_aliases(model_name: str) -> dict[str, str]:
    """Return the aliases of a registered model with their versions; empty when there is no such model."""
    with RegistryReader() as reader:
        answer = reader.get("registered-models/get", name=model_name)
    entries = answer["registered_model"].get("aliases", []) if answer else []
    return {entry["alias"]: str(entry["version"]) for entry in entries}


def version_info(model_name: str, version_or_alias: str) -> VersionInfo:
    """Return one complete version.

    Args:
        model_name: name of the registered model.
        version_or_alias: `3`, `champion`, `challenger`, ...

    Raises:
        NotFoundError: no such version or alias; names the versions that exist.
        RegistryError: MLflow cannot be reached.
    """
    version = version_or_alias
    if not version.isdigit():
        _, version = resolve(f"{model_name}@{version_or_alias}")
    with RegistryReader() as reader:
        answer = reader.get("model-versions/get", name=model_name, version=version)
    info = from_api(answer["model_version"]) if answer else None
    if info is None or info.state != COMPLETE:
        raise missing(model_name, version)
    return info


def versions(model_name: str, *, incomplete: bool = False) -> list[VersionInfo]:
    """Return the versions of a registered model, newest first.

    Args:
        model_name: name of the registered model.
        incomplete: include those whose registration has not finished.
    """
    found = find({}, model_name=model_name, incomplete=incomplete)
    return sorted(found, key=lambda info: int(info.version), reverse=True)


def find(labels: Mapping[str, str], *, model_name: str = "", incomplete: bool = False) -> list[VersionInfo]:
    """Return the versions of any registered model (or of one) that carry the given tags, oldest first.

    Args:
        labels: tag values by key; all must match.
        model_name: name of the registered model; "" for any.
        incomplete: include those whose registration has not finished.
    """
    terms = [f"tags.`{key}` = {_quoted(value)}" for key, value in labels.items()]
    if model_name:
        terms.append(f"name = {_quoted(model_name)}")
    with RegistryReader() as reader:
        entries = list(
            reader.search(
                "model-versions/search", "model_versions", filter=" and ".join(terms), max_results=1000
            )
        )
    found = [from_api(entry) for entry in entries]
    kept = [info for info in found if incomplete or info.state == COMPLETE]
    return sorted(kept, key=lambda info: (info.name, int(info.version)))


def missing(model_name: str, version: str) -> NotFoundError:
    """Return the error for a version that does not exist; it names those that do."""
    have = ", ".join(info.version for info in versions(model_name)) or "none"
    return NotFoundError(f"model {model_name!r} has no version {version}", f"versions that exist: {have}")


def from_api(entry: dict[str, Any]) -> VersionInfo:
    """Read MLflow's JSON of a model version."""
    labels = tags(entry.get("tags"))
    return VersionInfo(
        name=entry["name"],
        version=str(entry["version"]),
        source=entry.get("source", ""),
        run_id=entry.get("run_id", ""),
        model_id=labels.get(MODEL_ID_TAG, ""),
        digest=labels.get(DIGEST_TAG, ""),
        aliases=tuple(entry.get("aliases", ())),
        tags=labels,
        description=entry.get("description", ""),
        created=float(entry.get("creation_timestamp", 0)) / 1000,
        state=labels.get(STATE_TAG, ""),
    )


def _quoted(text: str) -> str:
    # MLflow's filters have no escapes, but take either kind of quote.
    mark = '"' if "'" in text else "'"
    if mark in text:
        raise UserError(f"{text!r} has both kinds of quotes", "MLflow cannot search for it: use another name")
    return mark + text + mark


def reproduce_command(version: str) -> str:
    """Return the command that trains a version again from the same recipe, data and hyperparameters.

    Args:
        version: `models:/name/3` or `models:/name@alias`; the command names the version itself.

    Raises:
        NotFoundError: no such version or alias.
        RegistryError: MLflow cannot be reached.
    """
    name, number = resolve(version)
    return command(version_info(name, number).uri)


def command(reference: str) -> str:
    """Return the command for `models:/name/3` or `sha256:<model digest>`."""
    return shlex.join(["python", "-m", "chandlery.registry.reproduce", reference])
