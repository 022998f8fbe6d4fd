"""Entry point of `chandlery`: commands, and errors as two lines with an exit code.

Command modules import their work inside functions, so that `--help` and completion stay fast.
"""

from __future__ import annotations

import errno
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from chandlery import __version__
from chandlery.addresses import home
from chandlery.cli.help import RunCommand, examples
from chandlery.errors import ChandleryError, UserError, missing_extra

app = typer.Typer(
    name="chandlery",
    help="Fit out Kubeflow: run, release, inspect and trace models, on one laptop or a cluster.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    epilog=examples(
        "chandlery demo                       # a model's whole life on this machine",
        "chandlery list                       # components and pipelines",
        "chandlery run train_model --help     # the inputs of one",
        "chandlery status",
    ),
)
pachd = typer.Typer(
    help="The embedded versioned-data server.",
    no_args_is_help=True,
    epilog=examples("chandlery pachd serve --address 127.0.0.1:30650"),
)
app.add_typer(pachd, name="pachd")
release = typer.Typer(
    help="End a running canary early, with a reason that is recorded.",
    no_args_is_help=True,
    epilog=examples('chandlery release rollback digits --reason "complaints about sevens"'),
)
app.add_typer(release, name="release")

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Parameters = Annotated[
    list[str] | None, typer.Option("-p", "--parameter", help="An argument, key=value; may repeat.")
]


def _version(value: bool) -> None:
    if value:
        print(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def _names(incomplete: str) -> list[str]:
    from chandlery.catalog import entries

    return [entry.name for entry in entries() if entry.name.startswith(incomplete)]


Name = Annotated[str, typer.Argument(autocompletion=_names, help="Component or pipeline name.")]


@app.command("list", epilog=examples("chandlery list", "chandlery list --json"))
def list_entries(json: Json = False) -> None:
    """List components and pipelines."""
    from chandlery.cli.catalog import list_entries

    list_entries(as_json=json)


@app.command(epilog=examples("chandlery show train_model", "chandlery show run_canary --json"))
def show(name: Name, json: Json = False) -> None:
    """Show one: inputs, outputs, image, example."""
    from chandlery.cli.catalog import show

    show(name, as_json=json)


@app.command(
    cls=RunCommand,
    epilog=examples(
        "chandlery run commit_dataset -p source=my-data/ -p repo=mine",
        "chandlery run train_and_deploy -p recipe=my_recipe.py:Mine -p repo=mine -p model_name=mine",
        "chandlery run train_and_deploy --help      # its inputs, with types and defaults",
        "chandlery run deploy_model --dry-run -p model_name=digits -p version=1",
    ),
)
def run(
    target: Annotated[
        str, typer.Argument(autocompletion=_names, help="Pipeline, component or compiled YAML file.")
    ],
    parameter: Parameters = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Run every step again.")] = False,
    parallel: Annotated[int, typer.Option(min=0, help="Steps at a time; 0: as cores and memory allow.")] = 0,
    runner: Annotated[
        str,
        typer.Option(
            help="Where steps run: auto (Python steps as processes, others in their image), process or docker."
        ),
    ] = "auto",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the document it would apply, and stop.")
    ] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Print the steps' own log lines.")] = False,
    json: Json = False,
) -> None:
    """Run a pipeline or component on this machine.

    The services of the platform that its components need are started when they are down. A component that is not of
    this catalog does not name its needs: start them before, with `chandlery up`.
    """
    from chandlery.cli.run import run

    raise typer.Exit(
        run(
            target,
            parameter or [],
            caching=not no_cache,
            parallel=parallel,
            runner=runner,
            dry_run=dry_run,
            verbose=verbose,
            as_json=json,
        )
    )


@app.command(
    "compile",
    epilog=examples(
        "chandlery compile train_and_deploy -o train_and_deploy.yaml",
        "chandlery compile train_and_deploy --registry registry.example/team -o train_and_deploy.yaml",
    ),
)
def compile_(
    name: Name,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="File to write; default: standard output.")
    ] = None,
    registry: Annotated[str, typer.Option(help="Registry to take our images from.")] = "",
    digests: Annotated[Path | None, typer.Option(help="JSON file: image name to sha256 digest.")] = None,
) -> None:
    """Write the YAML to submit to a cluster (`kfp run create -f`)."""
    from chandlery.cli.catalog import compile_

    compile_(name, output, registry, digests)


