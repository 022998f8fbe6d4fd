"""The demo: a champion on the first data commit, then a challenger on a newer one, released by canary.

    make demo        the challenger is better and takes over
    make demo-bad    the challenger learnt from corrupted labels and is rolled back

Everything goes through the `chandlery` command, as a user would type it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RECIPE = f"{HERE / 'recipe.py'}:Digits"
BAD_RECIPE = f"{HERE / 'recipe.py'}:MislabelledDigits"
MODEL = "digits"
RELEASE = {
    "repo": "digits",
    "model_name": MODEL,
    "traffic_repo": "digits-traffic",
    "replay_rate": "300",
    "canary_deadline_seconds": "120",
}
# The first data commit is small: it takes more epochs, and deserves less of a search.
FIRST = {"max_trials": "2", "parameters": "{epochs: 40}"}
NEXT = {"max_trials": "4", "parameters": "{epochs: 10}"}


def main() -> int:
    """Run the demo; returns the exit code of the first command that failed, or 0."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bad", action="store_true", help="release a model trained on corrupted labels")
    bad = parser.parse_args().bad
    with tempfile.TemporaryDirectory() as scratch:
        sys.path.insert(0, str(HERE))
        from data import write

        folders = write(Path(scratch))
        heading("Recorded requests, with the digit that a person read")
        commit(folders["traffic"], "digits-traffic")
        if champion():
            heading(f"Version {champion()} is champion already: straight to the challenger")
        else:
            heading("The first data commit, and the first champion")
            commit(folders["history-1"], "digits")
            chandlery("run", "train_and_deploy", *arguments(RECIPE, FIRST))
        heading(
            "A newer data commit, and a challenger" + (" that learnt from corrupted labels" if bad else "")
        )
        commit(folders["history-2"], "digits")
    chandlery("run", "train_and_deploy", *arguments(BAD_RECIPE if bad else RECIPE, NEXT))
    return 0


def heading(text: str) -> None:
    """Print what comes next."""
    print(f"\n== {text}", flush=True)


def champion() -> str:
    """Return the version that is champion, or an empty text."""
    command = [sys.executable, "-m", "chandlery.cli.main", "lineage", f"models:/{MODEL}@champion", "--json"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if found.returncode:
        return ""
    version = asked(json.loads(found.stdout))
    return version["name"].rpartition("/")[2] if version["kind"] == "model version" else ""


def asked(node: dict[str, Any]) -> dict[str, Any]:
    """Return the node of a lineage tree that was asked for; the root when there is none below."""
    if node["asked"]:
        return node
    return next((found for child in node["children"] if (found := asked(child))["asked"]), node)


def commit(source: Path, repo: str) -> None:
    """Commit a folder to a repo."""
    chandlery("run", "commit_dataset", "-p", f"source={source}", "-p", f"repo={repo}")


def arguments(recipe: str, search: dict[str, str]) -> list[str]:
    """Return the release's arguments."""
    values = {"recipe": recipe, **RELEASE, **search}
    return [word for name, value in values.items() for word in ("-p", f"{name}={value}")]


def chandlery(*words: str) -> None:
    """Run a `chandlery` command; a failed one ends the demo with its exit code."""
    code = subprocess.run([sys.executable, "-m", "chandlery.cli.main", *words], check=False).returncode
    if code:
        sys.exit(code)


if __name__ == "__main__":
    sys.exit(main())
