"""Which version is in force: alias `champion`, and what it was before, for the way back."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chandlery import progress, provenance
from chandlery.errors import NotFoundError, RegistryError
from chandlery.registry.client import call, is_missing, open_client
from chandlery.registry.versions import (
    CHALLENGER,
    CHAMPION,
    VersionInfo,
    model_aliases,
    version_info,
    versions,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient

PREVIOUS = "previous_champion"


@dataclass(frozen=True)
class AliasChange:
    """Result of a promotion or a rollback.

    Attributes:
        version: champion now.
        previous: champion before; "" when there was none.
        changed: the alias moved; False when it pointed there already.
        reason: one sentence.
    """

    version: str
    previous: str
    changed: bool
    reason: str


def promote(model_name: str, version: str, reason: str = "") -> AliasChange:
    """Make a version champion; the champion before it becomes `previous_champion`. Doing it again changes nothing.

    Args:
        model_name: registered model.
        version: version number, or an alias such as `challenger`.
        reason: why; kept with the version.

    Raises:
        NotFoundError: no such version; names those that exist.
        RegistryError: MLflow cannot be reached.
    """
    info = version_info(model_name, version)
    aliases = model_aliases(model_name)
    before = aliases.get(CHAMPION, "")
    client = open_client()
    if before == info.version:
        _drop_challenger(client, info, aliases)
        return AliasChange(info.version, aliases.get(PREVIOUS, ""), False, f"{info.uri} is champion already")
    # In this order a promotion that is killed at any point and repeated ends the same.
    _record(client, info, "promoted", reason)
    if before:
        call(client.set_registered_model_alias, model_name, PREVIOUS, before)
    call(client.set_registered_model_alias, model_name, CHAMPION, info.version)
    _drop_challenger(client, info, aliases)
    text = f"{info.uri} is champion" + (f", after version {before}" if before else "")
    progress.report("registry.promoted", text)
    return AliasChange(info.version, before, True, reason or text)


def rollback(model_name: str, to_version: str = "", reason: str = "") -> AliasChange:
    """Make the previous champion (or `to_version`) champion again. Doing it again changes nothing.

    Args:
        model_name: registered model.
        to_version: version to go back to; "" for the previous champion.
        reason: why; kept with the version that loses its place.

    Raises:
        NotFoundError: no such version, or there is no previous champion; names the versions that exist.
        RegistryError: MLflow cannot be reached.
    """
    aliases = model_aliases(model_name)
    target = to_version or aliases.get(PREVIOUS, "")
    if not target:
        have = ", ".join(info.version for info in versions(model_name)) or "none"
        raise NotFoundError(
            f"model {model_name!r} has no previous champion to go back to",
            f"name a version; versions that exist: {have}",
        )
    info = version_info(model_name, target)
    before = aliases.get(CHAMPION, "")
    if before == info.version:
        return AliasChange(info.version, "", False, f"{info.uri} is champion already")
    client = open_client()
    if before:
        _record(client, version_info(model_name, before), "rolled_back", reason)
    call(client.set_registered_model_alias, model_name, CHAMPION, info.version)
    text = f"{info.uri} is champion again" + (f", in place of version {before}" if before else "")
    progress.report("registry.rolled_back", text)
    return AliasChange(info.version, before, True, reason or text)


def record_canary(model_name: str, version: str, verdict: str, reason: str, person: str = "") -> None:
    """Keep with a version how its canary ended, as tags `chandlery.canary_...`. Doing it again changes nothing.

    Args:
        model_name: registered model.
        version: the challenger's version.
        verdict: `promoted`, `rolled_back` or `inconclusive`.
        reason: why.
        person: who ended it early; "" when the evidence decided.

    Raises:
        NotFoundError: no such version.
        RegistryError: MLflow cannot be reached.
    """
    info = version_info(model_name, version)
    if (info.tags.get("chandlery.canary_verdict"), info.tags.get("chandlery.canary_reason")) == (
        verdict,
        reason,
    ):
        return
    client = open_client()
    _record(client, info, "canary", reason, person)
    call(client.set_model_version_tag, info.name, info.version, "chandlery.canary_verdict", verdict)


def _record(client: MlflowClient, info: VersionInfo, what: str, reason: str, person: str = "") -> None:
    """Write user, time, reason and run as tags `chandlery.<what>_...` of the version."""
    here = provenance.current()
    labels: Mapping[str, str] = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "by": person or here.task or _user(),
        "run": here.run_id,
        "reason": reason,
    }
    for name, value in labels.items():
        if value:
            call(
                client.set_model_version_tag,
                info.name,
                info.version,
                f"chandlery.{what}_{name}",
                value[:4000],
            )


def _drop_challenger(client: MlflowClient, info: VersionInfo, aliases: Mapping[str, str]) -> None:
    if aliases.get(CHALLENGER) != info.version:
        return
    try:
        call(client.delete_registered_model_alias, info.name, CHALLENGER)
    except RegistryError as error:
        if not is_missing(error):
            raise


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container whose user has no name
        return ""