@app.command(epilog=examples("chandlery up"))
def up() -> None:
    """Start the laptop platform: MLflow, gateway, controllers."""
    from chandlery.cli.platform import up

    up()


@app.command(epilog=examples("chandlery down"))
def down() -> None:
    """Stop the laptop platform and every model server."""
    from chandlery.cli.platform import down

    down()


@app.command(epilog=examples("chandlery status", "chandlery status --json"))
def status(json: Json = False) -> None:
    """Show services, deployments and the last runs."""
    from chandlery.cli.platform import status

    status(as_json=json)


@app.command(
    epilog=examples("chandlery logs last", "chandlery logs gateway -n 200", "chandlery logs mlflow --follow")
)
def logs(
    name: Annotated[str, typer.Argument(help="A service, a run id, or `last` for the last run.")] = "last",
    lines: Annotated[int, typer.Option("-n", "--lines", min=1, help="How many lines from the end.")] = 50,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until interrupted.")] = False,
) -> None:
    """Show the log of a service or a run."""
    from chandlery.cli.platform import logs

    logs(name, lines, follow=follow)


@app.command(epilog=examples("chandlery demo", "chandlery demo --bad"))
def demo(
    bad: Annotated[
        bool, typer.Option("--bad", help="Release a model trained on corrupted labels; it is rolled back.")
    ] = False,
) -> None:
    """Show a model's whole life on this machine: a champion, then a challenger released by canary."""
    from chandlery.cli.demo import demo

    raise typer.Exit(demo(bad=bad))


@app.command(epilog=examples("chandlery init late-trains"))
def init(
    name: Annotated[str, typer.Argument(help="Name of the project: lower-case words with dashes.")],
) -> None:
    """Write a small repository for a team's own model: recipe, test, pyproject.toml, README."""
    from chandlery.cli.init import init

    init(name)


@app.command(
    epilog=examples("chandlery check my_recipe.py:Mine my-data/", "chandlery check my_recipe.py:Mine")
)
def check(
    recipe: Annotated[str, typer.Argument(help="Recipe: path/to/recipe.py:Class or package.module:Class.")],
    data: Annotated[
        Path | None, typer.Argument(help="Folder of raw data; default: rows made up from the schema.")
    ] = None,
    json: Json = False,
) -> None:
    """Run every method of a recipe on a few rows; tell what breaks the contract. Nothing is trained."""
    from chandlery.cli.check import check

    raise typer.Exit(check(recipe, data, as_json=json))


@app.command(epilog=examples("chandlery doctor"))
def doctor(json: Json = False) -> None:
    """Check every endpoint; name a fix for each bad one."""
    from chandlery.cli.doctor import doctor

    raise typer.Exit(doctor(as_json=json))


@app.command(
    epilog=examples(
        "chandlery predict digits request.json",
        "chandlery predict digits request.json --route v2",
        "chandlery predict digits - < request.json",
    )
)
def predict(
    deployment: Annotated[str, typer.Argument(help="Deployment name.")],
    file: Annotated[
        Path, typer.Argument(help="JSON request (Open Inference Protocol or Seldon), `-` for standard input.")
    ],
    route: Annotated[str, typer.Option(help="Predictor to ask, such as v3; default: by traffic.")] = "",
    json: Json = False,
) -> None:
    """Send a request to a deployment."""
    from chandlery.cli.predict import predict

    predict(deployment, file, route, as_json=json)


@app.command(epilog=examples("chandlery client digits", "chandlery client digits --language python > ask.py"))
def client(
    deployment: Annotated[str, typer.Argument(help="Deployment name.")],
    language: Annotated[str, typer.Option(help="python, curl or typescript; default: all.")] = "",
) -> None:
    """Print code that asks a deployment, with a row that it answers."""
    from chandlery.cli.client import client

    client(deployment, language)


