"""validate_dataset: a gate that lets only data through that fits the recipe's schema."""

from typing import NamedTuple

from kfp import dsl

from chandlery.catalog import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def validate_dataset(
    dataset: dsl.Input[dsl.Dataset],
    recipe: str,
    report: dsl.Output[dsl.HTML],
    minimum_rows: int = 1,
) -> NamedTuple("Outputs", [("rows", int)]):
    """Check every row of a dataset against the recipe's schema; report what failed and where; fail on any.

    Args:
        dataset: folder that the recipe's `load` reads.
        recipe: recipe reference, `path/to/recipe.py:Class` or `package.module:Class`.
        report: page with the failures, a summary of every column, the target's balance and distributions.
        minimum_rows: fewer rows are a failure.

    Returns:
        rows: number of rows, all of them valid.
    """
    from chandlery.steps.data.validate_dataset import validate_dataset

    return (validate_dataset(dataset, recipe, minimum_rows, report),)
