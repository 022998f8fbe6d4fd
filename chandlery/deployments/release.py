"""The next form of a deployment: pure decisions about variants and weights."""

from __future__ import annotations

from dataclasses import dataclass

from chandlery.deployments.spec import STRATEGIES, ServingSpec, Variant
from chandlery.errors import NotFoundError, UserError

# The newcomer's share when none is given: a canary's first step, half, every request.
DEFAULT_WEIGHTS = {"replace": 100, "canary": 5, "ab": 50, "shadow": 100}


@dataclass(frozen=True)
class Release:
    """A deployment as it should be.

    Attributes:
        spec: what to serve.
        strategy: strategy used; `replace` where nothing was there to be compared with.
        changed: it differs from what serves now.
        reason: why it is so, one sentence.
    """

    spec: ServingSpec
    strategy: str
    changed: bool
    reason: str


def release(new: ServingSpec, now: ServingSpec | None, strategy: str, weight: int = 0) -> Release:
    """Bring the one variant of `new` into what serves now.

    Args:
        new: the version to release, alone.
        now: what serves; None for nothing.
        strategy: `replace`, `canary`, `ab` or `shadow`.
        weight: the newcomer's percent of the traffic; of a shadow, of the requests that it sees; 0 for the
            strategy's own: 5, 50, 100.

    Raises:
        UserError: unknown strategy, or a weight that it does not allow.
    """
    weight = _checked_weight(strategy, weight)
    newcomer = new.variants[0]
    name = newcomer.version
    if now is None:
        alone = new.with_(strategy="replace")
        return Release(alone, "replace", True, f"version {name} is the first here: it gets all the traffic")
    if now.variants == (newcomer,) and now.shadow is None and _same_form(new, now):
        return Release(now, "replace", False, f"version {name} already serves alone: nothing to do")
    if strategy == "replace":
        return Release(
            new.with_(strategy="replace"),
            "replace",
            True,
            f"version {name} takes over from version {now.stable.version}",
        )
    if now.stable.version == name:
        return Release(now, now.strategy, False, f"version {name} is the stable one already: nothing to do")
    if strategy == "shadow":
        return _beside(new, now, strategy, now.variants, Variant(name, newcomer.uri, weight, newcomer.image))
    known = [v for v in now.variants if (v.version, v.uri, v.image) == (name, newcomer.uri, newcomer.image)]
    if known and now.strategy == strategy:
        # It may have been moved on since: a step that is run again does not set it back.
        return Release(
            now, strategy, False, f"version {name} already has {known[0].weight} % beside the stable version"
        )
    stable = Variant(now.stable.version, now.stable.uri, 100 - weight, now.stable.image)
    challenger = Variant(name, newcomer.uri, weight, newcomer.image)
    return _beside(new, now, strategy, (stable, challenger), None)


def back(now: ServingSpec | None, name: str, to: Variant | None) -> Release:
    """Return what a rollback makes of what serves now: challengers go, or version `to` comes back alone.

    Args:
        now: what serves.
        name: name of the deployment.
        to: the version to go back to; None for the stable one.

    Raises:
        NotFoundError: nothing serves.
    """
    if now is None:
        raise NotFoundError(
            f"no deployment {name}: nothing to roll back", "deploy a version with deploy_model"
        )
    kept = to or now.stable
    alone = Variant(kept.version, kept.uri, 100, kept.image)
    others = [v.version for v in (*now.variants, *([now.shadow] if now.shadow else []))]
    others = [version for version in others if version != kept.version]
    if not others:
        return Release(now, "replace", False, f"version {kept.version} already serves alone: nothing to do")
    spec = now.with_(variants=(alone,), shadow=None, strategy="replace")
    return Release(
        spec,
        "replace",
        True,
        f"version {kept.version} serves alone again; version {', '.join(others)} is taken out",
    )


def _beside(
    new: ServingSpec,
    now: ServingSpec,
    strategy: str,
    variants: tuple[Variant, ...],
    shadow: Variant | None,
) -> Release:
    # How the deployment is run stays as it is: another form would restart the stable version too.
    spec = now.with_(variants=variants, shadow=shadow, strategy=strategy, provenance=new.provenance)
    newcomer = new.variants[0].version
    what = "sees a copy of" if strategy == "shadow" else "gets"
    share = shadow.weight if shadow else variants[-1].weight
    same = (spec.variants, spec.shadow, spec.strategy) == (now.variants, now.shadow, now.strategy)
    return Release(
        now if same else spec,
        strategy,
        not same,
        f"version {newcomer} {what} {share} % of the requests beside version {now.stable.version}",
    )


def _same_form(new: ServingSpec, now: ServingSpec) -> bool:
    """Return whether two deployments differ in nothing that matters but provenance."""
    return new.with_(provenance=now.provenance, strategy=now.strategy) == now


def _checked_weight(strategy: str, weight: int) -> int:
    if strategy not in STRATEGIES:
        raise UserError(f"unknown strategy {strategy!r}", f"valid strategies: {', '.join(STRATEGIES)}")
    most = 100 if strategy in ("replace", "shadow") else 99
    if not 0 <= weight <= most:
        raise UserError(
            f"weight {weight} does not fit strategy {strategy}", f"use 1 to {most}, or 0 for the default"
        )
    return weight or DEFAULT_WEIGHTS[strategy]