@app.command(
    epilog=examples(
        "chandlery lineage models:/digits@champion",
        "chandlery lineage digits@master",
        "chandlery lineage digits --json",
    )
)
def lineage(
    ref: Annotated[
        str, typer.Argument(help="Data commit, run id, models:/name/version, deployment or request id.")
    ],
    json: Json = False,
) -> None:
    """Trace where something came from and what came of it."""
    from chandlery.cli.lineage import lineage

    lineage(ref, as_json=json)


@app.command(epilog=examples("chandlery gc --dry-run", "chandlery gc --older-than 2w --keep-runs 20"))
def gc(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be freed; free nothing.")
    ] = False,
    older_than: Annotated[
        str, typer.Option(help="Free what was last used so long ago: 7d, 12h, 30m, 2w or 0.")
    ] = "7d",
    keep_runs: Annotated[int, typer.Option(min=0, help="Keep so many of the newest runs, however old.")] = 10,
    json: Json = False,
) -> None:
    """Free what nothing needs any more: old runs, cached results, checkouts, models, logs, chunks of data."""
    from chandlery.cli.gc import gc

    gc(older_than, keep_runs, dry_run=dry_run, as_json=json)


Deployment = Annotated[str, typer.Argument(help="Deployment name; `chandlery status` lists them.")]
Reason = Annotated[str, typer.Option("--reason", help="Why, one line; recorded with the verdict.")]
By = Annotated[str, typer.Option("--by", help="Who decides; default: the user and this machine.")]
Namespace = Annotated[str, typer.Option(help="Namespace of the deployment; default: the platform's.")]


@release.command(
    "promote", epilog=examples('chandlery release promote digits --reason "the old data source is gone"')
)
def release_promote(
    name: Deployment, reason: Reason, by: By = "", namespace: Namespace = "", json: Json = False
) -> None:
    """Give the challenger of the running canary all traffic now."""
    from chandlery.cli.release import end

    end(name, "promote", reason, by, namespace, as_json=json)


@release.command(
    "rollback",
    epilog=examples(
        'chandlery release rollback digits --reason "complaints about sevens"',
        'chandlery release rollback digits --by anna --reason "the label feed is broken"',
    ),
)
def release_rollback(
    name: Deployment, reason: Reason, by: By = "", namespace: Namespace = "", json: Json = False
) -> None:
    """Take the challenger of the running canary out now."""
    from chandlery.cli.release import end

    end(name, "rollback", reason, by, namespace, as_json=json)


@pachd.command(
    "serve",
    epilog=examples("chandlery pachd serve", "chandlery pachd serve --address unix:///tmp/pachd.sock"),
)
def pachd_serve(
    address: Annotated[str, typer.Option(help="unix:///path.sock or host:port.")] = "127.0.0.1:30650",
) -> None:
    """Serve this home's versioned data to any Pachyderm client."""
    from chandlery.cli.platform import serve_pachd

    serve_pachd(address)


def main() -> None:
    """Run the command line; a ChandleryError becomes its message, its hint and its exit code."""
    try:
        _working_directory()
        app()
    except ChandleryError as error:
        _end(error)
    except ModuleNotFoundError as error:
        known = missing_extra(error)
        if known is None:
            raise
        _end(known)
    except BrokenPipeError:
        sys.stderr.close()  # the reader went away, as `| head` does
        sys.exit(1)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) and _below_home(error.filename):
            _end(
                UserError(
                    f"{error.filename}: {error.strerror}",
                    "make the folder yours, or set CHANDLERY_HOME to another",
                )
            )
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        print(f"error: no room on the disk of {error.filename or home()}: {error.strerror}", file=sys.stderr)
        print("free space, then run the same command again to carry on", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted: run the same command again to carry on", file=sys.stderr)
        sys.exit(130)


def _working_directory() -> None:
    """Refuse a working directory that was deleted: every relative path would fail, each in another way.

    Raises:
        UserError: it is gone.
    """
    try:
        Path.cwd()
    except FileNotFoundError as error:
        raise UserError("the working directory was deleted", "change to another folder") from error


def _below_home(name: object) -> bool:
    return isinstance(name, (str, Path)) and Path(name).absolute().is_relative_to(home())


def _end(error: ChandleryError) -> NoReturn:
    print(f"error: {error.message}", file=sys.stderr)
    if error.hint:
        print(error.hint, file=sys.stderr)
    sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
