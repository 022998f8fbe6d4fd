"""Trains a registered version again from what its record names, and reports whether the result is the same model."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from chandlery import progress
from chandlery.errors import ChandleryError, NotFoundError, RegistryError
from chandlery.registry.versions import (
    DIGEST_PREFIX,
    DIGEST_TAG,
    SEED_TAG,
    VersionInfo,
    find,
    resolve,
    version_info,
)


@dataclass(frozen=True)
class Reproduction:
    """Result of training a version again.

    Attributes:
        folder: the new model package.
        expected: digest of the registered model.
        digest: digest of the new one.
        differences: packages whose version is not the recorded one, `name: recorded -> here`.
    """

    folder: Path
    expected: str
    digest: str
    differences: tuple[str, ...]

    @property
    def same(self) -> bool:
        """The weights, the recipe and the hyperparameters are the same, bit for bit."""
        return self.digest == self.expected


def reproduce(reference: str, folder: Path) -> Reproduction:
    """Train a version again.

    Args:
        reference: `models:/name/3`, `models:/name@alias` or `sha256:<model digest>`.
        folder: where the new model package goes.

    Raises:
        NotFoundError: no such version, or its data commit is gone.
        RegistryError: the version's record names no data commit.
    """
    from chandlery.data import checkout
    from chandlery.model import read_manifest, save_model
    from chandlery.recipe import load_snapshot
    from chandlery.registry.download import download
    from chandlery.training.dataset import open_rows
    from chandlery.training.fitting import fit

    info = _find(reference)
    package = download(info.name, info.version)
    manifest = read_manifest(package)
    record = info.provenance
    if not record.data_commit:
        raise RegistryError(
            f"{info.uri} was not trained on versioned data",
            "only what comes from a data commit can be repeated",
        )
    loaded = load_snapshot(package / "recipe", manifest.recipe)
    progress.report("reproduce", f"training {info.uri} again on {record.data_repo}@{record.data_commit}")
    rows = open_rows(loaded.recipe, checkout(record.data_repo, record.data_commit))
    result = fit(loaded, rows, manifest.parameters, int(info.tags.get(SEED_TAG, "0")))
    made = save_model(
        folder,
        result.model,
        loaded,
        manifest.parameters,
        result.metrics,
        record,
        state=result.state,
        features=result.features,
        example=result.example,
        validation=result.validation,
    )
    return Reproduction(folder, manifest.digest, made.digest, _differences(package, folder))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as `python -m chandlery.registry.reproduce`; 0 when the model came out the same, 1 when not."""
    parser = argparse.ArgumentParser(prog="python -m chandlery.registry.reproduce", description=__doc__)
    parser.add_argument("model", help="models:/name/3, models:/name@alias or sha256:<model digest>")
    parser.add_argument(
        "--output", type=Path, default=Path("reproduced"), help="folder of the new model package"
    )
    options = parser.parse_args(arguments)
    try:
        result = reproduce(options.model, options.output.resolve())
    except ChandleryError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    if result.same:
        print(f"the same model, bit for bit: {result.digest}")
        return 0
    print(f"another model: {result.digest}, registered was {result.expected}", file=sys.stderr)
    print(f"environment: {'; '.join(result.differences) or 'the same packages'}", file=sys.stderr)
    return 1


def _find(reference: str) -> VersionInfo:
    if not reference.startswith(DIGEST_PREFIX):
        return version_info(*resolve(reference))
    digest = reference.removeprefix(DIGEST_PREFIX)
    found = find({DIGEST_TAG: digest})
    if not found:
        raise NotFoundError(f"no registered model has the digest {digest}", "name it as models:/name/3")
    return found[0]


def _differences(recorded: Path, here: Path) -> tuple[str, ...]:
    before, after = _pins(recorded), _pins(here)
    return tuple(
        f"{name}: {before.get(name, 'absent')} -> {after.get(name, 'absent')}"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    )


def _pins(package: Path) -> dict[str, str]:
    lines = (package / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==", 1) for line in lines if "==" in line)


if __name__ == "__main__":
    sys.exit(main())
