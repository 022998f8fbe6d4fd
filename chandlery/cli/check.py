"""`check`: a recipe's every method on a few rows, as unit tests would run them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chandlery.cli.output import print_json, print_table, visible
from chandlery.errors import UserError, require_extra


def check(reference: str, data: Path | None, *, as_json: bool) -> int:
    """Check a recipe and print what each of its methods returned, or what breaks the contract.

    Returns:
        0 when it keeps the contract, 2 when not.

    Raises:
        RecipeError: the recipe cannot be loaded, or the data not be read.
        UserError: no row of the data is one to train on.
    """
    require_extra("train", "tensorflow")
    from chandlery.lean import load_tensorflow
    from chandlery.recipe import load_recipe
    from chandlery.training.contract import METHODS, check_recipe, training_rows
    from chandlery.training.dataset import open_rows

    recipe = load_recipe(reference).recipe
    rows = None if data is None else training_rows(recipe, open_rows(recipe, data.resolve()))
    if rows == {}:
        raise UserError(f"no row in {data} is in the training part", "use more rows: it takes 70 percent")
    with _quiet():
        load_tensorflow()
        found = check_recipe(recipe, rows)
    if as_json:
        breaches = [vars(breach) for breach in found.breaches]
        print_json(
            {"rows": found.rows, "made_up": found.made_up, "passed": found.passed, "breaches": breaches}
        )
        return 0 if found.ok else 2
    broken = {breach.method: breach for breach in reversed(found.breaches)}
    lines = []
    for method in METHODS:
        if method in broken:
            lines.append((method, "breaks", broken[method].problem))
        elif method in found.passed:
            lines.append((method, "ok", found.passed[method]))
        elif not (found.made_up and method == "load"):
            lines.append((method, "-", "learns nothing" if method == "fit" and found.ok else "not called"))
    print_table(("method", "", "returned"), lines)
    print()
    source = "rows made up from the schema" if found.made_up else "rows of the data"
    for breach in found.breaches:
        print(f"{breach.method}: {visible(breach.problem)}\n  {visible(breach.hint)}")
    if found.ok:
        print(f"{type(recipe).__name__} keeps the contract on {found.rows} {source}")
    elif found.made_up:
        print(f"checked on {found.rows} {source}: to check real ones, `chandlery check {reference} DATA`")
    return 0 if found.ok else 2


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep TensorFlow's start-up lines off the terminal: they come from C++, before its logging is set up."""
    kept = os.dup(2)
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
