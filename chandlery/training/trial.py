"""One search trial: fits a recipe once and prints its figures as a metrics collector reads them.

    python -m chandlery.training.trial --recipe REF --repo REPO --commit COMMIT --parameter learning_rate=0.01

Each epoch prints `epoch=<n>` followed by `<metric>=<value>` lines on the validation split; the objective of the
finished model comes last. Exit code 2 for a wrong request, 1 for a failure, with two lines on standard error.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from chandlery.errors import ChandleryError, UserError
from chandlery.lean import load_tensorflow
from chandlery.recipe import load_recipe


def main(arguments: list[str] | None = None) -> int:
    """Run the trial; return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        _run(options)
    except ChandleryError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def _run(options: argparse.Namespace) -> None:
    from chandlery.training.dataset import open_rows
    from chandlery.training.fitting import fit
    from chandlery.training.parameters import complete, parse

    loaded = load_recipe(options.recipe)
    parameters = complete(loaded.recipe, parse(options.parameter))
    rows = open_rows(loaded.recipe, _folder(options))
    if sys.argv[0].endswith("trial.py"):  # run as a program, so the process is ours
        load_tensorflow()
    result = fit(loaded, rows, parameters, options.seed, on_epoch=_print)
    print(f"{loaded.recipe.objective}={result.objective:.6g}", flush=True)


def _folder(options: argparse.Namespace) -> Path:
    if options.dataset:
        return Path(options.dataset)
    if not (options.repo and options.commit):
        raise UserError("the trial has no data", "give --repo and --commit, or --dataset FOLDER")
    from chandlery.data import checkout

    return checkout(options.repo, options.commit)


def _print(figures: dict[str, float]) -> None:
    print(f"epoch={int(figures['epoch'])}")
    print("\n".join(f"{name}={value:.6g}" for name, value in figures.items() if name != "epoch"), flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m chandlery.training.trial", description="Run one search trial."
    )
    parser.add_argument("--recipe", required=True, help="recipe reference, path/to/recipe.py:Class")
    parser.add_argument("--repo", default="", help="repo of the versioned data")
    parser.add_argument("--commit", default="", help="commit or branch in it")
    parser.add_argument("--dataset", default="", help="a folder to use in place of repo and commit")
    parser.add_argument(
        "--parameter", action="append", default=[], metavar="NAME=VALUE", help="repeat for each"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and order")
    return parser


if __name__ == "__main__":
    sys.exit(main())
