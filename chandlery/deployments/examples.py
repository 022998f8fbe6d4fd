"""The documents in `seldon/`: one for each strategy, made by `to_seldon` so that they cannot drift from it.

`python -m chandlery.deployments.examples FOLDER` writes them again.
"""

from __future__ import annotations

import sys
from pathlib import Path

from chandlery.deployments.spec import ServingSpec, Variant, to_seldon

_HEADS = {
    "replace": "One version answers everything.",
    "canary": "The stable version answers 95 % of the requests, its challenger 5 %: the first step of a canary.",
    "ab": "Two versions share the traffic evenly until an experiment has its answer.",
    "shadow": "One version answers; its challenger gets a copy of each request and its answers are dropped.",
}


def example_specs() -> dict[str, ServingSpec]:
    """Return a spec for each strategy, by its name."""
    base = ServingSpec("digits", "default", "digits", (_variant("12", 100),))
    return {
        "replace": base,
        "canary": base.with_(strategy="canary", variants=(_variant("12", 95), _variant("13", 5))),
        "ab": base.with_(strategy="ab", variants=(_variant("12", 50), _variant("13", 50))),
        "shadow": base.with_(strategy="shadow", shadow=_variant("13", 100)),
    }


def example_text(strategy: str) -> str:
    """Return the text of `seldon/<strategy>.yaml`."""
    import yaml

    document = to_seldon(example_specs()[strategy])
    return f"# {_HEADS[strategy]}\n" + yaml.safe_dump(document, sort_keys=False, width=110)


def _variant(version: str, weight: int) -> Variant:
    return Variant(version, f"models:/digits/{version}", weight)


if __name__ == "__main__":
    for strategy in example_specs():
        Path(sys.argv[1], f"{strategy}.yaml").write_text(example_text(strategy), encoding="utf-8")
